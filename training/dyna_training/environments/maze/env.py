"""The gymnasium environment ``dyna/Maze-v0``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from dyna_training.environments.base import RenderMode
from dyna_training.environments.boards.env import BoardEnv, Opened
from dyna_training.environments.maze.splits import Split, maze_of, task_type
from dyna_training.environments.maze.splits import games as games_of
from dyna_training.environments.maze.state import MazeBoard

MAX_STEPS: Final = 100
"""Steps after which an episode is cut off: twice as many as the longest of the shortest ways."""


class MazeEnv(BoardEnv):
    """Mazes, seen from above: walk to the goal.

    Reward is 1 with the step that reaches the goal, which ends the episode, and 0 before.

    Example:
        >>> env = gymnasium.make("dyna/Maze-v0", games=["backtracking-5/7"])  # doctest: +SKIP
        >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
        >>> observation, reward, terminated, truncated, info = env.step("up")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        split: Split | None = None,
        games: Sequence[str] | None = None,
        max_steps: int = MAX_STEPS,
        admissible_actions: bool = True,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Create an environment.

        Args:
            split: Draw mazes from this split.
            games: Draw from the mazes of these names instead.
            max_steps: Steps after which an episode is truncated.
            admissible_actions: Whether `info` lists the admissible actions.
            render_mode: Nothing or ``ansi``, for callers who give it; `render` draws in either case.

        Raises:
            GameFileError: A maze has a name that none can have.
            ValueError: Both `split` and `games` are given, or another argument cannot be.
        """
        super().__init__(
            split=split,
            games=games,
            max_steps=max_steps,
            admissible_actions=admissible_actions,
            render_mode=render_mode,
        )

    def _games_of(self, split: Any) -> Sequence[str]:
        return games_of(split)

    def _check(self, game: str) -> None:
        task_type(game)

    def _open(self, game: str) -> Opened:
        return Opened(game, task_type(game), MazeBoard(maze_of(game)))
