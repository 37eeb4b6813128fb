"""An expert that knows the simulator's own solution of a game, and finds back to it from where others led."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Self

from dyna_training.environments.scienceworld.games import GameSpec
from dyna_training.environments.scienceworld.play import Play, solution

_WENT = re.compile(r"(?:go|teleport) to (?:the )?(.+)")
_HERE = re.compile(r"\A.*? called the (.+?)\.")
_BACK: Final = (0, 1, 2, 4, 8)
"""How many commands before the last one of the solution that was executed it is tried to take it up again."""
_LOOK: Final = "look around"


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: a short reason, and the command."""

    thought: str
    action: str


class GoldExpert:
    """Executes the simulator's gold path, and takes it up again where somebody else acted in between.

    What is left of the path is tried in a play of its own: from where it was left, with a teleport to where it goes on
    in front, then from a little earlier, then from its beginning. The first that does the task is followed; if none
    does, the one that gains most. So it knows everything, and its choices do not follow from what a player has seen.

    Args:
        game: The game; the expert begins at its beginning.
    """

    def __init__(self, game: GameSpec) -> None:
        self._play = Play(game)
        self._home = _place(self._play)
        self._path = list(solution(game))
        self._plan = list(self._path)
        self._behind: list[str] = []  # executed, and not yet in the expert's own play
        self._off = False

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed command; what it does is seen in the expert's own play, once that matters."""
        self._behind.append(action)
        if not self._off and self._plan[:1] == [action]:
            del self._plan[0]
        elif action not in (_LOOK, "inventory", "task"):
            self._off = True

    def decide(self) -> Decision:
        """Return the next thought and command."""
        if self._off:
            self._find_back()
        if not self._plan:
            return Decision("There is nothing left to do; I look around.", _LOOK)
        command = self._plan[0]
        if len(self._plan) > len(self._path):
            return Decision(f"I left the way to the solution, so first I try this: {command}.", command)
        return Decision(f"The next step towards the solution is: {command}.", command)

    def fork(self) -> Self:
        """Return an independent copy."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._play = self._play.fork()
        twin._plan, twin._behind = list(self._plan), list(self._behind)
        return twin

    def _find_back(self) -> None:
        for command in self._behind:
            self._play.step(command)
        self._behind, self._off = [], False
        if self._play.over:
            self._plan = []
            return
        best = -1
        for plan in self._plans():
            trial = self._play.fork()
            for number, command in enumerate(plan):
                trial.step(command)
                if trial.over:
                    del plan[number + 1 :]
            if trial.won or trial.best > best:
                best, self._plan = trial.best, plan
            if trial.won:
                return

    def _plans(self) -> Iterator[list[str]]:
        """Yield what could be done: the rest of the path, from several places in it."""
        done = max(0, len(self._path) - len(self._plan))
        here = _place(self._play)
        for start in dict.fromkeys([*(max(0, done - back) for back in _BACK), 0]):
            room = self._room(start)
            lead = [f"teleport to {room}"] if room != here else []
            yield [*lead, *self._path[start:]]

    def _room(self, index: int) -> str:
        """Return where the path is before one of its commands."""
        went = [found[1] for command in self._path[:index] if (found := _WENT.fullmatch(command))]
        return went[-1] if went else self._home


def _place(play: Play) -> str:
    """Return where the player is; empty where that is not said."""
    found = _HERE.match(play.look())
    return found[1] if found else ""
