"""The games of ``dyna/MiniWoB-v0`` that have an expert, by their names."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from dyna_training.environments.base import ForkableEnv
from dyna_training.environments.catalogue import MINIWOB, part_of
from dyna_training.environments.miniwob.actions import USAGE
from dyna_training.environments.miniwob.chromium import browser_program, pages_folder
from dyna_training.environments.miniwob.env import MiniWobEnv
from dyna_training.environments.miniwob.rules import EXPERTS
from dyna_training.environments.miniwob.splits import SPLITS, Split, games
from dyna_training.environments.miniwob.tasks import Game

_PROMPT: Final = (
    "Do the task on the web page with the tool `act`, one action at a time. Before each call, think in one sentence. "
    "The page is shown line by line; what can be acted on has a number in brackets. "
)


class WebPages:
    """The catalogue of MiniWoB, see `Catalogue`.

    Collecting labels every step beside an expert, so only games that have one are drawn; the environment itself plays
    all of a split.
    """

    environment: str = MINIWOB
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = tuple(EXPERTS)
    behaviours: Sequence[str] = ("expert", "noisy", "random")
    prompt: str = _PROMPT + USAGE
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
        """Return names of games that have an expert."""
        browser_program(), pages_folder()  # whoever lacks one hears that now, and not from every worker
        found = [game for game in self._playable(split) if wanted(game.task)]
        random.Random(seed).shuffle(found)
        return part_of(split, found, number, skip)

    def size(self, split: str) -> int | str:
        """Return how many games of a split have an expert."""
        return len(self._playable(split))

    def key(self, game: str) -> str:
        """Return the name."""
        return str(Game.parse(game))

    def open(self, game: Game | str, *, max_steps: int) -> ForkableEnv:
        """Return an environment of one game."""
        return MiniWobEnv(games=[game], max_steps=max_steps, admissible_actions=False)

    def option(self, game: str, folder: Path) -> str:
        """Return the name itself."""
        return game

    def _playable(self, split: str) -> list[Game]:
        return [game for game in games(cast(Split, split)) if game.task in EXPERTS]
