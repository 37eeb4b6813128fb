"""What the environments on boards have in common."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

from dyna_training.environments.base import ForkableEnv, RenderMode, check_arguments, text_space
from dyna_training.environments.boards.state import Board, BoardExpert


class Opened(NamedTuple):
    """A game that can begin.

    Attributes:
        id: Its name.
        task_type: Its kind.
        board: Its beginning.
    """

    id: str
    task_type: str
    board: Board


class BoardEnv(ForkableEnv):
    """An environment of games on a board.

    Reward is 1 with the step that wins, which ends the episode, and 0 before. A command that does nothing costs a step
    and is answered. `info` always has ``task``, ``task_type``, ``game_id``, ``won`` and, unless switched off,
    ``admissible_actions``. `fork` copies a small state.
    """

    def __init__(
        self,
        *,
        split: str | None,
        games: Sequence[Any] | None,
        max_steps: int,
        admissible_actions: bool,
        render_mode: RenderMode | None,
    ) -> None:
        check_arguments(split, games, max_steps, render_mode)
        self.action_space = text_space(256)
        self.observation_space = text_space(8192)
        self._games = self._games_of(split) if split is not None else list(games or ())
        if split is None:
            for game in self._games:
                self._check(game)
        self._max_steps = max_steps
        self._list_admissible = admissible_actions
        self._board: Board | None = None
        self._start: Board | None = None
        self._about: dict[str, Any] = {}
        self._steps = 0

    @abstractmethod
    def _games_of(self, split: str) -> Sequence[Any]:
        """Return the games of a split."""

    @abstractmethod
    def _check(self, game: Any) -> None:
        """Complain about a name that no game can have; games are made or read only when they are played."""

    @abstractmethod
    def _open(self, game: Any) -> Opened:
        """Return a game at its beginning."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seeds the drawing of games; the same seed draws the same game.
            options: ``{"game": …}`` plays that game, by its name, instead of drawing one.

        Returns:
            The first observation, task included, and `info`.

        Raises:
            GameFileError: There is no game of that name, or it cannot be read or made.
            PackageMissing: The package that makes it is not installed.
            ValueError: There is no game to draw from, or an unknown option.
        """
        super().reset(seed=seed)
        opened = self._open(self.choose_game(self._games, options))
        self._start, self._board = opened.board, opened.board.fork()
        self._steps = 0
        self._about = {"task": opened.board.task(), "task_type": opened.task_type, "game_id": opened.id}
        return self._board.introduction(), self._info(self._board)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Execute one command.

        Args:
            action: Any text.

        Returns:
            Observation, reward, terminated (won), truncated (`max_steps` reached), and `info`.

        Raises:
            RuntimeError: `reset` was never called.
        """
        board = self._board
        if board is None:
            raise self._never_reset()
        was_won = board.won
        observation = "The game is won and over." if was_won else board.step(action)
        self._steps += 1
        won = board.won
        truncated = not won and self._steps >= self._max_steps
        reward = 0.0 if was_won else self._reward(board)
        return observation, reward, won, truncated, self._info(board)

    def _reward(self, board: Board) -> float:
        """Return the reward of the step that led to a board."""
        return 1.0 if board.won else 0.0

    def fork(self) -> Self:
        """Return an independent environment in the same state; it draws its later games independently."""
        board = self.board
        return self._twin(_board=board.fork())

    def admissible(self) -> list[str]:
        """Return the commands that would change something."""
        return self.board.admissible()

    def inadmissible(self, rng: random.Random) -> str:
        """Return a command of the game that would change nothing now; where all would, one that is none."""
        useless = [command for command in self.board.commands if command not in self.board.admissible()]
        return rng.choice(useless or ["dance"])

    def hidden_state(self) -> str:
        """Return the whole state as text; nothing about it is hidden."""
        return self.board.hidden_state()

    def render(self) -> str:
        """Return the board in colours."""
        return self.board.render()

    def expert(self) -> BoardExpert[Any]:
        """Return an expert at the beginning of the game."""
        if self._start is None:
            raise self._never_reset()
        return self._start.expert()

    @property
    def board(self) -> Board:
        """The game being played; stepping it steps the environment without counting steps.

        Raises:
            RuntimeError: `reset` was never called.
        """
        if self._board is None:
            raise self._never_reset()
        return self._board

    @staticmethod
    def _never_reset() -> RuntimeError:
        return RuntimeError("Call reset() before anything else.")

    def _info(self, board: Board) -> dict[str, Any]:
        info = self._about.copy()
        info["won"] = board.won
        info.update(board.facts())
        if self._list_admissible:
            info["admissible_actions"] = board.admissible()
        return info
