"""Every example runs, and prints what its docstring says that it prints."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PROMISE = "Prints:\n\n"
PRINTED = sorted(
    file
    for file in EXAMPLES.rglob("*.py")
    if PROMISE in (ast.get_docstring(ast.parse(file.read_text())) or "")
)
HOUSEHOLD = EXAMPLES / "04_household_agent.py"


def run(file: Path, folder: Path, *arguments: str) -> str:
    """Run an example as its reader would, without any key in the environment."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith(("_API_KEY", "_BASE_URL"))}
    done = subprocess.run(
        [sys.executable, str(file), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_says_what_it_prints() -> None:
    everything = {*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*/run.py")}
    assert everything - {HOUSEHOLD} == set(PRINTED)


@pytest.mark.parametrize("file", PRINTED, ids=lambda file: str(file.relative_to(EXAMPLES)))
def test_an_example_prints_what_it_says(file: Path, tmp_path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    promised = textwrap.dedent(docstring.partition(PROMISE)[2])
    assert run(file, tmp_path).rstrip() == promised.rstrip()
    assert not list(tmp_path.iterdir()), "an example leaves nothing behind"


@pytest.mark.slow  # a language model plays a game: a minute on two idle cores, several on busy ones
def test_the_household_agent_plays(tmp_path: Path) -> None:
    lines = run(HOUSEHOLD, tmp_path).splitlines()
    assert lines[0].startswith("Your task is to: ")
    commands = [line for line in lines if line.startswith("> ")]
    assert commands
    assert f"won in {len(commands)} steps" in lines[-1]
    assert lines[-1].endswith("of the outcomes imagined to the letter")
