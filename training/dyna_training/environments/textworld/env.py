"""The gymnasium environment ``dyna/TextWorld-v0``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

from dyna_training.environments.base import ForkableEnv, RenderMode, check_arguments, text_space
from dyna_training.environments.textworld.cache import game_file
from dyna_training.environments.textworld.engine import open_game
from dyna_training.environments.textworld.experts import CookingExpert, InstructedExpert, expert_of
from dyna_training.environments.textworld.games import GameLike, GameSpec, is_file
from dyna_training.environments.textworld.hidden import hidden_state
from dyna_training.environments.textworld.splits import Split
from dyna_training.environments.textworld.splits import games as games_of
from dyna_training.environments.textworld.tracking import Play

MAX_STEPS: Final = 50
"""Steps after which an episode is cut off, as in the papers."""
Reward = Literal["success", "score"]


class TextWorldEnv(ForkableEnv):
    """TextWorld games: coin collector, treasure hunter, cooking, custom and simple ones.

    Games are made by the makers of the package textworld, once, and kept compiled (`cache`). An episode ends when the
    game is won or lost. The reward is 1 with the step that wins and 0 before; with ``reward="score"`` it is the share
    of the game's points that a step gained. An inadmissible command costs a step and is answered by the game.

    `info` always has ``task``, ``task_type``, ``game_id``, ``score``, ``max_score``, ``won``, ``lost`` and, unless
    switched off, ``admissible_actions``.

    `fork` is a clone that takes about a tenth of a millisecond; environments can be pickled, too, and go on in another
    process.

    Example:
        >>> env = gymnasium.make("dyna/TextWorld-v0", games=["coin_collector/level=5/17"])  # doctest: +SKIP
        >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
        >>> observation, reward, terminated, truncated, info = env.step("go north")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        split: Split | None = None,
        games: Sequence[GameLike] | None = None,
        reward: Reward = "success",
        max_steps: int = MAX_STEPS,
        admissible_actions: bool = True,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Create an environment.

        Args:
            split: Draw games from this split.
            games: Draw from these games, their names, or compiled files instead.
            reward: What is rewarded: that the game is won, or points.
            max_steps: Steps after which an episode is truncated.
            admissible_actions: Whether `info` lists the admissible actions; a step then takes several times as long.
            render_mode: Nothing or ``ansi``, for callers who give it; `render` draws in either case.

        Raises:
            GameNameError: A game is named that cannot be made.
            ValueError: Both `split` and `games` are given, or another argument cannot be.
        """
        check_arguments(split, games, max_steps, render_mode, reward=reward)
        self.action_space = text_space(256)
        self.observation_space = text_space(8192)
        self._games: list[GameLike] = [_checked(game) for game in games or ()]
        if split is not None:
            self._games.extend(games_of(split))
        self._reward = reward
        self._max_steps = max_steps
        self._list_admissible = admissible_actions
        self._play: Play | None = None
        self._game_id = ""
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start an episode; a game that was never played is made first, in seconds.

        Args:
            seed: Seeds the drawing of games; the same seed draws the same game.
            options: ``{"game": …}`` plays that game, by its name or file, instead of drawing one.

        Returns:
            The first observation, task included, and `info`.

        Raises:
            GameNameError: A game is named that cannot be made.
            GameFileError: The game file is missing or corrupt, or the game cannot be made.
            TextWorldMissing: The package textworld is not installed.
            ValueError: There is no game to draw from, or an unknown option.
        """
        super().reset(seed=seed)
        chosen = _checked(self.choose_game(self._games, options))
        self._play = Play(open_game(game_file(chosen).resolve()))
        self._game_id = str(chosen)
        self._steps = 0
        return self._play.interpreter.opening.text, self._info(self._play)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Execute one command.

        Args:
            action: Any text.

        Returns:
            Observation, reward, terminated (won or lost), truncated (`max_steps` reached), and `info`.

        Raises:
            RuntimeError: `reset` was never called.
        """
        play = self._require()
        before, was_over = play.score, play.over
        observation = play.step(action)
        self._steps += 1
        won = play.won and not was_over
        reward = float(won)
        if self._reward == "score":
            reward = (play.score - before) / self._max_score(play)
            # Whoever reads a record knows a won game by the reward of its last step.
            reward = max(reward, 0.0) or float(won)
        truncated = not play.over and self._steps >= self._max_steps
        return observation, reward, play.over, truncated, self._info(play)

    def fork(self) -> Self:
        """Return an independent environment in the same state; it draws its later games independently."""
        play = self._require()
        return self._twin(_play=play.fork())

    def admissible(self) -> list[str]:
        """Return the admissible commands, sorted, as TextWorld's logic has them."""
        return self._require().admissible()

    def hidden_state(self) -> str:
        """Return the hidden state as compact text (see `hidden.hidden_state`)."""
        play = self._require()
        return hidden_state(play.facts(), play.interpreter.game.infos)

    def expert(self) -> InstructedExpert | CookingExpert:
        """Return an expert at the beginning of the game."""
        return expert_of(Play(self._require().interpreter))

    @property
    def play(self) -> Play:
        """The game being played; stepping it steps the environment without counting steps."""
        return self._require()

    def _require(self) -> Play:
        if self._play is None:
            raise RuntimeError("Call reset() before anything else.")
        return self._play

    @staticmethod
    def _max_score(play: Play) -> int:
        return max(1, int(play.interpreter.game.max_score))

    def _info(self, play: Play) -> dict[str, Any]:
        game = play.interpreter.game
        info: dict[str, Any] = {
            "task": game.objective,
            "task_type": self._game_id.partition("/")[0] if not is_file(self._game_id) else "file",
            "game_id": self._game_id,
            "score": play.score,
            "max_score": self._max_score(play),
            "won": play.won,
            "lost": play.lost,
        }
        if self._list_admissible:
            info["admissible_actions"] = play.admissible()
        return info


def _checked(game: GameLike) -> GameSpec | Path:
    """Return a game with its name understood."""
    if isinstance(game, GameSpec):
        return game
    return Path(game) if is_file(game) else GameSpec.parse(str(game))
