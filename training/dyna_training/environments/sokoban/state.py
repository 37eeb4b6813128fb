"""A game of Sokoban in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from dyna_training.environments.boards.state import MOVES, Board, paint
from dyna_training.environments.sokoban.level import (
    BOX,
    FLOOR,
    GOAL,
    PLAYER,
    PLAYER_ON_GOAL,
    STORED,
    WALL,
    Level,
    frozen,
)

if TYPE_CHECKING:
    from dyna_training.environments.sokoban.expert import SokobanExpert

LEGEND: Final = (
    f"{WALL} wall, {FLOOR} floor, {GOAL} goal, {BOX} box, {STORED} box on a goal, {PLAYER} you, "
    f"{PLAYER_ON_GOAL} you on a goal."
)
TASK: Final = "Push all boxes onto the goals."
HELP: Final = (
    f"Commands: {', '.join(MOVES)}. You push the box that you walk into, if the cell behind it is free; a box cannot "
    f"be pulled, and two cannot be pushed at once.\nSymbols: {LEGEND}"
)
_FREE: Final = frozenset((FLOOR + GOAL).encode())
_BOXES: Final = frozenset((BOX + STORED).encode())
_GOAL, _BOX, _STORED, _PLAYER, _PLAYER_ON_GOAL = (
    ord(symbol) for symbol in (GOAL, BOX, STORED, PLAYER, PLAYER_ON_GOAL)
)
_PICTURES: Final = {
    WALL: paint("##", "90;100"),
    FLOOR: "  ",
    GOAL: paint("::", "35"),
    BOX: paint("[]", "1;33"),
    STORED: paint("[]", "1;32"),
    PLAYER: paint("()", "1;36"),
    PLAYER_ON_GOAL: paint("()", "1;36;45"),
    "\n": "\n",
}


class SokobanBoard(Board):
    """A game in progress.

    Args:
        level: The level, at its beginning.

    Attributes:
        level: The level.
        player: The player's cell.
        boxes: The cells with boxes, see `level`.
        deadlocked: Whether it is certain that the game cannot be won any more; not all such states are known.
    """

    commands: ClassVar[tuple[str, ...]] = tuple(MOVES)

    def __init__(self, level: Level) -> None:
        self.level = level
        self.player = level.player
        self.boxes = level.boxes
        self.won = False
        self.deadlocked = frozen(level, level.boxes)
        self._text = bytearray("\n".join(level.rows()), "ascii")
        stride = level.stride
        self._moves = {command: row * stride + column for command, (row, column) in MOVES.items()}

    def task(self) -> str:
        """Return what is to be done."""
        return TASK

    def introduction(self) -> str:
        """Return task, commands, symbols and board."""
        return f"{TASK} {HELP}\n\n{self.text()}"

    def text(self) -> str:
        """Return the board."""
        return self._text.decode("ascii")

    def step(self, command: str) -> str:
        """Execute one command and return the board; before it stands why where nothing happened."""
        move = self._moves.get(command)
        if move is None:
            understood = self.understood(command)
            if understood is None:
                return f"{self.not_understood()}\n{self.text()}"
            move = self._moves[understood]
        text, here = self._text, self.player
        there = here + move
        symbol = text[there]
        if symbol in _BOXES:
            behind = there + move
            if text[behind] not in _FREE:
                return f"The box cannot move.\n{self.text()}"
            self._push(there, behind)
        elif symbol not in _FREE:
            return f"There is a wall.\n{self.text()}"
        ground = self.level.ground
        text[here] = ground[here]
        text[there] = _PLAYER_ON_GOAL if ground[there] == _GOAL else _PLAYER
        self.player = there
        return text.decode("ascii")

    def _push(self, box: int, to: int) -> None:
        level = self.level
        self._text[to] = _STORED if level.ground[to] == _GOAL else _BOX
        self.boxes ^= 1 << box | 1 << to
        self.won = self.boxes == level.goals
        # What was hopeless once stays so.
        self.deadlocked = self.deadlocked or frozen(level, self.boxes)

    def fork(self) -> Self:
        """Return an independent board in the same state."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._text = self._text.copy()
        return twin

    def admissible(self) -> list[str]:
        """Return the moves that are free, and the pushes."""
        if self.won:
            return []
        text, player = self._text, self.player
        return [
            command
            for command, move in self._moves.items()
            if text[player + move] in _FREE
            or (text[player + move] in _BOXES and text[player + 2 * move] in _FREE)
        ]

    def facts(self) -> dict[str, Any]:
        """Return how many boxes are on goals, of how many, and whether it is certain that all is lost."""
        level = self.level
        return {
            "score": (self.boxes & level.goals).bit_count(),
            "max_score": level.goals.bit_count(),
            "deadlocked": self.deadlocked,
        }

    def hidden_state(self) -> str:
        """Return the board, and whether it is deadlocked."""
        return f"{self.text()}\ndeadlocked: {'yes' if self.deadlocked else 'no'}"

    def render(self) -> str:
        """Return the board in colours, two characters a cell."""
        return "".join(_PICTURES[symbol] for symbol in self.text())

    def expert(self) -> SokobanExpert:
        """Return an expert that plays on from here."""
        from dyna_training.environments.sokoban.expert import SokobanExpert

        return SokobanExpert(self)
