"""Records as rows of columns, and back.

The columns are the fields of the nouns (`dyna_training.store.columns`), and before them a few that a query asks for
and no reader needs: environment, game, task type, behaviour, length, success, type of action. What a column cannot
hold exactly, such as text that is not UTF-8, stands once more as JSON in the column ``exact``.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from dyna_nodes.experience.lines import load
from dyna_nodes.nouns import Trajectory, Transition
from dyna_training.data import Record, Rows, line_of
from dyna_training.store.arrow import pa
from dyna_training.store.columns import column_of, plain
from dyna_training.store.problems import StoreError
from dyna_training.store.traits import Traits, action_type, traits_of

_TRAITS: Final = ("environment", "game", "task_type", "behaviour")
_EPISODE: Final = column_of(Trajectory, ("transitions",))
SCHEMAS: Final[Mapping[Rows, pa.Schema]] = {
    "trajectory": pa.schema(
        [
            *((name, pa.string()) for name in _TRAITS),
            ("steps", pa.int64()),
            ("success", pa.bool_()),
            *column_of(Trajectory).type,
            ("exact", pa.string()),
        ]
    ),
    "transition": pa.schema(
        [
            *((name, pa.string()) for name in _TRAITS),
            ("action_type", pa.string()),
            ("action_text", pa.string()),
            *column_of(Transition).type,
            ("episode", _EPISODE.type),
            ("exact", pa.string()),
        ]
    ),
}
_UNFIT: Final = (pa.ArrowException, UnicodeEncodeError, OverflowError)


class Row(NamedTuple):
    """A row before it is written, and the record that its columns have to hold."""

    values: dict[str, Any]
    record: Record


def batch_of(rows: Sequence[Row], schema: pa.Schema) -> pa.RecordBatch:
    """Return rows as Arrow holds them; of one that does not fit, its exact JSON and the nearest that does."""
    try:
        return pa.RecordBatch.from_pylist([row.values for row in rows], schema)
    except _UNFIT:
        return pa.RecordBatch.from_pylist([_fitting(row, schema) for row in rows], schema)


def _fitting(row: Row, schema: pa.Schema) -> dict[str, Any]:
    try:
        pa.RecordBatch.from_pylist([row.values], schema)
    except _UNFIT:
        return {**plain(row.values), "exact": line_of(row.record).decode()}
    return row.values


def rows_of(record: Record, rows: Rows) -> Iterator[Row]:
    """Yield the rows of a record; an episode without steps has one where rows are steps, too.

    Raises:
        StoreError: A single step, where rows are episodes.
    """
    if isinstance(record, Transition):
        if rows == "trajectory":
            raise StoreError(f"step {record.id} belongs to no episode; write it with --rows transition")
        yield Row(_step(record, traits_of(_alone(record))), record)
        return
    traits = traits_of(record)
    if rows == "trajectory":
        success = None if record.outcome == "unknown" else record.outcome == "success"
        shown = {"steps": len(record.transitions), "success": success}
        yield Row({**_shown(traits), **shown, **column_of(Trajectory).write(record)}, record)
        return
    episode = _EPISODE.write(record)
    for step in record.transitions:
        single = record.model_copy(update={"transitions": (step,)})
        yield Row({**_step(step, traits), "episode": episode}, single)
    if not record.transitions:
        yield Row({**_shown(traits), "episode": episode}, record)


def _step(step: Transition, traits: Traits) -> dict[str, Any]:
    action = {"action_type": action_type(step.action), "action_text": step.action.text}
    return {**_shown(traits), **action, **column_of(Transition).write(step)}


def _shown(traits: Traits) -> dict[str, str]:
    return {name: getattr(traits, name) for name in _TRAITS}


def episode_of(row: Mapping[str, Any]) -> Trajectory:
    """Return the episode of a row."""
    if row["exact"] is not None:
        return load(Trajectory, row["exact"].encode())
    return Trajectory.model_validate(column_of(Trajectory).read(row))


def steps_of(rows: Iterable[Mapping[str, Any]]) -> Iterator[Record]:
    """Yield single steps as they come, and steps that follow each other in one episode as that episode."""
    for _, group in itertools.groupby(rows, key=_belongs_to):
        first, *rest = [_single(row) for row in group]
        if isinstance(first, Trajectory):
            steps = [step for part in (first, *rest) for step in part.transitions]
            yield first.model_copy(update={"transitions": tuple(steps)})
        else:
            yield first


def _belongs_to(row: Mapping[str, Any]) -> tuple[str, str]:
    kind = "step" if row["episode"] is None else "episode"
    if row["exact"] is not None:  # the column may hold the same replacement for two ids
        return kind, json.loads(row["exact"])["id"]
    return kind, row["id"] if kind == "step" else row["episode"]["id"]


def _single(row: Mapping[str, Any]) -> Any:
    of_episode = row["episode"] is not None
    if row["exact"] is not None:
        return load(Trajectory if of_episode else Transition, row["exact"].encode())
    step = None if row["id"] is None else Transition.model_validate(column_of(Transition).read(row))
    if not of_episode:
        return step
    return Trajectory.model_validate({**_EPISODE.read(row["episode"]), "transitions": [step] if step else []})


def _alone(step: Transition) -> Trajectory:
    """Return a single step as an episode of its own, as far as it knows of one."""
    return Trajectory(
        id=step.trajectory or step.id, task=step.task, transitions=(step,), provenance=step.provenance
    )
