"""New households in the official file format, for demos, tests and more training data.

What a household holds is drawn from counts of the training games (`household`); every game is solvable: its
walkthrough was played on the engine before it is handed out. The files also load in the original package.

Example:
    >>> game = generate(seed=7)
    >>> game.task_type in TASK_TYPES
    True
"""

from __future__ import annotations

import functools
import json
import random
from importlib import resources
from pathlib import Path
from typing import Any, Final

from dyna_training.environments.alfworld.engine import State
from dyna_training.environments.alfworld.game import TASK_TYPES, Game, TaskType, compile_game
from dyna_training.environments.alfworld.household import APPLIANCE, Household, draw
from dyna_training.environments.alfworld.statistics import statistics
from dyna_training.environments.alfworld.text import NOTHING_HAPPENS
from dyna_training.whole import write_whole

RESERVED_SEEDS: Final = 1_000_000_000
"""Households from this seed on are kept for demonstrations; nothing is trained on them."""
_ATTEMPTS: Final = 50
_SCENES: Final = {"kitchen": 1000, "living room": 2000, "bedroom": 3000, "bathroom": 4000}
"""First scene number of generated rooms; official scenes end at 430."""

_SENTENCES: Final[dict[TaskType, tuple[str, str]]] = {
    "pick_and_place_simple": ("put some {o} on {t}.", "put a {o} in {t}."),
    "look_at_obj_in_light": ("look at {o} under the {t}.", "examine the {o} with the {t}."),
    "pick_clean_then_place_in_recep": ("clean some {o} and put it in {t}.", "put a clean {o} in {t}."),
    "pick_heat_then_place_in_recep": ("heat some {o} and put it in {t}.", "put a hot {o} in {t}."),
    "pick_cool_then_place_in_recep": ("cool some {o} and put it in {t}.", "put a cool {o} in {t}."),
    "pick_two_obj_and_place": ("put two {o} in {t}.", "find two {o} and put them in {t}."),
}
"""Task type to the two sentences that official games use for it."""

_PREPARED: Final[dict[TaskType, tuple[str, str, str]]] = {
    "pick_clean_then_place_in_recep": ("clean", "cleanable", "isClean"),
    "pick_heat_then_place_in_recep": ("heat", "heatable", "isHot"),
    "pick_cool_then_place_in_recep": ("cool", "coolable", "isCool"),
}
"""Task type to the verb that prepares the object, and the predicates before and after."""

_PREDICATES: Final = {"receptacle_objects": "isReceptacleObject"}


def generate(seed: int, task_type: TaskType | None = None) -> Game:
    """Return a new household; the same arguments give the same one.

    Args:
        seed: Any integer.
        task_type: One of `TASK_TYPES`; drawn if None.

    Raises:
        ValueError: There is no such task type.
    """
    game_id, content = generate_file(seed, task_type)
    return compile_game(content, game_id=game_id)


def write(folder: str | Path, seed: int, task_type: TaskType | None = None) -> Path:
    """Write a new household as ``<folder>/<task folder>/<trial folder>/game.tw-pddl``.

    Args:
        folder: For example ``$ALFWORLD_DATA/json_2.1.1/generated``; made if absent.
        seed: Any integer.
        task_type: One of `TASK_TYPES`; drawn if None.

    Returns:
        The file.

    Raises:
        ValueError: There is no such task type.
        OSError: The file cannot be written.
    """
    game_id, content = generate_file(seed, task_type)
    file = Path(folder) / game_id / "game.tw-pddl"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(content))  # episodes of one household that are played at once all write it
    return file


def drawn_task_type(seed: int) -> TaskType:
    """Return the task type of the household that `generate` makes of a seed, without making it."""
    return _drawing(seed, None).choice(TASK_TYPES)


def _drawing(seed: int, task_type: TaskType | None) -> random.Random:
    return random.Random(f"household {seed} {task_type or ''}")


def generate_file(seed: int, task_type: TaskType | None = None) -> tuple[str, dict[str, Any]]:
    """Return id and file content of a new household.

    Args:
        seed: Any integer.
        task_type: One of `TASK_TYPES`; drawn if None.

    Raises:
        ValueError: There is no such task type.
        RuntimeError: No solvable household was drawn, which the statistics make all but impossible.
    """
    if task_type is not None and task_type not in TASK_TYPES:
        raise ValueError(f"Unknown task type {task_type!r}; there are {', '.join(TASK_TYPES)}.")
    generator = _drawing(seed, task_type)
    chosen = generator.choice(TASK_TYPES) if task_type is None else task_type
    for _ in range(_ATTEMPTS):
        household = draw(generator, chosen)
        sentence = generator.choice(_SENTENCES[chosen])
        task = sentence.format(o=household.object_kind.lower(), t=household.target_kind.lower())
        scene = _SCENES[household.room] + abs(seed) % 1000
        game_id = f"{chosen}-{household.object_kind}-None-{household.target_kind}-{scene}/generated_{seed}"
        content: dict[str, Any] = {
            "pddl_domain": _text("domain.pddl"),
            "grammar": _text("grammar.twl2").replace("%TASK%", task),
            "pddl_problem": problem(household, f"generated_{seed}"),
            "solvable": True,
            "walkthrough": [],
        }
        game = compile_game(content, game_id=game_id)
        walkthrough = solve(game)
        if walkthrough is not None:
            content["walkthrough"] = walkthrough
            return game_id, content
    raise RuntimeError(f"No solvable household for seed {seed} and {chosen} in {_ATTEMPTS} attempts.")


def solve(game: Game) -> list[str] | None:
    """Return commands that solve a game, found with full knowledge and checked by playing them.

    Args:
        game: Any game of the six types.

    Returns:
        The commands; None if the game is solved at its start or the straight way does not solve it.
    """
    appliance = APPLIANCE.get(game.task_type)
    needed = {f"{appliance.lower()}type"} if appliance else set()
    if game.task_type != "look_at_obj_in_light":
        needed.add(game.goal.target_type)
    if State(game).won or not needed <= set(game.receptacle_type.values()):
        return None
    plan = _plan(game)
    state = State(game)
    for command in plan:
        observation, _ = state.step(command)
        if observation == NOTHING_HAPPENS:
            return None
    return plan if state.won else None


def _plan(game: Game) -> list[str]:
    """Walk straight to what is wanted; a receptacle that is reached a second time is open already."""
    goal, names, opened = game.goal, game.names, set[str]()
    plan: list[str] = []
    here = game.start_location

    def visit(receptacle: str, *, inside: bool = True) -> str:
        nonlocal here
        if game.location_of[receptacle] != here:
            plan.append(f"go to {names[receptacle]}")
            here = game.location_of[receptacle]
        if inside and receptacle in game.openable and receptacle not in opened:
            plan.append(f"open {names[receptacle]}")
            opened.add(receptacle)
        return names[receptacle]

    def first(kind: str) -> str:
        return next(r for r in reversed(game.receptacles) if game.receptacle_type[r] == kind)

    light = goal.task_type == "look_at_obj_in_light"
    wanted = [
        (o, r)
        for r in game.receptacles
        for o in game.start_contents[r]
        if game.object_type[o] == goal.object_type
        and o in game.pickupable
        and (light or game.receptacle_type[r] != goal.target_type)
    ]
    for thing, receptacle in wanted[: 2 if goal.task_type == "pick_two_obj_and_place" else 1]:
        place = visit(receptacle)
        plan.append(f"take {names[thing]} from {place}")
        if light:
            lamps = [
                (o, r)
                for r in game.receptacles
                for o in game.start_contents[r]
                if game.object_type[o] == goal.target_type and o in game.toggleable
            ]
            for lamp, stand in lamps[:1]:
                visit(stand, inside=False)
                plan.append(f"use {names[lamp]}")
            continue
        if goal.task_type in _PREPARED:
            appliance = visit(first(f"{APPLIANCE[goal.task_type].lower()}type"), inside=False)
            plan.append(f"{_PREPARED[goal.task_type][0]} {names[thing]} with {appliance}")
        plan.append(f"move {names[thing]} to {visit(first(goal.target_type))}")
    return plan


def problem(household: Household, name: str) -> str:
    """Write a household as a PDDL problem of the Alfred domain.

    Args:
        household: What to write.
        name: Name of the problem.
    """
    counts = statistics()
    receptacles, objects = household.receptacles, household.objects
    locations = sorted({household.start, *(thing.location for thing in (*receptacles, *objects))})
    declared = [
        "agent1 - agent",
        *(f"{kind} - object" for kind in counts.object_kinds),
        *(f"{kind}Type - otype" for kind in counts.object_kinds),
        *(f"{kind}Type - rtype" for kind in counts.receptacle_kinds),
        *(f"{thing.id} - object" for thing in objects),
        *(f"{receptacle.id} - receptacle" for receptacle in receptacles),
        *(f"{location} - location" for location in locations),
    ]
    present = sorted({thing.kind for thing in objects})
    facts = [f"receptacleType {r.id} {r.kind}Type" for r in receptacles]
    facts += [f"objectType {o.id} {o.kind}Type" for o in objects]
    for kind in sorted({r.kind for r in receptacles}):
        accepted = counts.accepts[kind]
        facts += [f"canContain {kind}Type {thing}Type" for thing in present if thing in accepted]
    for name_, kinds in counts.properties.items():
        predicate = _PREDICATES.get(name_, name_)
        facts += [f"{predicate} {o.id}" for o in objects if o.kind in kinds]
    facts += [f"openable {r.id}" for r in receptacles if r.openable]
    facts.append(f"atLocation agent1 {household.start}")
    facts += [f"isCool {o.id}" for o in objects if o.cold]
    facts += [f"inReceptacle {o.id} {r.id}" for o in objects for r in o.held_by]
    facts += [f"inReceptacleObject {inner.id} {outer.id}" for inner, outer in household.inside]
    facts += [f"receptacleAtLocation {r.id} {r.location}" for r in receptacles]
    facts += [f"objectAtLocation {o.id} {o.location}" for o in objects]
    lines = [f"(define (problem {name})", "(:domain alfred)", "(:objects"]
    lines += [f"    {entry}" for entry in declared]
    lines += [")", "(:init"]
    lines += [f"    ({fact})" for fact in facts]
    lines += [")", _goal(household), ")"]
    return "\n".join(lines)


def _goal(household: Household) -> str:
    wanted, target = household.object_kind, household.target_kind
    if household.task_type == "look_at_obj_in_light":
        return (
            "(:goal (and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and "
            f"(objectType ?ot {target}Type) (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l) "
            "(atLocation ?a ?l) (inReceptacle ?ot ?r))) (exists (?o - object ?a - agent) (and "
            f"(objectType ?o {wanted}Type) (holds ?a ?o)))))"
        )
    if household.task_type == "pick_two_obj_and_place":
        return (
            "(:goal (and (exists (?r - receptacle) (exists (?o1 - object) (and "
            f"(objectType ?o1 {wanted}Type) (receptacleType ?r {target}Type) (inReceptacle ?o1 ?r) "
            f"(exists (?o2 - object) (and (not (= ?o1 ?o2)) (objectType ?o2 {wanted}Type) "
            f"(receptacleType ?r {target}Type) (inReceptacle ?o2 ?r))))))))"
        )
    prepared = _PREPARED.get(household.task_type)
    extra = f"({prepared[1]} ?o) ({prepared[2]} ?o) " if prepared else ""
    return (
        f"(:goal (and (exists (?r - receptacle) (exists (?o - object) (and {extra}"
        f"(objectType ?o {wanted}Type) (receptacleType ?r {target}Type) (inReceptacle ?o ?r))))))"
    )


@functools.cache
def _text(name: str) -> str:
    return resources.files("dyna_training.environments.alfworld").joinpath("data", name).read_text("utf-8")
