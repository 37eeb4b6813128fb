"""Which TextWorld game: its kind, its settings and its seed, written ``kind/settings/seed``.

    coin_collector/level=5/17
    cooking/recipe=2,take=1,cook=1,cut=1,go=6/4

The name says everything that the game is made from, so that a record of an episode suffices to play it again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, Self, cast, get_args

Kind = Literal["coin_collector", "treasure_hunter", "cooking", "custom", "simple"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

SETTINGS: Final[Mapping[Kind, Mapping[str, int | str]]] = MappingProxyType(
    {
        "coin_collector": {"level": 5},
        "treasure_hunter": {"level": 5},
        "cooking": {
            "recipe": 1,
            "take": 1,
            "cook": 1,
            "cut": 1,
            "open": 1,
            "drop": 0,
            "go": 6,
            "recipe_seed": 0,
            "split": "train",
        },
        "custom": {"rooms": 4, "objects": 6, "length": 4},
        "simple": {"rewards": "balanced", "goal": "detailed", "test": 0},
    }
)
"""Settings of each kind with their defaults. They are those of the maker, which ``tw-make tw-<kind> --help``
describes; ``custom`` has rooms, objects and length of the quest."""

CHOICES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "split": ("train", "valid", "test"),
        "rewards": ("dense", "balanced", "sparse"),
        "goal": ("detailed", "brief", "none"),
    }
)
"""Settings that are words, and which words they can be."""
RANGES: Final[Mapping[tuple[Kind, str], tuple[int, ...] | range]] = MappingProxyType(
    {
        # More than a hundred rooms do not fit into a Z-machine.
        ("coin_collector", "level"): tuple(
            level for level in range(1, 301) if ((level - 1) // 100 + 1) * ((level - 1) % 100 + 1) <= 100
        ),
        ("treasure_hunter", "level"): range(1, 31),
        ("cooking", "recipe"): range(1, 6),
        ("cooking", "take"): range(6),
        ("cooking", "cook"): range(2),
        ("cooking", "cut"): range(2),
        ("cooking", "open"): range(2),
        ("cooking", "drop"): range(2),
        ("cooking", "go"): (1, 6, 9, 12),
        ("cooking", "recipe_seed"): range(2**31),
        ("custom", "rooms"): range(1, 51),
        ("custom", "objects"): range(1, 101),
        ("custom", "length"): range(1, 31),
        ("simple", "test"): range(2),
    }
)
"""Settings that are numbers, and which numbers the makers take."""
SEEDS: Final = range(2**32)
"""Seeds that the makers take."""

_SETTING = re.compile(r"([a-z_]+)=([a-z0-9]+)")


class GameNameError(ValueError):
    """A game is named that cannot be made; the message says what is wrong with the name."""


@dataclass(frozen=True, slots=True)
class GameSpec:
    """What a game is made from.

    Attributes:
        kind: Which maker.
        settings: The settings that are not the maker's default, sorted by name.
        seed: Seed of everything that is drawn.
    """

    kind: Kind
    settings: tuple[tuple[str, int | str], ...]
    seed: int

    @classmethod
    def of(cls, kind: Kind, seed: int, **settings: int | str) -> Self:
        """Return the game of these settings.

        Raises:
            GameNameError: There is no such kind, setting or value.
        """
        if kind not in SETTINGS:
            raise GameNameError(f"unknown kind of game {kind!r}; {_there_are(kind, KINDS)}")
        if seed not in SEEDS:
            raise GameNameError(f"the seed of a game is a number from 0 to {SEEDS[-1]}, not {seed}")
        defaults = SETTINGS[kind]
        for name, value in settings.items():
            _check(kind, name, value)
        if kind == "cooking":
            _check_cooking({**defaults, **settings})
        said = tuple(sorted((n, v) for n, v in settings.items() if v != defaults[n]))
        return cls(kind, said, seed)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Read a name; settings that it leaves out have their default.

        Raises:
            GameNameError: It is no name of a game.
        """
        parts = name.strip().split("/")
        if len(parts) not in (2, 3) or not parts[-1].isdecimal():
            raise GameNameError(
                f"{name!r} names no TextWorld game: expected kind/settings/seed, such as "
                "coin_collector/level=5/17, or the path of a .z8 file"
            )
        settings: dict[str, int | str] = {}
        for text in filter(None, ",".join(parts[1:-1]).split(",")):
            found = _SETTING.fullmatch(text)
            if found is None:
                raise GameNameError(f"{name!r}: {text!r} is no setting; write name=value")
            settings[found[1]] = int(found[2]) if found[2].isdecimal() else found[2]
        try:
            return cls.of(cast(Kind, parts[0]), int(parts[-1]), **settings)
        except GameNameError as error:
            raise GameNameError(f"{name!r}: {error}") from None

    @property
    def all_settings(self) -> dict[str, int | str]:
        """Every setting, defaults included."""
        return {**SETTINGS[self.kind], **dict(self.settings)}

    def __str__(self) -> str:
        said = ",".join(f"{name}={value}" for name, value in self.settings) or "default"
        return f"{self.kind}/{said}/{self.seed}".replace("/default/", "/")


GameLike = GameSpec | str | Path
"""A game, its name, or the path of a compiled game file."""


def is_file(game: GameLike) -> bool:
    """Return whether a game is given as a file rather than by its name."""
    return isinstance(game, Path) or (isinstance(game, str) and game.endswith(".z8"))


def _check(kind: Kind, name: str, value: int | str) -> None:
    known = SETTINGS[kind]
    if name not in known:
        raise GameNameError(f"{kind} has no setting {name!r}; {_there_are(name, tuple(known))}")
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise GameNameError(f"{kind} has no {name} {value!r}; {_there_are(str(value), CHOICES[name])}")
    elif value not in (allowed := RANGES[kind, name]):
        raise GameNameError(f"{name} of {kind} cannot be {value!r}; it is one of {_said(allowed)}")


def _check_cooking(settings: Mapping[str, int | str]) -> None:
    if int(settings["take"]) > int(settings["recipe"]):
        raise GameNameError(f"take ({settings['take']}) is more than recipe ({settings['recipe']})")
    if settings["recipe_seed"] and not settings["take"]:
        raise GameNameError("recipe_seed needs take to be at least 1")


def _there_are(name: str, names: tuple[str, ...]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"


def _said(allowed: tuple[int, ...] | range) -> str:
    if len(allowed) <= 6:
        return ", ".join(map(str, allowed))
    return f"{allowed[0]} to {allowed[-1]}" + (
        "" if isinstance(allowed, range) else " with at most 100 rooms"
    )
