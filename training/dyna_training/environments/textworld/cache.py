"""The compiled games: each is made once, and kept in a folder that any number of processes share."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from dyna_training.environments.base import GameFileError, PackageMissing
from dyna_training.environments.textworld.games import GameLike, GameSpec, is_file

VARIABLE: Final = "DYNA_TEXTWORLD_GAMES"
"""Environment variable that names the folder of compiled games."""
INSTALL: Final = "pip install 'dyna-graph[textworld]'"
TIMEOUT: Final = 300.0
"""Seconds after which making one game is given up; it takes about two."""
REVISION: Final = 1
"""Version of how `making` makes games; whoever changes that raises it, and games are made anew."""


class TextWorldMissing(PackageMissing):
    """The package textworld is not installed; the message says how to install it."""


def textworld_version() -> str:
    """Return the version of the package textworld.

    Raises:
        TextWorldMissing: It is not installed.
    """
    try:
        return version("textworld")
    except PackageNotFoundError:
        raise TextWorldMissing(f"dyna/TextWorld-v0 needs the package textworld: {INSTALL}") from None


def cache_folder() -> Path:
    """Return the folder of compiled games: ``$DYNA_TEXTWORLD_GAMES``, else one in the user's cache."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "dyna-graph" / "textworld"


def game_file(game: GameLike) -> Path:
    """Return the compiled file of a game; a named game that is not there yet is made, in seconds.

    Args:
        game: A game, its name, or the path of a file, which is returned as it is.

    Raises:
        GameNameError: There is no such game.
        GameFileError: The file is not there, or the game cannot be made.
        TextWorldMissing: The package textworld is not installed.
    """
    if is_file(game):
        file = Path(str(game))
        if not file.is_file():
            raise GameFileError(f"{file}: no such game file; name a .z8 file that tw-make made")
        return file
    spec = game if isinstance(game, GameSpec) else GameSpec.parse(str(game))
    folder = cache_folder() / f"{textworld_version()}-{REVISION}" / str(spec)
    file = folder / "game.z8"
    if not file.is_file():
        _make(spec, folder)
    return file


def _make(spec: GameSpec, folder: Path) -> None:
    """Make a game beside its place and move it there whole; of several at a time, one stays."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise GameFileError(
            f"{folder.parent}: cannot keep games there ({error.strerror or error}); set {VARIABLE} to a "
            "folder that can be written"
        ) from error
    try:
        _run(spec, draft)
        try:
            draft.chmod(0o755)
            draft.rename(folder)
        except OSError as error:
            if not (folder / "game.z8").is_file():  # nobody else was faster
                raise GameFileError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _run(spec: GameSpec, draft: Path) -> None:
    command = [sys.executable, "-m", "dyna_training.environments.textworld.making", str(spec), str(draft)]
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise GameFileError(
            f"{spec}: making it took more than {TIMEOUT:.0f} s; choose another seed"
        ) from None
    if done.returncode or not (draft / "game.z8").is_file():
        said = done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["it printed nothing"]
        raise GameFileError(f"{spec}: the game cannot be made: {said[-1][-600:]}")
