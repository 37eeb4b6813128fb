"""What sets of episodes share that must not stand on both sides of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any, Final, Literal, NamedTuple

from dyna_nodes.nouns import Trajectory
from dyna_training.store.duplicates import content_digest
from dyna_training.store.traits import traits_of

By = Literal["game", "level", "item", "task", "task-type"]
_GOAL: Final = re.compile(r"^goal: (\S+)", re.MULTILINE)


def game(trajectory: Trajectory) -> str:
    """Return the game: a household, a level file's level, a goal of a shop, by its name."""
    return traits_of(trajectory).name


def _level(trajectory: Trajectory) -> str:
    """Return what is seen at first, so that one level under two names is one."""
    return f"{traits_of(trajectory).environment}\n{trajectory.task}"


def _task(trajectory: Trajectory) -> str:
    """Return the game's name without its last part: the trials of one task have it in common."""
    traits = traits_of(trajectory)
    head = traits.game.rpartition("/")[0] if traits.environment else ""
    return f"{traits.environment}:{head}" if head else traits.name


def _item(trajectory: Trajectory) -> str:
    """Return the item that the hidden state names as the goal, as that of a web shop does; else the game."""
    found = _GOAL.search(trajectory.hidden_state or "")
    return f"{traits_of(trajectory).environment}:item {found[1]}" if found else game(trajectory)


def _task_type(trajectory: Trajectory) -> str:
    traits = traits_of(trajectory)
    return f"{traits.environment}:{traits.task_type}" if traits.task_type else traits.name


GROUPS: Final[dict[By, Callable[[Trajectory], str]]] = {
    "game": game,
    "level": _level,
    "item": _item,
    "task": _task,
    "task-type": _task_type,
}
"""By what episodes are kept together, and its name in an episode."""


class Contents(NamedTuple):
    """What a set of episodes holds, as far as sharing goes.

    Attributes:
        games: Names of its games.
        groups: Names of what it was divided by.
        levels: First observations.
        episodes: Digests of whole episodes, with an id.
        number: How many episodes.
    """

    games: set[str]
    groups: set[str]
    levels: set[str]
    episodes: dict[bytes, str]
    number: int


def contents(trajectories: Iterable[Trajectory], by: By = "game") -> Contents:
    """Read a set of episodes."""
    found = Contents(set(), set(), set(), {}, 0)
    number = 0
    for trajectory in trajectories:
        found.games.add(game(trajectory))
        found.groups.add(GROUPS[by](trajectory))
        found.levels.add(_level(trajectory))
        found.episodes.setdefault(content_digest(trajectory), trajectory.id)
        number += 1
    return found._replace(number=number)


class Shared(NamedTuple):
    """What two sets have in common.

    Attributes:
        one: Name of the first.
        other: Name of the second.
        games: Games in both.
        groups: Of what they were divided by, what is in both.
        episodes: Ids, in the first, of episodes that are in both.
        levels: How many first observations are in both; of other games, too, which may be quite all right.
    """

    one: str
    other: str
    games: list[str]
    groups: list[str]
    episodes: list[str]
    levels: int

    @property
    def leaks(self) -> bool:
        """Whether what is learned from one is no news in the other."""
        return bool(self.games or self.groups or self.episodes)

    def to_json(self) -> dict[str, Any]:
        """Return a dictionary."""
        return {**self._asdict(), "leaks": self.leaks}


def shared(sets: dict[str, Contents]) -> list[Shared]:
    """Return what every two sets have in common, in their order."""
    return [
        Shared(
            one,
            other,
            sorted(sets[one].games & sets[other].games),
            sorted(sets[one].groups & sets[other].groups),
            sorted(sets[one].episodes[d] for d in sets[one].episodes.keys() & sets[other].episodes.keys()),
            len(sets[one].levels & sets[other].levels),
        )
        for one, other in combinations(sets, 2)
    ]
