"""A Sokoban level: walls, goals, boxes and the player, and which cells are dead.

Cells are numbered row by row, with one number between two rows that is no cell, so that a board of text with its line
breaks has a cell's symbol at the cell's number, and that no step leads from one row's end into the next. Sets of cells
are integers, a bit for each.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dyna_training.environments.base import GameFileError
from dyna_training.environments.boards.leaks import identity

WALL, FLOOR, GOAL, BOX, STORED, PLAYER, PLAYER_ON_GOAL = "#_OX*PS"
"""The symbols that language models are shown in the papers, with ``*`` for a box on a goal, which is ``√`` there."""
FILE_SYMBOLS: Final[Mapping[str, str]] = MappingProxyType(
    {"#": WALL, " ": FLOOR, ".": GOAL, "$": BOX, "*": STORED, "@": PLAYER, "+": PLAYER_ON_GOAL}
)
"""The symbols of level files to those of observations."""


@dataclass(frozen=True)
class Level:
    """A level.

    Attributes:
        width: Columns, walls around included.
        height: Rows.
        floor: The cells that are no walls.
        goals: The goals.
        boxes: The boxes at the beginning.
        player: The player's cell at the beginning.
    """

    width: int
    height: int
    floor: int
    goals: int
    boxes: int
    player: int

    @property
    def stride(self) -> int:
        """Difference of the numbers of a cell and the one below."""
        return self.width + 1

    @functools.cached_property
    def ground(self) -> bytes:
        """The board without boxes and player, as ASCII with line breaks."""
        symbols = (
            "\n"
            if cell % self.stride == self.width
            else GOAL
            if self.goals >> cell & 1
            else FLOOR
            if self.floor >> cell & 1
            else WALL
            for cell in range(self.stride * self.height - 1)
        )
        return "".join(symbols).encode("ascii")

    @functools.cached_property
    def dead(self) -> int:
        """The floor from which a box can be pushed to no goal, whatever else stands where."""
        alive = 0
        for distances in self.pushes:
            for cell in distances:
                alive |= 1 << cell
        return self.floor & ~alive

    @functools.cached_property
    def pushes(self) -> tuple[dict[int, int], ...]:
        """Of each goal, how many pushes a box needs to it from a cell, if it were alone."""
        return tuple(self._pushes_to(goal) for goal in cells(self.goals))

    def _pushes_to(self, goal: int) -> dict[int, int]:
        found, frontier = {goal: 0}, [goal]
        for cell in frontier:
            for step in (1, -1, self.stride, -self.stride):
                before, player = cell - step, cell - 2 * step
                if player < 0 or before in found or not self.floor >> before & 1:
                    continue
                if self.floor >> player & 1:
                    found[before] = found[cell] + 1
                    frontier.append(before)
        return found

    def rows(self) -> list[str]:
        """Return the level in the symbols of observations."""
        text = bytearray(self.ground)
        for cell in cells(self.boxes):
            text[cell] = ord(STORED if self.goals >> cell & 1 else BOX)
        text[self.player] = ord(PLAYER_ON_GOAL if self.goals >> self.player & 1 else PLAYER)
        return text.decode("ascii").split("\n")

    def place(self, cell: int) -> str:
        """Return row and column of a cell in words, counted from 1."""
        row, column = divmod(cell, self.stride)
        return f"row {row + 1}, column {column + 1}"

    @property
    def id(self) -> str:
        """Name of a level that was given by itself."""
        return f"level/{identity(self.rows())[:12]}"


def cells(bits: int) -> Iterator[int]:
    """Yield the cells of a set, in order."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def frozen(level: Level, boxes: int) -> bool:
    """Return whether boxes block each other for ever so that not all can be stored; most deadlocks are found so.

    A box cannot move along an axis beside a wall or a box that cannot move at all, and should not between two dead
    cells. What is left after the boxes are taken away that can move on some axis, again and again, never moves.
    """
    walls, dead, stride = ~level.floor, level.dead, level.stride
    if boxes & dead:
        return True
    stuck = boxes
    while True:
        solid = walls | stuck
        rows = solid << 1 | solid >> 1 | (dead << 1 & dead >> 1)
        columns = solid << stride | solid >> stride | (dead << stride & dead >> stride)
        left = stuck & rows & columns
        if left == stuck:
            return bool(stuck & ~level.goals)
        stuck = left


def parse(lines: Sequence[str], where: str = "the level") -> Level:
    """Return the level of some lines, in the symbols of level files or of observations.

    Args:
        lines: The rows, from top to bottom; short ones are filled up with walls.
        where: What is complained about.

    Raises:
        GameFileError: They are no level; says why, with row and column.
    """
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    width = max(map(len, lines), default=0)
    if not 3 <= width <= 64 or not 3 <= len(lines) <= 64:
        raise GameFileError(f"{where}: a level has 3 to 64 rows and columns, not {len(lines)} × {width}")
    floor = goals = boxes = 0
    players = []
    for row, line in enumerate(lines):
        for column, symbol in enumerate(line):
            shown = FILE_SYMBOLS.get(symbol, symbol)
            if shown not in FILE_SYMBOLS.values():
                raise GameFileError(
                    f"{where}: {symbol!r} in row {row + 1}, column {column + 1} is no symbol of a level; "
                    f"there are {' '.join(map(repr, FILE_SYMBOLS))}"
                )
            bit = 1 << (row * (width + 1) + column)
            floor |= bit if shown != WALL else 0
            goals |= bit if shown in (GOAL, STORED, PLAYER_ON_GOAL) else 0
            boxes |= bit if shown in (BOX, STORED) else 0
            players += [row * (width + 1) + column] if shown in (PLAYER, PLAYER_ON_GOAL) else []
    level = Level(width, len(lines), floor, goals, boxes, players[0] if players else 0)
    _check(level, len(players), where)
    return level


def _check(level: Level, players: int, where: str) -> None:
    if players != 1:
        raise GameFileError(f"{where}: a level has one player (@), this one has {players}")
    if not level.boxes or level.boxes.bit_count() != level.goals.bit_count():
        raise GameFileError(
            f"{where}: a level has as many goals as boxes and at least one, this one has "
            f"{level.goals.bit_count()} goals and {level.boxes.bit_count()} boxes"
        )
    if level.boxes == level.goals:
        raise GameFileError(f"{where}: all boxes are on goals already")
    inner = sum(
        1 << (row * level.stride + column)
        for row in range(1, level.height - 1)
        for column in range(1, level.width - 1)
    )
    if outside := level.floor & ~inner:
        raise GameFileError(f"{where}: there is no wall at the edge in {level.place(next(cells(outside)))}")
