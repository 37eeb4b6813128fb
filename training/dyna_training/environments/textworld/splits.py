"""Which games are trained on, and which are kept for measuring.

| split | kinds | sizes | games |
|---|---|---|---|
| ``train`` | coin collector, treasure hunter, cooking, custom | in domain | 2000 |
| ``dev``, ``test`` | the same | the same, other seeds | 200 each |
| ``larger`` | the same | larger than any trained on | 200 |
| ``unseen_kind`` | simple, which is in no other split | one | 100 |

Every choice and threshold is made on ``dev``; ``larger`` and ``unseen_kind`` are out of domain in size and in kind.
Games stand in the order of their seeds, and the kinds take turns, so that any number of them from the beginning has
each kind equally often. No seed is in two splits.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal, get_args

from dyna_training.environments.textworld.games import GameSpec, Kind

Split = Literal["train", "dev", "test", "larger", "unseen_kind"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
_Settings = dict[str, int | str]

_IN_DOMAIN: Final[Mapping[Kind, Callable[[random.Random], _Settings]]] = MappingProxyType(
    {
        "coin_collector": lambda r: {"level": r.choice((3, 4, 5, 6, 7, 8, 103, 104, 105, 106))},
        "treasure_hunter": lambda r: {"level": r.randint(4, 18)},
        "cooking": lambda r: {
            "recipe": (n := r.randint(1, 2)),
            "take": r.randint(1, n),
            "cook": r.randint(0, 1),
            "cut": r.randint(0, 1),
            "go": r.choice((1, 6)),
        },
        "custom": lambda r: {"rooms": r.randint(3, 5), "objects": r.randint(5, 9), "length": r.randint(3, 6)},
    }
)
_LARGER: Final[Mapping[Kind, Callable[[random.Random], _Settings]]] = MappingProxyType(
    {
        "coin_collector": lambda r: {"level": r.choice((12, 15, 18, 110, 112, 115))},
        "treasure_hunter": lambda r: {"level": r.randint(21, 27)},
        "cooking": lambda r: {"recipe": 3, "take": r.randint(2, 3), "go": 9},
        "custom": lambda r: {"rooms": 8, "objects": r.randint(12, 16), "length": r.randint(8, 10)},
    }
)
_SIMPLE: Final[Mapping[Kind, Callable[[random.Random], _Settings]]] = MappingProxyType(
    {"simple": lambda r: {}}
)

_NUMBERS: Final[Mapping[Split, tuple[Mapping[Kind, Callable[[random.Random], _Settings]], int, int]]] = (
    MappingProxyType(
        {
            "train": (_IN_DOMAIN, 0, 2000),
            "dev": (_IN_DOMAIN, 1_000_000, 200),
            "test": (_IN_DOMAIN, 2_000_000, 200),
            "larger": (_LARGER, 3_000_000, 200),
            "unseen_kind": (_SIMPLE, 4_000_000, 100),
        }
    )
)
"""Of each split: how games are drawn, the first seed, and how many."""


def games(split: Split) -> list[GameSpec]:
    """Return the games of a split, in order; none of them is made by this.

    Raises:
        ValueError: There is no such split.
    """
    if split not in _NUMBERS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    draw, first, number = _NUMBERS[split]
    kinds = list(draw)
    found = []
    for index in range(number):
        kind, seed = kinds[index % len(kinds)], first + index
        found.append(GameSpec.of(kind, seed, **draw[kind](random.Random(f"{kind} {seed}"))))
    return found
