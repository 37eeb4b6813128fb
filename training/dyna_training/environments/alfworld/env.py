"""The gymnasium environment ``dyna/ALFWorld-v0``."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from dyna_training.environments.alfworld.engine import State
from dyna_training.environments.alfworld.experts import SearchingExpert
from dyna_training.environments.alfworld.game import Game, load_game
from dyna_training.environments.alfworld.hidden import hidden_state
from dyna_training.environments.alfworld.splits import Split
from dyna_training.environments.alfworld.splits import games as games_of
from dyna_training.environments.base import ForkableEnv, RenderMode, check_arguments, text_space

MAX_STEPS: Final = 50
"""Steps after which an episode is cut off, as in the papers."""

GameLike = Game | str | Path

_load_cached = functools.lru_cache(maxsize=256)(load_game)


class AlfworldEnv(ForkableEnv):
    """ALFWorld household games as a text environment.

    Reward is 1 with the step that does the task, which ends the episode, and 0 before. An inadmissible
    command costs a step and is answered with ``Nothing happens.``.

    `info` always has ``task``, ``task_type``, ``game_id``, ``won`` and, unless switched off,
    ``admissible_actions``.

    Example:
        >>> env = gymnasium.make("dyna/ALFWorld-v0", split="dev_seen")  # doctest: +SKIP
        >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
        >>> observation, reward, terminated, truncated, info = env.step("go to desk 1")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        split: Split | None = None,
        games: Sequence[GameLike] | None = None,
        data_dir: str | Path | None = None,
        max_steps: int = MAX_STEPS,
        admissible_actions: bool = True,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Create an environment.

        Args:
            split: Draw games from this split of the official games.
            games: Draw from these games or files instead.
            data_dir: Folder that holds ``json_2.1.1``; default ``$ALFWORLD_DATA``.
            max_steps: Steps after which an episode is truncated.
            admissible_actions: Whether `info` lists the admissible actions; a step then takes several times
                as long.
            render_mode: Nothing or ``ansi``, for callers who give it; `render` draws in either case.

        Raises:
            GameFileError: The games of `split` are not there.
            ValueError: Both `split` and `games` are given, or `max_steps` is below 1.
        """
        check_arguments(split, games, max_steps, render_mode)
        self.action_space = text_space(256)
        self.observation_space = text_space(8192)
        self._games: list[GameLike] = list(games) if games is not None else []
        if split is not None:
            self._games.extend(games_of(split, data_dir))
        self._max_steps = max_steps
        self._list_admissible = admissible_actions
        self._state: State | None = None
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seeds the drawing of games; the same seed draws the same game.
            options: ``{"game": …}`` plays that `Game` or game file instead of drawing one.

        Returns:
            The first observation, task included, and `info`.

        Raises:
            GameFileError: The game file is missing or corrupt.
            ValueError: There is no game to draw from, or an unknown option.
        """
        super().reset(seed=seed)
        chosen = self.choose_game(self._games, options)
        game = chosen if isinstance(chosen, Game) else _load_cached(chosen)
        self._state = State(game)
        self._steps = 0
        return self._state.introduction(), self._info(self._state)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Execute one command.

        Args:
            action: Any text.

        Returns:
            Observation, reward (1.0 when the task is done, else 0.0), terminated (done), truncated
            (`max_steps` reached), and `info`.

        Raises:
            RuntimeError: `reset` was never called.
        """
        state = self._require()
        observation, won = state.step(action)
        self._steps += 1
        truncated = not won and self._steps >= self._max_steps
        return observation, float(won), won, truncated, self._info(state)

    def fork(self) -> Self:
        """Return an independent environment in the same state; it draws its later games independently."""
        state = self._require()
        return self._twin(_state=state.fork())

    def admissible(self) -> list[str]:
        """Return the admissible commands, in the order of the alfworld package."""
        return self._require().admissible()

    def hidden_state(self) -> str:
        """Return the hidden state as compact text (see `hidden.hidden_state`)."""
        return hidden_state(self._require())

    def expert(self) -> SearchingExpert:
        """Return a searching expert at the beginning of the game."""
        game = self._require().game
        return SearchingExpert(game.task, State(game).introduction())

    @property
    def game(self) -> Game:
        """The game being played."""
        return self._require().game

    @property
    def state(self) -> State:
        """The engine's state; stepping it steps the environment without counting steps."""
        return self._require()

    def _require(self) -> State:
        if self._state is None:
            raise RuntimeError("Call reset() before anything else.")
        return self._state

    def _info(self, state: State) -> dict[str, Any]:
        game = state.game
        info: dict[str, Any] = {
            "task": game.task,
            "task_type": game.task_type,
            "game_id": game.id,
            "won": state.won,
        }
        if self._list_admissible:
            info["admissible_actions"] = state.admissible()
        return info
