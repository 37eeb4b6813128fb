"""The gymnasium environment ``dyna/Taxi-v0``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from dyna_training.environments.base import RenderMode
from dyna_training.environments.boards.env import BoardEnv, Opened
from dyna_training.environments.boards.state import Board
from dyna_training.environments.taxi.splits import Split, scene_of
from dyna_training.environments.taxi.splits import games as games_of
from dyna_training.environments.taxi.state import TaxiBoard

MAX_STEPS: Final = 200
"""Steps after which an episode is cut off, as in gymnasium."""
Reward = Literal["success", "gymnasium"]


class TaxiEnv(BoardEnv):
    """Gymnasium's Taxi as text: fetch the passenger and bring it to its destination.

    Reward is 1 with the step that brings the passenger to its destination, which ends the episode, and 0 before; with
    ``reward="gymnasium"`` it is gymnasium's: 20 for that step, -10 for picking up or dropping off where that cannot be,
    and for what is no command, -1 for every other step.

    Example:
        >>> env = gymnasium.make("dyna/Taxi-v0", games=["R-G/2,3"])  # doctest: +SKIP
        >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
        >>> observation, reward, terminated, truncated, info = env.step("north")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        split: Split | None = None,
        games: Sequence[str] | None = None,
        reward: Reward = "success",
        max_steps: int = MAX_STEPS,
        admissible_actions: bool = True,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Create an environment.

        Args:
            split: Draw rides from this split.
            games: Draw from the rides of these names instead.
            reward: What is rewarded.
            max_steps: Steps after which an episode is truncated.
            admissible_actions: Whether `info` lists the admissible actions.
            render_mode: Nothing or ``ansi``, for callers who give it; `render` draws in either case.

        Raises:
            GameFileError: A ride has a name that none can have.
            ValueError: Both `split` and `games` are given, or another argument cannot be.
        """
        if reward not in ("success", "gymnasium"):
            raise ValueError(f"reward must be 'success' or 'gymnasium', got {reward!r}.")
        super().__init__(
            split=split,
            games=games,
            max_steps=max_steps,
            admissible_actions=admissible_actions,
            render_mode=render_mode,
        )
        self._gymnasium_reward = reward == "gymnasium"

    def _games_of(self, split: Any) -> Sequence[str]:
        return games_of(split)

    def _check(self, game: str) -> None:
        scene_of(game)

    def _open(self, game: str) -> Opened:
        scene = scene_of(game)
        return Opened(game, game.partition("/")[0], TaxiBoard(scene.state))

    def _reward(self, board: Board) -> float:
        if self._gymnasium_reward and isinstance(board, TaxiBoard):
            return board.gained
        return super()._reward(board)
