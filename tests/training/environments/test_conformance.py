"""Every environment passes the suite."""

from __future__ import annotations

from dyna_training.environments.alfworld import AlfworldEnv
from dyna_training.environments.alfworld.generator import generate
from dyna_training.environments.base import ForkableEnv
from dyna_training.environments.scienceworld import ScienceWorldEnv
from dyna_training.environments.textworld import TextWorldEnv
from tests.training.environments.conformance import Conformance
from tests.training.environments.scienceworld_games import SHORT, needs_scienceworld
from tests.training.environments.textworld_games import GAMES, needs_textworld

HOUSEHOLDS = [generate(seed) for seed in range(6)]


def make_alfworld() -> ForkableEnv:
    return AlfworldEnv(games=HOUSEHOLDS, max_steps=100)


def make_textworld() -> ForkableEnv:
    return TextWorldEnv(games=GAMES, max_steps=100)


def make_scienceworld() -> ForkableEnv:
    return ScienceWorldEnv(games=SHORT, max_steps=100)


def keeps_a_science_task_possible(env: ForkableEnv, command: str) -> bool:
    return command.split()[0] in {"look", "read", "go", "teleport", "open", "inventory", "task"}


class TestAlfworld(Conformance):
    make = staticmethod(make_alfworld)
    steps = 10_000
    episodes = tuple({"game": game} for game in HOUSEHOLDS)
    refusals = ("Nothing happens.",)


@needs_textworld
class TestTextWorld(Conformance):
    make = staticmethod(make_textworld)
    episodes = tuple({"game": game} for game in GAMES)
    steps = 300  # an interpreter takes a millisecond for each
    refusals = (
        "That's not a verb",
        "That's not something",
        "You can't",
        "I didn't understand",
        "I only understood",
        "You can only do that",
        "What do you want",
        "You must name",
        "You have to",
        "You need to",
    )


@needs_scienceworld
class TestScienceWorld(Conformance):
    make = staticmethod(make_scienceworld)
    episodes = tuple({"game": game} for game in SHORT)
    harmless = staticmethod(keeps_a_science_task_possible)
    partial_credit = True
    sampled = 10
    steps = 120  # the simulator takes some milliseconds for each
    refusals = ("No known action",)
