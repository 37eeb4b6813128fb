"""Gymnasium's Taxi as tables: what each command does in each of the 500 states, what is seen, and what is best."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

COMMANDS: Final = ("south", "north", "east", "west", "pickup", "dropoff")
"""In the order of gymnasium's actions."""
PLACES: Final = "RGYB"
"""In the order of gymnasium's locations; the passenger may also be at the one after the last: in the taxi."""
IN_TAXI: Final = len(PLACES)
_SIDE: Final = 5


@dataclass(frozen=True)
class Scene:
    """What a state means.

    Attributes:
        row: Row of the taxi, from 0.
        column: Column of the taxi, from 0.
        passenger: Where the passenger is, an index of `PLACES`, or `IN_TAXI`.
        destination: Where it wants to go, an index of `PLACES`.
    """

    row: int
    column: int
    passenger: int
    destination: int

    @classmethod
    def of(cls, state: int) -> Scene:
        """Return what gymnasium's number of a state means."""
        rest, destination = divmod(state, len(PLACES))
        rest, passenger = divmod(rest, len(PLACES) + 1)
        return cls(*divmod(rest, _SIDE), passenger, destination)

    @property
    def state(self) -> int:
        """Gymnasium's number of the state."""
        place = (self.row * _SIDE + self.column) * (len(PLACES) + 1) + self.passenger
        return place * len(PLACES) + self.destination


@dataclass(frozen=True)
class Rules:
    """The tables; a row for each state, in it a place for each command.

    Attributes:
        after: The next state.
        rewards: Gymnasium's reward.
        arrived: Whether the passenger was brought to its destination.
        best: The command, by its place, that is on a shortest way to the end; of states that have one.
        left: How many commands a shortest way takes.
        lines: The map of gymnasium.
    """

    after: tuple[tuple[int, ...], ...]
    rewards: tuple[tuple[float, ...], ...]
    arrived: tuple[tuple[bool, ...], ...]
    best: dict[int, int]
    left: dict[int, int]
    lines: tuple[str, ...]

    @functools.cached_property
    def texts(self) -> tuple[str, ...]:
        """What is seen in each state."""
        return tuple(self._text(Scene.of(state)) for state in range(len(self.after)))

    def _text(self, scene: Scene) -> str:
        lines = list(self.lines)
        line, place = lines[1 + scene.row], 1 + 2 * scene.column
        lines[1 + scene.row] = f"{line[:place]}T{line[place + 1 :]}"
        return "\n".join((*lines, describe(scene)))


def describe(scene: Scene) -> str:
    """Return a state in words."""
    aboard = scene.passenger == IN_TAXI
    where = "is in the taxi" if aboard else f"waits at {PLACES[scene.passenger]}"
    return (
        f"The taxi (T) is in row {scene.row + 1}, column {scene.column + 1}. "
        f"The passenger {where} and wants to go to {PLACES[scene.destination]}."
    )


@functools.cache
def rules() -> Rules:
    """Return the tables, read from gymnasium's own."""
    from gymnasium.envs.toy_text.taxi import MAP, TaxiEnv

    transitions: Any = TaxiEnv().P
    table = [[transitions[state][action][0] for action in range(len(COMMANDS))] for state in transitions]
    after = tuple(tuple(int(entry[1]) for entry in row) for row in table)
    arrived = tuple(tuple(bool(entry[3]) for entry in row) for row in table)
    best, left = _shortest(after, arrived)
    rewards = tuple(tuple(float(entry[2]) for entry in row) for row in table)
    return Rules(after, rewards, arrived, best, left, tuple(MAP))


def _shortest(
    after: tuple[tuple[int, ...], ...], arrived: tuple[tuple[bool, ...], ...]
) -> tuple[dict[int, int], dict[int, int]]:
    """Return the best command of each state and how many are left, found backwards from the end."""
    best: dict[int, int] = {}
    left: dict[int, int] = {}
    before: dict[int, list[tuple[int, int]]] = {}
    frontier: list[int] = []
    for state, row in enumerate(after):
        for action, following in enumerate(row):
            if arrived[state][action]:
                best[state], left[state] = action, 1
                frontier.append(state)
            else:
                before.setdefault(following, []).append((state, action))
    for state in frontier:
        for earlier, action in before.get(state, ()):
            if earlier not in left:
                best[earlier], left[earlier] = action, left[state] + 1
                frontier.append(earlier)
    return best, left
