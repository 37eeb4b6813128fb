"""Draws a new household and a task from the counts of the official ones (`statistics`)."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from dyna_training.environments.alfworld.game import TaskType
from dyna_training.environments.alfworld.statistics import FLOOR, Histogram, Room, statistics

APPLIANCE: Final[dict[TaskType, str]] = {
    "pick_clean_then_place_in_recep": "SinkBasin",
    "pick_heat_then_place_in_recep": "Microwave",
    "pick_cool_then_place_in_recep": "Fridge",
}
"""Task type to the kind of receptacle that prepares the object."""

_BASINS: Final = {"SinkBasin": "Sink", "BathtubBasin": "Bathtub"}
"""A basin is written with the name of what it belongs to in front."""


@dataclass(slots=True)
class Thing:
    """A receptacle or an object.

    Attributes:
        id: Name in the problem file.
        kind: Such as ``CounterTop`` or ``Mug``.
        location: Where one stands to reach it.
        openable: Whether it has a door (receptacles only).
        held_by: The receptacles that list it (objects only); none for what is on the floor.
        cold: Whether it is cold at the start.
    """

    id: str
    kind: str
    location: str
    openable: bool = False
    held_by: list[Thing] = field(default_factory=list)
    cold: bool = False


@dataclass(slots=True)
class Household:
    """A furnished room with a task.

    Attributes:
        room: Kitchen, living room, bedroom or bathroom.
        task_type: One of `game.TASK_TYPES`.
        object_kind: Kind of the wanted object.
        target_kind: Kind of the receptacle it belongs in, or of the lamp.
        start: Location of the agent.
        receptacles: All receptacles.
        objects: All objects.
        inside: Pairs (inner, outer) of objects in objects.
    """

    room: str
    task_type: TaskType
    object_kind: str
    target_kind: str
    start: str
    receptacles: list[Thing] = field(default_factory=list)
    objects: list[Thing] = field(default_factory=list)
    inside: list[tuple[Thing, Thing]] = field(default_factory=list)


def draw(generator: random.Random, task_type: TaskType) -> Household:
    """Draw a household for a task; it may turn out unsolvable in rare cases.

    Args:
        generator: Source of randomness.
        task_type: What the task is to be.
    """
    rooms = statistics().rooms
    weights = {name: sum(room.tasks.get(task_type, {}).values()) for name, room in rooms.items()}
    name = _pick(generator, weights)
    wanted, target = _pick(generator, rooms[name].tasks[task_type]).split(" ")
    builder = _Builder(generator, rooms[name], name, task_type, wanted, target)
    builder.furnish()
    builder.fill()
    return builder.household


class _Builder:
    def __init__(
        self, generator: random.Random, room: Room, name: str, task_type: TaskType, wanted: str, target: str
    ) -> None:
        self.random = generator
        self.room = room
        self.used: set[str] = set()
        self.household = Household(name, task_type, wanted, target, start=self._location())
        self.light = task_type == "look_at_obj_in_light"

    # ------------------------------------------------------------- receptacles

    def furnish(self) -> None:
        """Place the receptacles: as many of each kind as some official room has, and what the task needs."""
        task = self.household
        numbers = {kind: int(_pick(self.random, counts)) for kind, counts in self.room.receptacles.items()}
        needed = [APPLIANCE.get(task.task_type), None if self.light else task.target_kind]
        if self.light and not any(numbers.get(kind) for kind in self._places(task.target_kind)):
            needed.append(_pick(self.random, self._places(task.target_kind)))
        for kind in filter(None, needed):
            numbers[kind] = max(1, numbers.get(kind, 0))
        kinds = [kind for kind, number in numbers.items() for _ in range(number)]
        self.random.shuffle(kinds)
        for kind in kinds:
            openable = self.random.random() < self.room.openable.get(kind, 0.0)
            location = self._shared_location(kind) or self._location()
            task.receptacles.append(Thing(self._id(kind), kind, location, openable))

    def _shared_location(self, kind: str) -> str | None:
        """Return the location of a receptacle that this one stands with, if it does not stand alone."""
        partner = _pick(self.random, self.room.together.get(kind, {"alone": 1}))
        # Of two that stand together, one is placed first: so about half of those that could share do.
        options = [r.location for r in self.household.receptacles if r.kind == partner]
        crowd = Counter(r.location for r in self.household.receptacles)
        options = [location for location in options if crowd[location] < 3]
        return self.random.choice(options) if options else None

    # ----------------------------------------------------------------- objects

    def fill(self) -> None:
        """Place the objects; those of the wanted kind not where the task wants them."""
        task = self.household
        numbers = {kind: int(_pick(self.random, counts)) for kind, counts in self.room.objects.items()}
        needed = 2 if task.task_type == "pick_two_obj_and_place" else 1
        numbers[task.object_kind] = max(needed, numbers.get(task.object_kind, 0))
        if self.light:
            numbers[task.target_kind] = max(1, numbers.get(task.target_kind, 0))
        for kind in sorted(numbers):
            for index in range(numbers[kind]):
                self._place(kind, certain=kind in (task.object_kind, task.target_kind) and index < needed)
        self._nest()

    def _places(self, kind: str) -> Histogram:
        return {place: count for place, count in self.room.places[kind].items() if place != FLOOR}

    def _place(self, kind: str, *, certain: bool) -> None:
        task = self.household
        there = {receptacle.kind for receptacle in task.receptacles}
        places = self._places(kind) if certain else self.room.places[kind]
        options = {place: count for place, count in places.items() if place in there or place == FLOOR}
        if kind == task.object_kind:
            options.pop(task.target_kind, None)
        if not options:
            others = sorted(there - {task.target_kind})
            options = {self.random.choice(others): 1} if certain else {FLOOR: 1}
        place = _pick(self.random, options)
        if place == FLOOR:
            task.objects.append(Thing(self._id(kind), kind, self._location()))
            return
        receptacle = self.random.choice([r for r in task.receptacles if r.kind == place])
        thing = Thing(self._id(kind), kind, receptacle.location, held_by=[receptacle])
        if place == "Fridge" and kind in statistics().properties["coolable"]:
            done = task.task_type == "pick_cool_then_place_in_recep" and kind == task.object_kind
            thing.cold = not done and self.random.random() < self.room.cold
        second = self._second(receptacle)
        if second is not None and kind != task.object_kind:
            thing.held_by.append(second)
            thing.location = self.random.choice(thing.held_by).location
        task.objects.append(thing)

    def _second(self, first: Thing) -> Thing | None:
        """Return a second receptacle that also lists what is in `first`, as often as in official games."""
        stuff = sum(counts.get(first.kind, 0) for counts in self.room.places.values())
        partners = {
            other: count
            for pair, count in self.room.twice.items()
            for kind, other in (pair.split(" "),)
            if kind == first.kind
        }
        options = [r for r in self.household.receptacles if r is not first and r.kind in partners]
        if not options or self.random.random() >= sum(partners.values()) / stuff:
            return None
        return self.random.choice(options)

    def _nest(self) -> None:
        """Put some objects into others that lie in the same receptacle."""
        task = self.household
        pairs = self.room.inside
        if self.random.random() >= sum(pairs.values()) / self.room.games:
            return
        found = [
            (inner, outer)
            for outer in task.objects
            for inner in task.objects
            if inner is not outer
            and inner.held_by
            and inner.held_by == outer.held_by
            and f"{outer.kind} {inner.kind}" in pairs
            and task.object_kind not in (inner.kind, outer.kind)
        ]
        if found:
            task.inside.append(self.random.choice(found))

    # ------------------------------------------------------------------- names

    def _id(self, kind: str) -> str:
        """Make up an id as the official files have it: kind and coordinates in metres."""
        while True:
            x, y, z = (self.random.uniform(low, high) for low, high in ((-4, 4), (0, 2.2), (-4, 4)))
            name = "_bar_".join((_BASINS.get(kind, kind), *map(_coordinate, (x, y, z))))
            name += f"_bar_{kind}" if kind in _BASINS else ""
            if name not in self.used:
                self.used.add(name)
                return name

    def _location(self) -> str:
        while True:
            numbers = (self.random.randint(-12, 12), self.random.randint(-12, 12), self.random.randrange(4))
            parts = (*numbers, self.random.choice((-30, 0, 15, 30, 45, 60)))
            name = "loc_bar_" + "_bar_".join(f"_minus_{-n}" if n < 0 else str(n) for n in parts)
            if name not in self.used:
                self.used.add(name)
                return name


def _coordinate(value: float) -> str:
    digits = f"{abs(value):05.2f}".replace(".", "_dot_")
    return f"_{'minus' if value < 0 else 'plus'}_{digits}"


def _pick(generator: random.Random, counts: Histogram) -> str:
    names = sorted(counts)
    return generator.choices(names, [counts[name] for name in names])[0]
