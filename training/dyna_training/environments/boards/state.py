"""The state of a game on a board, and who plays it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, NamedTuple, Self, TypeVar

MOVES: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}
)
"""Rows and columns that each move goes."""


class Board(ABC):
    """A game in progress: all that there is to know of an episode, and cheap to copy.

    Attributes:
        commands: Everything that can be said.
        won: Whether the game is won, which ends it.
    """

    commands: ClassVar[tuple[str, ...]]
    won: bool

    @abstractmethod
    def task(self) -> str:
        """Return what is to be done, in one sentence."""

    @abstractmethod
    def introduction(self) -> str:
        """Return the first observation: task, symbols and board."""

    @abstractmethod
    def step(self, command: str) -> str:
        """Execute one command and return what is seen; any text is answered."""

    @abstractmethod
    def fork(self) -> Self:
        """Return an independent board in the same state."""

    @abstractmethod
    def admissible(self) -> list[str]:
        """Return the commands that would change something; none once the game is won."""

    @abstractmethod
    def hidden_state(self) -> str:
        """Return the whole state as text."""

    @abstractmethod
    def render(self) -> str:
        """Return the board in colours."""

    @abstractmethod
    def expert(self) -> BoardExpert[Any]:
        """Return an expert that plays on from here."""

    def facts(self) -> dict[str, Any]:
        """Return what `info` says of the state besides whether it is won."""
        return {}

    def understood(self, command: str) -> str | None:
        """Return which of `commands` a text is, whatever its case and spaces around it; None where it is none."""
        if command in self.commands:
            return command
        command = command.strip().lower() if len(command) < 64 else ""
        return command if command in self.commands else None

    def not_understood(self) -> str:
        """Return the answer to anything else."""
        return f"That is no command. Commands: {', '.join(self.commands)}."


class Decided(NamedTuple):
    """What an expert decided.

    Attributes:
        thought: The reason, in one sentence.
        action: The command.
    """

    thought: str
    action: str


State = TypeVar("State", bound=Board)


class BoardExpert(ABC, Generic[State]):
    """Plays on a board that is seen whole, and so follows it by its own copy.

    Args:
        board: Where it begins; it is copied.
    """

    def __init__(self, board: State) -> None:
        self.board = board.fork()

    @abstractmethod
    def decide(self) -> Decided:
        """Return the next thought and command."""

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed command; the board follows from it."""
        self.board.step(action)

    def foreseen(self, action: str, outcome: str) -> str:
        """Return the whole outcome: of a board that is seen whole, nothing is left open."""
        return outcome

    def fork(self) -> Self:
        """Return an independent copy."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.board = self.board.fork()
        return twin


def paint(text: str, colour: str) -> str:
    """Return text in a colour of the terminal.

    Args:
        text: What is painted.
        colour: Parameters of an ANSI escape sequence, such as ``1;33``.
    """
    return f"\x1b[{colour}m{text}\x1b[0m"
