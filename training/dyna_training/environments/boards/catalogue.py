"""The games of an environment on boards, as `dyna collect` needs to know them."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from dyna_training.environments.base import ForkableEnv
from dyna_training.environments.boards.env import BoardEnv
from dyna_training.environments.catalogue import part_of


class BoardGames(ABC):
    """A catalogue of games that go by their names, see `Catalogue`.

    Attributes:
        kind: The environment.
    """

    kind: ClassVar[type[BoardEnv]]
    environment: str
    splits: Sequence[str]
    task_types: Sequence[str]
    behaviours: Sequence[str] = ("expert", "noisy", "random")
    prompt: str
    instead: str = ""

    @abstractmethod
    def games(self, split: str) -> Sequence[str]:
        """Return the names of the games of a split."""

    @abstractmethod
    def task_type(self, game: str) -> str:
        """Return the type of a game."""

    def draw(
        self,
        split: str,
        number: int,
        *,
        skip: int = 0,
        seed: int = 0,
        wanted: Callable[[str], bool] = lambda task_type: True,
    ) -> list[str]:
        """Return names of games."""
        games = self.games(split)
        order = list(range(len(games)))
        random.Random(seed).shuffle(order)
        names = [name for index in order if wanted(self.task_type(name := games[index]))]
        return part_of(split, names, number, skip)

    def size(self, split: str) -> int | str:
        """Return how many games a split has."""
        return len(self.games(split))

    def key(self, game: str) -> str:
        """Return the name itself."""
        return game

    def open(self, game: Any, *, max_steps: int) -> ForkableEnv:
        """Return an environment of one game."""
        made: Callable[..., ForkableEnv] = self.kind
        return made(games=[game], max_steps=max_steps, admissible_actions=False)

    def option(self, game: str, folder: Path) -> str:
        """Return the name itself."""
        return game
