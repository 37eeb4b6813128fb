"""What the history of a game tells: a tracker fed with (action, observation) pairs and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from dyna_training.environments.alfworld.engine import NOTHING_HAPPENS
from dyna_training.environments.alfworld.game import TaskType

_ITEM: Final = re.compile(r"\ba ([a-z]+ \d+)")
_AROUND: Final = re.compile(r"Looking quickly around you, you see (.*?)\.")
_FACING: Final = re.compile(r"You are facing the (.*?)\. Next to it")
_CLOSED: Final = re.compile(r"The ([a-z]+ \d+) is closed\.")
_OPEN: Final = re.compile(r"The ([a-z]+ \d+) is open\. In it, you see (.*?)\.")
_ON: Final = re.compile(r"On the ([a-z]+ \d+), you see (.*?)\.")
_TASKS: Final[tuple[tuple[re.Pattern[str], TaskType], ...]] = (
    (re.compile(r"(?:look at|examine the) (\w+) (?:under|with) the (\w+)"), "look_at_obj_in_light"),
    (re.compile(r"(?:put|find) two (\w+) (?:and put them )?in (\w+)"), "pick_two_obj_and_place"),
    (
        re.compile(r"(?:clean some|put a clean) (\w+) (?:and put it )?in (\w+)"),
        "pick_clean_then_place_in_recep",
    ),
    (re.compile(r"(?:heat some|put a hot) (\w+) (?:and put it )?in (\w+)"), "pick_heat_then_place_in_recep"),
    (re.compile(r"(?:cool some|put a cool) (\w+) (?:and put it )?in (\w+)"), "pick_cool_then_place_in_recep"),
    (re.compile(r"put (?:some|a) (\w+) (?:in|on) (\w+)"), "pick_and_place_simple"),
)


@dataclass(frozen=True, slots=True)
class Task:
    """A task sentence, understood.

    Attributes:
        task_type: One of `game.TASK_TYPES`.
        object: Wanted kind of object, for example ``mug``.
        target: Kind of receptacle it belongs in, or kind of lamp.
    """

    task_type: TaskType
    object: str
    target: str

    @classmethod
    def parse(cls, text: str) -> Task:
        """Understand a task sentence, with or without ``Your task is to: ``.

        Raises:
            ValueError: The sentence is none of the twelve that the games use.
        """
        for pattern, task_type in _TASKS:
            match = pattern.search(text)
            if match:
                return cls(task_type, match.group(1), match.group(2))
        raise ValueError(
            f"{text!r} is not an ALFWorld task; expected a sentence like 'put a clean mug in shelf.'"
        )


def kind(name: str) -> str:
    """Return the kind of a numbered name: ``mug`` for ``mug 2``."""
    return name.partition(" ")[0]


def split_with(command: str) -> tuple[str, str, str]:
    """Split a command into verb, first and second name; what is absent is an empty string."""
    verb, _, rest = command.strip().partition(" ")
    if verb == "go":
        return verb, rest[3:] if rest.startswith("to ") else "", ""
    preposition = {"take": " from ", "move": " to "}.get(verb, " with ")
    first, _, second = rest.partition(preposition)
    return verb, first, second


class KnownWorld:
    """The part of a household that the task and the executed (action, observation) pairs reveal.

    Attributes:
        receptacles: Names of all receptacles, in the order of the first observation.
        contents: What each receptacle holds, as far as it was reported and tracked since.
        opened: Whether a receptacle is open; absent for receptacles that cannot be opened or were never seen.
        here: Name of the receptacle that was last arrived at.
        holding: Name of the held object.
        states: What was done to objects: pairs (object, ``clean`` | ``hot`` | ``cool`` | ``toggled``).
        beside: Receptacles known to be at the same place as each other, by name.
        refused: Commands that did nothing, and with what in which place: (command, here, holding).
    """

    __slots__ = ("beside", "contents", "here", "holding", "opened", "receptacles", "refused", "states")

    def __init__(self, first_observation: str) -> None:
        """Start from the first observation of a game."""
        around = _AROUND.search(first_observation)
        self.receptacles: tuple[str, ...] = tuple(_ITEM.findall(around.group(1))) if around else ()
        self.contents: dict[str, tuple[str, ...]] = {}
        self.opened: dict[str, bool] = {}
        self.here: str | None = None
        self.holding: str | None = None
        self.states: frozenset[tuple[str, str]] = frozenset()
        self.beside: dict[str, frozenset[str]] = {}
        self.refused: frozenset[tuple[str, str | None, str | None]] = frozenset()

    def fork(self) -> KnownWorld:
        """Return an independent copy."""
        twin = KnownWorld.__new__(KnownWorld)
        twin.receptacles, twin.here, twin.holding = self.receptacles, self.here, self.holding
        twin.states, twin.refused = self.states, self.refused
        twin.contents, twin.opened, twin.beside = dict(self.contents), dict(self.opened), dict(self.beside)
        return twin

    def is_here(self, receptacle: str) -> bool:
        """Return whether the agent is known to be at `receptacle`."""
        return self.here is not None and (
            receptacle == self.here or receptacle in self.beside.get(self.here, frozenset())
        )

    def is_closed(self, receptacle: str) -> bool:
        """Return whether `receptacle` is known to be closed."""
        return self.opened.get(receptacle) is False

    def find(self, object_kind: str) -> list[tuple[str, str]]:
        """Return pairs (object, receptacle) of every known object of a kind, in the order of the first look."""
        return [
            (thing, receptacle)
            for receptacle in self.receptacles
            for thing in self.contents.get(receptacle, ())
            if kind(thing) == object_kind
        ]

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed action and what came back; any text is allowed for both."""
        verb, first, second = split_with(action)
        if observation.startswith(NOTHING_HAPPENS):
            self._refuse(action.strip(), verb, first)
            return
        if verb == "go" and observation.startswith("You arrive at "):
            self.here = first
        elif verb == "open":
            self.opened[first] = True
            self._mark_here(first)
        elif verb == "close":
            self.opened[first] = False
            self._mark_here(first)
        elif verb == "take":
            self._mark_here(second)
            self.holding = first
            if second in self.contents:
                self.contents[second] = tuple(thing for thing in self.contents[second] if thing != first)
        elif verb == "move":
            self._mark_here(second)
            self.holding = None
            if second in self.contents:
                self.contents[second] = in_order((*self.contents[second], first))
        elif verb == "clean":
            self._mark_here(second)
            self.states |= {(first, "clean")}
        elif verb == "heat":
            self._mark_here(second)
            self.states = (self.states - {(first, "cool")}) | {(first, "hot")}
        elif verb == "cool":
            self._mark_here(second)
            self.states = (self.states - {(first, "hot")}) | {(first, "cool")}
        elif verb == "use":
            self.states |= {(first, "toggled")}
        self._read(observation)

    def _refuse(self, command: str, verb: str, name: str) -> None:
        self.refused |= {(command, self.here, self.holding)}
        # Going is refused only to where one already is.
        if verb == "go" and name in self.receptacles:
            self._mark_here(name)

    def _mark_here(self, receptacle: str) -> None:
        if self.here is None:
            self.here = receptacle
        elif not self.is_here(receptacle):
            group = self._group(self.here) | self._group(receptacle)
            for member in group:
                self.beside[member] = group

    def _group(self, receptacle: str) -> frozenset[str]:
        return self.beside.get(receptacle, frozenset({receptacle}))

    def _read(self, observation: str) -> None:
        facing = _FACING.search(observation)
        if facing:
            for name in re.findall(r"[a-z]+ \d+", facing.group(1)):
                self._mark_here(name)
        for name in _CLOSED.findall(observation):
            self.opened[name] = False
        for name, items in _OPEN.findall(observation):
            self.opened[name] = True
            self.contents[name] = tuple(_ITEM.findall(items))
        for name, items in _ON.findall(observation):
            self.contents[name] = tuple(_ITEM.findall(items))


def in_order(things: tuple[str, ...]) -> tuple[str, ...]:
    """Sort names as the games list them: kinds alphabetically, numbers downwards."""
    unique = {thing: thing.split(" ") for thing in things}
    return tuple(sorted(unique, key=lambda thing: (unique[thing][0], -int(unique[thing][1]))))
