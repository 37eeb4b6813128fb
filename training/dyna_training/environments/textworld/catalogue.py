"""The games of ``dyna/TextWorld-v0``, by the names that say what they are made from."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from dyna_training.environments.base import ForkableEnv
from dyna_training.environments.catalogue import TEXTWORLD, part_of
from dyna_training.environments.textworld.cache import textworld_version
from dyna_training.environments.textworld.env import TextWorldEnv
from dyna_training.environments.textworld.games import KINDS, GameLike, GameSpec, is_file
from dyna_training.environments.textworld.splits import SPLITS, Split, games
from dyna_training.environments.textworld.text import HELP

_PROMPT: Final = (
    "Play the text game with the tool `act`, one command at a time. Before each call, think in one sentence. "
)


class TextWorldGames:
    """The catalogue of TextWorld, see `Catalogue`."""

    environment: str = TEXTWORLD
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = KINDS
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
        """Return names of games; each is made when it is first played."""
        textworld_version()  # who has not installed it hears that now, and not from every worker
        specs = [spec for spec in games(cast(Split, split)) if wanted(spec.kind)]
        random.Random(seed).shuffle(specs)
        return part_of(split, specs, number, skip)

    def size(self, split: str) -> int | str:
        """Return how many games a split has."""
        return len(games(cast(Split, split)))

    def key(self, game: str) -> str:
        """Return the name, without settings that say the default; of a file, its path."""
        return game if is_file(game) else str(GameSpec.parse(game))

    def open(self, game: GameLike, *, max_steps: int) -> ForkableEnv:
        """Return an environment of one game."""
        return TextWorldEnv(games=[game], max_steps=max_steps, admissible_actions=False)

    def option(self, game: str, folder: Path) -> str:
        """Return the name itself."""
        return game
