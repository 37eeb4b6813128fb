"""The mazes of ``dyna/Maze-v0``, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from dyna_training.environments.catalogue import FORESEEING_PLAYERS, MAZE, NamedGames
from dyna_training.environments.maze.env import MazeEnv
from dyna_training.environments.maze.making import KINDS
from dyna_training.environments.maze.splits import SPLITS, Split, games, task_type
from dyna_training.environments.maze.state import HELP, TASK


class Mazes(NamedGames):
    """The catalogue of mazes, see `Catalogue`."""

    kind = MazeEnv
    environment: str = MAZE
    behaviours: Sequence[str] = FORESEEING_PLAYERS
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = KINDS
    prompt: str = f"Find your way through a maze with the tool `act`, one command at a time. {TASK} {HELP}"

    def games(self, split: str) -> Sequence[str]:
        """Return the names of the mazes of a split."""
        return games(cast(Split, split))

    def task_type(self, game: str) -> str:
        """Return how a maze is made."""
        return task_type(game)
