"""What the history of a game lets a player say of an action before it is taken.

Rooms, ways and contents stay as they were left, since nobody else is there; so what was read once is known, and so is
what a command does that the game lists as possible. What lies behind an untried exit, in a container that was never
open, or in a text that was never read, is not.
"""

from __future__ import annotations

import re
from typing import Final, Self

from dyna_nodes.codec.thinking import MAYBE, sentences

_ROOM: Final = re.compile(r"-= (?P<name>.+?) =-")
_OPPOSITE: Final = {"north": "south", "south": "north", "east": "west", "west": "east"}
_DIRECTION: Final = re.compile(rf"\b({'|'.join(_OPPOSITE)})\b")
_EFFECT: Final = frozenset(
    ["take", "drop", "put", "insert", "close", "lock", "unlock", "eat", "cook", "slice", "chop", "dice"]
)
"""Commands whose first sentence says that they did what they are for."""
_REVEALING: Final = ", revealing "
_RECIPE: Final = "Ingredients:"
"""Stands in what the cookbook says."""


class KnownGame:
    """What a player knows of a game, from its texts alone.

    Args:
        opening: The first observation.

    Attributes:
        recipe: Whether the recipe was read.
    """

    __slots__ = ("_answers", "_here", "_opened", "_rooms", "_ways", "recipe")

    def __init__(self, opening: str) -> None:
        self._here = ""
        self._rooms: dict[str, frozenset[str]] = {}  # room to what was last read there
        self._ways: dict[tuple[str, str], str] = {}  # room and direction to the room behind
        self._opened: frozenset[str] = frozenset()
        self._answers: dict[str, frozenset[str]] = {}  # other commands to what they last answered
        self.recipe = False
        self._enter(opening)

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed command."""
        verb, _, rest = action.partition(" ")
        before = self._here
        if verb in ("go", "look"):
            if self._enter(observation) and verb == "go" and rest in _OPPOSITE:
                self._ways[before, rest] = self._here
                self._ways[self._here, _OPPOSITE[rest]] = before
        elif verb == "open" and observation.startswith("You open "):
            self._opened |= {rest}
        else:
            self._answers[action] = frozenset(sentences(observation))
        self.recipe |= _RECIPE in observation

    def foreseen(self, action: str, outcome: str, wanted: str = "") -> str:
        """Return what the history lets one say of an outcome.

        Args:
            action: A command that is possible now.
            outcome: What it does, all of it, as a fork shows.
            wanted: What is looked for; where something new is going to be seen it is hoped for.

        Returns:
            Sentences of the outcome that the history determines, else a hypothesis; empty where nothing can be said.
        """
        verb, _, rest = action.partition(" ")
        said = sentences(outcome)
        if verb == "go":
            room = self._ways.get((self._here, rest))
            return _hope(wanted) if room is None else _known(said, self._rooms[room])
        if verb == "look":
            return _known(said, self._rooms.get(self._here, frozenset()))
        if verb == "open" and not self._is_familiar(rest):
            return _hope(wanted)
        if verb in _EFFECT or verb == "open" or (verb == "prepare" and self.recipe):
            return said[0] if said else ""
        if verb == "inventory" and action in self._answers:
            return " ".join(said)  # whoever has looked once keeps track of what is carried
        return _known(said, self._answers.get(action, frozenset()))

    def fork(self) -> Self:
        """Return an independent copy."""
        twin = type(self).__new__(type(self))
        twin._here, twin._opened, twin.recipe = self._here, self._opened, self.recipe
        twin._rooms, twin._ways, twin._answers = dict(self._rooms), dict(self._ways), dict(self._answers)
        return twin

    def _enter(self, text: str) -> bool:
        """Take in the description of a room; return whether the text has one."""
        found = _ROOM.search(text)
        if found is None:
            return False
        self._here = found["name"]
        self._rooms[self._here] = frozenset(sentences(text[found.start() :]))
        return True

    def _is_familiar(self, thing: str) -> bool:
        """Tell whether opening a thing shows nothing new: it was open before, or is the door to somewhere."""
        named = re.compile(rf"\b{re.escape(thing)}\b")
        here = self._rooms.get(self._here, frozenset())
        return thing in self._opened or any(named.search(s) and _DIRECTION.search(s) for s in here)


def says_it_works(action: str, sentence: str) -> bool:
    """Tell whether a sentence of an outcome says no more than that a command does what it is for."""
    verb = action.partition(" ")[0]
    return sentence.startswith("You ") and (
        verb in _EFFECT or (verb == "open" and _REVEALING not in sentence)
    )


def _known(said: list[str], read: frozenset[str]) -> str:
    return " ".join(s for s in said if s in read and any(c.isalnum() for c in s))


def _hope(wanted: str) -> str:
    return f"{MAYBE}the {wanted}." if wanted else ""
