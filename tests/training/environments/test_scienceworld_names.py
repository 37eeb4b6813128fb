"""ScienceWorld: names, splits, text, the catalogue, and what is missing."""

from __future__ import annotations

import importlib.util
import os
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dyna_training.environments.catalogue import SCIENCEWORLD, catalogue
from dyna_training.environments.scienceworld import (
    HELD_OUT,
    SPLITS,
    TASKS,
    GameNameError,
    GameSpec,
    ScienceWorldEnv,
    ScienceWorldMissing,
    SimulatorDied,
    games,
    simulator,
    variations,
)
from dyna_training.environments.scienceworld.catalogue import ScienceWorldGames
from dyna_training.environments.scienceworld.text import LONGEST_ANSWER, NOT_UNDERSTOOD, clean, command

# Names and splits


@pytest.mark.parametrize("name", ["boil/17", "boil/none/0", "melt/teleportAction,openDoors/3"])
def test_a_name_says_everything(name: str) -> None:
    assert str(GameSpec.parse(name)) == name


def test_simplifications_have_one_order_and_a_default() -> None:
    assert str(GameSpec.parse("melt/openDoors,teleportAction/3")) == "melt/teleportAction,openDoors/3"
    assert str(GameSpec.parse("melt/easy/3")) == "melt/3"
    assert str(GameSpec.parse("melt/3", "none")) == "melt/none/3"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("boill/3", "did you mean 'boil'"),
        ("boil/30", "variations from 0 to 29, and no 30"),
        ("boil/-1", "expected task/variation"),
        ("boil", "expected task/variation"),
        ("boil/openDoor/3", "did you mean 'openDoors'"),
        ("test-conductivity/noElectricalAction/3", "cannot be done without electrical actions"),
        ("", "expected task/variation"),
    ],
)
def test_a_wrong_name_is_explained(name: str, message: str) -> None:
    with pytest.raises(GameNameError, match=message):
        ScienceWorldEnv(games=[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "train", "games": ["boil/0"]}, "not both"),
        ({"reward": "money"}, "'success' or 'score'"),
        ({"max_steps": 0}, "at least 1"),
        ({"simplifications": "hard"}, "unknown simplification 'hard'"),
        ({"split": "valid"}, "unknown split 'valid'"),
    ],
)
def test_a_wrong_argument_is_explained(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScienceWorldEnv(**arguments)


def test_no_game_is_in_two_splits_and_held_out_tasks_are_in_no_other() -> None:
    seen: set[GameSpec] = set()
    for split in SPLITS:
        found = games(split)
        assert len(set(found)) == len(found)
        assert seen.isdisjoint(found)
        seen |= set(found)
        assert {game.task in HELD_OUT for game in found} == {split == "unseen_task"}
    assert {game.task for game in seen} == set(TASKS)
    assert len(TASKS) == 30
    assert sum(len(variations(t, p)) for t in TASKS for p in ("train", "dev", "test")) == 7207  # type: ignore[arg-type]


def test_tasks_take_turns() -> None:
    drawn = ScienceWorldGames().shuffled(games("train"), random.Random(1))
    assert drawn != games("train")
    assert set(drawn) == set(games("train"))
    for order in (games("train"), drawn):
        assert len({game.task for game in order[:22]}) == 22


def test_a_split_draws_tasks_and_not_only_what_has_most_variations() -> None:
    env = ScienceWorldEnv(split="train")
    assert sorted(env._games) == sorted(set(TASKS) - set(HELD_OUT))


# Text


def test_text_is_plain_ascii() -> None:
    assert clean("a caf\u00e9 at 20\u00b0C  \n\tbook\x07\n") == "a cafe at 20C\n\tbook"
    assert len(clean("x" * 100_000)) == LONGEST_ANSWER


def test_a_command_is_one_plain_line() -> None:
    assert command("  look\naround ") == ("look around", "")
    assert command(" \n") == ("", NOT_UNDERSTOOD)
    assert command("x" * 100_000)[1].startswith("That command is too long")
    assert command("eat caf\u00e9\0")[0] == "eat caf??"


# What is missing


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ScienceWorldMissing, match=re.escape("pip install 'dyna-graph[scienceworld]'")):
        simulator.jar()


def test_missing_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ScienceWorldMissing, match=r"there is none here: install Java 17 .*openjdk-17-jre"):
        simulator.Simulator()


def old_java(folder: Path, said: str) -> None:
    """Make a ``java`` that says why it does not run the program."""
    (folder / "bin").mkdir()
    (folder / "bin" / "java").write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    (folder / "bin" / "java").chmod(0o755)


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (
            "java.lang.UnsupportedClassVersionError: dyna/Simulations",
            ScienceWorldMissing,
            "needs Java 17 or newer",
        ),
        ("Error: out of luck", SimulatorDied, r"exit code 1; it said: Error: out of luck"),
    ],
)
def test_a_java_that_does_not_do_is_explained(
    said: str, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old_java(tmp_path, said)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    if importlib.util.find_spec("scienceworld") is None:
        pytest.skip("needs pip install 'dyna-graph[scienceworld]'")
    with pytest.raises(error, match=message):
        simulator.Simulator().request("load", "boil", "0", "")


@pytest.mark.skipif(
    shutil.which("javac") is None, reason="needs javac (Debian: apt-get install default-jdk-headless)"
)
def test_the_compiled_program_is_what_its_sources_say(tmp_path: Path) -> None:
    """Compilers of another version may write other bytes; then a difference is looked for in what is declared."""
    source = simulator.PROGRAM / "dyna"
    said = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=True)
    if not said.stdout.startswith("javac 17"):
        pytest.skip(f"needs javac 17, by which it was compiled; this is {said.stdout.strip()}")
    options = ["-XDignore.symbol.file", "--release", "17", "-g:none", "-d", str(tmp_path)]
    subprocess.run(["javac", *options, *map(str, source.glob("*.java"))], check=True)
    compiled = {file.name: file.read_bytes() for file in (tmp_path / "dyna").glob("*.class")}
    assert compiled == {file.name: file.read_bytes() for file in source.glob("*.class")}


def test_the_catalogue_names_games_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    there = catalogue(SCIENCEWORLD)
    assert there.key("boil/easy/3") == "boil/3"
    assert there.size("unseen_task") == sum(len(variations(task, "test")) for task in HELD_OUT)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(ScienceWorldMissing):
        there.draw("train", 3)


def test_scienceworld_is_tested_here() -> None:
    """Continuous integration installs it and Java; there, nothing of this is skipped."""
    there = importlib.util.find_spec("scienceworld") is not None and shutil.which("java") is not None
    assert there or not os.environ.get("CI")
