"""Which goals are trained on, and which are kept for measuring.

| split | goals |
|---|---|
| ``train``, ``dev``, ``test`` | synthetic goals of four departments; 80, 10 and 10 % of the instructions, by hash |
| ``unseen_category`` | synthetic goals of the department `HELD_OUT`, which is in no other split |
| ``human_train``, ``human_dev``, ``human_test``, ``human_unseen_category`` | goals that people wrote |

A synthetic goal is one choice of a product's options, so the goals of a product share all but the end of their
instruction: all of them are in one split. Human goals of the full data have the published splits: goals 0 to 499 are
the test, 500 to 1499 for development; what is left of them is trained on where its product is in neither and its
department is not held out. Fewer human goals than that, as with a thousand products, are divided as synthetic ones are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

from dyna_training.environments.base import GameFileError
from dyna_training.environments.webshop.goals import Goal, Kind
from dyna_training.environments.webshop.products import HOW_TO_GET, HUMAN_FILE
from dyna_training.environments.webshop.shop import Shop

Part = Literal["train", "dev", "test", "unseen_category"]
Split = Literal[
    "train",
    "dev",
    "test",
    "unseen_category",
    "human_train",
    "human_dev",
    "human_test",
    "human_unseen_category",
]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
HELD_OUT: Final = "grocery"
"""The department of the split ``unseen_category``."""
_TEST, _DEV = 500, 1500
"""Where the published splits end."""


def games(split: Split, shop: Shop) -> list[str]:
    """Return the names of a split's goals, in the original's order.

    Args:
        split: Name of the split.
        shop: The shop.

    Raises:
        GameFileError: The data have no such goals.
        ValueError: There is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    kind: Kind = "human" if split.startswith("human_") else "synthetic"
    goals = shop.goals[kind]
    parts = _published(goals) if kind == "human" and len(goals) > _DEV else [part_of(goal) for goal in goals]
    wanted = split.removeprefix("human_")
    names = [f"{kind}/{number}" for number, part in enumerate(parts) if part == wanted]
    if not names:
        hint = f" Goals that people wrote are in {HUMAN_FILE}. {HOW_TO_GET}" if kind == "human" else ""
        raise GameFileError(f"{shop.source[0]}: no {kind} goals for the split {split}.{hint}")
    return names


def part_of(goal: Goal) -> Part:
    """Return where a goal belongs by its product."""
    if goal.product.category == HELD_OUT:
        return "unseen_category"
    digest = hashlib.sha256(f"webshop {_family(goal)}".encode()).digest()
    parts: Mapping[int, Part] = {0: "test", 1: "dev"}
    return parts.get(int.from_bytes(digest[:8], "big") % 10, "train")


def _published(goals: Sequence[Goal]) -> list[Part | None]:
    """Return the published part of each goal; None where training on it would tell of the others."""
    measured = {_family(goal) for goal in goals[:_DEV]}
    rest: list[Part | None] = []
    for goal in goals[_DEV:]:
        known = _family(goal) in measured
        part: Part = "unseen_category" if goal.product.category == HELD_OUT else "train"
        rest.append(None if known else part)
    published: list[Part | None] = ["test" if number < _TEST else "dev" for number in range(_DEV)]
    return published + rest


def _family(goal: Goal) -> str:
    """Return what goals share that must not be in two splits: products with one instruction count as one."""
    return goal.product.instruction or goal.product.asin
