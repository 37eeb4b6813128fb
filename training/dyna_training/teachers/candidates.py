"""Which other actions a teacher considers: plausible ones, and some that it then sees to be impossible."""

from __future__ import annotations

import random
from typing import Final

from dyna_training.environments.alfworld.experts import SearchingExpert
from dyna_training.environments.alfworld.knowledge import FIXED, HEATABLE, KnownWorld
from dyna_training.environments.alfworld.priors import search_prior
from dyna_training.environments.alfworld.refusals import APPLIANCES
from dyna_training.environments.alfworld.task import kind, number
from dyna_training.teachers.outcomes import expected, is_impossible

OTHERS: Final = {1: 0.75, 2: 0.25}
"""Number of other candidates to its share of turns."""
IMPOSSIBLE: Final = 0.3
"""Share of other candidates that are impossible, where there is any."""
CHOSEN_FIRST: Final = 0.75
"""Share of turns in which the choice is the first candidate to be named; in the others its place is random. A small
student that learns to name it anywhere comes to name two others and to take one of them."""
PROMISING: Final = 4
"""So many of the most promising places are considered in a search."""


def other_candidates(
    expert: SearchingExpert, chosen: str, wanted: str | None, rng: random.Random
) -> list[str]:
    """Return other commands that are considered beside the chosen one, none twice.

    Args:
        expert: The expert with the history so far.
        chosen: Its choice.
        wanted: Kind of object that it has to get hold of or to find.
        rng: Draws them.
    """
    world = expert.world
    places = [c for c in _plausible(expert, wanted) if not is_impossible(world, c)]
    mistakes = [c for c in _mistakes(expert, wanted) if is_impossible(world, c)]
    found: list[str] = []
    for _ in range(rng.choices(list(OTHERS), list(OTHERS.values()))[0]):
        pools = [mistakes, places] if rng.random() < IMPOSSIBLE else [places, mistakes]
        for pool in pools:
            left = [c for c in pool if c != chosen and c not in found and expected(world, c, wanted)]
            if left:
                found.append(rng.choice(left))
                break
    return found


def ordered(chosen: str, others: list[str], rng: random.Random) -> list[str]:
    """Return the candidates in the order in which a turn names them."""
    options = [chosen, *others]
    if rng.random() >= CHOSEN_FIRST:
        rng.shuffle(options)
    return options


def _plausible(expert: SearchingExpert, wanted: str | None) -> list[str]:
    world, task = expert.world, expert.task
    commands = [f"go to {place}" for place in promising(world, wanted)[:PROMISING]] if wanted else []
    here, held = world.here, world.holding
    if here is not None:
        if world.is_closed(here):
            commands.append(f"open {here}")
        elif held is None:
            things = [t for t in world.contents.get(here, ()) if kind(t) not in FIXED]
            commands += [f"take {thing} from {here}" for thing in things[:3]]
        elif world.accepts(held, here):
            commands.append(f"move {held} to {here}")
    if held is not None:
        aims = {task.target, *APPLIANCES.values()}
        commands += [f"go to {place}" for place in world.receptacles if kind(place) in aims]
    commands += [f"go to {place}" for place in world.receptacles if place in world.contents][:PROMISING]
    return list(dict.fromkeys(commands))


def promising(world: KnownWorld, wanted: str) -> list[str]:
    """Return the places that were not looked into, the most promising for a kind of object first."""
    promise = search_prior().get(wanted, {})
    unseen = [r for r in world.receptacles if r not in world.contents and not world.is_here(r)]
    return sorted(unseen, key=lambda r: (-promise.get(kind(r), 0.0), kind(r), number(r)))


def _mistakes(expert: SearchingExpert, wanted: str | None) -> list[str]:
    """Return what a small policy gets wrong; commands that are possible after all may be among them."""
    world, task = expert.world, expert.task
    here, held = world.here, world.holding
    sort = kind(here) if here else kind(world.receptacles[0]) if world.receptacles else task.target
    last = max((number(r) for r in world.receptacles if kind(r) == sort), default=0)
    commands = [f"go to {sort} {last + 1}"]
    if here is not None:
        commands += [f"go to {here}", f"open {here}", f"take {wanted or task.object} 1 from {here}"]
    commands += [f"take {thing} from {place}" for thing, place in world.find(task.object)]
    if held is not None:
        commands += [f"move {held} to {place}" for place in world.receptacles if kind(place) == task.target]
        verb = "heat" if kind(held) in HEATABLE else "clean"
        commands += [
            f"{verb} {held} with {place}" for place in world.receptacles if kind(place) == APPLIANCES[verb]
        ]
    return list(dict.fromkeys(commands))
