"""What collecting needs to know of an environment besides its interface: which games there are, and their names.

    catalogue("dyna/TextWorld-v0").draw("train", 4)

An environment takes part in ``dyna collect`` and ``dyna env`` by a catalogue of its own in `CATALOGUES`.
"""

from __future__ import annotations

import functools
import importlib
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, Protocol, cast

from dyna_training.environments.base import ForkableEnv

ALFWORLD: Final = "dyna/ALFWorld-v0"
MAZE: Final = "dyna/Maze-v0"
MINIWOB: Final = "dyna/MiniWoB-v0"
SOKOBAN: Final = "dyna/Sokoban-v0"
TAXI: Final = "dyna/Taxi-v0"
SCIENCEWORLD: Final = "dyna/ScienceWorld-v0"
TEXTWORLD: Final = "dyna/TextWorld-v0"
WEBSHOP: Final = "dyna/WebShop-v0"
BFCL: Final = "dyna/BFCL-v0"

CATALOGUES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ALFWORLD: "dyna_training.environments.alfworld.catalogue:Households",
        MAZE: "dyna_training.environments.maze.catalogue:Mazes",
        MINIWOB: "dyna_training.environments.miniwob.catalogue:WebPages",
        SOKOBAN: "dyna_training.environments.sokoban.catalogue:SokobanLevels",
        TAXI: "dyna_training.environments.taxi.catalogue:Rides",
        SCIENCEWORLD: "dyna_training.environments.scienceworld.catalogue:ScienceWorldGames",
        TEXTWORLD: "dyna_training.environments.textworld.catalogue:TextWorldGames",
        WEBSHOP: "dyna_training.environments.webshop.catalogue:Customers",
        BFCL: "dyna_training.environments.bfcl.catalogue:BfclTasks",
    }
)
"""Gymnasium id to ``module:class`` of its catalogue."""


class TooFewGames(ValueError):
    """More games are asked for than there are; the message says how many."""


class Catalogue(Protocol):
    """The games of an environment.

    Attributes:
        environment: Gymnasium id.
        splits: Names of the splits.
        task_types: Types of tasks that games can be chosen by.
        behaviours: Who can play, see `dyna_training.behaviours`.
        prompt: What a model that was never trained here is told: the task, and the commands there are.
        instead: What to do where a split's games are missing; empty where nothing is ever missing.
    """

    environment: str
    splits: Sequence[str]
    task_types: Sequence[str]
    behaviours: Sequence[str]
    prompt: str
    instead: str

    def draw(
        self,
        split: str,
        number: int,
        *,
        skip: int = 0,
        seed: int = 0,
        wanted: Callable[[str], bool] = lambda task_type: True,
    ) -> list[str]:
        """Return the names of games; the same arguments draw the same ones.

        Args:
            split: Name of the split.
            number: How many games; 0 is all of the split.
            skip: How many to leave out first, so that two drawings share none.
            seed: Seeds the order.
            wanted: Which task types.

        Raises:
            GameFileError: The games of the split are not there.
            TooFewGames: There are fewer.
        """
        ...

    def size(self, split: str) -> int | str:
        """Return how many games a split has, or in words why it has no number.

        Raises:
            GameFileError: They are not there.
        """
        ...

    def key(self, game: str) -> str:
        """Return what tells games apart, of a game's name as of its id in a record."""
        ...

    def open(self, game: Any, *, max_steps: int) -> ForkableEnv:
        """Return an environment of one game, which lists no admissible actions."""
        ...

    def option(self, game: str, folder: Path) -> str:
        """Return a game as a JSON value for ``reset(options={"game": …})``.

        Args:
            game: Name of the game.
            folder: Where a file can be written if it takes one.
        """
        ...


def part_of(split: str, games: Sequence[Any], number: int, skip: int) -> list[str]:
    """Return the names of a part of a split's games.

    Args:
        split: Name of the split.
        games: Its games, in their order.
        number: How many; 0 is all that are left.
        skip: How many to leave out first.

    Raises:
        TooFewGames: There are fewer.
    """
    wanted = number or len(games) - skip
    chosen = [str(game) for game in games[skip : skip + wanted]]
    if len(chosen) < wanted or not chosen:
        left = f"after --skip {skip} " if skip else ""
        raise TooFewGames(f"{split} has {len(games)} games, {left}fewer than the {wanted} asked for")
    return chosen


@functools.cache
def catalogue(environment: str) -> Catalogue:
    """Return the catalogue of an environment.

    Raises:
        KeyError: It has none.
    """
    module, _, name = CATALOGUES[environment].partition(":")
    return cast(Catalogue, getattr(importlib.import_module(module), name)())


PLAYERS: Final = ("expert", "noisy", "random", "teacher-future")
"""Who plays where the expert cannot tell what nobody could know."""
FORESEEING_PLAYERS: Final = (*PLAYERS, "teacher", "teacher-noisy")
"""Who plays where it can, see `Foreseeing`."""


class NamedGames(ABC):
    """A catalogue of games that go by their names, see `Catalogue`.

    Attributes:
        kind: The environment; made with ``games``, ``max_steps`` and ``admissible_actions``.
    """

    kind: ClassVar[Callable[..., ForkableEnv]]
    environment: str
    splits: Sequence[str]
    task_types: Sequence[str]
    behaviours: Sequence[str] = PLAYERS
    prompt: str
    instead: str = ""

    @abstractmethod
    def games(self, split: str) -> Sequence[Any]:
        """Return the games of a split, or their names, in an order that never changes."""

    @abstractmethod
    def task_type(self, game: Any) -> str:
        """Return the type of a game."""

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Complain about what is not installed, so that it is heard once and not from every worker."""

    def shuffled(self, games: list[Any], rng: random.Random) -> list[Any]:
        """Return games in an order to draw them in."""
        rng.shuffle(games)
        return games

    def draw(
        self,
        split: str,
        number: int,
        *,
        skip: int = 0,
        seed: int = 0,
        wanted: Callable[[str], bool] = lambda task_type: True,
    ) -> list[str]:
        """Return names of games."""
        self.prepare()
        found = [game for game in self.games(split) if wanted(self.task_type(game))]
        return part_of(split, self.shuffled(found, random.Random(seed)), number, skip)

    def size(self, split: str) -> int | str:
        """Return how many games a split has."""
        return len(self.games(split))

    def key(self, game: str) -> str:
        """Return the name itself."""
        return game

    def open(self, game: Any, *, max_steps: int) -> ForkableEnv:
        """Return an environment of one game."""
        return type(self).kind(games=[game], max_steps=max_steps, admissible_actions=False)

    def option(self, game: str, folder: Path) -> str:
        """Return the name itself."""
        return game
