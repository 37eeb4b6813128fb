"""Why a command of ALFWorld does nothing, in a clause, from the history before it."""

from __future__ import annotations

from typing import Final

from dyna_training.environments.alfworld.knowledge import (
    CLEANABLE,
    COOLABLE,
    FIXED,
    HEATABLE,
    LAMPS,
    SLICEABLE,
    KnownWorld,
)
from dyna_training.environments.alfworld.task import kind, split_command

APPLIANCES: Final = {"clean": "sinkbasin", "heat": "microwave", "cool": "fridge"}
"""Verb to the kind of receptacle that does it in every room that has one."""
_WORKS_ON: Final = {"clean": CLEANABLE, "heat": HEATABLE, "cool": COOLABLE}
_DONE: Final = {"clean": "cleaned", "heat": "heated", "cool": "cooled"}


def refusal(world: KnownWorld, action: str) -> str:
    """Say why a command that did nothing, or will do nothing, does so.

    Args:
        world: What the history before the command tells.
        action: The command.

    Returns:
        A clause without a capital letter and a full stop, such as ``there is no shelf 9 here``.
    """
    verb, first, second = split_command(action)
    if verb == "go":
        return _missing(world, first) or f"I am at {first} already"
    if verb in ("open", "close"):
        return _far(world, first) or _door(world, verb, first)
    if verb == "take":
        return _far(world, second) or _take(world, first, second)
    if verb == "move":
        return _not_held(world, first) or _far(world, second) or _move(world, first, second)
    if verb in APPLIANCES:
        return _not_held(world, first) or _far(world, second) or _prepare(verb, first, second)
    if verb == "use":
        return f"there is no {first} here" if kind(first) in LAMPS else f"the {first} cannot be turned on"
    if verb == "slice":
        if kind(first) not in SLICEABLE:
            return f"the {first} cannot be sliced"
        return _not_held(world, second) or f"there is no {first} to slice here"
    if verb == "examine":
        known = first in world.receptacles
        return f"I am not at {first}" if known else f"there is no {first or 'such thing'} at hand"
    return f"{verb or 'that'} is no command here"


def where(world: KnownWorld, receptacle: str) -> str:
    """Return ``in`` for a receptacle with a door and ``on`` for others, as the games say it."""
    return "in" if receptacle in world.opened else "on"


def _missing(world: KnownWorld, receptacle: str) -> str:
    if not receptacle:
        return "no place is named"
    return "" if receptacle in world.receptacles else f"there is no {receptacle} here"


def _far(world: KnownWorld, receptacle: str) -> str:
    if missing := _missing(world, receptacle):
        return missing
    # Places that are not known to stand together seldom do.
    return "" if world.is_here(receptacle) else f"I am not at {receptacle}"


def _not_held(world: KnownWorld, thing: str) -> str:
    return "" if thing == world.holding else f"I do not hold the {thing}" if thing else "nothing is named"


def _door(world: KnownWorld, verb: str, receptacle: str) -> str:
    opened = world.opened.get(receptacle)
    if verb == "open":
        return f"{receptacle} is open already" if opened else f"{receptacle} cannot be opened"
    return f"{receptacle} is not open"


def _take(world: KnownWorld, thing: str, receptacle: str) -> str:
    if world.holding is not None:
        return f"I hold the {world.holding} already"
    if world.is_closed(receptacle):
        return f"{receptacle} is closed"
    if kind(thing) in FIXED:
        return f"the {thing} cannot be carried"
    return f"there is no {thing} {where(world, receptacle)} {receptacle}"


def _move(world: KnownWorld, thing: str, receptacle: str) -> str:
    if world.is_closed(receptacle):
        return f"{receptacle} is closed"
    return f"the {thing} cannot be put {where(world, receptacle)} {receptacle}"


def _prepare(verb: str, thing: str, receptacle: str) -> str:
    if kind(thing) not in _WORKS_ON[verb]:
        return f"a {kind(thing)} cannot be {_DONE[verb]}"
    if kind(receptacle) != APPLIANCES[verb]:
        return f"{receptacle} cannot {verb} things"
    return f"the {thing} is cold already" if verb == "cool" else f"{receptacle} does not work"
