"""The interpreter behind the games, as a function from state and command to answer and state.

TextWorld's own ``copy()`` starts another interpreter and copies everything around it, 20–150 ms. Here the whole
state of the machine (about 80 kB) is read after a command and written before the next one where another play went in
between, some 10 µs each way; so all plays of one game share one interpreter and a fork is a reference.
"""

from __future__ import annotations

import functools
import threading
import warnings
from pathlib import Path
from typing import Any, Final, NamedTuple

from dyna_training.environments.base import GameFileError
from dyna_training.environments.textworld.cache import INSTALL, TextWorldMissing
from dyna_training.environments.textworld.text import Answer, read

OPEN_GAMES: Final = 32
"""So many games are kept open in a process, with 2 MB each."""
_SEED: Final = 1
"""Of the interpreter's random numbers, which the games do not use; the state of the machine holds it."""

_LOADING: Final = threading.Lock()
"""TextWorld reads all games with one parser, which two threads at a time confuse."""


class Machine(NamedTuple):
    """The state of the interpreter: memory, stack and registers, as it gives them. It can be pickled."""

    parts: tuple[Any, ...]


class Interpreter:
    """Runs one compiled game for any number of plays, from any thread.

    Args:
        file: The ``.z8`` file, with its ``.json`` beside it.

    Attributes:
        game: The ``textworld.Game``, which nobody changes.
        language: The ``Inform7Game``, which knows the words for facts and actions.
        opening: What the game says first.
        start: The state then.

    Raises:
        GameFileError: The files are missing or corrupt.
        TextWorldMissing: The package textworld is not installed.
    """

    def __init__(self, file: Path) -> None:
        try:
            import jericho
            from textworld.generator.inform7 import Inform7Game
        except ImportError as error:
            raise TextWorldMissing(f"{error.name} is missing: {INSTALL}") from error
        self.file = file
        self.game = _load(file)
        self.language: Any = Inform7Game(self.game)
        self._lock = threading.Lock()
        self._latest: Machine | None = None
        with warnings.catch_warnings():
            # It has never heard of this game; scores and actions are read from the text.
            warnings.simplefilter("ignore", jericho.UnsupportedGameWarning)
            self._frotz: Any = jericho.FrotzEnv(str(file), _SEED)
        self.opening, self.start = self._begin()

    def _begin(self) -> tuple[Answer, Machine]:
        raw, _ = self._frotz.reset()
        # Without it TextWorld's own tracking cannot follow either; both take no turn.
        self._frotz.step("tw-trace-actions")
        told, *_ = self._frotz.step("tw-extra-infos score")
        if "<score>" not in told:
            raise GameFileError(f"{self.file}: no game that TextWorld made: it does not tell its score")
        return read(raw), self._state()

    def run(self, state: Machine, command: str) -> tuple[Answer, Machine]:
        """Execute a command in a state.

        Args:
            state: A state of this game.
            command: At most 198 ASCII characters.

        Returns:
            The answer and the new state; the old one stays as it is.
        """
        with self._lock:
            if state is not self._latest:
                self._frotz.set_state(state.parts)
            self._latest = None  # if anything goes wrong now, nobody knows which state it is in
            raw, *_ = self._frotz.step(command)
            after = self._state()
        return read(raw), after

    def _state(self) -> Machine:
        self._latest = Machine(self._frotz.get_state())
        return self._latest


def open_game(file: Path) -> Interpreter:
    """Return the interpreter of a game file; the same one while it is open, from any thread.

    Raises: See `Interpreter`.
    """
    with _LOADING:
        return _opened(file)


@functools.lru_cache(maxsize=OPEN_GAMES)
def _opened(file: Path) -> Interpreter:
    return Interpreter(file)


def _load(file: Path) -> Any:
    from textworld import Game

    described = file.with_suffix(".json")
    if not file.is_file():
        raise GameFileError(f"{file}: no such game file")
    if not described.is_file():
        raise GameFileError(f"{file}: {described.name} must lie beside it, as tw-make leaves it")
    version = file.open("rb").read(1)
    if version != b"\x08":
        raise GameFileError(f"{file}: no Z-machine story of version 8; make it again with tw-make")
    length = int.from_bytes(file.read_bytes()[26:28], "big") * 8
    if file.stat().st_size < length:
        raise GameFileError(
            f"{file}: truncated, {file.stat().st_size} of {length} bytes are there; make it again with tw-make"
        )
    try:
        return Game.load(str(described))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise GameFileError(
            f"{described}: cannot be read as a TextWorld game ({type(error).__name__}: {error}); make it again with "
            "tw-make"
        ) from error
