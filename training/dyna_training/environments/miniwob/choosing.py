"""Chooses the seeds of the splits so that no page is in two of them: opens pages and compares how they are first shown.

    python -m dyna_training.environments.miniwob.choosing

Takes some minutes. Whoever changes the splits, or how a page is shown, runs it again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from dyna_training.environments.miniwob.pages import Page
from dyna_training.environments.miniwob.splits import SEEDS, SPLITS, Split, game, tasks

NUMBERS: Final[Mapping[Split, tuple[int, int]]] = MappingProxyType(
    {"train": (0, 20), "dev": (1_000_000, 2), "test": (2_000_000, 2), "unseen_task": (3_000_000, 5)}
)
"""Of each split: the first seed, and the most games of a task."""
TRIES: Final = 3
"""So many times as many seeds are looked at as games are wanted; pages that repeat get fewer games."""


def opening(split: Split, task: str, seed: int) -> tuple[str, ...]:
    """Return what a player is shown first."""
    page = Page(game(split, task, seed))
    page.close()
    return (page.task, *page.state.lines)


def chosen(task: str) -> dict[Split, list[int]]:
    """Return the seeds of a task in the splits that it is in."""
    seen: set[tuple[str, ...]] = set()
    found: dict[Split, list[int]] = {}
    for split in SPLITS:
        if task not in tasks(split):
            continue
        first, most = NUMBERS[split]
        found[split] = []
        for seed in range(first, first + TRIES * most):
            page = opening(split, task, seed)
            if page not in seen:
                seen.add(page)
                found[split].append(seed)
            if len(found[split]) == most:
                break
    return found


def main() -> None:
    """Write the seeds."""
    seeds: dict[Split, dict[str, list[int]]] = {split: {} for split in SPLITS}
    for task in sorted({task for split in SPLITS for task in tasks(split)}):
        for split, numbers in chosen(task).items():
            seeds[split][task] = numbers
    SEEDS.parent.mkdir(exist_ok=True)
    lines = [
        f'"{split}": {{\n'
        + ",\n".join(f'"{task}": {json.dumps(numbers)}' for task, numbers in seeds[split].items())
        + "\n}"
        for split in SPLITS
    ]
    SEEDS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
