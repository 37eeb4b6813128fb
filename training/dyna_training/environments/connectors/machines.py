"""What environments on machines share: deadlines, a machine that is replaced once it broke, and forks by replay."""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, NoReturn, Self, TypeVar

from dyna_training.environments.base import (
    ForkableEnv,
    GameFileError,
    PackageMissing,
    RenderMode,
    check_render_mode,
    text_space,
)
from dyna_training.environments.connectors.failures import ConnectorError, ForkRefused, within
from dyna_training.environments.text import cut, plain

T = TypeVar("T")
LONGEST: Final = 16_384
"""Characters of the longest observation."""
LONGEST_ACTION: Final = 10_000
OVER: Final = "The episode is over."
_CLOCK: Final = re.compile(r"\b\d{1,2}:\d\d(?::\d\d)?(?:\s?[AP]M)?\b")


class Begun(NamedTuple):
    """How an episode begins.

    Attributes:
        task: What is to be done.
        task_type: Its type.
        screen: What is seen.
        actions: Some of what can be done now.
        max_steps: Steps that the benchmark allows.
    """

    task: str
    task_type: str
    screen: str
    actions: tuple[str, ...]
    max_steps: int


class Done(NamedTuple):
    """What an action did.

    Attributes:
        screen: What is seen then.
        actions: Some of what can be done then.
        over: Whether the agent has ended the episode.
    """

    screen: str
    actions: tuple[str, ...] = ()
    over: bool = False


class MachineEnv(ForkableEnv):
    """An environment on a machine: one virtual machine or emulator, used for one episode after another.

    Whatever goes wrong with the machine is a `ConnectorError`; the machine is then given up, and `reset` takes
    another. What it holds besides the screen is unknown: `hidden_state` is what is seen. An environment with a
    machine cannot be pickled.

    Args:
        games: What episodes are drawn from.
        max_steps: Steps after which an episode is truncated; None is what the benchmark allows.
        timeout: Seconds that the machine may take for a reset or a step.
        admissible_actions: Whether `info` lists actions on what is seen.
        render_mode: Nothing or ``ansi``.

    Raises:
        ValueError: An argument cannot be.
    """

    def __init__(
        self,
        games: Sequence[str],
        max_steps: int | None,
        timeout: float,
        *,
        admissible_actions: bool,
        render_mode: RenderMode | None,
    ) -> None:
        check_render_mode(render_mode)
        if max_steps is not None and max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}.")
        if timeout <= 0:
            raise ValueError(f"timeout must be more than 0 seconds, got {timeout}.")
        self.action_space = text_space(LONGEST_ACTION)
        self.observation_space = text_space(LONGEST)
        self._games = list(games)
        self._given_steps = max_steps
        self._timeout = timeout
        self._list_admissible = admissible_actions
        self._machine: Any = None
        self._begun: Begun | None = None
        self._game = ""
        self._taken: list[tuple[str, str]] = []
        self._screen = ""
        self._actions: tuple[str, ...] = ()
        self._steps = 0
        self._over = False
        self._score = 0.0

    # ------------------------------------------------------------------ what a benchmark does its own way

    @abstractmethod
    def _start(self) -> Any:
        """Return a machine that nobody else uses."""

    @abstractmethod
    def _stop(self, machine: Any) -> None:
        """Give a machine back."""

    @abstractmethod
    def _begin(self, machine: Any, game: str) -> Begun:
        """Put a machine into the state in which a game begins."""

    @abstractmethod
    def _refusal(self, action: str) -> str | None:
        """Return why an action is not sent to the machine; None where it is."""

    @abstractmethod
    def _perform(self, machine: Any, action: str) -> Done:
        """Execute an action."""

    @abstractmethod
    def _judge(self, machine: Any, *, ended: bool) -> float:
        """Return the benchmark's score of the episode, from 0 to 1, once the agent has ended it or has no step left."""

    @abstractmethod
    def _why_no_second(self) -> str | None:
        """Return why there is no second machine for a fork; None where there may be one."""

    # ------------------------------------------------------------------ the environment

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seeds the drawing of games.
            options: ``{"game": …}`` plays that game instead of drawing one.

        Returns:
            The task and what is seen, and `info`.

        Raises:
            PackageMissing: The benchmark's package is not installed.
            GameFileError: There is no such game, or its file cannot be read.
            ConnectorError: The machine cannot be started, hangs, or answers what it should not.
            ValueError: There is no game to draw from, or an unknown option.
        """
        super().reset(seed=seed)
        self._game = str(self.choose_game(self._games, options))
        self._begun = None
        if self._machine is None:
            self._machine = self._started()
        begun = self._try("the reset", lambda: self._begin(self._machine, self._game))
        self._taken, self._steps, self._over, self._score = [], 0, False, 0.0
        self._begun, self._screen, self._actions = begun, self._shown(begun.screen), begun.actions
        return self._shown(f"Task: {begun.task}\n\n{begun.screen}"), self._info(begun)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Execute an action.

        Args:
            action: Any text.

        Returns:
            Observation, reward (the benchmark's score, with the last step), terminated (ended by the agent, or the task
            is done when the steps run out), truncated (`max_steps` reached), and `info`.

        Raises:
            RuntimeError: `reset` was never called.
            ConnectorError: The machine hangs, or answers what it should not.
        """
        begun = self._require()
        if self._over:
            return OVER, 0.0, True, False, self._info(begun)
        self._steps += 1
        last = self._steps >= (self._given_steps or begun.max_steps)
        refused = self._refusal(action)
        done = Done(refused) if refused is not None else self._try("a step", lambda: self._sent(action))
        if refused is None:
            self._saw(action, done)
        if done.over or last:
            self._score = self._try("judging", lambda: self._judge(self._machine, ended=done.over))
            self._over = True
        terminated = done.over or self._score >= 1.0
        return self._shown(done.screen), self._score, terminated, last and not terminated, self._info(begun)

    def fork(self) -> Self:
        """Return an environment in the same state on a machine of its own, by replay of all actions.

        It takes as long as the episode has taken so far, and what it takes to start a machine. What is seen after each
        action must be what was seen before, clocks aside.

        Raises:
            RuntimeError: `reset` was never called.
            ForkRefused: There is no second machine, or the replay led elsewhere.
            ConnectorError: The second machine cannot be started, or broke.
        """
        self._require()
        why = self._why_no_second()
        if why is not None:
            raise ForkRefused(f"a fork is a replay on a machine of its own, and {why}")
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._machine, twin._taken, twin._np_random = None, [], None
        try:
            twin.reset(options={"game": self._game})
            for index, (action, seen) in enumerate(self._taken):
                twin._saw(action, twin._try("a step", functools.partial(twin._sent, action)))
                if _timeless(twin._screen) != _timeless(seen):
                    raise ForkRefused(
                        f"the replay led elsewhere: step {index} ({cut(action, 80)!r}) showed another screen"
                    )
        except BaseException:
            with contextlib.suppress(ConnectorError):
                twin.close()
            raise
        twin._steps, twin._over, twin._score = self._steps, self._over, self._score
        return twin

    def admissible(self) -> list[str]:
        """Return actions on what is seen; far from all that could be done."""
        self._require()
        return [] if self._over else list(self._actions)

    def hidden_state(self) -> str:
        """Return what is seen: what the machine holds besides is not known."""
        self._require()
        return self._screen

    def close(self) -> None:
        """Give the machine back."""
        machine, self._machine, self._begun = self._machine, None, None
        if machine is not None:
            within(self._timeout, f"{self._name} (closing)", lambda: self._stop(machine))

    def __getstate__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} holds a live machine and cannot be pickled; make one in each process"
        )

    # ------------------------------------------------------------------ parts

    @property
    def _name(self) -> str:
        return type(self).__name__.removesuffix("Env")

    def _started(self) -> Any:
        """Return a machine; one that starts too late is given back as soon as it is there."""
        too_late = threading.Event()

        def start() -> Any:
            machine = self._start()
            if too_late.is_set():
                self._stop(machine)
            return machine

        try:
            return self._try("starting", start)
        except ConnectorError:
            too_late.set()
            raise

    def _sent(self, action: str) -> Done:
        return self._perform(self._machine, action)

    def _saw(self, action: str, done: Done) -> None:
        self._screen, self._actions = self._shown(done.screen), done.actions
        self._taken.append((action, self._screen))

    def _try(self, what: str, work: Callable[[], T]) -> T:
        """Return what work on the machine returns; give the machine up where it fails."""
        try:
            return within(self._timeout, f"{self._name} ({what})", work)
        except ConnectorError:
            self._give_up()
            raise
        except (GameFileError, PackageMissing):  # nothing is wrong with the machine
            raise
        except Exception as error:
            self._give_up()
            raise ConnectorError(f"{self._name} ({what}): {type(error).__name__}: {error}") from error

    def _give_up(self) -> None:
        """Leave the machine to a thread that gives it back if it still can."""
        machine, self._machine, self._begun = self._machine, None, None
        if machine is not None:
            threading.Thread(target=_quietly, args=(self._stop, machine), daemon=True).start()

    def _require(self) -> Begun:
        if self._begun is None:
            raise RuntimeError("Call reset() before anything else; after a ConnectorError, too.")
        return self._begun

    @staticmethod
    def _shown(text: str) -> str:
        return cut(plain(text), LONGEST)

    def _info(self, begun: Begun) -> dict[str, Any]:
        info: dict[str, Any] = {
            "task": self._shown(begun.task),
            "task_type": begun.task_type,
            "game_id": self._game,
            "won": self._score >= 1.0,
            "score": self._score,
            "max_score": 1.0,
        }
        if self._list_admissible:
            info["admissible_actions"] = self.admissible()
        return info


def _timeless(screen: str) -> str:
    return _CLOCK.sub("", screen)


def _quietly(stop: Callable[[Any], None], machine: Any) -> None:
    try:
        stop(machine)
    except Exception:  # it is broken, which was said already
        return
