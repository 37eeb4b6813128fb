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
BETWEEN_THINGS: Final = re.compile(r" (from|with|into|on) ")
"""Stands between what a command is about and what it is done with."""
_DONE: Final = {
    **{
        verb: f"You {verb}"
        for verb in ("drop", "put", "close", "open", "lock", "unlock", "eat", "slice", "chop", "dice")
    },
    "take": "You (?:take|pick up)",
    "insert": "You put",
    "cook": "You (?:fried|roasted|grilled|burned)",
    "prepare": "Adding",
}
"""Verb to how the sentence begins that says that a command did what it is for."""
_COOKED: Final = "(?:raw|fried|roasted|grilled|burned)(?: the)?(?: (?:sliced|chopped|diced))?"
"""Stands before a food where the game tells whether it is cooked; it does not always, and then nobody can know what
cooking it will do."""
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

    __slots__ = ("_answers", "_here", "_read", "_rooms", "_ways", "recipe")

    def __init__(self, opening: str) -> None:
        self._here = ""
        self._read = opening
        self._rooms: dict[str, frozenset[str]] = {}  # room to what was last read there
        self._ways: dict[tuple[str, str], str] = {}  # room and direction to the room behind
        self._answers: dict[str, frozenset[str]] = {}  # other commands to what they last answered
        self.recipe = False
        self._enter(opening)

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed command."""
        verb, _, rest = action.partition(" ")
        before = self._here
        said = sentences(observation)
        if not self._enter(observation):
            if verb != "open" or any(says_it_works(action, s, revealing=True) for s in said):
                self._answers[action] = frozenset(said)
        elif verb == "go" and rest in _OPPOSITE:
            self._ways[before, rest] = self._here
            self._ways[self._here, _OPPOSITE[rest]] = before
        if verb in _DONE and verb != "open":
            self._answers.pop("inventory", None)
        self.recipe |= _RECIPE in observation
        self._read += f"\n{observation}"

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
        known = _known(said, self._answers.get(action, frozenset()))
        if verb not in _DONE or (verb == "open" and known):
            return known
        return said[0] if said and self._can_tell(verb, rest) and says_it_works(action, said[0]) else ""

    def fork(self) -> Self:
        """Return an independent copy."""
        twin = type(self).__new__(type(self))
        twin._here, twin._read, twin.recipe = self._here, self._read, self.recipe
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
        door = re.compile(rf"\b{re.escape(thing)} leading (?:{'|'.join(_OPPOSITE)})\b")
        here = self._rooms.get(self._here, frozenset())
        return f"open {thing}" in self._answers or any(map(door.search, here))

    def _can_tell(self, verb: str, rest: str) -> bool:
        """Tell whether what a possible command does depends on nothing that was never read."""
        if verb == "prepare":
            return self.recipe
        if verb != "cook":
            return True
        food = re.escape(thing_of(rest))
        return re.search(rf"\b{_COOKED} {food}\b", self._read) is not None


def says_it_works(action: str, sentence: str, *, revealing: bool = False) -> bool:
    """Tell whether a sentence of an outcome says no more than that a command does what it is for.

    Args:
        action: The command.
        sentence: The sentence.
        revealing: Whether it may say what is in a thing that is opened.
    """
    verb, _, rest = action.partition(" ")
    if verb not in _DONE or (_REVEALING in sentence and not revealing):
        return False
    return re.match(rf"{_DONE[verb]} (?:the )?{re.escape(thing_of(rest))}\b", sentence) is not None


def thing_of(rest: str) -> str:
    """Return what a command is about, of its words after the verb: ``coin`` of ``coin from table``."""
    return BETWEEN_THINGS.split(rest)[0]


def _known(said: list[str], read: frozenset[str]) -> str:
    return " ".join(s for s in said if s in read and any(c.isalnum() for c in s))


def _hope(wanted: str) -> str:
    return f"{MAYBE}the {wanted}." if wanted else ""
