"""Records of JSON and JSONL files, with every damage reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from dyna_training.traces.problems import Reason, Reported


class Records(NamedTuple):
    """What a file holds: records with their numbers from 1, and what could not be read."""

    records: list[tuple[int, Any]]
    reported: list[Reported]


def read_records(path: Path) -> Records:
    """Read a JSON or JSONL file; what can be read of a damaged one is returned.

    Raises:
        OSError: The file cannot be read at all.
    """
    raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    if not raw.strip():
        return Records([], [Reported(file=str(path), reason=Reason.EMPTY, detail="the file is empty")])
    if path.suffix == ".jsonl":
        return _lines(path, raw)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Records([], [Reported(file=str(path), reason=Reason.ENCODING, detail=str(error))])
    try:
        document = json.loads(text)
    except ValueError as error:
        if text.lstrip().startswith("["):
            return _salvage(path, text)
        lines = _lines(path, raw)
        if lines.records:
            return lines
        return Records([], [Reported(file=str(path), reason=Reason.TRUNCATED, detail=f"not JSON: {error}")])
    return Records(list(enumerate(_elements(document), start=1)), [])


def _elements(document: Any) -> list[Any]:
    """Return the records of a JSON document: a list of records, or one record."""
    if isinstance(document, dict) and isinstance(document.get("runs"), list):
        return list(document["runs"])
    if isinstance(document, list):
        # A list of messages is one conversation.
        first = document[0] if document else None
        if isinstance(first, dict) and ("content" in first or "kwargs" in first or "data" in first):
            return [document]
        return document
    return [document]


def _lines(path: Path, raw: bytes) -> Records:
    found = Records([], [])
    lines = raw.splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.records.append((number, json.loads(line.decode("utf-8"))))
        except UnicodeDecodeError as error:
            found.reported.append(
                Reported(file=str(path), record=number, reason=Reason.ENCODING, detail=str(error))
            )
        except ValueError as error:
            cut = number == len(lines) and not raw.endswith(b"\n")
            reason = Reason.TRUNCATED if cut else Reason.FORMAT
            found.reported.append(
                Reported(file=str(path), record=number, reason=reason, detail=f"not JSON: {error}")
            )
    return found


def _salvage(path: Path, text: str) -> Records:
    """Return the whole elements of a JSON list that breaks off."""
    decoder = json.JSONDecoder()
    elements: list[Any] = []
    at = text.index("[") + 1
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        try:
            element, at = decoder.raw_decode(text, at)
        except ValueError as error:
            break_off = Reported(
                file=str(path),
                record=len(elements) + 1,
                reason=Reason.TRUNCATED,
                detail=f"the list breaks off here: {error}",
            )
            # What is left of one cut conversation is not a list of conversations.
            records = _elements(elements)
            return Records(list(enumerate(records, start=1)), [break_off])
        elements.append(element)
