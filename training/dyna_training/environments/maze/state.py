"""A walk through a maze."""

from __future__ import annotations

from typing import ClassVar, Final, Self

from dyna_training.environments.boards.state import MOVES, Board, BoardExpert, Decided, paint
from dyna_training.environments.maze.making import GOAL, PATH, PLAYER, WALL, Maze

TASK: Final = "Walk to the goal of the maze."
HELP: Final = (
    f"Commands: {', '.join(MOVES)}; each goes one cell.\n"
    f"Symbols: {WALL} wall, {PATH} path, {GOAL} goal, {PLAYER} you."
)
_WALL: Final = ord(WALL)
_PICTURES: Final = {
    WALL: paint("##", "90;100"),
    PATH: "  ",
    GOAL: paint("<>", "1;32"),
    PLAYER: paint("()", "1;36"),
    "\n": "\n",
}


class MazeBoard(Board):
    """A walk in progress.

    Args:
        maze: The maze, at its beginning.

    Attributes:
        maze: The maze.
    """

    commands: ClassVar[tuple[str, ...]] = tuple(MOVES)

    def __init__(self, maze: Maze) -> None:
        self.maze = maze
        self.won = False
        # One character more than a row has: the line break.
        self._stride = len(maze.rows[0]) + 1
        self._text = bytearray("\n".join(maze.rows), "ascii")
        self._player, self._goal = self._at(maze.start), self._at(maze.goal)
        self._text[self._goal] = ord(GOAL)
        self._text[self._player] = ord(PLAYER)
        self._moves = {command: self._at(way) for command, way in MOVES.items()}

    def _at(self, cell: tuple[int, int]) -> int:
        return cell[0] * self._stride + cell[1]

    @property
    def player(self) -> tuple[int, int]:
        """Row and column of the player."""
        return divmod(self._player, self._stride)

    def task(self) -> str:
        """Return what is to be done."""
        return TASK

    def introduction(self) -> str:
        """Return task, commands, symbols and maze."""
        return f"{TASK} {HELP}\n\n{self.text()}"

    def text(self) -> str:
        """Return the maze."""
        return self._text.decode("ascii")

    def step(self, command: str) -> str:
        """Execute one command and return the maze; before it stands why where nothing happened."""
        move = self._moves.get(command)
        if move is None:
            understood = self.understood(command)
            if understood is None:
                return f"{self.not_understood()}\n{self.text()}"
            move = self._moves[understood]
        text, there = self._text, self._player + move
        if text[there] == _WALL:
            return f"There is a wall.\n{self.text()}"
        text[self._player] = ord(PATH)
        text[there] = ord(PLAYER)
        self._player = there
        self.won = there == self._goal
        return text.decode("ascii")

    def fork(self) -> Self:
        """Return an independent board in the same state."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._text = self._text.copy()
        return twin

    def admissible(self) -> list[str]:
        """Return the moves that no wall is in the way of."""
        if self.won:
            return []
        return [command for command, move in self._moves.items() if self._text[self._player + move] != _WALL]

    def hidden_state(self) -> str:
        """Return the maze, and how far the goal is."""
        return f"{self.text()}\nmoves to the goal: {self.maze.distances[self.player]}"

    def render(self) -> str:
        """Return the maze in colours, two characters a cell."""
        return "".join(_PICTURES[symbol] for symbol in self.text())

    def expert(self) -> MazeExpert:
        """Return an expert that walks on from here."""
        return MazeExpert(self)


class MazeExpert(BoardExpert[MazeBoard]):
    """Walks a shortest way to the goal."""

    def decide(self) -> Decided:
        """Return the next move."""
        distances = self.board.maze.distances
        row, column = self.board.player
        left = {
            command: distances[row + MOVES[command][0], column + MOVES[command][1]]
            for command in self.board.admissible()
        }
        if not left:
            return Decided("I am at the goal.", "up")
        command = min(left, key=left.__getitem__)
        moves = distances[row, column]
        return Decided(
            f"The goal is {moves} move{'s' * (moves > 1)} away, and the way leads {command}.", command
        )
