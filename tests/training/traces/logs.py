"""Logs of the shapes that are imported, written here; the stories are made up."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from dyna_graph import cli


def dyna(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, list(arguments), prog_name="dyna", env={"COLUMNS": "160"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def call(id: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def assistant(thinking: str, *calls: dict[str, Any], content: str = "") -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": content, "tool_calls": list(calls)}
    return message | ({"reasoning_content": thinking} if thinking else {})


def tool(id: str, text: str, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": text, **more}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def jsonl(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


HEADER = ("Step", "Action", "Reasoning", "Observation", "Reward", "Done")


def row(action: str, thinking: str, observation: str, reward: float = 0, done: bool = False) -> list[str]:
    reply = f"<think>\n{thinking}\n</think>\n\n<|ACTION|>{action}<|END|>"
    return [action, reply, observation, str(reward), str(done)]


def episode(folder: Path, name: str, rows: Sequence[Sequence[str]], **ending: Any) -> Path:
    """Write an episode as BALROG does: a CSV and a JSON beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows([str(i), *row] for i, row in enumerate(rows))
    ending = {"task": "Harbour-v0/fetch", "progression": 0.0, "num_steps": len(rows), **ending}
    path.with_suffix(".json").write_text(json.dumps(ending), encoding="utf-8")
    return path
