"""Handing episodes to other programs: files of chat messages, with a manifest that says how to load them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TextIO

from dyna_training.store.chat import ChatSettings, Row, rows_of, why_not_learned
from dyna_training.store.folder import new_folder, write_manifest
from dyna_training.store.problems import StoreError
from dyna_training.store.source import Source
from dyna_training.whole import write_whole

DATASET: Final = "word2world"
_LLAMA_FACTORY: Final = {
    DATASET: {
        "file_name": f"{DATASET}.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }
}


def export(source: Source, out: Path, settings: ChatSettings, command: str = "") -> dict[str, Any]:
    """Write episodes as rows of chat messages.

    What was played inside a world model is left out. ``word2world`` is one JSON list, with the ``dataset_info.json``
    that LLaMA-Factory looks for; the others are a row per line, for `datasets.load_dataset("json", …)`.

    Returns:
        The manifest.

    Raises:
        StoreError: There is no row to write, a hidden state is missing, or see `Source.records` and `new_folder`.
    """
    if settings.format == "word2world" and settings.learner == "policy":
        raise StoreError(
            "word2world is a format for world models; a policy's episodes go with --format trl-sft"
        )
    described, counts, context_only = source.described(), Counter[str](), Counter[str]()

    def rows() -> Iterator[Row]:
        for trajectory in source.trajectories():
            if trajectory.provenance.source == "imagination":
                counts["imagined, left out"] += 1
                continue
            try:
                found = rows_of(trajectory, settings)
            except ValueError as error:
                raise StoreError(f"{error}; export it with --context agent") from error
            counts.update(episodes=1, rows=len(found))
            if settings.format != "trl-preference":  # of two answers one is better, whoever should imitate it
                reasons = (why_not_learned(step, settings) for step in trajectory.transitions)
                context_only.update(reason for reason in reasons if reason)
            yield from found

    with new_folder(out) as folder:
        file = folder / (f"{DATASET}.json" if settings.format == "word2world" else f"{settings.format}.jsonl")
        with file.open("w", encoding="utf-8", errors="replace") as stream:
            _write(rows(), stream, as_list=settings.format == "word2world")
        if not counts["rows"]:
            raise StoreError(f"{counts['episodes']} episodes hold nothing for {settings.format}; {_NEEDS}")
        if settings.format == "word2world":
            write_whole(folder / "dataset_info.json", json.dumps(_LLAMA_FACTORY, indent=1) + "\n")
        return write_manifest(
            folder,
            "export",
            command,
            described,
            source.problems,
            settings=settings.model_dump(mode="json"),
            file=file.name,
            counts=dict(counts),
            steps_not_to_be_learned=dict(context_only),
        )


_NEEDS: Final = (
    "a world model's preferences come from wrong predictions, a policy's from counterfactuals with the label "
    "return_to_go (`dyna collect --counterfactuals 2` records them)"
)


def _write(rows: Iterator[Row], stream: TextIO, *, as_list: bool) -> None:
    before = "[\n" if as_list else ""
    for row in rows:
        stream.write(f"{before}{json.dumps(row, ensure_ascii=False)}")
        before = ",\n" if as_list else "\n"
    stream.write("\n]\n" if as_list else "\n")
