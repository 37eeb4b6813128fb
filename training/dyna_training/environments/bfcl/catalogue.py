"""The games of ``dyna/BFCL-v0``: tasks, by their names in BFCL."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from dyna_training.environments.base import ForkableEnv
from dyna_training.environments.bfcl.env import BfclEnv
from dyna_training.environments.bfcl.splits import SPLITS, Split, games
from dyna_training.environments.bfcl.tasks import TASK_TYPES, task
from dyna_training.environments.catalogue import BFCL, part_of

_PROMPT: Final = (
    "Do what the user asks for by calling functions, one at a time. When all that the user asked for is done, "
    "call done; the user then goes on. Before each call, think in one sentence."
)


class BfclTasks:
    """The catalogue of BFCL's multi-turn base tasks, see `Catalogue`."""

    environment: str = BFCL
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = TASK_TYPES
    behaviours: Sequence[str] = ("expert", "noisy", "random")
    prompt: str = _PROMPT
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
        """Return names of tasks."""
        names = [name for name in games(cast(Split, split)) if wanted(task(name).kind)]
        random.Random(seed).shuffle(names)
        return part_of(split, names, number, skip)

    def size(self, split: str) -> int | str:
        """Return how many tasks a split has."""
        return len(games(cast(Split, split)))

    def key(self, game: str) -> str:
        """Return the name."""
        return game

    def open(self, game: str, *, max_steps: int) -> ForkableEnv:
        """Return an environment of one task."""
        return BfclEnv(games=[game], max_steps=max_steps)

    def option(self, game: str, folder: Path) -> str:
        """Return the name itself."""
        return game
