"""Splits of the tasks, without leakage: tasks that share a state, a turn or their solution are in one split.

Every task with one of `HELD_OUT` is in ``unseen_api``: no function of these APIs is ever called elsewhere. The others
are in ``train``, ``dev`` and ``test``, drawn once by a digest of their name.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Hashable, Iterator, Mapping
from typing import Final, Literal, get_args

from dyna_training.environments.bfcl.tasks import Task, all_tasks

Split = Literal["train", "dev", "test", "unseen_api"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
HELD_OUT: Final = frozenset({"TravelAPI", "MathAPI"})
"""APIs of no task in ``train``, ``dev`` and ``test``: one that tasks are about, and one that helps others."""
_SHARES: Final[tuple[tuple[Split, int], ...]] = (("dev", 20), ("test", 20))
"""Least number of tasks; what is left is ``train``."""


def games(split: Split) -> tuple[str, ...]:
    """Return the names of the tasks of a split, in BFCL's order.

    Raises:
        BfclMissing: The package is not installed.
        ValueError: There is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    return _splits()[split]


@functools.cache
def _splits() -> Mapping[Split, tuple[str, ...]]:
    found: dict[str, Split] = {}
    waiting: list[tuple[str, ...]] = []
    for group in groups():
        if any(HELD_OUT.intersection(all_tasks()[name].apis) for name in group):
            found.update(dict.fromkeys(group, "unseen_api"))
        else:
            waiting.append(group)
    waiting.sort(key=lambda group: hashlib.sha256(group[0].encode()).digest())
    for split, least in _SHARES:
        while sum(chosen == split for chosen in found.values()) < least:
            found.update(dict.fromkeys(waiting.pop(), split))
    return {
        split: tuple(name for name in all_tasks() if found.get(name, "train") == split) for split in SPLITS
    }


def groups() -> list[tuple[str, ...]]:
    """Return the names of all tasks, those together that are alike in state, in a turn or in their solution."""
    group: dict[str, set[str]] = {}
    by_trait: dict[Hashable, str] = {}
    for found in all_tasks().values():
        group[found.id] = {found.id}
        for trait in _traits(found):
            other = by_trait.setdefault(trait, found.id)
            if group[other] is not group[found.id]:
                group[other] |= group[found.id]
                for name in group[found.id]:
                    group[name] = group[other]
    unique = {id(names): names for names in group.values()}
    return [tuple(name for name in all_tasks() if name in names) for names in unique.values()]


def _traits(found: Task) -> Iterator[Hashable]:
    yield "state", json.dumps(found.config, sort_keys=True)
    yield "solution", found.calls
    yield from (("turn", turn) for turn in found.turns)
