"""Which rides are trained on, and which are kept for measuring.

There are 300 rides: 12 routes, of two places each, and 25 cells in which the taxi can stand at the beginning.

| split | routes | rides |
|---|---|---|
| ``train`` | nine of the twelve | 145 |
| ``dev``, ``test`` | the same, the taxi elsewhere | 40 each |
| ``unseen_route`` | the other three | 75 |

``unseen_route`` is out of domain: each of its places is driven to and from in training, but no such pair.
"""

from __future__ import annotations

import itertools
import random
import re
from typing import Final, Literal, get_args

from dyna_training.environments.base import GameFileError
from dyna_training.environments.taxi.rules import PLACES, Scene

Split = Literal["train", "dev", "test", "unseen_route"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
ROUTES: Final = tuple("-".join(pair) for pair in itertools.permutations(PLACES, 2))
UNSEEN: Final = ("R-B", "G-Y", "B-G")
_KEPT: Final = 40
_NAME: Final = re.compile(rf"([{PLACES}])-([{PLACES}])/([0-4]),([0-4])")


def games(split: Split) -> list[str]:
    """Return the names of the rides of a split, in order.

    Raises:
        ValueError: There is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are {', '.join(SPLITS)}")
    routes = UNSEEN if split == "unseen_route" else [route for route in ROUTES if route not in UNSEEN]
    rides = [f"{route}/{row},{column}" for route in routes for row in range(5) for column in range(5)]
    random.Random("taxi").shuffle(rides)
    parts = {"dev": slice(_KEPT), "test": slice(_KEPT, 2 * _KEPT), "train": slice(2 * _KEPT, None)}
    return rides[parts.get(split, slice(None))]


def scene_of(game: str) -> Scene:
    """Return the beginning of a ride.

    Raises:
        GameFileError: It is no name of a ride.
    """
    found = _NAME.fullmatch(game) if isinstance(game, str) else None
    if found is None or found[1] == found[2]:
        raise GameFileError(
            f"{game!r} is no name of a ride; names are such as R-G/2,3 (from R to G, the taxi in row 2 and column 3, "
            f"counted from 0), between two of {', '.join(PLACES)}"
        )
    return Scene(int(found[3]), int(found[4]), PLACES.index(found[1]), PLACES.index(found[2]))
