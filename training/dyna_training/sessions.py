"""Live episodes behind an agent's tool: opened by reset, found again by thread, rebuilt by replay.

What a run must remember of its environment stands in its state: the `Episode` in the first message, the
executed commands and their observations in the conversation. A session is only a cache of what follows from
them. It is missing after a restart and stale after time travel; in both cases the environment is reset and
the commands are replayed, and every observation is compared with the recorded one.
"""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

from pydantic import Field

from dyna_nodes.nouns import COMMAND_TOOL, Action, Noun, Step, new_id
from dyna_training.environments.base import Expert, ForkableEnv

Pair = tuple[str, str]
"""An executed command and its observation."""


class Episode(Noun):
    """What it takes to begin an episode again: everything that `reset` was given.

    Attributes:
        environment: Gymnasium id, such as ``dyna/ALFWorld-v0``.
        seed: Seed of the reset.
        options: Options of the reset; JSON values, such as ``{"game": path}``.
        id: Tells two episodes apart that begin alike.
    """

    environment: str = ""
    seed: int
    options: Mapping[str, Any] = Field(default_factory=dict)
    id: str = Field(default_factory=new_id)


def draw_seed() -> int:
    """Draw the seed of an episode that need not be like any other."""
    return random.SystemRandom().getrandbits(31)


class Reality(NamedTuple):
    """What a command really did.

    Attributes:
        observation: What is seen then.
        reward: Reward of the step.
        done: Whether the episode has ended, solved or cut off.
        success: Whether the task was solved by this step.
        truncated: Whether the episode was cut off at this step and did not end by itself.
    """

    observation: str
    reward: float
    done: bool
    success: bool
    truncated: bool = False


def solves(reward: float, terminated: bool, info: Mapping[str, Any]) -> bool:
    """Return whether a step solved the task: it is rewarded and ends the episode, and where a part is rewarded, too,
    the environment says that it is ``won``.
    """
    return terminated and reward > 0 and bool(info.get("won", True))


class SessionLost(RuntimeError):
    """The state of an environment cannot be had back: nobody knows the episode, or replaying it gave another
    past.

    Attributes:
        session: What the replay led to, where it was possible at all; from here on the recorded past counts
            in it.
    """

    def __init__(self, message: str, session: Session | None = None) -> None:
        super().__init__(message)
        self.session = session


class Session:
    """A live episode.

    Args:
        env: An environment that nobody else steps.
        episode: How it is begun.

    Attributes:
        task: The first observation.
        pairs: The executed commands and their observations.
        last: What the last command did; None before the first.
        lock: Hold it while stepping or forking.
    """

    def __init__(self, env: ForkableEnv, episode: Episode) -> None:
        self.env = env
        self.episode = episode
        self.task: str = env.reset(seed=episode.seed, options=dict(episode.options) or None)[0]
        self.expert: Expert | None = env.expert()
        self.pairs: list[Pair] = []
        self.last: Reality | None = None
        self.lock = threading.Lock()

    @property
    def done(self) -> bool:
        """Whether the episode has ended."""
        return self.last is not None and self.last.done

    def step(self, command: str) -> Reality:
        """Execute a command."""
        observation, reward, terminated, truncated, info = self.env.step(command)
        if self.expert is not None:
            self.expert.observe(command, observation)
        self.pairs.append((command, observation))
        solved = solves(float(reward), terminated, info)
        over, cut_off = terminated or truncated, truncated and not terminated
        self.last = Reality(observation, float(reward), over, solved, cut_off)
        return self.last

    def fork(self) -> Self:
        """Return an independent session in the same state."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.env = self.env.fork()
        twin.expert = None if self.expert is None else self.expert.fork()
        twin.pairs = list(self.pairs)
        twin.lock = threading.Lock()
        return twin

    def close(self) -> None:
        """Close the environment, once nobody steps it any more."""
        with self.lock:
            self.env.close()

    def follow(self, pairs: Sequence[Pair]) -> None:
        """Replay executed commands.

        Raises:
            SessionLost: An observation differs from the recorded one; the whole replay is done nevertheless.
        """
        wrong = None
        for index, (command, recorded) in enumerate(pairs):
            observation = self.step(command).observation
            if observation != recorded and wrong is None:
                wrong = f"step {index} ({command!r}) gave {observation!r} and was recorded as {recorded!r}"
        self.pairs = list(pairs)
        if wrong is not None:
            raise SessionLost(f"replaying the episode gave another past: {wrong}", self)


class Sessions:
    """The live sessions of an environment, by handle.

    Args:
        make: Makes a fresh environment.
        limit: How many there are at once; before one more is opened, the one unused for longest is closed, and it is
            rebuilt when it is needed.

    Raises:
        ValueError: ``limit`` is below 1.
    """

    def __init__(self, make: Callable[[], ForkableEnv], limit: int = 256) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1, got {limit}")
        self._make = make
        self._limit = limit
        self._live: OrderedDict[str, Session] = OrderedDict()
        self._waiting: Session | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._live)

    def begin(self, episode: Episode) -> Session:
        """Begin an episode that a thread is about to play: it waits for its first `open`, unless another begins before.

        So a machine that an environment runs on is started once, not once for the task and once more for the thread.
        """
        session = self.open(episode)
        with self._lock:
            other, self._waiting = self._waiting, session
        if other is not None:
            other.close()
        return session

    def open(self, episode: Episode) -> Session:
        """Return a session at the beginning of an episode; it is not kept."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            if waiting.episode == episode:
                return waiting
            waiting.close()
        self._make_room(self._limit - 1)
        return Session(self._make(), episode)

    def live(self, handle: str) -> Session | None:
        """Return the live session of a handle."""
        with self._lock:
            session = self._live.get(handle)
            if session is not None:
                self._live.move_to_end(handle)
            return session

    def keep(self, handle: str, session: Session) -> None:
        """Make a session the live one of a handle."""
        with self._lock:
            old = self._live.pop(handle, None)
            self._live[handle] = session
        if old is not None and old is not session:
            old.close()
        self._make_room(self._limit)

    def _make_room(self, most: int) -> None:
        """Close the live sessions that were not used for longest, until there are no more than so many."""
        with self._lock:
            dropped = [self._live.popitem(last=False)[1] for _ in range(len(self._live) - most)]
        for old in dropped:
            old.close()

    def drop(self, handle: str) -> None:
        """Forget a live session; it is rebuilt when it is needed."""
        with self._lock:
            old = self._live.pop(handle, None)
        if old is not None:
            old.close()

    def at(
        self,
        handle: str,
        task: str,
        pairs: Sequence[Pair],
        find: Callable[[], Episode | None],
        *,
        keep: bool = True,
    ) -> Session:
        """Return a session in the state that a history describes: the live one, or one that is rebuilt.

        Args:
            handle: Handle of the session.
            task: The task of the history; the first observation is part of it.
            pairs: What was executed.
            find: Finds the episode when the live session is missing or elsewhere.
            keep: Make a rebuilt session the live one.

        Raises:
            SessionLost: Nobody knows the episode, or its replay disagrees with the history.
        """
        live = self.live(handle)
        if live is not None and live.pairs == list(pairs) and live.task in task:
            return live
        episode = find() or (live.episode if live is not None else None)
        if episode is None:
            raise SessionLost(
                "there is no live session and nobody knows the episode: begin the conversation with "
                "task_message(), or pass the episode in configurable.episode"
            )
        session = self.open(episode)
        if session.task not in task:
            session.close()
            raise SessionLost(
                "the task is not this episode's first observation: the environment has changed, or the "
                "thread began another episode; begin each episode in a thread of its own"
            )
        session.follow(pairs)
        if keep:
            self.keep(handle, session)
        return session


def commands_in(steps: Iterable[Step | Mapping[str, Any]], functions: Collection[str] = ()) -> list[Pair]:
    """Return the commands among executed steps, given as nouns or as plain dicts.

    A call of the command tool whose argument is no text never reached the environment and is left out.

    Args:
        steps: The steps.
        functions: Names of tools whose calls are commands, in the text of `Action`.
    """
    pairs = []
    for step in steps:
        if isinstance(step, Step):
            action, observation = step.action, step.observation
        else:
            said = step["action"]
            action = Action(tool=said["tool"], arguments=said.get("arguments", {}))
            observation = step["observation"]
        command = action.arguments.get("command")
        if action.tool == COMMAND_TOOL and isinstance(command, str):
            pairs.append((command, observation))
        elif action.tool in functions:
            pairs.append((action.text, observation))
    return pairs
