"""The gymnasium environment ``dyna/BFCL-v0``."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final, Self

from dyna_training.environments.base import ForkableEnv, Function, RenderMode, check_arguments, text_space
from dyna_training.environments.bfcl.experts import GroundTruth
from dyna_training.environments.bfcl.functions import END_OF_TURN, ENDING, functions_of, signatures
from dyna_training.environments.bfcl.hidden import hidden_state
from dyna_training.environments.bfcl.package import APIS
from dyna_training.environments.bfcl.plausible import accepted, rejected
from dyna_training.environments.bfcl.play import USER, Play
from dyna_training.environments.bfcl.splits import Split
from dyna_training.environments.bfcl.splits import games as games_of
from dyna_training.environments.bfcl.tasks import Task, task
from dyna_training.environments.calls import LONGEST as LONGEST_CALL
from dyna_training.environments.text import cut, plain

MAX_STEPS: Final = 100
"""Steps after which an episode is cut off; the longest ground truth takes 16, ends of turns included."""
LONGEST: Final = 8192
"""Characters of the longest observation."""


class BfclEnv(ForkableEnv):
    """Conversations with a user, worked on by calls of stateful APIs: BFCL's multi-turn base tasks.

    An action is one call, ``cd({"folder": "docs"})`` or ``cd(folder='docs')``; it is answered as BFCL answers it. With
    ``done`` the agent ends its turn, and BFCL's own checks of states and answers judge it: where it has failed, the
    episode is lost and ends; where not, the user says what comes next. The reward is 1 with the step that ends the last
    turn so, and 0 before. What is no call is answered by text, and changes nothing.

    `info` always has ``task``, ``task_type``, ``game_id``, ``won``, ``lost``, ``score`` and ``max_score``, which count
    turns; ``admissible_actions``, where asked for, is a sample of calls that would not be answered by an error.

    `fork` copies the state of the APIs, in a fraction of a millisecond; environments can be pickled, too.

    Example:
        >>> env = gymnasium.make("dyna/BFCL-v0", games=["multi_turn_base_0"])  # doctest: +SKIP
        >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
        >>> observation, reward, terminated, truncated, info = env.step("ls()")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        split: Split | None = None,
        games: Sequence[str] | None = None,
        max_steps: int = MAX_STEPS,
        admissible_actions: bool = False,
        signatures: bool = True,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Create an environment.

        Args:
            split: Draw tasks from this split.
            games: Draw from the tasks of these names instead.
            max_steps: Steps after which an episode is truncated.
            admissible_actions: Whether `info` lists calls that would do something; a step then takes a hundred times
                as long.
            signatures: Whether the first observation lists the functions; an agent that has a tool for each needs
                no list.
            render_mode: Nothing or ``ansi``, for callers who give it; `render` draws in either case.

        Raises:
            BfclMissing: The package bfcl-eval is not installed.
            TaskNameError: A task is named that there is not.
            ValueError: Both `split` and `games` are given, or another argument cannot be.
        """
        check_arguments(split, games, max_steps, render_mode)
        self.action_space = text_space(LONGEST_CALL)
        self.observation_space = text_space(LONGEST)
        self._games = tuple(task(name).id for name in games or ())
        if split is not None:
            self._games = games_of(split)
        self._max_steps = max_steps
        self._list_admissible = admissible_actions
        self._list_functions = signatures
        self._play: Play | None = None
        self._info: dict[str, Any] = {}
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seeds the drawing of tasks; the same seed draws the same task.
            options: ``{"game": …}`` plays the task of that name instead of drawing one.

        Returns:
            The functions there are and what the user says first, and `info`.

        Raises:
            BfclMissing: The package bfcl-eval is not installed.
            TaskNameError: There is no task of that name.
            ValueError: There is no task to draw from, or an unknown option.
        """
        super().reset(seed=seed)
        chosen = task(self.choose_game(self._games, options))
        self._play = Play(chosen)
        self._steps = 0
        self._info = {
            "task": plain(chosen.turns[0]),
            "task_type": chosen.kind,
            "game_id": chosen.id,
            "max_score": len(chosen.turns),
        }
        said = USER + chosen.turns[0]
        first = f"{signatures(chosen.apis)}\n\n{said}" if self._list_functions else said
        return _shown(first), self._told(self._play)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Call a function, or end the turn.

        Args:
            action: Any text.

        Returns:
            Observation, reward, terminated (all turns done, or one failed), truncated (`max_steps` reached), and
            `info`.

        Raises:
            RuntimeError: `reset` was never called.
        """
        play = self._require()
        was_over = play.over
        observation = _shown(play.step(action))
        self._steps += 1
        reward = float(play.won and not was_over)
        truncated = not play.over and self._steps >= self._max_steps
        return observation, reward, play.over, truncated, self._told(play)

    def fork(self) -> Self:
        """Return an independent environment in the same state; it draws its later tasks independently."""
        play = self._require()
        return self._twin(_play=play.fork())

    def admissible(self) -> list[str]:
        """Return a sample of calls that would not be answered by an error, and the end of the turn; sorted."""
        play = self._require()
        return [] if play.over else sorted([*accepted(play.apis), ENDING])

    def inadmissible(self, rng: random.Random) -> str:
        """Return a call that would be answered by an error and change nothing."""
        return rejected(self._require().apis, rng)

    def hidden_state(self) -> str:
        """Return the state of the APIs as compact text (see `hidden.hidden_state`)."""
        return hidden_state(self._require())

    def functions(self) -> Sequence[Function]:
        """Return the functions of the tasks that are drawn from, of all APIs where none are given; ``done`` is last."""
        apis = {api for name in self._games for api in task(name).apis} or set(APIS)
        return [*(function for api in sorted(apis) for function in functions_of(api)), END_OF_TURN]

    def expert(self) -> GroundTruth:
        """Return the oracle at the beginning of the conversation; it knows the ground truth."""
        return GroundTruth(self._require().task)

    @property
    def played(self) -> Task:
        """The task being played."""
        return self._require().task

    def _require(self) -> Play:
        if self._play is None:
            raise RuntimeError("Call reset() before anything else.")
        return self._play

    def _told(self, play: Play) -> dict[str, Any]:
        info = {**self._info, "score": play.turn, "won": play.won, "lost": play.lost}
        if self._list_admissible:
            info["admissible_actions"] = self.admissible()
        return info


def _shown(text: str) -> str:
    return cut(plain(text), LONGEST)
