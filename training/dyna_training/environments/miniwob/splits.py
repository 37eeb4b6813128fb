"""Which games are trained on, and which are kept for measuring.

| split | tasks | seeds | games |
|---|---|---|---|
| ``train`` | in domain | from 0 on | up to 20 of a task |
| ``dev``, ``test`` | the same | from 1,000,000 and 2,000,000 on | up to 2 of a task |
| ``unseen_task`` | families of tasks that are in no other split | from 3,000,000 on | up to 5 of a task |

Every choice and threshold is made on ``dev``. Different seeds may give the same page, in some tasks nearly always, so
the seeds are chosen by looking (`choosing`): no page of a game, as it is first shown, is in two splits or twice in one.
Where a page has a distribution of its own for testing, only ``train`` uses that for training. Tasks whose page says in
pictures what it wants (`UNREADABLE`) are in no split.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Final, Literal, get_args

from dyna_training.environments.miniwob.tasks import TASKS, Game

Split = Literal["train", "dev", "test", "unseen_task"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)

SEEDS: Final = Path(__file__).parent / "data" / "seeds.json"
"""Of each split, the seeds of each task."""
UNREADABLE: Final = frozenset({"count-sides", "drag-cube", "draw-circle"})
"""Tasks that nobody can do who only reads, or who draws with straight lines."""
TWO_DISTRIBUTIONS: Final = frozenset(
    {
        *("click-checkboxes-transfer", "click-test-transfer", "email-inbox-forward-nl"),
        *(
            "email-inbox-forward-nl-turk",
            "email-inbox-nl-turk",
            "flight.AA",
            "flight.Alaska",
            "flight.Alaska-auto",
        ),
    }
)
"""Tasks whose pages draw other episodes for testing than for training."""
UNSEEN: Final = frozenset(
    {
        *("buy-ticket", "click-collapsible", "click-collapsible-2", "click-collapsible-2-nodelay"),
        *("click-collapsible-nodelay", "click-pie", "click-pie-nodelay", "copy-paste", "copy-paste-2"),
        *("daily-calendar", "drag-items", "drag-items-grid", "drag-sort-numbers", "find-word", "flight.AA"),
        *("flight.Alaska", "flight.Alaska-auto", "generate-number", "guess-number", "highlight-text"),
        *("highlight-text-2", "hot-cold", "navigate-tree", "number-checkboxes", "odd-or-even", "order-food"),
        *("phone-book", "read-table", "read-table-2", "search-engine", "social-media", "social-media-all"),
        *("social-media-some", "stock-market", "terminal", "text-editor", "text-transform", "tic-tac-toe"),
        *("use-autocomplete", "use-autocomplete-nodelay", "use-spinner"),
    }
)
"""Tasks of the split ``unseen_task``, whole families of them."""


def tasks(split: Split) -> list[str]:
    """Return the tasks that a split draws from."""
    inside = split == "unseen_task"
    return [task for task in TASKS if task not in UNREADABLE and (task in UNSEEN) == inside]


def game(split: Split, task: str, seed: int) -> Game:
    """Return a task's game as a split has it."""
    return Game(task, seed, "test" if split != "train" and task in TWO_DISTRIBUTIONS else "train")


def games(split: Split) -> list[Game]:
    """Return the games of a split; the tasks take turns, so that the first of them have many kinds.

    Raises:
        ValueError: There is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    seeds = _seeds()[split]
    most = max(map(len, seeds.values()))
    return [
        game(split, task, seeds[task][turn])
        for turn in range(most)
        for task in tasks(split)
        if turn < len(seeds[task])
    ]


@functools.cache
def _seeds() -> dict[str, dict[str, list[int]]]:
    found: dict[str, dict[str, list[int]]] = json.loads(SEEDS.read_text(encoding="utf-8"))
    return found
