"""The detours that reasoning models take, drawn by a distribution that was fixed before any policy was trained on it.

Detours say what is true and known and lead nowhere: the shortest thinking has none. How many there are, and of which
kind, is ours, so the ratio of long to short thinking proves nothing about a reasoning model; the distribution's
digest stands in the manifest of every collection that a teacher played in.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from dyna_training.environments.alfworld.experts import SearchingExpert
from dyna_training.environments.alfworld.knowledge import KnownWorld
from dyna_training.environments.alfworld.refusals import refusal
from dyna_training.environments.alfworld.task import Task, kind
from dyna_training.teachers.candidates import promising
from dyna_training.teachers.outcomes import is_impossible

NUMBER: Final = {1: 0.1, 2: 0.3, 3: 0.35, 4: 0.2, 5: 0.05}
"""Number of detours of a turn to its share of turns."""
KINDS: Final = {
    "restate": 0.16,
    "recap": 0.2,
    "recheck": 0.16,
    "return": 0.16,
    "false start": 0.12,
    "doubt": 0.08,
    "plan": 0.12,
}
"""Kind of detour to its share, among those that have something to say."""
LATE: Final = frozenset({"return", "plan"})
"""Kinds that come after the simulations."""
RECALLED: Final = 3
"""So many places are recalled in a recap."""


@dataclass(frozen=True)
class Scene:
    """What a detour may speak of.

    Attributes:
        expert: The expert with the history so far.
        chosen: The action that is decided on.
        others: The other candidates, with what they are imagined to do.
        wanted: Kind of object that is looked for.
    """

    expert: SearchingExpert
    chosen: str
    others: tuple[tuple[str, str], ...]
    wanted: str | None


def detours(scene: Scene, rng: random.Random) -> list[tuple[str, str]]:
    """Draw the detours of a turn; each kind at most once.

    Returns:
        Pairs of kind and line, fewer where there is not as much to say.
    """
    lines = {name: line for name, write in _WRITERS.items() if (line := write(scene, rng))}
    drawn: list[tuple[str, str]] = []
    for _ in range(rng.choices(list(NUMBER), list(NUMBER.values()))[0]):
        left = [name for name in lines if name not in {n for n, _ in drawn}]
        if not left:
            break
        name = rng.choices(left, [KINDS[n] for n in left])[0]
        drawn.append((name, lines[name]))
    return drawn


def steps_of(task: Task) -> str:
    """Say what a task asks for, step by step."""
    if task.task_type == "look_at_obj_in_light":
        return f"find a {task.object}, take it, find a {task.target}, turn it on"
    verb = {
        "pick_clean_then_place_in_recep": "clean it with a sinkbasin, ",
        "pick_heat_then_place_in_recep": "heat it with a microwave, ",
        "pick_cool_then_place_in_recep": "cool it with a fridge, ",
    }.get(task.task_type, "")
    again = ", then the same with a second one" if task.task_type == "pick_two_obj_and_place" else ""
    return f"find a {task.object}, take it, {verb}put it in a {task.target}{again}"


def _restate(scene: Scene, rng: random.Random) -> str:
    opening = rng.choice(("Let me read the task again", "What was the task", "The task once more"))
    return f"{opening}: {steps_of(scene.expert.task)}."


def _recap(scene: Scene, rng: random.Random) -> str:
    world = scene.expert.world
    seen = [place for place in world.receptacles if place in world.contents]
    if not seen:
        return f"I have seen nothing yet; there are {len(world.receptacles)} places here."
    recalled = seen if len(seen) <= RECALLED else sorted(rng.sample(seen, RECALLED), key=seen.index)
    return f"What I have seen so far: {'; '.join(_contents(world, place) for place in recalled)}."


def _contents(world: KnownWorld, place: str) -> str:
    things = world.contents[place]
    more = " and more" if len(things) > RECALLED else ""
    return f"{place}: {', '.join(things[:RECALLED]) or 'nothing'}{more}"


def _recheck(scene: Scene, rng: random.Random) -> str:
    world = scene.expert.world
    place = f"at {world.here}" if world.here else "in the middle of the room"
    held = f"hold the {world.holding}" if world.holding else "hold nothing"
    opening = rng.choice(("Let me check that again", "Hold on", "Hmm, where was I"))
    return f"{opening}: I am {place} and {held}."


def _return(scene: Scene, rng: random.Random) -> str:
    if not scene.others:
        return ""
    action, outcome = rng.choice(scene.others)
    opening = rng.choice(("Or should I", "Perhaps I should", "But what if I"))
    if is_impossible(scene.expert.world, action):
        return f"{opening} {action} after all? No, {refusal(scene.expert.world, action)}."
    return f"{opening} {action} after all? {outcome} No, that does not help as much."


def _false_start(scene: Scene, rng: random.Random) -> str:
    world, wanted = scene.expert.world, scene.wanted or scene.expert.wanted
    if world.holding is None:
        places = [r for r in world.receptacles if r in world.contents]
        empty = [r for r in places if wanted not in {kind(t) for t in world.contents[r]}]
        if not empty:
            return ""
        place = rng.choice(empty)
        return f"I take the {wanted} from {place}. Oh no, I saw no {wanted} there."
    return f"I look for a {kind(world.holding)}. Oh no, I hold the {world.holding} already."


def _doubt(scene: Scene, rng: random.Random) -> str:
    task = scene.expert.task
    tool = {
        "pick_clean_then_place_in_recep": ("clean", "sinkbasin"),
        "pick_heat_then_place_in_recep": ("hot", "microwave"),
        "pick_cool_then_place_in_recep": ("cool", "fridge"),
    }.get(task.task_type)
    if tool is None:
        return f"Does the {task.object} have to be anything else than found? No, the task does not say so."
    return f"How does a {task.object} become {tool[0]}? A {tool[1]} does that; I have to hold it and stand there."


def _plan(scene: Scene, rng: random.Random) -> str:
    world, task = scene.expert.world, scene.expert.task
    left = (
        [place for place in promising(world, scene.wanted) if place not in scene.chosen]
        if scene.wanted
        else []
    )
    if left:
        return f"If that fails, {len(left)} places are left to search, {', '.join(left[:RECALLED])} first."
    return f"The {world.holding} goes to a {task.target} in the end." if world.holding else ""


_WRITERS: Final[dict[str, Callable[[Scene, random.Random], str]]] = {
    "restate": _restate,
    "recap": _recap,
    "recheck": _recheck,
    "return": _return,
    "false start": _false_start,
    "doubt": _doubt,
    "plan": _plan,
}
