"""Facts that nobody could know: none in the history arm, and what the future arm makes up is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dyna_graph.errors import DynaError
from dyna_nodes.codec.thinking import simulation_line
from dyna_nodes.experience import write_trajectory
from dyna_nodes.nouns import Action, Trajectory, Transition
from dyna_training.cli.traces import app
from dyna_training.environments.alfworld.generator import generate
from dyna_training.rollouts import play
from dyna_training.teachers.facts import fact_figures, turn_facts

FIRST = (
    "You are in the middle of a room. Looking quickly around you, you see a desk 1, and a fridge 1.\n\n"
    "Your task is to: put a mug in desk."
)
DESK = "You arrive at desk 1. On the desk 1, you see a pen 1."
FRIDGE = "You arrive at fridge 1. The fridge 1 is closed."


def run(*turns: tuple[str, str, str]) -> Trajectory:
    steps = [
        Transition(index=i, thought=simulation_line(a, outcome), action=Action.command(a), observation=seen)
        for i, (a, outcome, seen) in enumerate(turns)
    ]
    return Trajectory(task=FIRST, transitions=tuple(steps))


@pytest.mark.parametrize(
    ("turns", "stated", "unknown", "against", "unseen"),
    [
        # That a command works, and what may be seen, are no facts.
        ([("go to desk 1", "You arrive at desk 1. Maybe I see a mug.", DESK)], 0, 0, 0, 0),
        ([("go to desk 1", DESK, DESK)], 1, 1, 0, 1),
        # Every fridge has a door.
        ([("go to fridge 1", FRIDGE, FRIDGE)], 1, 0, 0, 0),
        ([("go to desk 9", "Nothing happens.", "Nothing happens.")], 1, 0, 0, 0),
        # What was seen is known again; what is not there is against it.
        ([("go to desk 1", DESK, DESK), ("go to fridge 1", FRIDGE, FRIDGE), ("go to desk 1", DESK, DESK)], 3, 1, 0, 1),
        ([("go to desk 1", DESK, DESK), ("examine desk 1", "On the desk 1, you see nothing.", "")], 2, 1, 1, 1),
    ],
)  # fmt: skip
def test_facts_are_told_apart(
    turns: list[tuple[str, str, str]], stated: int, unknown: int, against: int, unseen: int
) -> None:
    found = list(turn_facts(run(*turns)))
    assert sum(t.stated for t in found) == stated
    assert sum(t.unknown for t in found) == unknown
    assert sum(t.against for t in found) == against
    assert sum(t.unseen for t in found) == unseen


def test_both_arms_are_measured_from_the_command_line(tmp_path: Path) -> None:
    for name in ("teacher", "teacher-future"):
        for seed in range(4):
            trajectory = play(generate(seed), name, seed=0)
            write_trajectory(tmp_path / f"{name}.jsonl", trajectory)
    history, future = (str(tmp_path / f"{name}.jsonl") for name in ("teacher", "teacher-future"))
    result = CliRunner().invoke(app, ["facts", history, future, "--json"])
    assert result.exit_code == 0
    figures = json.loads(result.output)
    assert figures[history]["stated"] > 10
    assert figures[history]["unknown"]["value"] == figures[history]["unseen"]["value"] == 0
    assert figures[future]["unknown"]["value"] > 0.2
    assert figures[future]["unseen"]["value"] > 0.1
    assert figures[future]["certain"]["value"] == 1
    table = CliRunner().invoke(app, ["facts", history, future], env={"COLUMNS": "200"})
    [unknown] = [line for line in table.output.splitlines() if "unknown" in line]
    none, some = unknown.split("│")[2:4]
    assert none.strip() == "0.0 (0.0–0.0)"
    assert float(some.split()[0]) > 20


def test_what_is_no_game_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "mixed.jsonl"
    write_trajectory(file, Trajectory(id="poem", task="Write a poem."))
    write_trajectory(file, run(("go to desk 1", DESK, DESK)))
    result = CliRunner().invoke(app, ["facts", str(file), "--json"])
    assert "trajectory poem" in result.stderr
    assert json.loads(result.stdout)[str(file)]["turns"] == 1


def test_nothing_to_measure_is_said(tmp_path: Path) -> None:
    with pytest.raises(DynaError, match="no trajectories"):
        CliRunner().invoke(app, ["facts", str(tmp_path)], catch_exceptions=False)
    write_trajectory(tmp_path / "a.jsonl", Trajectory(task=FIRST))
    with pytest.raises(DynaError, match="imagines anything"):
        CliRunner().invoke(app, ["facts", str(tmp_path)], catch_exceptions=False)


def test_no_fact_at_all_gives_no_rate() -> None:
    figures = fact_figures(list(turn_facts(run(("go to desk 1", "You arrive at desk 1.", DESK)))))
    assert figures["stated"] == 0
    assert figures["unknown"]["value"] is None
    assert figures["certain"]["value"] == 1
