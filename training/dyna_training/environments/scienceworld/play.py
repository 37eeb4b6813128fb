"""A game being played: a simulation, what was done in it, and what came of it."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar

from dyna_training.environments.base import GameFileError
from dyna_training.environments.scienceworld.games import NONE, GameSpec
from dyna_training.environments.scienceworld.simulator import (
    Simulator,
    SimulatorDied,
    SimulatorError,
    simulator,
)
from dyna_training.environments.scienceworld.text import clean, command

MAX_SCORE: Final = 100
_ANYWHERE: Final = "teleport "
"""How commands begin that are about what is elsewhere."""
OVER: Final = "The task has ended."
OPENINGS: Final = 16
"""So many games are kept at their beginning, with half a megabyte each."""
_log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class Simulation:
    """A simulation in a process, by the name that it has there; it is closed when nobody knows it any more.

    Attributes:
        users: How many plays are in the state that it is in. One of several must fork it to go on.
    """

    __slots__ = ("name", "simulator", "users")

    def __init__(self, simulator: Simulator, name: str) -> None:
        self.simulator, self.name, self.users = simulator, name, 1

    def __del__(self) -> None:
        self.simulator.close_later(self.name)

    def ask(self, what: str, *with_what: str) -> str:
        """Return the answer to a request about this simulation."""
        return self.simulator.request(what, self.name, *with_what)

    def fork(self) -> Simulation:
        """Return a copy for one of the users."""
        twin = Simulation(self.simulator, self.ask("fork"))
        self.users -= 1
        return twin


class Play:
    """A game being played.

    The simulation is forked only when one of two plays in the same state goes on. When its process has died, or this
    play has come from another process, the game is begun anew and all commands are repeated.

    Args:
        game: Which game.

    Attributes:
        score: The simulator's score, from 0 to 100, and -100 once the task is failed.
        best: The best score so far: a task can be reset, which takes points back.
        completed: Whether the simulator calls the task completed.

    Raises:
        GameFileError: The simulator does not know the game.
        ScienceWorldMissing: The package or Java is missing.
    """

    __slots__ = ("_admissible", "_commands", "_simulation", "best", "completed", "game", "score")

    def __init__(self, game: GameSpec) -> None:
        self.game = game
        self.score = self.best = 0
        self.completed = False
        self._commands: list[str] = []
        self._admissible: list[str] | None = None
        self._simulation: Simulation | None = None

    @property
    def lost(self) -> bool:
        """Whether the task is failed, for example because the wrong object was focused on."""
        return self.score < 0

    @property
    def won(self) -> bool:
        """Whether the task is done."""
        return self.completed and self.score >= MAX_SCORE

    @property
    def over(self) -> bool:
        """Whether the game has ended."""
        return self.completed or self.lost

    def step(self, action: str) -> str:
        """Execute a command and return what the player sees; a game that has ended takes no more commands."""
        said, refusal = command(action)
        if refusal or self.over:
            return refusal or OVER
        text = self._ask(lambda simulation: self._step(simulation, said), moves=True)
        self._commands.append(said)
        self._admissible = None
        return text

    def _step(self, simulation: Simulation, said: str) -> str:
        score, completed, text = simulation.ask("step", said).split("\n", 2)
        self.score = round(MAX_SCORE * float(score))
        self.best = max(self.best, self.score)
        self.completed = completed == "true"
        return clean(text)

    def fork(self) -> Play:
        """Return an independent play in the same state."""
        twin = Play.__new__(Play)
        for name in Play.__slots__:
            setattr(twin, name, getattr(self, name))
        twin._commands = list(self._commands)
        if self._simulation is not None:
            self._simulation.users += 1
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.game, self._commands, self.score, self.best, self.completed)

    # ------------------------------------------------------------------ what can be known of it

    def task(self) -> str:
        """Return the task in one line."""
        return " ".join(clean(self._question("getTaskDescription")).split())

    def look(self) -> str:
        """Return what the player sees around; that takes no step."""
        return clean(self._question("freeActionLook"))

    def admissible(self) -> list[str]:
        """Return the commands that do something now, sorted; none after the end."""
        if self.over:
            return []
        if self._admissible is None:
            self._admissible = _accepted(self._question("valid"))
        return list(self._admissible)

    def progress(self) -> str:
        """Return the simulator's table of the task's goals."""
        return self._question("getGoalProgressStr")

    def tree(self) -> str:
        """Return everything there is, as JSON."""
        return self._question("tree")

    def _question(self, what: str) -> str:
        return self._ask(lambda simulation: simulation.ask("ask", what))

    # ------------------------------------------------------------------ the simulation

    def _ask(self, question: Callable[[Simulation], Answer], *, moves: bool = False) -> Answer:
        """Return an answer of the simulation; of a new one where the process of the first one has died."""
        try:
            return question(self._current(moves))
        except SimulatorDied as error:
            if self._simulation is None:
                raise  # it did not even start
            _log.warning(
                "%s: %s; beginning anew and repeating %d commands", self.game, error, len(self._commands)
            )
            self._simulation = None
        return question(self._current(moves))

    def _current(self, moves: bool) -> Simulation:
        found = self._simulation
        if found is None:
            found = self._begin()
        elif not found.simulator.alive:
            raise SimulatorDied("the simulator's process has ended")
        elif moves and found.users > 1:
            found = found.fork()
        self._simulation = found
        return found

    def _begin(self) -> Simulation:
        process = simulator()
        simulation = Simulation(process, _opening(process, self.game).ask("fork"))
        for said in self._commands:
            simulation.ask("step", said)
        return simulation


@functools.lru_cache(maxsize=OPENINGS)
def _opening(process: Simulator, game: GameSpec) -> Simulation:
    """Return a game at its beginning, which nobody plays; copying it is many times faster than loading it."""
    try:
        name = process.request("load", game.task, str(game.variation), _simplified(game))
    except SimulatorError as error:
        raise GameFileError(f"{game}: the simulator cannot begin it: {error}") from error
    return Simulation(process, name)


def _accepted(listed: str) -> list[str]:
    """Return the commands that will be understood, sorted, of all that the simulator lists as valid.

    It also lists what is about things out of reach, such as the sewer behind a drain, and then does not know the
    command.

    Args:
        listed: Identifiers of what is in reach, and in the next line the simulator's list as JSON.
    """
    reach, actions = listed.split("\n", 1)
    near = set(map(int, reach.split()))
    found = {
        clean(action["action"])
        for action in json.loads(actions, strict=False)["validActions"]
        if near.issuperset(action["obj_ids"]) or action["action"].startswith(_ANYWHERE)
    }
    return sorted(found)


@functools.lru_cache(maxsize=1024)
def solution(game: GameSpec) -> tuple[str, ...]:
    """Return the simulator's own solution of a game, its gold path; finding it takes from 0.1 to 10 seconds.

    Raises:
        GameFileError: The simulator does not know the game.
    """
    try:
        found = simulator().request("solve", game.task, str(game.variation), _simplified(game))
    except SimulatorError as error:
        raise GameFileError(f"{game}: the simulator cannot solve it: {error}") from error
    return tuple(line for line in map(clean, found.split("\n")) if line)


def _simplified(game: GameSpec) -> str:
    """Return a game's simplifications as the simulator takes them."""
    return "" if game.simplifications == NONE else game.simplifications


def _restored(game: GameSpec, commands: list[str], score: int, best: int, completed: bool) -> Play:
    play = Play(game)
    play._commands, play.score, play.best, play.completed = commands, score, best, completed
    return play
