"""The gymnasium environment ``dyna/ScienceWorld-v0``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, Self

from dyna_training.environments.base import ForkableEnv, RenderMode, check_arguments, text_space
from dyna_training.environments.scienceworld.expert import GoldExpert
from dyna_training.environments.scienceworld.games import (
    EASY,
    GameLike,
    GameSpec,
    checked_simplifications,
)
from dyna_training.environments.scienceworld.hidden import hidden_state
from dyna_training.environments.scienceworld.play import MAX_SCORE, Play
from dyna_training.environments.scienceworld.splits import Split
from dyna_training.environments.scienceworld.splits import games as games_of
from dyna_training.environments.scienceworld.text import LONGEST, LONGEST_ANSWER

MAX_STEPS: Final = 100
"""Steps after which an episode is cut off, as in the package; the solutions of a few tasks are longer."""
Reward = Literal["score", "success"]


class ScienceWorldEnv(ForkableEnv):
    """ScienceWorld: 30 tasks of elementary science in a house with a workshop, a greenhouse and a foundry.

    The reward of a step is the share of the task's points that it gained, so those of an episode sum up to 1 where the
    task is done; with ``reward="success"`` it is 1 with the step that does the task and 0 before. An episode ends when
    the task is done, or failed, as by focusing on the wrong object.

    `info` always has ``task``, ``task_type``, ``game_id``, ``score``, ``max_score``, ``won``, ``lost`` and, unless
    switched off, ``admissible_actions``, which are hundreds.

    `fork` copies the simulation, in some milliseconds, when one of the two goes on; environments can be pickled, and
    are replayed in the other process.

    Example:
        >>> env = gymnasium.make("dyna/ScienceWorld-v0", games=["boil/17"])  # doctest: +SKIP
        >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
        >>> observation, reward, terminated, truncated, info = env.step("teleport to kitchen")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        split: Split | None = None,
        games: Sequence[GameLike] | None = None,
        simplifications: str = EASY,
        reward: Reward = "score",
        max_steps: int = MAX_STEPS,
        admissible_actions: bool = True,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Create an environment.

        Args:
            split: Draw games from this split: a task first, then one of its variations.
            games: Draw from these games, or their names, instead.
            simplifications: Of games whose names say none: ``easy``, ``none``, or names separated by commas.
            reward: What is rewarded: points, or that the task is done.
            max_steps: Steps after which an episode is truncated.
            admissible_actions: Whether `info` lists the admissible actions; a step then takes several times as long.
            render_mode: Nothing or ``ansi``, for callers who give it; `render` draws in either case.

        Raises:
            GameNameError: A game or simplification is named that there is not.
            ValueError: Both `split` and `games` are given, or another argument cannot be.
        """
        check_arguments(split, games, max_steps, render_mode, reward=reward)
        self.action_space = text_space(LONGEST)
        self.observation_space = text_space(LONGEST_ANSWER)
        self._simplifications = checked_simplifications(simplifications)
        self._games: dict[str, list[GameSpec]] = {}
        for game in games_of(split) if split is not None else games or ():
            spec = self._spec(game) if split is None else GameSpec.parse(str(game), self._simplifications)
            self._games.setdefault(spec.task, []).append(spec)
        self._reward = reward
        self._max_steps = max_steps
        self._list_admissible = admissible_actions
        self._play: Play | None = None
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start an episode; the first one starts the simulator, in about a second.

        Args:
            seed: Seeds the drawing of games; the same seed draws the same game.
            options: ``{"game": …}`` plays that game, by its name, instead of drawing one.

        Returns:
            The first observation, task included, and `info`.

        Raises:
            GameNameError: A game is named that there is not.
            GameFileError: The simulator cannot begin the game.
            ScienceWorldMissing: The package scienceworld or Java is not installed.
            ValueError: There is no game to draw from, or an unknown option.
        """
        super().reset(seed=seed)
        chosen: GameLike = self.choose_game(list(self._games), options)
        if chosen in self._games:  # a task was drawn
            chosen = self.choose_game(self._games[str(chosen)], None)
        play = Play(self._spec(chosen))
        task, look = play.task(), play.look()
        self._play, self._task, self._steps = play, task, 0
        return f"{task}\n\n{look}", self._info(play)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Execute one command.

        Args:
            action: Any text.

        Returns:
            Observation, reward, terminated (task done or failed), truncated (`max_steps` reached), and `info`.

        Raises:
            RuntimeError: `reset` was never called.
            SimulatorDied: The simulator's process died, and once more when all was repeated in a new one.
            SimulatorError: The simulator failed at the command.
        """
        play = self._require()
        best, was_over = play.best, play.over
        observation = play.step(action)
        self._steps += 1
        won = play.won and not was_over
        reward = float(won) if self._reward == "success" else (play.best - best) / MAX_SCORE
        truncated = not play.over and self._steps >= self._max_steps
        return observation, reward, play.over, truncated, self._info(play)

    def fork(self) -> Self:
        """Return an independent environment in the same state; it draws its later games independently."""
        play = self._require()
        return self._twin(_play=play.fork())

    def admissible(self) -> list[str]:
        """Return the admissible commands, sorted: hundreds, as the simulator lists them."""
        return self._require().admissible()

    def hidden_state(self) -> str:
        """Return the hidden state as compact text (see `hidden.hidden_state`)."""
        return hidden_state(self._require())

    def expert(self) -> GoldExpert:
        """Return an expert at the beginning of the game; it knows the simulator's own solution."""
        return GoldExpert(self._require().game)

    @property
    def play(self) -> Play:
        """The game being played; stepping it steps the environment without counting steps."""
        return self._require()

    def _spec(self, game: GameLike) -> GameSpec:
        return game if isinstance(game, GameSpec) else GameSpec.parse(str(game), self._simplifications)

    def _require(self) -> Play:
        if self._play is None:
            raise RuntimeError("Call reset() before anything else.")
        return self._play

    def _info(self, play: Play) -> dict[str, Any]:
        info: dict[str, Any] = {
            "task": self._task,
            "task_type": play.game.task,
            "game_id": str(play.game),
            "score": play.score,
            "max_score": MAX_SCORE,
            "won": play.won,
            "lost": play.lost,
        }
        if self._list_admissible:
            info["admissible_actions"] = play.admissible()
        return info
