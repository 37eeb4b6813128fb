"""The levels of ``dyna/Sokoban-v0``, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from dyna_training.environments.catalogue import FORESEEING_PLAYERS, SOKOBAN, NamedGames
from dyna_training.environments.sokoban.env import SokobanEnv
from dyna_training.environments.sokoban.splits import SPLITS, TASK_TYPES, Split, games, task_type
from dyna_training.environments.sokoban.state import HELP, TASK


class SokobanLevels(NamedGames):
    """The catalogue of Sokoban, see `Catalogue`."""

    kind = SokobanEnv
    environment: str = SOKOBAN
    behaviours: Sequence[str] = FORESEEING_PLAYERS
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = TASK_TYPES
    prompt: str = f"Play Sokoban with the tool `act`, one command at a time. {TASK} {HELP}"

    def games(self, split: str) -> Sequence[str]:
        """Return the names of the levels of a split."""
        return games(cast(Split, split))

    def task_type(self, game: str) -> str:
        """Return the size of a level, or Boxoban's difficulty."""
        return task_type(game)
