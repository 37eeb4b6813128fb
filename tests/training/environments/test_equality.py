"""The comparison itself; the original is not needed to see that it finds differences."""

from pathlib import Path
from typing import Any

import pytest

from dyna_training.environments.alfworld import Game, State
from dyna_training.environments.alfworld.equality import Report, check, compare
from dyna_training.environments.alfworld.generator import generate, write
from dyna_training.environments.alfworld.plays import commands, select


def transcript(game: Game, played: list[str]) -> dict[str, Any]:
    state = State(game)
    record: dict[str, Any] = {"observations": [], "admissible": [], "won": []}
    for command in (None, *played):
        observation = state.introduction() if command is None else state.step(command)[0]
        record["observations"].append(observation)
        record["admissible"].append(state.admissible())
        record["won"].append(state.won)
    return record


def test_a_play_solves_wanders_and_errs() -> None:
    for seed in range(6):
        game = generate(seed)
        played = commands(game, 40, seed)
        assert played == commands(game, 40, seed)
        assert len(played) >= 40
        record = transcript(game, played)
        assert any(record["won"])
        assert "Nothing happens." in record["observations"]


def test_equal_engines_have_no_differences() -> None:
    game = generate(0)
    played, report = commands(game, 40, 0), Report()
    compare(game, played, transcript(game, played), report)
    assert (report.total.games, report.total.solved, report.total.steps) == (1, 1, len(played))
    assert report.total.differences == 0


def test_every_sort_of_difference_is_found() -> None:
    game = generate(0)
    played, report = commands(game, 40, 0), Report()
    record = transcript(game, played)
    record["observations"][3] += " "
    record["admissible"][5] = record["admissible"][5][::-1]
    record["admissible"][7] = record["admissible"][7][1:]
    record["won"][9] = not record["won"][9]
    compare(game, played, record, report)
    counted = report.total
    assert (counted.observations, counted.admissible, counted.success) == (1, 2, 1)
    assert report.by_type[game.task_type].differences == 4
    assert [example["step"] for example in report.examples] == [3, 5, 7, 9]


def test_games_are_drawn_evenly_over_the_types(tmp_path: Path) -> None:
    files = [write(tmp_path, seed) for seed in range(80)]
    chosen = select(18, 0, files)
    assert chosen == select(18, 0, files)
    kinds = [file.parts[-3].split("-")[0] for file in chosen]
    assert {kinds.count(kind) for kind in set(kinds)} == {3}


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("/no/such/python", r"no such Python.*--python"),
        ("false", r"exit code 1.*pip install alfworld==0\.4\.2"),
    ],
)
def test_a_missing_original_is_explained(python: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=message):
        check([write(tmp_path, 1)], steps=5, seed=0, python=python, cache=tmp_path / "cache", quiet=True)
