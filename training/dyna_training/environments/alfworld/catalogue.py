"""The games of ``dyna/ALFWorld-v0``: the official ones by their files, new households by their seeds."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, cast

from dyna_training.environments.alfworld.env import AlfworldEnv, GameLike
from dyna_training.environments.alfworld.game import TASK_TYPES
from dyna_training.environments.alfworld.generator import RESERVED_SEEDS, drawn_task_type, generate, write
from dyna_training.environments.alfworld.splits import SPLITS, Split, games, task_type_of
from dyna_training.environments.alfworld.text import HELP
from dyna_training.environments.base import ForkableEnv
from dyna_training.environments.catalogue import ALFWORLD, TooFewGames, part_of

GENERATED: Final = "generated:"
"""Stands before the seed in the name of a new household."""
HOUSEHOLDS_PER_SEED: Final = 1_000_000
"""Households of the split ``generated`` have the seeds from ``seed`` times this on."""
_GENERATED_SPLIT: Final = "generated"
_PROMPT: Final = (
    "Solve the household task with the tool `act`, one command at a time. Before each call, think in one "
    "sentence. "
    "Commands:\n"
)


class Households:
    """The catalogue of ALFWorld, see `Catalogue`."""

    environment: str = ALFWORLD
    splits: Sequence[str] = (*SPLITS, _GENERATED_SPLIT)
    task_types: Sequence[str] = TASK_TYPES
    behaviours: Sequence[str] = (
        "expert",
        "noisy",
        "random",
        "clumsy",
        "astray",
        "teacher",
        "teacher-future",
        "teacher-noisy",
    )
    prompt: str = _PROMPT + HELP
    instead: str = "Without them: --split generated makes new households."

    def draw(
        self,
        split: str,
        number: int,
        *,
        skip: int = 0,
        seed: int = 0,
        wanted: Callable[[str], bool] = lambda task_type: True,
    ) -> list[str]:
        """Return the paths of official games, or the names of households."""
        if split == _GENERATED_SPLIT:
            return self._households(number, skip, seed, wanted)
        files = games(cast(Split, split))
        random.Random(seed).shuffle(files)
        files = [file for file in files if wanted(task_type_of(file))]
        return part_of(split, files, number, skip)

    @staticmethod
    def _households(number: int, skip: int, seed: int, wanted: Callable[[str], bool]) -> list[str]:
        if number == 0:
            raise TooFewGames("say how many households to generate: --games N")
        first = seed * HOUSEHOLDS_PER_SEED
        seeds = (n for n in range(first, first + HOUSEHOLDS_PER_SEED) if wanted(drawn_task_type(n)))
        chosen = list(itertools.islice(seeds, skip, skip + number))
        if not chosen or chosen[-1] >= RESERVED_SEEDS:
            raise TooFewGames(
                f"households from seed {RESERVED_SEEDS:,} on are kept for demonstrations; choose --seed below "
                f"{RESERVED_SEEDS // HOUSEHOLDS_PER_SEED}"
            )
        return [f"{GENERATED}{n}" for n in chosen]

    def size(self, split: str) -> int | str:
        """Return how many games a split has."""
        return "any number" if split == _GENERATED_SPLIT else len(games(cast(Split, split)))

    def key(self, game: str) -> str:
        """Return task and trial folder of a path or game id, or a household's seed."""
        if game.startswith(GENERATED):
            return game
        parts = Path(game).parts
        task, trial = parts[-3:-1] if parts[-1].endswith(".tw-pddl") else parts[-2:]
        made = trial.removeprefix("generated_")
        return f"{task}/{trial}" if made == trial else f"{GENERATED}{made}"

    def open(self, game: GameLike, *, max_steps: int) -> ForkableEnv:
        """Return an environment of one game, given as itself, by its file, or by the name of a household."""
        if isinstance(game, str) and game.startswith(GENERATED):
            game = generate(int(game.removeprefix(GENERATED)))
        return AlfworldEnv(games=[game], max_steps=max_steps, admissible_actions=False)

    def option(self, game: str, folder: Path) -> str:
        """Return the file of a game; a household is written down, since a checkpoint can only name a file."""
        if not game.startswith(GENERATED):
            return game
        return str(write(folder / "games", int(game.removeprefix(GENERATED))))
