"""Checks on the official games; the helper says what is missing where they are not there."""

from pathlib import Path

import pytest

from dyna_training.environments.alfworld import State, games, load_game, walkthrough_in_train
from dyna_training.environments.alfworld.splits import HELD_OUT_SCENES
from tests.data import alfworld_data

from .test_experts import episode


@pytest.fixture(scope="module")
def data() -> Path:
    return alfworld_data()


def test_the_splits_have_their_sizes(data: Path) -> None:
    sizes = {split: len(games(split, data)) for split in ("train", "dev_seen", "dev_unseen", "valid_seen")}  # type: ignore[arg-type]
    assert sizes == {"train": 2845, "dev_seen": 319, "dev_unseen": 389, "valid_seen": 140}


def test_the_held_out_scenes_are_all_there(data: Path) -> None:
    assert {int(file.parts[-3].rpartition("-")[2]) for file in games("dev_unseen", data)} == HELD_OUT_SCENES


def test_official_walkthroughs_win(data: Path) -> None:
    for file in [*games("train", data)[::20], *games("valid_seen", data)[::5]]:
        state = State(load_game(file))
        for command in state.game.walkthrough:
            assert command in state.admissible(), (state.game.id, command)
            state.step(command)
        assert state.won, state.game.id


@pytest.mark.parametrize("split", ["train", "dev_seen", "dev_unseen", "valid_seen"])
def test_searching_wins_nineteen_of_twenty(split: str, data: Path) -> None:
    files = games(split, data)[::5]  # type: ignore[arg-type]
    assert sum(episode(load_game(file))[0] for file in files) >= 0.95 * len(files)


def test_valid_seen_shares_walkthroughs_with_train(data: Path) -> None:
    shared = [walkthrough_in_train(load_game(file), data) for file in games("valid_seen", data)]
    assert 0 < sum(shared) < len(shared)
