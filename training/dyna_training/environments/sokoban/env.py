"""The gymnasium environment ``dyna/Sokoban-v0``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from dyna_training.environments.base import GameFileError, RenderMode
from dyna_training.environments.boards.env import BoardEnv, Opened
from dyna_training.environments.sokoban.level import Level
from dyna_training.environments.sokoban.splits import Split, level_of, task_type
from dyna_training.environments.sokoban.splits import games as games_of
from dyna_training.environments.sokoban.state import SokobanBoard

MAX_STEPS: Final = 120
"""Steps after which an episode is cut off, as in gym-sokoban."""

GameLike = str | Level


class SokobanEnv(BoardEnv):
    """Sokoban: boxes are pushed onto goals, in generated levels and Boxoban's.

    Reward is 1 with the step that brings the last box onto a goal, which ends the episode, and 0 before. A level in
    which that has become impossible goes on: ``info["deadlocked"]`` says so where it is certain. ``score`` counts the
    boxes on goals, of ``max_score``.

    Example:
        >>> env = gymnasium.make("dyna/Sokoban-v0", games=["7x7-2/5"])  # doctest: +SKIP
        >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
        >>> observation, reward, terminated, truncated, info = env.step("left")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        split: Split | None = None,
        games: Sequence[GameLike] | None = None,
        max_steps: int = MAX_STEPS,
        admissible_actions: bool = True,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Create an environment.

        Args:
            split: Draw levels from this split.
            games: Draw from these levels, or names of levels, instead.
            max_steps: Steps after which an episode is truncated.
            admissible_actions: Whether `info` lists the admissible actions.
            render_mode: Nothing or ``ansi``, for callers who give it; `render` draws in either case.

        Raises:
            GameFileError: A level has a name that none can have, or Boxoban's levels are not there.
            ValueError: Both `split` and `games` are given, or another argument cannot be.
        """
        super().__init__(
            split=split,
            games=games,
            max_steps=max_steps,
            admissible_actions=admissible_actions,
            render_mode=render_mode,
        )

    def _games_of(self, split: Any) -> Sequence[GameLike]:
        return games_of(split)

    def _check(self, game: GameLike) -> None:
        if not isinstance(game, Level):
            task_type(_name(game))

    def _open(self, game: GameLike) -> Opened:
        if isinstance(game, Level):
            size = f"{game.height}x{game.width}-{game.boxes.bit_count()}"
            return Opened(game.id, size, SokobanBoard(game))
        return Opened(game, task_type(_name(game)), SokobanBoard(level_of(game)))


def _name(game: Any) -> str:
    if not isinstance(game, str):
        raise GameFileError(f"a level is given by its name or as a Level, not as {type(game).__name__}")
    return game
