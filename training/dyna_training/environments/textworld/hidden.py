"""The hidden state of a game as compact text, for the privileged context of a world model.

    at: kitchen
    kitchen: fridge, counter, and stove
    kitchen exits: north corridor, and east pantry by plain door (closed)
    fridge (closed): carrot, and red onion
    holding: knife
    red potato: uncut, and needs cooking
    recipe: red potato (diced, roasted)
    old key: fits wooden door

As in other environments' hidden states, lists have ``and`` before the last thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from dyna_training.environments.textworld.world import INVENTORY, World, world_of

_SAID_ELSEWHERE: Final = frozenset(
    {"open", "closed", "locked", "cuttable", "cookable", "sharp", "free", "used"}
)
_OPENNESS: Final = ("open", "closed", "locked")


def hidden_state(facts: Iterable[Any], infos: Mapping[str, Any]) -> str:
    """Describe what is where, what is open, what fits what, and the recipe.

    Args:
        facts: TextWorld's facts.
        infos: The game's ``infos``, which have the names.
    """
    world = world_of(facts)
    lines = [f"at: {infos[world.here].name}"]
    for room in sorted(world.exits.keys() | {world.here}, key=lambda room: _number(infos[room].id)):
        lines.append(f"{infos[room].name}: {_listed(infos[x].name for x in world.holds.get(room, ()))}")
        if ways := [_way(world, infos, *way) for way in world.exits.get(room, ())]:
            lines.append(f"{infos[room].name} exits: {_listed(ways)}")
    for place, things in sorted(world.holds.items()):
        if place != INVENTORY and place not in world.exits and place != world.here:
            lines.append(
                f"{infos[place].name}{_openness(world, place)}: {_listed(infos[t].name for t in things)}"
            )
    lines += [
        f"{infos[place].name}{_openness(world, place)}: nothing"
        for place in sorted(world.place)
        if world.is_container(place) and not world.holds.get(place)
    ]
    lines.append(f"holding: {_listed(infos[t].name for t in world.carried())}")
    lines += _states(world, infos)
    if world.recipe:
        foods = [
            f"{infos[food].name} ({', '.join(filter(None, how)) or 'as it is'})"
            for food, how in world.recipe.items()
        ]
        lines.append(f"recipe: {_listed(foods)}")
    lines += [f"{infos[key].name}: fits {infos[lock].name}" for key, lock in sorted(world.keys.items())]
    return "\n".join(lines)


def _states(world: World, infos: Mapping[str, Any]) -> list[str]:
    lines = []
    for thing in sorted(world.place):
        told = sorted(
            s.replace("_", " ")
            for s in world.states.get(thing, set()) - _SAID_ELSEWHERE
            if not s.startswith("ingredient")
        )
        if told:
            lines.append(f"{infos[thing].name}: {_listed(told)}")
    return lines


def _way(world: World, infos: Mapping[str, Any], direction: str, room: str, door: str | None) -> str:
    by = f" by {infos[door].name}{_openness(world, door)}" if door else ""
    return f"{direction} {infos[room].name}{by}"


def _openness(world: World, thing: str) -> str:
    found = next((state for state in _OPENNESS if state in world.states.get(thing, ())), "")
    return f" ({found})" if found else ""


def _number(id: str) -> tuple[str, int]:
    sort, _, number = id.rpartition("_")
    return sort, int(number) if number.isdecimal() else -1


def _listed(names: Iterable[str]) -> str:
    found = list(names)
    if len(found) > 1:
        found[-1] = f"and {found[-1]}"
    return ", ".join(found) or "nothing"
