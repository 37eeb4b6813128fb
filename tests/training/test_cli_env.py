"""`dyna env`: a person at the keyboard, lists, new games, and the comparison with the original."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dyna_graph import cli
from dyna_training.environments.alfworld import AlfworldEnv, load_game
from dyna_training.environments.alfworld.generator import generate, write
from dyna_training.environments.bfcl import BfclMissing
from dyna_training.environments.sokoban import SokobanEnv
from tests.training.environments.stand_ins import install_osworld, osworld_task

SEED = 12


def dyna(*arguments: str, typed: str = "") -> tuple[int, str, str]:
    runner = CliRunner()
    result = runner.invoke(cli.app, list(arguments), prog_name="dyna", input=typed, env={"COLUMNS": "2000"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Games laid out as alfworld does."""
    root = tmp_path / "alfworld"
    for seed in range(3):
        write(root / "json_2.1.1" / "train", seed)
    monkeypatch.setenv("ALFWORLD_DATA", str(root))
    return root


def test_a_person_solves_a_game() -> None:
    solution = generate(SEED).walkthrough
    code, stdout, _ = dyna("env", "play", "--seed", str(SEED), typed="\n".join(solution) + "\n")
    assert code == 0
    env = AlfworldEnv(games=[generate(SEED)])
    assert env.reset()[0] in stdout
    for command in solution:
        assert env.step(command)[0] in stdout
    assert f"Solved in {len(solution)} steps." in stdout


def test_a_picture_is_drawn_with_every_step_where_there_is_one() -> None:
    """Of Sokoban, whose boxes are ``[]`` in pictures; a household has none, and its hidden state is not shown."""
    code, stdout, _ = dyna("env", "play", "dyna/Sokoban-v0", "--game", "7x7-2/5", typed="up\n:undo\n:quit\n")
    assert code == 1
    assert stdout.count("[][]") == 3
    assert "\x1b" not in stdout, "colours go to terminals only"
    env = AlfworldEnv(games=[generate(SEED)])
    env.reset()
    _, stdout, _ = dyna("env", "play", "--seed", str(SEED), typed=":quit\n")
    assert env.hidden_state() not in stdout


def test_a_game_is_played_by_the_name_that_collections_have() -> None:
    first = AlfworldEnv(games=[generate(SEED)]).reset()[0]
    assert first in dyna("env", "play", "--game", f"generated:{SEED}", typed=":quit\n")[1]


def test_whatever_was_played_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine may run for each state that can be gone back to."""
    closed: list[SokobanEnv] = []
    monkeypatch.setattr(SokobanEnv, "close", lambda env: closed.append(env))
    for typed in ("up\ndown\n:undo\n:undo\n:undo\nup\n:quit\n", "up\nup\nup\n"):
        dyna("env", "play", "dyna/Sokoban-v0", "--game", "7x7-2/5", typed=typed)
        assert len(closed) == len({id(env) for env in closed}) == 4
        closed.clear()


def test_the_keys_help(tmp_path: Path) -> None:
    game = generate(SEED)
    typed = f"?\n:hint\n\n{game.walkthrough[0]}\n:state\n:undo\n:undo\n:fly\n:quit\n"
    code, stdout, _ = dyna("env", "play", "--game", str(write(tmp_path, SEED)), typed=typed)
    assert code == 1
    env = AlfworldEnv(games=[game])
    env.reset()
    assert "\n".join(env.admissible()) in stdout
    decision = env.expert().decide()
    assert f"{decision.thought} > {decision.action}" in stdout
    env.step(game.walkthrough[0])
    assert env.hidden_state() in stdout
    assert stdout.count("0 commands so far") == 2
    assert "unknown key :fly" in stdout


def test_the_end_of_the_input_ends_the_game() -> None:
    code, stdout, stderr = dyna("env", "play", "--seed", str(SEED), typed="look\n")
    assert code == 130
    assert "Traceback" not in stdout + stderr


def test_official_games_are_played_and_missing_ones_explained(
    official: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, stdout, _ = dyna(
        "env", "play", "dyna/ALFWorld-v0", "--split", "train", "--seed", "0", typed=":quit\n"
    )
    assert code == 1
    assert "Your task is to:" in stdout
    code, _, stderr = dyna("env", "play", "--split", "valid_seen")
    assert code == 1
    assert "alfworld-download" in stderr
    assert "--split generated" in stderr
    assert "did you mean 'valid_seen'?" in dyna("env", "play", "--split", "valid_sen")[2]
    assert "did you mean 'dyna/ALFWorld-v0'?" in dyna("env", "play", "dyna/ALFWorld-v1")[2]
    broken = next((official / "json_2.1.1" / "train").glob("*/*/game.tw-pddl"))
    broken.write_text("{")
    code, _, stderr = dyna("env", "play", "--game", str(broken))
    assert code == 1
    assert "truncated or corrupt" in stderr


def test_what_is_missing_or_broken_ends_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "has no list of games; name one with --game" in dyna("env", "play", "dyna/AndroidWorld-v0")[2]
    code, _, stderr = dyna("env", "play", "dyna/OSWorld-v0", "--game", str(osworld_task(tmp_path)))
    assert (code, "pip install --no-deps desktop-env" in stderr) == (1, True)
    install_osworld(monkeypatch).trouble = "down"
    code, _, stderr = dyna("env", "play", "dyna/OSWorld-v0", "--game", str(osworld_task(tmp_path)))
    assert (code, "the server in it is down" in stderr) == (1, True)

    def absent(*_: object) -> None:
        raise BfclMissing(
            "dyna/BFCL-v0 plays tasks of the package bfcl-eval: pip install --no-deps bfcl-eval mpmath"
        )

    monkeypatch.setattr("dyna_training.environments.bfcl.splits.all_tasks", absent)
    monkeypatch.setattr("dyna_training.environments.bfcl.splits._splits", absent)
    code, _, stderr = dyna("env", "play", "dyna/BFCL-v0")
    assert (code, "pip install --no-deps bfcl-eval" in stderr) == (1, True)
    code, stdout, _ = dyna("env", "list")
    assert code == 0
    assert "pip install --no-deps bfcl-eval" in stdout


def test_the_list_says_what_can_be_played(official: Path) -> None:
    code, stdout, _ = dyna("env", "list", "--json")
    assert code == 0
    [row] = [row for row in json.loads(stdout) if row["name"] == "dyna/ALFWorld-v0"]
    assert row["splits"]["generated"] == "any number"
    assert sum(row["splits"][split] for split in ("train", "dev_seen", "dev_unseen")) == 3
    assert row["splits"]["valid_seen"] is None
    _, stdout, _ = dyna("env", "list")
    assert "valid_seen: not there" in stdout
    assert "alfworld-download" in stdout


def test_new_games_are_written_and_load(tmp_path: Path) -> None:
    code, stdout, _ = dyna("env", "generate", "-n", "3", "--seed", "7", "--out", str(tmp_path), "--json")
    assert code == 0
    made = json.loads(stdout)
    assert len(made) == 3
    for number, row in enumerate(made):
        game = load_game(row["file"])
        assert game.task == row["task"] == generate(7 + number).task
    _, stdout, _ = dyna(
        "env", "generate", "--n", "1", "--task-type", "look_at_obj_in_light", "--out", str(tmp_path)
    )
    assert "look_at_obj_in_light" in stdout
    code, _, stderr = dyna("env", "generate", "--out", str(tmp_path), "--task-type", "look_at_obj_in_ligt")
    assert code == 2
    assert "did you mean 'look_at_obj_in_light'?" in stderr
    (tmp_path / "file").touch()
    code, _, stderr = dyna("env", "generate", "--out", str(tmp_path / "file"))
    assert code == 1
    assert "cannot write games" in stderr


def test_the_comparison_needs_the_original(official: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named alfworld' >&2\nexit 1\n")
    python.chmod(0o755)
    arguments = ("env", "check", "--games", "1", "--split", "train", "--cache", str(tmp_path / "cache"))
    code, _, stderr = dyna(*arguments, "--python", str(python), "--json")
    assert code == 1
    assert "No module named alfworld" in stderr
    assert "pip install alfworld==" in stderr
    assert "no such Python" in dyna(*arguments, "--python", str(tmp_path / "none"), "--json")[2]
    assert "did you mean 'train'?" in dyna("env", "check", "--split", "trian")[2]
