"""Any gymnasium environment as a text environment that can be forked.

    env = AdaptedEnv("CliffWalking-v1", actions=("up", "right", "down", "left"), render_mode="ansi")
    [act] = environment_tools(lambda: AdaptedEnv(...))

What it takes: names for the actions, unless they are text already, and a text for the observations, unless they are
text or the environment draws itself as text. A fork is a replay, which is right for everything that is deterministic
under its seed, and is checked; or a deep copy, where whoever knows the environment says that one is right.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, Self

import gymnasium
from gymnasium import spaces

from dyna_training.environments.base import ForkableEnv, GameFileError, text_space
from dyna_training.environments.text import cut, plain

MAX_STEPS: Final = 100
LONGEST_OBSERVATION: Final = 8192
Fork = Literal["replay", "copy"]
Describe = Callable[[gymnasium.Env[Any, Any], Any], str]
_COLOURED: Final = re.compile(r"\x1b\[[0-9;]+m(.*?)\x1b\[0?m", re.DOTALL)
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


class NotReplayed(RuntimeError):
    """A replay came to something else: the environment is not deterministic under its seed."""


class _Taken(NamedTuple):
    """A command that was executed, and what was seen then."""

    command: str
    observation: str


class AdaptedEnv(ForkableEnv):
    """A gymnasium environment as text.

    A game is a seed: ``reset(options={"game": 7})`` begins the episode that the environment begins with seed 7, and
    ``info["game_id"]`` is its id and that seed. Reward and ends are those of the environment, unless `success` says
    what solves a task. What is no command is answered, costs a step, and never reaches the environment. `info` has
    what the environment's own has, and ``task``, ``task_type``, ``game_id``, ``won`` and ``admissible_actions``: those
    of the environment's ``action_mask`` where it has one, else all.

    A fork by ``replay`` makes a new environment and repeats all the commands in it, so that it costs as much as the
    episode so far; each observation is compared. A fork by ``copy`` is a deep copy: right where all the state is in
    Python objects, wrong where the environment talks to a process, a file or a server, which both would share.
    """

    def __init__(
        self,
        environment: str | Callable[[], gymnasium.Env[Any, Any]],
        *,
        actions: Sequence[str] | Mapping[str, Any] | None = None,
        describe: Describe | None = None,
        success: Callable[[gymnasium.Env[Any, Any], float, bool], bool] | None = None,
        task: str = "",
        fork: Fork = "replay",
        max_steps: int = MAX_STEPS,
        **settings: Any,
    ) -> None:
        """Create an environment.

        Args:
            environment: A gymnasium id, or a function that makes a fresh environment.
            actions: Names of the actions: of a discrete space in its order, of others by name. None where they are
                text.
            describe: Says an observation in text, given the environment and the observation. By default the text
                itself; of an environment with ``render_mode="ansi"`` what it draws, what is coloured in brackets; else
                what Python writes.
            success: Says whether a step solved the task, given the environment, reward and whether it terminated; the
                reward is then 1 for that step, which ends the episode, and 0 for others.
            task: What is to be done; the first observation begins with it.
            fork: How it forks.
            max_steps: Steps after which an episode is truncated.
            **settings: Settings of the environment, when it is given by its id.

        Raises:
            ValueError: The actions have no names, or not as many as there are; or another argument cannot be.
            gymnasium.error.Error: There is no such environment.
        """
        if not isinstance(environment, str) and settings:
            raise ValueError(f"{sorted(settings)} are settings for an id; give them to your function")
        if fork not in ("replay", "copy"):
            raise ValueError(f"fork must be 'replay' or 'copy', got {fork!r}.")
        if max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {max_steps}.")
        self.action_space = text_space(256)
        self.observation_space = text_space(LONGEST_OBSERVATION)
        self._make = (
            functools.partial(gymnasium.make, environment, disable_env_checker=True, **settings)
            if isinstance(environment, str)
            else environment
        )
        self._env: gymnasium.Env[Any, Any] = self._make()
        spec = self._env.unwrapped.spec
        self._id = spec.id if spec is not None else type(self._env.unwrapped).__name__
        self._actions = _named(actions, self._env.action_space, self._id)
        self._describe = describe or _describe
        self._success = success
        self._task = plain(task)
        self._fork: Fork = fork
        self._max_steps = max_steps
        self._begun: tuple[int, dict[str, Any] | None] | None = None
        self._first = ""
        self._taken: list[_Taken] = []
        self._steps = 0
        self._info: dict[str, Any] = {}
        self._over = self._ended = self._won = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seeds the drawing of games, each a seed of the environment.
            options: ``{"game": …}`` begins the episode of that seed; others go to the environment.

        Returns:
            The first observation, and `info`.

        Raises:
            GameFileError: The game is no seed.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        game = given.pop("game", None)
        drawn = int(self.np_random.integers(2**31)) if game is None else self._seed_of(game)
        self._begun = (drawn, given or None)
        self._first, self._taken, self._steps = self._begin(self._env), [], 0
        self._over = self._ended = self._won = False
        return f"{self._task}\n\n{self._first}" if self._task else self._first, self._told()

    def _begin(self, env: gymnasium.Env[Any, Any]) -> str:
        seed, options = self._require()
        observation, self._info = env.reset(seed=seed, options=options)
        return self._said(env, observation)

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Execute one command.

        Args:
            action: Any text.

        Returns:
            Observation, reward, terminated, truncated, and `info`.

        Raises:
            RuntimeError: `reset` was never called.
        """
        self._require()
        if self._over:
            return "The episode is over.", 0.0, self._ended, not self._ended, self._told()
        self._steps += 1
        command = self._understood(action)
        reward, terminated, truncated = 0.0, False, False
        if command is None:
            observation = self._not_understood()
        else:
            observation, reward, terminated, truncated = self._do(self._env, command)
            self._taken.append(_Taken(command, observation))
        if self._success is not None:
            self._won = command is not None and self._success(self._env, reward, terminated)
            reward, terminated = float(self._won), terminated or self._won
        else:
            self._won = terminated and reward > 0
        truncated = not terminated and (truncated or self._steps >= self._max_steps)
        self._over, self._ended = terminated or truncated, terminated
        return observation, reward, terminated, truncated, self._told()

    def _understood(self, command: str) -> str | None:
        """Return a command as the environment knows it; None where it is none."""
        if self._actions is None:
            return command if self._env.action_space.contains(command) else None
        if command in self._actions:
            return command
        return next((name for name in self._actions if name.lower() == command.strip().lower()), None)

    def _not_understood(self) -> str:
        if self._actions is None:
            return f"That is no command: commands are texts of {self._env.action_space}."
        return f"That is no command. Commands: {', '.join(self._actions)}."

    def _do(self, env: gymnasium.Env[Any, Any], command: str) -> tuple[str, float, bool, bool]:
        """Execute a command, which must be one."""
        action = command if self._actions is None else self._actions[command]
        observation, reward, terminated, truncated, self._info = env.step(action)
        return self._said(env, observation), float(reward), bool(terminated), bool(truncated)

    def _said(self, env: gymnasium.Env[Any, Any], observation: Any) -> str:
        """Return an observation as a text of the space; an empty one would be no answer."""
        said = cut(plain(self._describe(env, observation)), LONGEST_OBSERVATION)
        return said if said.strip() else "Nothing is seen."

    def fork(self) -> Self:
        """Return an independent environment in the same state, by copy or replay.

        Raises:
            NotReplayed: The replay came to something else.
        """
        self._require()
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._np_random = None
        twin._taken, twin._info = list(self._taken), copy.deepcopy(self._info)
        twin._env = copy.deepcopy(self._env) if self._fork == "copy" else twin._replayed()
        return twin

    def _replayed(self) -> gymnasium.Env[Any, Any]:
        """Return a new environment in which the episode so far was repeated."""
        env = self._make()
        if self._begun is None:
            return env
        seen = [self._begin(env), *(self._do(env, command)[0] for command, _ in self._taken)]
        for index, (now, then) in enumerate(
            zip(seen, (self._first, *(t[1] for t in self._taken)), strict=True)
        ):
            if now != then:
                raise NotReplayed(
                    f"replaying {self._id} gave {now!r} and not {then!r} at step {index}: it is not deterministic "
                    "under its seed. If all its state is in Python objects, fork='copy' forks it"
                )
        return env

    def __getstate__(self) -> dict[str, Any]:
        if self._fork == "copy":
            return self.__dict__
        return {key: value for key, value in self.__dict__.items() if key != "_env"}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept)
        if self._fork == "replay":
            self._env = self._replayed()

    def admissible(self) -> list[str]:
        """Return the commands that the environment's action mask allows, else all; of text actions none are known."""
        self._require()
        if self._over or self._actions is None:
            return []
        mask = self._info.get("action_mask")
        if mask is None or len(mask) != len(self._actions):
            return list(self._actions)
        return [name for name, allowed in zip(self._actions, mask, strict=True) if allowed]

    def hidden_state(self) -> str:
        """Return what was seen last; what lies behind it only the environment knows."""
        self._require()
        return self._taken[-1].observation if self._taken else self._first

    def expert(self) -> None:
        """Return None: nobody knows how to play any environment there is."""
        self._require()

    def render(self) -> str:
        """Return what the environment draws where it draws text, else what was seen last."""
        self._require()
        if self._env.render_mode == "ansi":
            return str(self._env.render())
        return self.hidden_state()

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _require(self) -> tuple[int, dict[str, Any] | None]:
        if self._begun is None:
            raise RuntimeError("Call reset() before anything else.")
        return self._begun

    def _seed_of(self, game: Any) -> int:
        """Return the seed that a game is, given as a number or as ``info["game_id"]`` has it."""
        seed = str(game).removeprefix(f"{self._id}/")
        if not seed.isdecimal():
            raise GameFileError(f"a game of {self._id} is a seed, such as 7, not {game!r}")
        return int(seed)

    def _told(self) -> dict[str, Any]:
        return {
            **self._info,
            "task": self._task,
            "task_type": self._id,
            "game_id": f"{self._id}/{self._require()[0]}",
            "won": self._won,
            "admissible_actions": self.admissible(),
        }


def _named(
    actions: Sequence[str] | Mapping[str, Any] | None, space: spaces.Space[Any], id: str
) -> dict[str, Any] | None:
    """Return the actions by their names; None where they are text."""
    if actions is None:
        if isinstance(space, spaces.Text):
            return None
        raise ValueError(f"the actions of {id} are {space}: give them names, actions=('left', 'right', …)")
    if isinstance(actions, Mapping):
        named = dict(actions)
    elif isinstance(space, spaces.Discrete):
        named = {name: int(space.start) + index for index, name in enumerate(actions)}
        if not len(named) == len(actions) == space.n:
            raise ValueError(f"{id} has {space.n} actions, and {len(named)} different names are given")
    else:
        raise ValueError(
            f"the actions of {id} are {space}, which has no order: give a mapping of names to actions"
        )
    wrong = [name for name, action in named.items() if plain(name) != name or not space.contains(action)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no name in printable ASCII of an action of {space}")
    return named


def _describe(env: gymnasium.Env[Any, Any], observation: Any) -> str:
    """Return an observation as text, see `AdaptedEnv`."""
    if isinstance(observation, str):
        return observation
    if env.render_mode == "ansi":
        return _COLOUR.sub("", _COLOURED.sub(r"[\1]", str(env.render()))).strip("\n")
    return str(observation)
