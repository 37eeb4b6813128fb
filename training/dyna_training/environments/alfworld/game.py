"""Official ALFWorld game files (``game.tw-pddl``), parsed once into an immutable compiled `Game`.

A game file is JSON with ``pddl_domain``, ``grammar``, ``pddl_problem``, ``solvable`` and ``walkthrough``.
Domain and grammar are the same in every official game but for the task sentence, so the engine implements
them and only the problem is read here.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from dyna_training.environments.base import GameFileError

TaskType = Literal[
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
]
TASK_TYPES: Final[tuple[TaskType, ...]] = get_args(TaskType)
"""The six task types, named as in the folders of the official games."""

_FACT = re.compile(r"\(\s*([^\s()]+)([^()]*)\)")
_TASK = re.compile(r"Your task is to: ([^\"\\]*)")
_ONLY_LATER: Final = frozenset({"holds", "holdsany", "isclean", "ishot", "issliced", "istoggled"})
"""Facts that official games never start with; the engine would ignore them."""
_STATE_OF_TASK: Final[dict[str, TaskType]] = {
    "isclean": "pick_clean_then_place_in_recep",
    "ishot": "pick_heat_then_place_in_recep",
    "iscool": "pick_cool_then_place_in_recep",
}


@dataclass(frozen=True, slots=True)
class Goal:
    """What has to hold for the task to be done.

    Attributes:
        task_type: One of `TASK_TYPES`.
        object_type: Type of the wanted object, for example ``mugtype``.
        target_type: Type of the receptacle it belongs in, or of the lamp to look at it under.
    """

    task_type: TaskType
    object_type: str
    target_type: str


@dataclass(frozen=True, slots=True, eq=False)
class Game:
    """A compiled household: names, places and static properties; mutable facts live in `engine.State`.

    Identifiers are those of the problem file in lower case; `names` maps them to what the player reads. All
    collections are shared between states and must not be changed.

    Attributes:
        id: ``<task folder>/<trial folder>`` of an official game; unique within a data set.
        path: File it was read from, if any.
        task: The task sentence without ``Your task is to: ``.
        task_type: One of `TASK_TYPES`.
        scene: Number of the room it plays in (1-30 kitchens, 201-230 living rooms, 301-330 bedrooms,
            401-430 bathrooms), or None where the id does not tell.
        walkthrough: Commands that solve the game; empty where the file has none.
    """

    id: str
    path: Path | None
    task: str
    scene: int | None
    walkthrough: tuple[str, ...]
    goal: Goal
    # Names in both directions.
    names: Mapping[str, str]
    receptacles: tuple[str, ...]
    receptacle_by_name: Mapping[str, str]
    object_by_name: Mapping[str, str]
    # Static facts.
    location_of: Mapping[str, str]
    receptacles_at: Mapping[str, tuple[str, ...]]
    receptacle_type: Mapping[str, str]
    object_type: Mapping[str, str]
    accepts: Mapping[str, frozenset[str]]
    openable: frozenset[str]
    pickupable: frozenset[str]
    cleanable: frozenset[str]
    heatable: frozenset[str]
    coolable: frozenset[str]
    toggleable: frozenset[str]
    sliceable: tuple[str, ...]
    receptacle_objects: frozenset[str]
    inside_objects: Mapping[str, tuple[str, ...]]
    # Facts at the start.
    start_location: str
    start_contents: Mapping[str, tuple[str, ...]]
    start_places: Mapping[str, frozenset[str]]
    start_opened: frozenset[str]
    start_cool: frozenset[str]
    # Derived once.
    go_commands: Mapping[str, tuple[str, ...]]

    @property
    def task_type(self) -> TaskType:
        """The task type, one of `TASK_TYPES`."""
        return self.goal.task_type

    def __repr__(self) -> str:
        return f"Game({self.id!r}, task={self.task!r})"


def load_game(path: str | Path) -> Game:
    """Read and compile one game file.

    Args:
        path: A ``game.tw-pddl`` file or the trial folder that holds it.

    Raises:
        GameFileError: The file is missing, unreadable, truncated or not an ALFWorld game.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "game.tw-pddl"
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise GameFileError(
            f"{file}: no such game file. Download the games with `alfworld-download` and point ALFWORLD_DATA "
            "at the folder that holds json_2.1.1, or generate one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise GameFileError(
            f"{file}: cannot be read as text ({error}). Download or generate it again."
        ) from error
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise GameFileError(
            f"{file}: not valid JSON at line {error.lineno}, column {error.colno} ({error.msg}); the file is "
            "truncated or corrupt. Download or generate it again."
        ) from error
    return compile_game(data, path=file)


def compile_game(data: object, *, path: Path | None = None, game_id: str | None = None) -> Game:
    """Compile the JSON content of a game file.

    Args:
        data: The decoded JSON object.
        path: Where it came from; names the file in errors and, by its folders, the game.
        game_id: Overrides the id derived from `path`.

    Raises:
        GameFileError: A key or a part of the problem is missing or has the wrong form.
    """
    where = str(path) if path else (game_id or "game data")
    if not isinstance(data, dict):
        raise GameFileError(
            f"{where}: expected a JSON object with pddl_problem and grammar, got {type(data).__name__}."
        )
    for key in ("pddl_problem", "grammar"):
        if not isinstance(data.get(key), str):
            raise GameFileError(
                f"{where}: key {key!r} is missing or not text; this is not an ALFWorld game file."
            )
    walkthrough = data.get("walkthrough") or []
    if not isinstance(walkthrough, list) or not all(isinstance(step, str) for step in walkthrough):
        raise GameFileError(f"{where}: key 'walkthrough' must be a list of commands.")
    task = _TASK.search(data["grammar"])
    if task is None:
        raise GameFileError(f"{where}: the grammar has no sentence 'Your task is to: …'.")
    if game_id is None:
        game_id = "/".join(path.absolute().parts[-3:-1]) if path else "game"
    return _compile(data["pddl_problem"], task.group(1), tuple(walkthrough), game_id, path, where)


def _compile(
    problem: str, task: str, walkthrough: tuple[str, ...], game_id: str, path: Path | None, where: str
) -> Game:
    init, goal = _sections(problem.lower(), where)
    facts: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
    for predicate, arguments in _FACT.findall(init):
        facts[predicate].append(tuple(arguments.split()))
    changed = sorted(facts.keys() & _ONLY_LATER)
    if changed:
        raise GameFileError(f"{where}: the fact {changed[0]!r} at the start of a game is not supported.")
    start = [fact[1] for fact in facts["atlocation"] if len(fact) == 2]
    if len(start) != 1:
        raise GameFileError(f"{where}: the problem must place the agent once, it does so {len(start)} times.")
    try:
        location_of = dict(_pairs(sorted(facts["receptacleatlocation"])))
        receptacle_type = dict(_pairs(facts["receptacletype"]))
        object_type = dict(_pairs(facts["objecttype"]))
        contents = _grouped((r, o) for o, r in _pairs(facts["inreceptacle"]))
        inside = _grouped((outer, inner) for inner, outer in _pairs(facts["inreceptacleobject"]))
        places = {o: frozenset(at) for o, at in _grouped(_pairs(facts["objectatlocation"])).items()}
        accepts = {r: frozenset(kinds) for r, kinds in _grouped(_pairs(facts["cancontain"])).items()}
    except ValueError as error:
        raise GameFileError(
            f"{where}: a fact of the problem has the wrong number of arguments ({error})."
        ) from None
    receptacles = tuple(location_of)
    if not receptacles or not object_type:
        raise GameFileError(f"{where}: the problem has no receptacles or no objects; the file is truncated.")
    missing = [r for r in receptacles if r not in receptacle_type]
    if missing:
        raise GameFileError(f"{where}: receptacle {missing[0]!r} has no receptacleType fact.")
    names = _names({argument for kind in facts.values() for fact in kind for argument in fact})
    receptacles_at = _grouped((location, r) for r, location in location_of.items())
    sliceable = {fact[0] for fact in facts["sliceable"]}
    return Game(
        id=game_id,
        path=path,
        task=task,
        scene=_scene(game_id),
        walkthrough=walkthrough,
        goal=_goal(goal, where),
        names=names,
        receptacles=receptacles,
        receptacle_by_name={names[r]: r for r in receptacles},
        object_by_name={names[o]: o for o in object_type if o in names},
        location_of=location_of,
        receptacles_at=receptacles_at,
        receptacle_type=receptacle_type,
        object_type=object_type,
        accepts={r: accepts.get(receptacle_type[r], frozenset()) for r in receptacles},
        openable=_unary(facts["openable"]),
        pickupable=_unary(facts["pickupable"]),
        cleanable=_unary(facts["cleanable"]),
        heatable=_unary(facts["heatable"]),
        coolable=_unary(facts["coolable"]),
        toggleable=_unary(facts["toggleable"]),
        sliceable=tuple(sorted(sliceable)),
        receptacle_objects=_unary(facts["isreceptacleobject"]),
        inside_objects=inside,
        start_location=start[0],
        start_contents={r: contents.get(r, ()) for r in receptacles},
        start_places=places,
        start_opened=_unary(facts["opened"]),
        start_cool=_unary(facts["iscool"]),
        go_commands={
            here: tuple(sorted(f"go to {names[r]}" for r in receptacles if location_of[r] != here))
            for here in {start[0], *location_of.values()}
        },
    )


def _sections(problem: str, where: str) -> tuple[str, str]:
    """Split a problem into its initial facts and its goal; complain where one is missing or cut off."""
    begin, end = problem.find("(:init"), problem.find("(:goal")
    if begin < 0 or end < begin:
        raise GameFileError(
            f"{where}: pddl_problem lacks (:init …) or (:goal …); the file is truncated or corrupt."
        )
    if problem.count("(") != problem.count(")"):
        raise GameFileError(
            f"{where}: pddl_problem has unbalanced parentheses; the file is truncated or corrupt."
        )
    return problem[begin:end], problem[end:]


def _pairs(facts: list[tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(first, second) for first, second in facts]


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for key, value in pairs:
        groups[key].add(value)
    return {key: tuple(sorted(values)) for key, values in groups.items()}


def _unary(facts: list[tuple[str, ...]]) -> frozenset[str]:
    return frozenset(fact[0] for fact in facts)


def _names(ids: set[str]) -> dict[str, str]:
    """Give every thing the name that alfworld gives it: type and number, counted down in the order of ids."""
    things = sorted(thing for thing in ids if "_bar_" in thing)

    def base(thing: str) -> str:
        # "sink|…|sinkbasin" is named after the basin.
        return thing.split("_bar_", 1)[0] + ("basin" if "basin" in thing else "")

    left = Counter(map(base, things))
    names = {}
    for thing in things:
        names[thing] = f"{base(thing)} {left[base(thing)]}"
        left[base(thing)] -= 1
    return names


def _scene(game_id: str) -> int | None:
    match = re.match(r"[^/]*-(\d+)(?:/|$)", game_id)
    return int(match.group(1)) if match else None


def _goal(text: str, where: str) -> Goal:
    """Recognise which of the six task types a goal states."""
    objects = [kind for _, kind in re.findall(r"\(objecttype (\S+) (\S+?)\)", text)]
    targets = [kind for _, kind in re.findall(r"\(receptacletype (\S+) (\S+?)\)", text)]
    states = [name for name in _STATE_OF_TASK if f"({name} " in text]
    if "(istoggled " in text and len(objects) == 2 and not targets:
        return Goal("look_at_obj_in_light", object_type=objects[1], target_type=objects[0])
    if "(inreceptacle " in text and targets and len(set(targets)) == 1:
        if len(objects) == 2 and objects[0] == objects[1] and "(not (=" in text:
            return Goal("pick_two_obj_and_place", objects[0], targets[0])
        if len(objects) == 1 and len(states) == 1:
            return Goal(_STATE_OF_TASK[states[0]], objects[0], targets[0])
        if len(objects) == 1 and not states:
            return Goal("pick_and_place_simple", objects[0], targets[0])
    raise GameFileError(
        f"{where}: the goal is none of the six ALFWorld task types ({', '.join(TASK_TYPES)}); "
        "games with sliced or nested objects are not supported."
    )
