"""The multi-turn base tasks of BFCL: what users say turn by turn, the state they begin in, and the calls that do it."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from dyna_training.environments.base import GameFileError
from dyna_training.environments.bfcl.package import INSTALL, folder

CATEGORY: Final = "multi_turn_base"
TASK_TYPES: Final[tuple[str, ...]] = ("GorillaFileSystem", "TradingBot", "TravelAPI", "VehicleControlAPI")
"""The API that a task is about: each has exactly one of these, and at most one other beside it."""


class TaskNameError(ValueError):
    """There is no task of this name."""


class Task(NamedTuple):
    """A task.

    Attributes:
        id: Its name in BFCL, such as ``multi_turn_base_0``.
        apis: The APIs whose functions can be called.
        config: The initial state of each API, by its name; not to be changed.
        turns: What the user says, turn by turn.
        calls: The ground truth: the calls of each turn, in Python's syntax.
    """

    id: str
    apis: tuple[str, ...]
    config: Mapping[str, Any]
    turns: tuple[str, ...]
    calls: tuple[tuple[str, ...], ...]

    @property
    def kind(self) -> str:
        """The API that the task is about."""
        return next(api for api in self.apis if api in TASK_TYPES)


@functools.cache
def all_tasks() -> Mapping[str, Task]:
    """Return all tasks by their names, in BFCL's order.

    Raises:
        BfclMissing: The package is not installed.
        GameFileError: Its data are not what they should be.
    """
    data = folder() / "data"
    name = f"BFCL_v4_{CATEGORY}.json"
    try:
        lines = (data / name).read_text("utf-8").splitlines()
        answers = (data / "possible_answer" / name).read_text("utf-8").splitlines()
        truths = {answer["id"]: answer["ground_truth"] for answer in map(json.loads, answers)}
        return {entry["id"]: _task(entry, truths[entry["id"]]) for entry in map(json.loads, lines)}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise GameFileError(
            f"the tasks of bfcl-eval in {data / name} cannot be read ({error!r}); install it again: {INSTALL}"
        ) from error


def task(name: str) -> Task:
    """Return the task of a name.

    Raises:
        BfclMissing: The package is not installed.
        TaskNameError: There is no such task.
    """
    try:
        return all_tasks()[name]
    except KeyError:
        raise TaskNameError(
            f"no task {name!r} in BFCL's {CATEGORY}; names are {CATEGORY}_0 to {CATEGORY}_{len(all_tasks()) - 1}"
        ) from None


def _task(entry: Mapping[str, Any], truth: list[list[str]]) -> Task:
    turns = tuple("\n".join(message["content"] for message in turn) for turn in entry["question"])
    if len(turns) != len(truth):
        raise ValueError(f"{entry['id']} has {len(turns)} turns and ground truth for {len(truth)}")
    apis, config = tuple(sorted(entry["involved_classes"])), entry["initial_config"]
    return Task(entry["id"], apis, config, turns, tuple(map(tuple, truth)))
