"""Which mazes are trained on, and which are kept for measuring.

| split | kinds | sizes | mazes |
|---|---|---|---|
| ``train`` | backtracking, kruskal, wilsons, in turns | 4 to 6 cells on each side | 2000 |
| ``dev``, ``test`` | the same | the same, other mazes | 200 each |
| ``larger`` | the same | 8 and 9 | 200 |
| ``largest`` | the same | 10 and 12 | 200 |
| ``unseen_kind`` | prims, sidewinder | 4 to 6 | 200 |

``larger``, ``largest`` and ``unseen_kind`` are out of domain, in size or in kind. No maze is in two splits, not even
turned or mirrored (`boards.leaks`), although two ways of making one can come to the same.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, cast, get_args

from dyna_training.environments.base import GameFileError
from dyna_training.environments.boards.leaks import Part, first_seed
from dyna_training.environments.maze.making import KINDS, Kind, Maze, make

Split = Literal["train", "dev", "test", "larger", "largest", "unseen_kind"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
_SEEN: Final[tuple[Kind, ...]] = ("backtracking", "kruskal", "wilsons")
_UNSEEN: Final = tuple(kind for kind in KINDS if kind not in _SEEN)
_SMALL: Final = (4, 5, 6)
_GAMES: Final[Mapping[Split, tuple[Sequence[Kind], Sequence[int], Part, int]]] = MappingProxyType(
    {
        "train": (_SEEN, _SMALL, "train", 2000),
        "dev": (_SEEN, _SMALL, "dev", 200),
        "test": (_SEEN, _SMALL, "test", 200),
        "larger": (_SEEN, (8, 9), "other", 200),
        "largest": (_SEEN, (10, 12), "other", 200),
        "unseen_kind": (_UNSEEN, _SMALL, "extra", 200),
    }
)
"""Of each split: kinds, sizes, which part of all mazes, how many."""
_NAME: Final = re.compile(rf"({'|'.join(KINDS)})-(\d{{1,3}})/(\d{{1,9}})")


def games(split: Split) -> list[str]:
    """Return the names of the mazes of a split, in order; none of them is made by this.

    Raises:
        ValueError: There is no such split.
    """
    if split not in _GAMES:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    kinds, sizes, part, number = _GAMES[split]
    first = first_seed(part)
    return [
        f"{kinds[index % len(kinds)]}-{sizes[index // len(kinds) % len(sizes)]}/{first + index}"
        for index in range(number)
    ]


def task_type(game: str) -> str:
    """Return the kind of a maze by its name.

    Raises:
        GameFileError: It is no name of a maze.
    """
    return _parsed(game)[0]


@functools.lru_cache(maxsize=4096)
def maze_of(game: str) -> Maze:
    """Return the maze of a name.

    Raises:
        GameFileError: It is no name of a maze, or there can be no such maze.
        PackageMissing: mazelib is not installed.
    """
    return make(*_parsed(game))


def _parsed(game: str) -> tuple[Kind, int, int]:
    found = _NAME.fullmatch(game) if isinstance(game, str) else None
    if found is None:
        raise GameFileError(
            f"{game!r} is no name of a maze; names are such as backtracking-5/7 (how it is made, cells on each side, "
            f"seed), made by {', '.join(KINDS)}"
        )
    return cast(Kind, found[1]), int(found[2]), int(found[3])
