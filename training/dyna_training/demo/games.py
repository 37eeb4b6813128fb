"""Which games are played: new households that no training has seen, or official held-out ones."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final, Literal, get_args

from dyna_graph.errors import DynaError
from dyna_training.demo.record import DemoGame
from dyna_training.environments.alfworld import generator
from dyna_training.environments.alfworld.game import load_game
from dyna_training.environments.alfworld.generator import RESERVED_SEEDS
from dyna_training.environments.alfworld.splits import games

DemoSplit = Literal["generated", "dev_unseen", "valid_seen"]
SPLITS: Final[tuple[DemoSplit, ...]] = get_args(DemoSplit)
FIRST_SEED: Final = RESERVED_SEEDS
"""Generator seeds from here on belong to the demo; nothing is ever trained on them."""


def choose(split: DemoSplit, count: int, seed: int, folder: Path) -> list[DemoGame]:
    """Return the games to play; the same arguments give the same ones, and nobody looked at them before.

    Args:
        split: Where they come from.
        count: How many.
        seed: 0 or more. For generated games the seeds are `FIRST_SEED` + ``seed`` and those after it; of the official
            ones it draws a sample.
        folder: Where generated games are written.

    Raises:
        DynaError: The split has fewer games.
        GameFileError: The official games are not there.
        OSError: A generated game cannot be written.
    """
    if split == "generated":
        seeds: list[int | None] = [FIRST_SEED + seed + i for i in range(count)]
        files = [generator.write(folder, s) for s in seeds if s is not None]
    else:
        found = games(split)
        if count > len(found):
            raise DynaError(f"{split} has {len(found)} games, not {count}; ask for fewer with --games")
        files, seeds = random.Random(f"demo {seed}").sample(found, count), [None] * count
    return [
        _game(number, file, s, split)
        for number, (file, s) in enumerate(zip(files, seeds, strict=True), start=1)
    ]


def _game(number: int, file: Path, seed: int | None, split: str) -> DemoGame:
    game = load_game(file)
    return DemoGame(
        number=number,
        id=game.id,
        file=str(file),
        seed=seed,
        split=split,
        task=game.task,
        task_type=game.task_type,
        steps=len(game.walkthrough),
    )
