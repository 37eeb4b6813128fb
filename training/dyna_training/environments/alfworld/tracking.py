"""Follows a game through its (action, observation) pairs and nothing else."""

from __future__ import annotations

import re
from typing import Final, Self

from dyna_training.environments.alfworld.task import Task, kind, number, split_command
from dyna_training.environments.alfworld.text import NOTHING_HAPPENS

_ITEM: Final = re.compile(r"\ba ([a-z]+ \d+)")
_NAME: Final = re.compile(r"[a-z]+ \d+")
_AROUND: Final = re.compile(r"Looking quickly around you, you see (.*?)\.")
_TASK: Final = re.compile(r"Your task is to: (.*)")
_FACING: Final = re.compile(r"You are facing the (.*?)\. Next to it")
_CLOSED: Final = re.compile(r"The ([a-z]+ \d+) is closed\.")
_OPEN: Final = re.compile(r"The ([a-z]+ \d+) is open\. In it, you see (.*?)\.")
_ON: Final = re.compile(r"On the ([a-z]+ \d+), you see (.*?)\.")
_NORMAL: Final = re.compile(r"This is a normal ([a-z]+ \d+)\.")

_SUCCESS: Final = {
    "go": "You arrive at {0}.",
    "open": "You open the {0}.",
    "close": "You close the {0}.",
    "take": "You pick up the {0} from the {1}.",
    "move": "You move the {0} to the {1}.",
    "clean": "You clean the {0} using the {1}.",
    "heat": "You heat the {0} using the {1}.",
    "cool": "You cool the {0} using the {1}.",
    "use": "You turn on the {0}.",
    "slice": "You sliced the {0} with the {1}.",
}
"""Verbs that change something, and how the observation begins when they did."""

_STATES: Final = {"clean": "clean", "heat": "hot", "cool": "cool", "use": "toggled", "slice": "sliced"}
"""Verb to the state that it brings an object into."""


class Tracker:
    """What has been seen and done so far. Forking is cheap: nothing is changed in place.

    Attributes:
        task: The task, where the first observation or the caller tells it.
        receptacles: Names of all receptacles, in the order of the first observation.
        contents: What each receptacle holds, as far as it was reported, and tracked since.
        opened: Whether a receptacle is open; absent where it cannot be opened or was never reported.
        here: Name of the receptacle that was arrived at last.
        holding: Name of the held object.
        states: Pairs (object, ``clean`` | ``hot`` | ``cool`` | ``toggled`` | ``sliced``) known to hold.
        groups: Receptacle to all receptacles known to stand at the same place, itself included.
        whole: Receptacles whose place was looked at, so that its group is complete.
        apart: Pairs of receptacles known to stand at different places.
        accepted: Pairs (kind of object, kind of receptacle) to whether it may be put there.
        was_in: Object to the receptacle it was first seen in.
        taken: Pairs (object, receptacle) of things taken and not put back.
        put: Object to the receptacle it was last put in.
        normal: Text that examining an object gave, for objects that can hold others.
        repeated: Observations since the last change, by command: they come again.
    """

    __slots__ = (
        "accepted",
        "apart",
        "contents",
        "groups",
        "here",
        "holding",
        "normal",
        "opened",
        "put",
        "receptacles",
        "repeated",
        "states",
        "taken",
        "task",
        "was_in",
        "whole",
    )

    def __init__(self, first_observation: str, task: Task | None = None) -> None:
        """Start from the first observation of a game.

        Args:
            first_observation: What `reset` returned.
            task: The task, if it is not in that text.
        """
        around, sentence = _AROUND.search(first_observation), _TASK.search(first_observation)
        self.task = task or (Task.parse(sentence.group(1)) if sentence else None)
        self.receptacles: tuple[str, ...] = tuple(_ITEM.findall(around.group(1))) if around else ()
        self.contents: dict[str, tuple[str, ...]] = {}
        self.opened: dict[str, bool] = {}
        self.here: str | None = None
        self.holding: str | None = None
        self.states: frozenset[tuple[str, str]] = frozenset()
        self.groups: dict[str, frozenset[str]] = {}
        self.whole: frozenset[str] = frozenset()
        self.apart: frozenset[frozenset[str]] = frozenset()
        self.accepted: dict[tuple[str, str], bool] = {}
        self.was_in: dict[str, str] = {}
        self.taken: frozenset[tuple[str, str]] = frozenset()
        self.put: dict[str, str] = {}
        self.normal: dict[str, str] = {}
        self.repeated: dict[str, str] = {}

    def fork(self) -> Self:
        """Return an independent copy."""
        twin = type(self).__new__(type(self))
        for name in Tracker.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    # --------------------------------------------------------------- questions

    def group(self, receptacle: str) -> frozenset[str]:
        """Return the receptacles known to stand where `receptacle` stands."""
        return self.groups.get(receptacle) or frozenset({receptacle})

    def together(self, one: str, other: str) -> bool | None:
        """Return whether two receptacles stand at the same place; None where that is not known."""
        mine, others = self.group(one), self.group(other)
        if other in mine:
            return True
        if one in self.whole or other in self.whole:
            return False
        return False if any(frozenset({a, b}) in self.apart for a in mine for b in others) else None

    def is_here(self, receptacle: str) -> bool:
        """Return whether the agent is known to be at `receptacle`."""
        return self.here is not None and receptacle in self.group(self.here)

    def is_closed(self, receptacle: str) -> bool:
        """Return whether `receptacle` is known to be closed."""
        return self.opened.get(receptacle) is False

    def find(self, object_kind: str) -> list[tuple[str, str]]:
        """Return pairs (object, receptacle) of every known object of a kind."""
        return [
            (thing, receptacle)
            for receptacle in self.receptacles
            for thing in self.contents.get(receptacle, ())
            if kind(thing) == object_kind
        ]

    # ------------------------------------------------------------- observation

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed action and what came back; any text is allowed for both."""
        command, seen = action.strip(), observation.strip()
        verb, first, second = split_command(command)
        if not seen or seen == NOTHING_HAPPENS:
            self._refuse(verb, first, second)
            self.repeated = {**self.repeated, command: NOTHING_HAPPENS}
            return
        if verb in _SUCCESS:
            self.repeated = {}
            # Anything else than the text of success comes from no game, but perhaps from a world model.
            if seen.startswith(_SUCCESS[verb].format(first, second)):
                self._change(verb, first, second)
        else:
            self.repeated = {**self.repeated, command: observation}
        self._read(seen)

    def _change(self, verb: str, first: str, second: str) -> None:
        if verb == "go":
            if self.here is not None and first not in self.group(self.here):
                self.apart |= {frozenset({self.here, first})}
            self.here = first
            return
        if verb in ("open", "close"):
            self.opened = {**self.opened, first: verb == "open"}
            self._mark_here(first)
            return
        if verb == "take":
            self._mark_here(second)
            self.holding, self.taken = first, self.taken | {(first, second)}
            left = tuple(thing for thing in self.contents.get(second, ()) if thing != first)
            self.contents = {**self.contents, second: left} if second in self.contents else self.contents
        elif verb == "move":
            self._mark_here(second)
            self.holding, self.taken = None, self.taken - {(first, second)}
            self.put = {**self.put, first: second}
            self.accepted = {**self.accepted, (kind(first), kind(second)): True}
            if second in self.contents:
                self.contents = {**self.contents, second: inserted(self.contents[second], first)}
        else:
            if second and verb != "slice":
                self._mark_here(second)
            opposite = {"heat": "cool", "cool": "hot"}.get(verb)
            kept = self.states - {(first, opposite)} if opposite else self.states
            self.states = kept | {(first, _STATES[verb])}

    def _refuse(self, verb: str, first: str, second: str) -> None:
        if self.here is None:
            return
        if verb == "go" and first in self.receptacles:
            # Going is refused only to where one already is.
            self._mark_here(first)
        elif verb == "move" and first == self.holding and self.is_here(second) and second in self.contents:
            if not self.is_closed(second):
                self.accepted = {**self.accepted, (kind(first), kind(second)): False}
        elif verb == "cool" and first == self.holding and kind(second) == "fridge" and self.is_here(second):
            # Cooling is refused to what is cold for good, and to what can never be cooled.
            self.states |= {(first, "cool")}

    def _mark_here(self, receptacle: str) -> None:
        if self.here is None:
            self.here = receptacle
        elif not self.is_here(receptacle):
            group = self.group(self.here) | self.group(receptacle)
            self.groups = {**self.groups, **dict.fromkeys(group, group)}

    def _read(self, observation: str) -> None:
        facing = _FACING.search(observation)
        if facing:
            for name in _NAME.findall(facing.group(1)):
                self._mark_here(name)
            if self.here is not None:
                self.whole |= self.group(self.here)
        for name in _CLOSED.findall(observation):
            self.opened = {**self.opened, name: False}
        for name, items in _OPEN.findall(observation):
            self.opened = {**self.opened, name: True}
            self._saw(name, tuple(_ITEM.findall(items)))
        for name, items in _ON.findall(observation):
            self._saw(name, tuple(_ITEM.findall(items)))
        for name in _NORMAL.findall(observation):
            self.normal = {**self.normal, name: observation}

    def _saw(self, receptacle: str, things: tuple[str, ...]) -> None:
        if self.contents.get(receptacle) != things:
            self.contents = {**self.contents, receptacle: things}
            new = {thing: receptacle for thing in things if thing not in self.was_in}
            self.was_in = {**self.was_in, **new}


def success_text(verb: str, first: str, second: str = "") -> str:
    """Return how the observation of a command that changes something begins when it did; empty for other verbs."""
    return _SUCCESS[verb].format(first, second) if verb in _SUCCESS else ""


def named_things(text: str) -> list[str]:
    """Return the numbered things that a text lists with an article, as observations do."""
    return _ITEM.findall(text)


def inserted(things: tuple[str, ...], thing: str) -> tuple[str, ...]:
    """Insert a name where the games list it: kinds alphabetically, numbers downwards."""
    if thing in things:
        return things

    def key(name: str) -> tuple[str, int]:
        return kind(name), -number(name)

    position = next((i for i, other in enumerate(things) if key(other) > key(thing)), len(things))
    return (*things[:position], thing, *things[position:])
