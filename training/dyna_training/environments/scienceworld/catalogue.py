"""The games of ``dyna/ScienceWorld-v0``, by task and variation."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from dyna_training.environments.base import ForkableEnv
from dyna_training.environments.catalogue import SCIENCEWORLD, part_of
from dyna_training.environments.scienceworld.env import ScienceWorldEnv
from dyna_training.environments.scienceworld.games import TASKS, GameLike, GameSpec
from dyna_training.environments.scienceworld.simulator import jar, java
from dyna_training.environments.scienceworld.splits import SPLITS, Split, games
from dyna_training.environments.scienceworld.text import HELP

_PROMPT: Final = (
    "Do the science task with the tool `act`, one command at a time. "
    "Before each call, think in one sentence. "
)


class ScienceWorldGames:
    """The catalogue of ScienceWorld, see `Catalogue`."""

    environment: str = SCIENCEWORLD
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = TASKS
    behaviours: Sequence[str] = ("expert", "noisy", "random")
    prompt: str = _PROMPT + HELP
    instead: str = ""

    def draw(
        self,
        split: str,
        number: int,
        *,
        skip: int = 0,
        seed: int = 0,
        wanted: Callable[[str], bool] = lambda task_type: True,
    ) -> list[str]:
        """Return names of games, in which tasks take turns."""
        jar(), java()  # who has not installed them hears that now, and not from every worker
        found = games(cast(Split, split), shuffled=random.Random(seed))
        return part_of(split, [game for game in found if wanted(game.task)], number, skip)

    def size(self, split: str) -> int | str:
        """Return how many games a split has."""
        return len(games(cast(Split, split)))

    def key(self, game: str) -> str:
        """Return the name, without simplifications that are the default."""
        return str(GameSpec.parse(game))

    def open(self, game: GameLike, *, max_steps: int) -> ForkableEnv:
        """Return an environment of one game."""
        return ScienceWorldEnv(games=[game], max_steps=max_steps, admissible_actions=False)

    def option(self, game: str, folder: Path) -> str:
        """Return the name itself."""
        return game
