"""Bringing files of older formats up to what this version writes.

A migration takes the JSON of one record from one version of a format to the next; what is several versions old goes
through several. Files are changed in place, each with a backup beside it, and only after every line of it was read
with the present version.

``dyna-trajectory/0`` is the plain shape, for episodes that somebody's own script records: no nested nouns, a task and
its steps. A line may leave the format out.

    {"task": "Find the key.", "steps": [{"action": "open door", "observation": "It is locked."}], "success": false}

Of a step, ``action`` (the text of a command or call, or tool and arguments) and ``observation`` are needed, and
``thought``, ``reward`` and ``done`` are known, too; of an episode ``id``, ``success``, ``environment``, ``policy``,
``split`` and ``seed``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

from pydantic import ValidationError

from dyna_nodes.codec import parse_action
from dyna_nodes.experience import LOG_FORMAT, trajectory_line
from dyna_nodes.experience.lines import explain
from dyna_nodes.nouns import TRAJECTORY_FORMAT, Trajectory
from dyna_nodes.scoring import solved
from dyna_training.store.problems import StoreError
from dyna_training.store.versions import CURRENT, Version

Values = dict[str, Any]
_ORIGIN: Final = ("environment", "policy", "split", "seed")
_EPISODE: Final = ("task", "steps", "id", "success", *_ORIGIN)
_STEP: Final = ("action", "observation", "thought", "reward", "done")


def _from_plain(values: Values) -> Values:
    """Bring the plain shape to ``dyna-trajectory/1``."""
    _refuse_unknown(values, _EPISODE)
    for step in values["steps"]:
        _refuse_unknown(step, _STEP)
    id = str(
        values.pop("id", "") or hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
    )
    steps = [
        {
            **step,
            "action": _action(step["action"]),
            "trajectory": id,
            "index": index,
            "id": f"{id}-{index}",
            "time": 0.0,
        }
        for index, step in enumerate(values.pop("steps"))
    ]
    origin: Values = {name: values.pop(name) for name in _ORIGIN if name in values}
    success = values.pop("success", None)
    if success is None and steps and steps[-1].get("done"):
        success = solved(steps[-1].get("reward"), True)
    outcome = "unknown" if success is None else "success" if success else "failure"
    origin["source"] = "collect"
    return {**values, "id": id, "transitions": steps, "outcome": outcome, "provenance": origin}


def _refuse_unknown(values: Values, known: tuple[str, ...]) -> None:
    """Refuse what would be lost: a key that is taken for nothing, or that is ours to make."""
    unknown = next((name for name in values if name not in known), None)
    if unknown is not None:
        raise ValueError(f"unknown key {unknown!r}; there are {', '.join(known)}")


def _action(found: Any) -> Any:
    return parse_action(found).model_dump() if isinstance(found, str) else found


MIGRATIONS: Final[dict[Version, Callable[[Values], Values]]] = {
    Version("dyna-trajectory", 0): _from_plain,
}
"""What brings the JSON of a record from a version to the next; every version that was ever written has one."""


def version_named(values: Values) -> Version | None:
    """Return the version that a record's JSON is written in; None where it is no episode of ours."""
    if "format" in values:
        return Version.parse(str(values["format"]))
    return Version("dyna-trajectory", 0) if "steps" in values and "task" in values else None


def migrated(line: bytes) -> bytes:
    """Return a line in the present version; the line itself where it is that already, or is none of ours.

    Raises:
        StoreError: A newer version wrote it, no migration leads up from it, or it is not what its version says.
    """
    try:
        values = json.loads(line)
    except ValueError:
        return line
    version = version_named(values) if isinstance(values, dict) else None
    if version is None or version.family not in CURRENT or version == CURRENT[version.family]:
        return line
    if version.number > CURRENT[version.family].number:
        raise StoreError(f"{version} was written by a newer version of dyna-graph; update it")
    values.pop("format", None)
    while version != CURRENT[version.family]:
        if version not in MIGRATIONS:
            raise StoreError(f"no migration leads up from {version}")
        try:
            values = MIGRATIONS[version](values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"not what {version} looks like ({type(error).__name__}: {error})") from error
        version = version._replace(number=version.number + 1)
    return _checked(values, version)


def _checked(values: Values, version: Version) -> bytes:
    if str(version) == LOG_FORMAT:
        return json.dumps({"format": LOG_FORMAT, **values}, sort_keys=True).encode()
    try:
        return trajectory_line(Trajectory.model_validate({**values, "format": TRAJECTORY_FORMAT}))
    except ValidationError as error:
        raise StoreError(f"it does not make a {TRAJECTORY_FORMAT}: {explain(error)}") from error
