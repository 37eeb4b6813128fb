"""Which games are trained on, and which are kept for measuring.

| split | tasks | variations |
|---|---|---|
| ``train``, ``dev``, ``test`` | 22 | the package's own train, dev and test sets of each task |
| ``unseen_task`` | 8, which are in no other split | the package's test sets |

The held-out tasks (`HELD_OUT`) are one of each of the benchmark's topics that has more than one task, the one that asks
most: what the others of its topic teach has to be put together anew. Every choice is made on ``dev``. Tasks take turns,
so that any number of games from the beginning has each task equally often, as far as it has so many.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final, Literal, get_args

from dyna_training.environments.scienceworld.games import TASKS, VARIATIONS, GameSpec

Split = Literal["train", "dev", "test", "unseen_task"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
Part = Literal["train", "dev", "test"]

HELD_OUT: Final = (
    "freeze",
    "measure-melting-point-unknown-substance",
    "power-component-renewable-vs-nonrenewable-energy",
    "find-plant",
    "chemistry-mix-paint-tertiary-color",
    "lifespan-longest-lived-then-shortest-lived",
    "inclined-plane-friction-unnamed-surfaces",
    "mendelian-genetics-unknown-plant",
)
"""Tasks of ``unseen_task``."""


def variations(task: str, part: Part) -> range:
    """Return the variations of a task that the package trains, chooses or tests on: a half, a quarter, the rest.

    All 30 tasks can be had so, for figures to be compared with those of others.
    """
    total = VARIATIONS[task]
    quarter = total // 4
    return {
        "train": range(2 * quarter),
        "dev": range(2 * quarter, 3 * quarter),
        "test": range(3 * quarter, total),
    }[part]


def tasks_of(split: Split) -> tuple[str, ...]:
    """Return the tasks of a split.

    Raises:
        ValueError: There is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    return HELD_OUT if split == "unseen_task" else tuple(task for task in TASKS if task not in HELD_OUT)


def games(split: Split) -> list[GameSpec]:
    """Return the games of a split, in which tasks take turns.

    Raises:
        ValueError: There is no such split.
    """
    part: Part = "test" if split == "unseen_task" else split
    return in_turns([[GameSpec(task, n) for n in variations(task, part)] for task in tasks_of(split)])


def in_turns(of_tasks: Sequence[Sequence[GameSpec]]) -> list[GameSpec]:
    """Return games of tasks so that tasks take turns."""
    turns = itertools.zip_longest(*of_tasks)
    return [game for turn in turns for game in turn if game is not None]
