"""Real vLLM servers, started by `dyna serve`; `make vllm` installs vLLM and runs these tests."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from dyna_nodes.nouns import Action, History, Query

TASK = (
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you see a "
    "cabinet 1, a diningtable 1, and a fridge 1.\n\nYour task is to: put some apple on diningtable."
)


class Serving(NamedTuple):
    """A running `dyna serve`."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]
    folder: Path

    def url(self, name: str) -> str:
        """Return the address of the server that has a model."""
        return next(s["url"] for s in self.ready["servers"] for m in s["models"] if m["name"] == name)

    def model(self, name: str) -> str:
        """Return the name for YAML of a model."""
        return f"vllm:{name}@{self.url(name)}"


Serve = Callable[..., Any]


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[Serving]:
    """Run `dyna serve` until the block ends; nothing of it is left then."""
    if "DYNA_VLLM_PYTHON" not in os.environ:
        pytest.fail("these tests need vLLM: run `make vllm`, or name its Python in DYNA_VLLM_PYTHON")
    file = folder / "ready.json"
    command = [sys.executable, "-c", "from dyna_graph.cli import main; main()", "serve", *arguments]
    process = subprocess.Popen(
        [*command, "--port", str(free_port()), "--ready-file", str(file)],
        text=True,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        while not file.exists():
            if process.poll() is not None:
                pytest.fail(f"dyna serve ended: {process.communicate()[1]}")
            time.sleep(0.1)
        yield Serving(process, json.loads(file.read_text()), folder)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert not file.exists()


def free_port() -> int:
    """Return the first of a few free ports."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def queries() -> list[Query]:
    """Return questions for a world model of households, several of one state and over several states."""
    history = History(task=TASK)
    asked = [
        Query(history=history, action=Action.command(c)) for c in ("go to fridge 1", "look", "open door 99")
    ]
    for command, seen in (
        ("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed."),
        ("open fridge 1", "You open the fridge 1. The fridge 1 is open. In it, you see a apple 1."),
        ("take apple 1 from fridge 1", "You pick up the apple 1 from the fridge 1."),
        ("go to diningtable 1", "You arrive at diningtable 1. On the diningtable 1, you see nothing."),
    ):
        history = history.then(Action.command(command), seen)
        asked += [
            Query(history=history, action=Action.command(c))
            for c in ("inventory", "open fridge 1", "move apple 1 to diningtable 1")
        ]
    return asked


@pytest.fixture(scope="session")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The shipped world model, merged, in float32."""
    arguments = ("--model", "local:smollm2+alfworld-world-model", "--merged", "--dtype", "float32")
    with serving(tmp_path_factory.mktemp("merged"), *arguments) as running:
        yield running


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """All models of a configuration on one server: the base as the judge, and two adapters as LoRA modules."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "dyna.yaml").write_text(
        "model: local:smollm2+alfworld-policy\n"
        "world_model: local:smollm2+alfworld-world-model\n"
        "critic: {critic: judge, model: local:smollm2}\n"
    )
    with serving(folder, "--lora") as running:
        yield running
