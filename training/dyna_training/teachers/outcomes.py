"""What an action will do, in the words of the environment: from the history, or from a fork.

The history arm says as certain what the history determines, and the success of a command that the history does not
rule out: going to a place succeeds unless the place is known to be here. What a first look will show is unknown; a
search may hope for what it is after (`MAYBE`), where that is likely enough.
"""

from __future__ import annotations

from typing import Final

from dyna_nodes.codec.thinking import MAYBE, sentences
from dyna_training.environments.alfworld.knowledge import KnownWorld
from dyna_training.environments.alfworld.priors import search_prior
from dyna_training.environments.alfworld.statistics import statistics
from dyna_training.environments.alfworld.task import kind, split_command
from dyna_training.environments.alfworld.text import NOTHING_HAPPENS
from dyna_training.environments.alfworld.tracking import named_things, success_text
from dyna_training.environments.base import ForkableEnv

HOPE: Final = 0.15
"""A search says what it hopes to see where `search_prior` promises at least this."""
LISTED: Final = 3
"""A known receptacle with more things than this is not listed in a simulation."""


def expected(world: KnownWorld, action: str, wanted: str | None) -> str:
    """Return what the history lets one expect of an action.

    Args:
        world: What the history tells.
        action: The command.
        wanted: Kind of object that is being searched for.

    Returns:
        Sentences; empty where nothing can be said.
    """
    known = world.predict(action)
    if known is not None:
        return _shortened(known, wanted)
    verb, first, second = split_command(action)
    seen = world.description(first) if verb == "go" else None
    if seen is not None:
        # Whether the place is another one than here may be open; what is there is not.
        return _shortened(f"{success_text(verb, first)} {seen}", wanted)
    said = [sentence] if (sentence := success_text(verb, first, second)) else []
    if verb == "go" and has_door(first):
        said.append(f"The {first} is closed.")
    elif verb == "open":
        said.append(f"The {first} is open.")
    if verb in ("go", "open", "examine") and wanted and f"The {first} is closed." not in said:
        likely = search_prior().get(wanted, {}).get(kind(first), 0.0) >= HOPE
        if likely or not said:
            said.append(f"{MAYBE}a {wanted}.")
    return " ".join(said)


def shown(env: ForkableEnv, action: str) -> str:
    """Return what an action really does, from a fork."""
    observation, *_ = env.fork().step(action)
    return " ".join(observation.split())


def has_door(receptacle: str) -> bool:
    """Return whether receptacles of this kind have a door in every game, such as a fridge."""
    shares = [
        share
        for room in statistics().rooms.values()
        for name, share in room.openable.items()
        if name.lower() == kind(receptacle)
    ]
    return bool(shares) and min(shares) == 1.0


def is_impossible(world: KnownWorld, action: str) -> bool:
    """Return whether the history tells that an action does nothing."""
    return world.predict(action) == NOTHING_HAPPENS


def _shortened(observation: str, wanted: str | None) -> str:
    """Leave out long listings; what is wanted in them is hoped for, which is true as well."""
    said = []
    for sentence in sentences(observation):
        if sentence.count(" a ") > LISTED:
            found = [name for name in named_things(sentence) if kind(name) == wanted]
            said += [f"{MAYBE}a {name}." for name in found[:1]]
        else:
            said.append(sentence)
    return " ".join(said)
