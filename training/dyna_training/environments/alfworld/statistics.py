"""What official households look like: counts on the training games that the generator draws from.

Command that made ``data/household.json`` (``train`` split only: no held-out scene, no held-out game)::

    python -m dyna_training.environments.alfworld.statistics
"""

from __future__ import annotations

import argparse
import functools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict

from dyna_training.environments.alfworld.game import Game, TaskType, load_game
from dyna_training.environments.alfworld.splits import games
from dyna_training.environments.base import GameFileError

Histogram = dict[str, int]
_FILE: Final = "household.json"
_PROPERTIES: Final = (
    "pickupable",
    "cleanable",
    "heatable",
    "coolable",
    "toggleable",
    "sliceable",
    "receptacle_objects",
)
FLOOR: Final = "floor"
"""Stands for the place of things that are in no receptacle."""


class Room(BaseModel):
    """Counts of one kind of room. Kinds are written as in the problem files, such as ``CounterTop``.

    Attributes:
        games: Games counted.
        receptacles: Kind of receptacle to {number of them in a game: games}.
        openable: Kind of receptacle to the share of its receptacles that can be opened.
        together: Kind of receptacle to {kind of another receptacle at its place, or ``alone``: receptacles}.
        objects: Kind of object to {number of them in a game: games}.
        places: Kind of object to {kind of receptacle it is in, or ``floor``: objects}.
        twice: Pairs ``<receptacle> <receptacle>`` of an object that is in two, to objects.
        inside: Pairs ``<outer> <inner>`` of an object in an object, to how many.
        cold: Share of the coolable things in a fridge that are cold at the start.
        tasks: Task type to {``<object> <target>``: games}.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    games: int
    receptacles: dict[str, Histogram]
    openable: dict[str, float]
    together: dict[str, Histogram]
    objects: dict[str, Histogram]
    places: dict[str, Histogram]
    twice: Histogram
    inside: Histogram
    cold: float
    tasks: dict[TaskType, Histogram]


class Statistics(BaseModel):
    """Counts of all rooms, and the rules that all games share.

    Attributes:
        about: Where the counts are from.
        object_kinds: Every kind of object that problem files declare.
        receptacle_kinds: Every kind of receptacle that they declare.
        properties: Property to the kinds of objects that have it.
        accepts: Kind of receptacle to the kinds of objects that can be put there.
        rooms: Kitchen, living room, bedroom, bathroom.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    about: str
    object_kinds: tuple[str, ...]
    receptacle_kinds: tuple[str, ...]
    properties: dict[str, tuple[str, ...]]
    accepts: dict[str, tuple[str, ...]]
    rooms: dict[str, Room]


@functools.cache
def statistics() -> Statistics:
    """Return the counts that ship with the package."""
    text = resources.files("dyna_training.environments.alfworld").joinpath("data", _FILE).read_text("utf-8")
    return Statistics.model_validate_json(text)


@functools.cache
def acceptance() -> dict[tuple[str, str], bool]:
    """Return whether a kind of object can be put on a kind of receptacle: the same in every game.

    Keys are pairs (object, receptacle) in lower case; pairs that never share a kind of room are absent.
    """
    table = {}
    for room in statistics().rooms.values():
        for receptacle in room.receptacles:
            accepted = statistics().accepts[receptacle]
            table.update({(o.lower(), receptacle.lower()): o in accepted for o in room.objects})
    return table


def room_of(scene: int | None) -> str:
    """Return the kind of room of an official scene number.

    Raises:
        ValueError: The number is none that the official games use.
    """
    for room, first in (("kitchen", 1), ("living room", 201), ("bedroom", 301), ("bathroom", 401)):
        if scene is not None and first <= scene < first + 30:
            return room
    raise ValueError(f"{scene} is not the number of an official scene (1-30, 201-230, 301-330, 401-430).")


class _Counts:
    """Running counts of one kind of room."""

    def __init__(self) -> None:
        self.games = 0
        self.receptacles: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.openable: defaultdict[str, Counter[bool]] = defaultdict(Counter)
        self.together: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.objects: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.places: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.twice: Counter[str] = Counter()
        self.inside: Counter[str] = Counter()
        self.cold: Counter[bool] = Counter()
        self.tasks: defaultdict[TaskType, Counter[str]] = defaultdict(Counter)

    def add(self, game: Game, camel: dict[str, str]) -> None:
        """Count one game; `camel` gives the written form of a kind's type."""
        self.games += 1
        kind = {r: camel[kind] for r, kind in game.receptacle_type.items()}
        thing = {o: camel[kind] for o, kind in game.object_type.items()}
        for name, number in Counter(kind[r] for r in game.receptacles).items():
            self.receptacles[name][number] += 1
        for name, number in Counter(thing.values()).items():
            self.objects[name][number] += 1
        where: defaultdict[str, list[str]] = defaultdict(list)
        for receptacle in game.receptacles:
            self.openable[kind[receptacle]][receptacle in game.openable] += 1
            others = [r for r in game.receptacles_at[game.location_of[receptacle]] if r != receptacle]
            self.together[kind[receptacle]].update([kind[r] for r in others] or ["alone"])
            for o in game.start_contents[receptacle]:
                where[o].append(kind[receptacle])
                if kind[receptacle] == "Fridge" and o in game.coolable:
                    self.cold[o in game.start_cool] += 1
        for o, name in thing.items():
            self.places[name][where[o][0] if where[o] else FLOOR] += 1
            if len(where[o]) == 2:
                self.twice[" ".join(where[o])] += 1
        for outer, inner in game.inside_objects.items():
            self.inside.update(f"{thing[outer]} {thing[o]}" for o in inner)
        self.tasks[game.task_type][f"{camel[game.goal.object_type]} {camel[game.goal.target_type]}"] += 1

    def room(self) -> Room:
        """Return the finished counts."""

        def ordered(
            table: defaultdict[str, Counter[str]] | defaultdict[str, Counter[int]],
        ) -> dict[str, Histogram]:
            return {k: {str(n): c for n, c in sorted(table[k].items())} for k in sorted(table)}

        for counter in (*self.receptacles.values(), *self.objects.values()):
            absent = self.games - counter.total()
            if absent:
                counter[0] = absent
        return Room(
            games=self.games,
            receptacles=ordered(self.receptacles),
            openable={k: round(c[True] / c.total(), 3) for k, c in sorted(self.openable.items()) if c[True]},
            together=ordered(self.together),
            objects=ordered(self.objects),
            places=ordered(self.places),
            twice=dict(sorted(self.twice.items())),
            inside=dict(sorted(self.inside.items())),
            cold=round(self.cold[True] / max(1, self.cold.total()), 3),
            tasks={k: dict(sorted(c.items())) for k, c in sorted(self.tasks.items())},
        )


def count(files: Iterable[Path]) -> Statistics:
    """Count official game files.

    Raises:
        GameFileError: A file cannot be read, or the rules differ between files.
    """
    objects: dict[str, None] = {}
    receptacles: dict[str, None] = {}
    rooms: defaultdict[str, _Counts] = defaultdict(_Counts)
    owners: defaultdict[str, Counter[str]] = defaultdict(Counter)
    total: Counter[str] = Counter()
    accepted: dict[tuple[str, str], bool] = {}
    number = 0
    for file in files:
        number += 1
        game = load_game(file)
        declared = json.loads(file.read_text(encoding="utf-8"))["pddl_problem"].partition("(:init")[0]
        objects.update(dict.fromkeys(re.findall(r"(\w+)Type - otype", declared)))
        receptacles.update(dict.fromkeys(re.findall(r"(\w+)Type - rtype", declared)))
        camel = {f"{name.lower()}type": name for name in (*objects, *receptacles)}
        rooms[room_of(game.scene)].add(game, camel)
        for o, kind in game.object_type.items():
            total[camel[kind]] += 1
            for name in _PROPERTIES:
                owners[name][camel[kind]] += o in getattr(game, name)
        for receptacle in game.receptacles:
            for kind in set(game.object_type.values()):
                pair = camel[game.receptacle_type[receptacle]], camel[kind]
                accepts = kind in game.accepts[receptacle]
                if accepted.setdefault(pair, accepts) != accepts:
                    raise GameFileError(
                        f"{file}: whether {pair[0]} takes {pair[1]} differs from other games."
                    )
    return Statistics(
        about=f"Counted on the {number} games of the split 'train' (ALFWorld 2.1.1, MIT licence) by "
        "`python -m dyna_training.environments.alfworld.statistics`.",
        object_kinds=tuple(objects),
        receptacle_kinds=tuple(receptacles),
        properties={
            name: tuple(kind for kind in sorted(total) if 2 * owners[name][kind] > total[kind])
            for name in _PROPERTIES
        },
        accepts={
            kind: tuple(sorted(thing for (r, thing), yes in accepted.items() if yes and r == kind))
            for kind in sorted({r for r, _ in accepted})
        },
        rooms={name: rooms[name].room() for name in sorted(rooms)},
    )


def main() -> None:
    """Write the counts of the ``train`` split."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data" / _FILE)
    out: Path = parser.parse_args().out
    out.write_text(count(games("train")).model_dump_json() + "\n", encoding="utf-8")
    print(out)


if __name__ == "__main__":
    main()
