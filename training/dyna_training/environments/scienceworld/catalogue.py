"""The games of ``dyna/ScienceWorld-v0``, by task and variation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final, cast

from dyna_training.environments.catalogue import SCIENCEWORLD, NamedGames
from dyna_training.environments.scienceworld.env import ScienceWorldEnv
from dyna_training.environments.scienceworld.games import TASKS, GameSpec
from dyna_training.environments.scienceworld.simulator import jar, java
from dyna_training.environments.scienceworld.splits import SPLITS, Split, games, in_turns
from dyna_training.environments.scienceworld.text import HELP

_PROMPT: Final = (
    "Do the science task with the tool `act`, one command at a time. "
    "Before each call, think in one sentence. "
)


class ScienceWorldGames(NamedGames):
    """The catalogue of ScienceWorld, see `Catalogue`."""

    kind = ScienceWorldEnv
    environment: str = SCIENCEWORLD
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = TASKS
    prompt: str = _PROMPT + HELP

    def prepare(self) -> None:
        """Find the package and Java."""
        jar()
        java()

    def games(self, split: str) -> Sequence[GameSpec]:
        """Return the games of a split."""
        return games(cast(Split, split))

    def task_type(self, game: GameSpec) -> str:
        """Return the task of a game."""
        return game.task

    def shuffled(self, games: list[GameSpec], rng: random.Random) -> list[GameSpec]:
        """Return games in an order in which tasks take turns."""
        of_tasks: dict[str, list[GameSpec]] = {}
        for game in games:
            of_tasks.setdefault(game.task, []).append(game)
        for variations in of_tasks.values():
            rng.shuffle(variations)
        tasks = list(of_tasks.values())
        rng.shuffle(tasks)
        return in_turns(tasks)

    def key(self, game: str) -> str:
        """Return the name, without simplifications that are the default."""
        return str(GameSpec.parse(game))
