"""Boxoban's levels (google-deepmind/boxoban-levels), read from the folder that ``$BOXOBAN_LEVELS`` names.

Files are ``unfiltered/{train,valid,test}/NNN.txt``, ``medium/{train,valid}/NNN.txt`` and ``hard/NNN.txt``. In each,
levels stand one after another, a line with a semicolon and the level's number before each.
"""

from __future__ import annotations

import functools
import itertools
import os
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Final, overload

from dyna_training.environments.base import GameFileError
from dyna_training.environments.sokoban.level import Level, parse

VARIABLE: Final = "BOXOBAN_LEVELS"
PREFIX: Final = "boxoban/"
INSTRUCTIONS: Final = (
    "git clone https://github.com/google-deepmind/boxoban-levels, and set "
    f"{VARIABLE} to its folder, the one that has unfiltered, medium and hard in it; generated levels need none"
)


def folder() -> Path:
    """Return the folder of the levels.

    Raises:
        GameFileError: The variable is not set, or names no folder of levels.
    """
    given = os.environ.get(VARIABLE)
    if not given:
        raise GameFileError(f"Boxoban's levels are missing: {INSTRUCTIONS}")
    if not any((Path(given) / part).is_dir() for part in ("unfiltered", "medium", "hard")):
        raise GameFileError(f"{VARIABLE}={given} has no folder unfiltered, medium or hard: {INSTRUCTIONS}")
    return Path(given)


def level(name: str) -> Level:
    """Return a level of Boxoban.

    Args:
        name: Such as ``boxoban/unfiltered/train/000/12``: the file without its ending, and the level's number.

    Raises:
        GameFileError: There is no such file or level, or it is not one.
    """
    file, _, number = name.removeprefix(PREFIX).rpartition("/")
    found = _blocks(folder() / f"{file}.txt")
    if number not in found:
        raise GameFileError(f"{folder() / file}.txt has no level {number!r}; it has {len(found)}")
    return parse(found[number], f"{folder() / file}.txt, level {number}")


@functools.lru_cache(maxsize=16)
def _blocks(file: Path) -> dict[str, list[str]]:
    """Return the lines of each level of a file, by its number."""
    blocks: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in _read(file).splitlines():
        if line.startswith(";"):
            blocks[line[1:].strip()] = current = []
        elif line.strip():
            if current is None:
                raise GameFileError(f"{file} is no file of Boxoban levels: it does not begin with '; 0'")
            current.append(line)
    return blocks


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except FileNotFoundError:
        raise GameFileError(f"there is no {file}; {INSTRUCTIONS}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise GameFileError(f"{file} cannot be read as Boxoban levels: {error}") from error


class Part(Sequence[str]):
    """The names of the levels in a folder of Boxoban, of which there may be 900,000; made when they are asked for.

    Args:
        path: Such as ``unfiltered/train``.

    Raises:
        GameFileError: There is no such folder, or no level in it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._files = sorted((folder() / path).glob("*.txt"))
        if not self._files:
            raise GameFileError(f"there are no levels in {folder() / path}; {INSTRUCTIONS}")
        self._ends = list(itertools.accumulate(_count(file) for file in self._files))

    def __len__(self) -> int:
        return self._ends[-1]

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]  # as lists do: from the end, and no further than they go
        file = bisect_right(self._ends, index)
        number = index - (self._ends[file - 1] if file else 0)
        return f"{PREFIX}{self._path}/{self._files[file].stem}/{number}"


@functools.lru_cache(maxsize=2048)
def _count(file: Path) -> int:
    return _read(file).count(";")
