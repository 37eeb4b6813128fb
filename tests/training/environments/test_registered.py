"""What a user of gymnasium expects of every environment that is registered."""

from __future__ import annotations

import re
from pathlib import Path

import gymnasium
import pytest

from dyna_training import environments
from dyna_training.cluster import PASSED_ON
from dyna_training.environments import ENVIRONMENTS
from dyna_training.environments.base import ForkableEnv
from dyna_training.environments.maze import MazeEnv
from dyna_training.environments.miniwob.env import MiniWobEnv
from dyna_training.environments.sokoban import SokobanEnv
from dyna_training.environments.taxi import TaxiEnv


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_gymnasium_makes_it_with_a_render_mode_and_without(name: str) -> None:
    for given in ({}, {"render_mode": None}, {"render_mode": "ansi"}):
        env = gymnasium.make(name, **given)
        assert env.render_mode == "ansi"
        env.close()


@pytest.mark.parametrize("name", ENVIRONMENTS)
@pytest.mark.filterwarnings("ignore:.*render_mode.*")
def test_a_render_mode_that_there_is_not_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="render_mode must be 'ansi'"):
        gymnasium.make(name, render_mode="human")


@pytest.mark.filterwarnings("ignore:.*render fps.*")
def test_gymnasiums_own_check_of_environments_finds_nothing() -> None:
    from gymnasium.utils.env_checker import check_env

    for name in ("dyna/Sokoban-v0", "dyna/Taxi-v0"):
        check_env(gymnasium.make(name, split="dev").unwrapped)


@pytest.mark.parametrize("kind", [MazeEnv, MiniWobEnv, SokobanEnv, TaxiEnv])
def test_a_game_that_is_not_even_a_name_is_refused_as_one_that_there_is_not(kind: type[ForkableEnv]) -> None:
    with pytest.raises(ValueError, match="name"):
        kind().reset(options={"game": 5})


def test_workers_on_other_machines_find_the_data_of_every_environment() -> None:
    sources = "\n".join(p.read_text("utf-8") for p in Path(environments.__file__).parent.rglob("*.py"))
    named = set(re.findall(r'"([A-Z][A-Z_]+_(?:DATA|LEVELS|GAMES|CHROMIUM))"', sources))
    assert {"ALFWORLD_DATA", "BOXOBAN_LEVELS", "WEBSHOP_DATA", "DYNA_CHROMIUM"} <= named
    assert [name for name in named if not name.startswith(PASSED_ON)] == []
