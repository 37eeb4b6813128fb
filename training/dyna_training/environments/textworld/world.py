"""A game's facts, as a world of rooms with exits and things in places, by the names that the player reads.

TextWorld states facts as propositions over ids: ``north_of(r_1, r_0)``, ``on(f_0, s_1)``, ``closed(d_0)``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

PLAYER: Final = "P"
INVENTORY: Final = "I"
_DIRECTIONS: Final = ("north", "east", "south", "west")
_HOLDS: Final = frozenset({"at", "on", "in"})
_CLOSED: Final = frozenset({"closed", "locked"})


class Exit(NamedTuple):
    """A way out of a room.

    Attributes:
        direction: Where to.
        room: Id of the room behind it.
        door: Id of the door in it; None where there is none.
    """

    direction: str
    room: str
    door: str | None


@dataclass(slots=True)
class World:
    """Everything that is so now.

    Attributes:
        here: Id of the room that the player is in.
        exits: Exits of each room, clockwise from north.
        place: Where each thing is: id of a room, a supporter, a container, or `INVENTORY`.
        holds: What each of them holds, sorted.
        states: Properties of each thing, such as ``closed``, ``sliced``, ``fried``.
        keys: Key to what it fits.
        recipe: Foods of the recipe, in order, with how they are to be cut and cooked.
        kitchen: Id of the room in which the meal is prepared; empty in other games.
        slots: How many more things can be carried; None without a limit.
    """

    here: str = ""
    exits: dict[str, list[Exit]] = field(default_factory=lambda: defaultdict(list))
    place: dict[str, str] = field(default_factory=dict)
    holds: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    states: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    keys: dict[str, str] = field(default_factory=dict)
    recipe: dict[str, tuple[str, str]] = field(default_factory=dict)
    kitchen: str = ""
    slots: int | None = None

    def is_closed(self, thing: str) -> bool:
        """Return whether a door or container is closed, locked or not."""
        return not _CLOSED.isdisjoint(self.states.get(thing, ()))

    def is_container(self, thing: str) -> bool:
        """Return whether a thing can be open or closed."""
        return self.is_closed(thing) or "open" in self.states.get(thing, ())

    def room_of(self, thing: str) -> str:
        """Return the room that a thing is in; that of the player for what is carried."""
        while thing in self.place:
            thing = self.place[thing]
        return self.here if thing == INVENTORY else thing

    def carried(self) -> list[str]:
        """Return what the player carries."""
        return self.holds.get(INVENTORY, [])

    def visible(self) -> list[str]:
        """Return what the player sees: what is here, on supporters, in what is open, and carried."""
        found, outer = [], [self.here, INVENTORY]
        while outer:
            place = outer.pop()
            if place != INVENTORY and self.is_closed(place):
                continue
            found += self.holds.get(place, [])
            outer += self.holds.get(place, [])
        return found


def world_of(facts: Iterable[Any]) -> World:
    """Return the world that TextWorld's facts describe."""
    world = World()
    doors: dict[tuple[str, str], str] = {}
    ways: list[tuple[str, str, str]] = []
    ingredients: dict[str, str] = {}
    free = used = 0
    for fact in sorted(facts, key=str):
        name, ids = fact.name, [v.name for v in fact.arguments]
        if name == "at" and ids[0] == PLAYER:
            world.here = ids[1]
        elif name in _HOLDS and fact.arguments[1].type not in ("RECIPE", "P"):
            world.place[ids[0]] = ids[1]
            world.holds[ids[1]].append(ids[0])
        elif name.endswith("_of") and name[:-3] in _DIRECTIONS and fact.arguments[0].type == "r":
            ways.append((ids[1], name[:-3], ids[0]))
        elif name == "link":
            doors[ids[0], ids[2]] = ids[1]
        elif name == "match":
            world.keys[ids[0]] = ids[1]
        elif name == "base":
            ingredients[ids[1]] = ids[0]
        elif name == "cooking_location":
            world.kitchen = ids[0]
        elif len(ids) == 1:
            free += name == "free"
            used += name == "used"
            world.states[ids[0]].add(name)
    for room, direction, other in ways:
        world.exits[room].append(Exit(direction, other, doors.get((room, other))))
        world.exits[other].append(
            Exit(_DIRECTIONS[(_DIRECTIONS.index(direction) + 2) % 4], room, doors.get((other, room)))
        )
    for room, found in world.exits.items():
        world.exits[room] = sorted(set(found), key=lambda way: _DIRECTIONS.index(way.direction))
    for ingredient, food in sorted(ingredients.items()):
        wanted = world.states[ingredient]
        world.recipe[food] = (_one(wanted, CUTS), _one(wanted, HEATS))
    world.slots = free if free + used else None
    return world


CUTS: Final = {"chopped": "chop", "sliced": "slice", "diced": "dice"}
"""State of a cut food to the verb that leads there."""
HEATS: Final = {"fried": "stove", "roasted": "oven", "grilled": "toaster"}
"""State of a cooked food to the type of what cooks it so."""


def _one(states: set[str], wanted: Iterable[str]) -> str:
    return next((state for state in wanted if state in states), "")
