"""The splits of the official games (EXPERIMENTS: 12 held-out scenes, 10 % held-out games).

| split | games |
|---|---|
| ``train`` | official ``train`` without the held-out scenes and games |
| ``dev_unseen`` | every official training game of the 12 `HELD_OUT_SCENES` |
| ``dev_seen`` | 10 % of the remaining training games, by a hash of the game id |
| ``valid_seen``, ``valid_unseen`` | as published |
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Final, Literal, get_args

from dyna_training.environments.alfworld.game import TASK_TYPES, Game
from dyna_training.environments.base import GameFileError

Split = Literal["train", "dev_seen", "dev_unseen", "valid_seen", "valid_unseen"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)

HELD_OUT_SCENES: Final = frozenset({2, 17, 30, 212, 227, 230, 311, 320, 330, 405, 423, 428})
"""Scenes of `dev_unseen`: of each room kind (kitchens 1-30, living rooms 201-230, bedrooms 301-330,
bathrooms 401-430) the three scenes of official ``train`` whose SHA-256 of ``dev_unseen <scene>`` is
smallest."""

_FOLDER = re.compile(rf"({'|'.join(TASK_TYPES)})-(?!.*Sliced).+-(\d+)")
"""Task folders of the six types; the original leaves out sliced objects, too."""


def data_root(data_dir: str | Path | None = None) -> Path:
    """Return the folder ``json_2.1.1`` of the official games.

    Args:
        data_dir: The folder that holds ``json_2.1.1``; default is the variable ``ALFWORLD_DATA``, then the
            package's own default ``~/.cache/alfworld``.

    Raises:
        GameFileError: There are no games there.
    """
    base = Path(data_dir or os.environ.get("ALFWORLD_DATA") or "~/.cache/alfworld").expanduser()
    root = base / "json_2.1.1"
    if not root.is_dir():
        raise GameFileError(
            f"{root}: no ALFWorld games there. Run `alfworld-download` (package alfworld) and set "
            "ALFWORLD_DATA to the folder that holds json_2.1.1."
        )
    return root


def split_of(game_id: str) -> Split:
    """Return the split of an official training game: ``train``, ``dev_seen`` or ``dev_unseen``.

    Args:
        game_id: ``<task folder>/<trial folder>``.

    Raises:
        ValueError: The task folder is not named as in the official games.
    """
    match = _FOLDER.fullmatch(game_id.split("/", 1)[0])
    if match is None:
        raise ValueError(f"{game_id!r} is not named <task type>-<object>-<…>-<receptacle>-<scene>/<trial>.")
    if int(match.group(2)) in HELD_OUT_SCENES:
        return "dev_unseen"
    digest = hashlib.sha256(f"dev_seen {game_id}".encode()).digest()
    return "dev_seen" if int.from_bytes(digest[:8], "big") % 10 == 0 else "train"


def task_type_of(file: Path) -> str:
    """Return the task type of an official game file, which its task folder is named after.

    Raises:
        ValueError: The task folder is not named as in the official games.
    """
    match = _FOLDER.fullmatch(file.parts[-3])
    if match is None:
        raise ValueError(f"{file.parts[-3]!r} is not named <task type>-<object>-<…>-<receptacle>-<scene>.")
    return match.group(1)


def games(split: Split, data_dir: str | Path | None = None) -> list[Path]:
    """Return the game files of a split, sorted by id.

    Args:
        split: One of `SPLITS`.
        data_dir: The folder that holds ``json_2.1.1``; default ``$ALFWORLD_DATA``.

    Raises:
        GameFileError: The games are not there; the message says how to get them.
        ValueError: There is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}; there are {', '.join(SPLITS)}.")
    published = split if split.startswith("valid") else "train"
    files = [Path(file) for file in _published(str(data_root(data_dir)), published)]
    if published != "train":
        return files
    return [file for file in files if split_of(f"{file.parts[-3]}/{file.parts[-2]}") == split]


def walkthrough_in_train(game: Game, data_dir: str | Path | None = None) -> bool:
    """Return whether some game of official ``train`` has the same task type and walkthrough.

    Args:
        game: Usually one of ``valid_seen``, whose results are reported in these two parts.
        data_dir: The folder that holds ``json_2.1.1``; default ``$ALFWORLD_DATA``.

    Raises:
        GameFileError: The training games are not there.
    """
    return game.walkthrough in _train_walkthroughs(str(data_root(data_dir)))


@functools.cache
def _published(root: str, folder: str) -> tuple[str, ...]:
    """List the solvable games of the six types in a published folder."""
    if not (Path(root) / folder).is_dir():
        raise GameFileError(
            f"{root}/{folder}: these games are missing. Run `alfworld-download` (package alfworld) and set "
            "ALFWORLD_DATA to the folder that holds json_2.1.1."
        )
    files = sorted(Path(root, folder).glob("*/*/game.tw-pddl"))
    solvable = [str(file) for file in files if _FOLDER.fullmatch(file.parts[-3]) and _solvable(file)]
    if not solvable:
        raise GameFileError(
            f"{root}/{folder}: no solvable game of the six task types. Run `alfworld-download`."
        )
    return tuple(solvable)


def _solvable(file: Path) -> bool:
    # The flag stands near the end of the file, before the walkthrough; parsing every file takes seconds.
    with file.open("rb") as handle:
        handle.seek(0, os.SEEK_END)
        handle.seek(max(0, handle.tell() - 16384))
        tail = handle.read()
    return b'"solvable": false' not in tail and b'"solvable":false' not in tail


@functools.cache
def _train_walkthroughs(root: str) -> frozenset[tuple[str, ...]]:
    walkthroughs = set()
    for file in _published(root, "train"):
        walkthroughs.add(tuple(json.loads(Path(file).read_text(encoding="utf-8"))["walkthrough"]))
    return frozenset(walkthroughs)
