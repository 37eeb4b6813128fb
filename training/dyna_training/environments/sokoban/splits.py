"""Which levels are trained on, and which are kept for measuring.

| split | levels | number |
|---|---|---|
| ``train`` | generated, 6×6 with one box and 7×7 with two, in turns | 2000 |
| ``dev``, ``test`` | the same sizes, other levels | 200 each |
| ``more_boxes`` | 7×7 with three boxes, WMAct's hard-2 | 200 |
| ``larger`` | 10×10 with two boxes, WMAct's hard-1 | 200 |
| ``largest`` | 12×12 with four boxes | 200 |
| ``boxoban_train``, ``boxoban_dev``, ``boxoban_test`` | Boxoban's unfiltered train, valid and test | its files |
| ``boxoban_medium``, ``boxoban_hard`` | Boxoban's medium valid, and hard | its files |

``more_boxes``, ``larger`` and ``largest`` are out of the distribution of the generated levels, ``boxoban_medium`` and
``boxoban_hard`` out of that of Boxoban's unfiltered ones. No generated level is in two splits, not even turned or
mirrored (`boards.leaks`).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, get_args

from dyna_training.environments.base import GameFileError
from dyna_training.environments.boards.leaks import Part, first_seed
from dyna_training.environments.sokoban import boxoban
from dyna_training.environments.sokoban.generator import generate
from dyna_training.environments.sokoban.level import Level

Split = Literal[
    "train",
    "dev",
    "test",
    "more_boxes",
    "larger",
    "largest",
    "boxoban_train",
    "boxoban_dev",
    "boxoban_test",
    "boxoban_medium",
    "boxoban_hard",
]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
SMALL: Final = ("6x6-1", "7x7-2")
"""The sizes that are trained on: the least that is anything of a puzzle, and WMAct's standard."""
_GENERATED: Final[Mapping[str, tuple[Sequence[str], Part, int]]] = MappingProxyType(
    {
        "train": (SMALL, "train", 2000),
        "dev": (SMALL, "dev", 200),
        "test": (SMALL, "test", 200),
        "more_boxes": (("7x7-3",), "other", 200),
        "larger": (("10x10-2",), "other", 200),
        "largest": (("12x12-4",), "other", 200),
    }
)
_BOXOBAN: Final = MappingProxyType(
    {
        "boxoban_train": "unfiltered/train",
        "boxoban_dev": "unfiltered/valid",
        "boxoban_test": "unfiltered/test",
        "boxoban_medium": "medium/valid",
        "boxoban_hard": "hard",
    }
)
TASK_TYPES: Final = (
    *dict.fromkeys(size for sizes, _, _ in _GENERATED.values() for size in sizes),
    *(f"boxoban-{difficulty}" for difficulty in ("unfiltered", "medium", "hard")),
)
_NAME: Final = re.compile(r"(\d{1,2})x(\d{1,2})-(\d{1,2})/(\d{1,9})")
_BOXOBAN_NAME: Final = re.compile(
    rf"{boxoban.PREFIX}(?:(unfiltered|medium)/(?:train|valid|test)|(hard))/\d+/\d+"
)


def games(split: Split) -> Sequence[str]:
    """Return the names of the levels of a split, in order.

    Raises:
        GameFileError: They are Boxoban's, and not there.
        ValueError: There is no such split.
    """
    if split in _BOXOBAN:
        return boxoban.Part(_BOXOBAN[split])
    if split not in _GENERATED:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    sizes, part, number = _GENERATED[split]
    first = first_seed(part)
    return [f"{sizes[index % len(sizes)]}/{first + index}" for index in range(number)]


def task_type(game: str) -> str:
    """Return the type of a level by its name: its size, or Boxoban's difficulty.

    Raises:
        GameFileError: It is no name of a level.
    """
    if _NAME.fullmatch(game):
        return game.partition("/")[0]
    if found := _BOXOBAN_NAME.fullmatch(game):
        return f"boxoban-{found[1] or found[2]}"
    raise GameFileError(
        f"{game!r} is no name of a level; names are such as 7x7-2/5 (7 rows, 7 columns, 2 boxes, seed 5) and "
        "boxoban/unfiltered/train/000/5 (file and number)"
    )


_generated = functools.lru_cache(maxsize=4096)(generate)


def level_of(game: str) -> Level:
    """Return the level of a name.

    Raises:
        GameFileError: It is no name of a level, or there is no such level.
    """
    task_type(game)
    if game.startswith(boxoban.PREFIX):
        return boxoban.level(game)
    height, width, boxes, seed = map(int, _NAME.fullmatch(game).groups())  # type: ignore[union-attr]
    return _generated(height, width, boxes, seed)
