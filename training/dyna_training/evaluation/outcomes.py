"""Examines models on episodes and keeps every answer, so that an interrupted evaluation goes on where it
stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dyna_nodes.codec import Context
from dyna_nodes.nouns import Trajectory
from dyna_training.evaluation.examinees import Examinee, StepOutcome

_OUTCOMES = TypeAdapter(list[StepOutcome])


class OutcomeCache:
    """Outcomes of whole episodes in a JSONL file, by the digest of everything that they depend on.

    A last line that a killed run left half written is ignored and its episode examined again.

    Args:
        path: The file; None keeps outcomes in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, list[StepOutcome]] = {}
        self.unreadable = 0
        if path is None or not path.is_file():
            return
        text = path.read_text(encoding="utf-8")
        for line in text.splitlines():
            try:
                record = json.loads(line)
                self._known[record["key"]] = _OUTCOMES.validate_python(record["outcomes"])
            except (ValueError, KeyError, TypeError, ValidationError):
                self.unreadable += 1
        if text and not text.endswith("\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def get(self, key: str) -> list[StepOutcome] | None:
        """Return the outcomes of an episode, if it was examined before."""
        return self._known.get(key)

    def put(self, key: str, outcomes: list[StepOutcome], **about: str) -> None:
        """Keep the outcomes of an episode; when this returns, they survive the death of the process."""
        self._known[key] = outcomes
        if self._path is None:
            return
        said = [o.model_dump(exclude_defaults=True, mode="json") | {"exact": o.exact} for o in outcomes]
        line = json.dumps({"key": key, **about, "outcomes": said}, ensure_ascii=False)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


def examine(
    examinee: Examinee,
    trajectories: Sequence[Trajectory],
    context: Context,
    *,
    cache: OutcomeCache | None = None,
    batch: int = 1,
    on_episode: Callable[[], None] = lambda: None,
) -> list[list[StepOutcome]]:
    """Examine a model on every step of every trajectory, given the real history.

    Args:
        examinee: Who is examined.
        trajectories: The episodes.
        context: What the model is told.
        cache: What is known already, and where new outcomes go.
        batch: Episodes that are examined together.
        on_episode: Called after every episode.

    Returns:
        One list per trajectory, with one outcome per step.

    Raises:
        ValueError: Privileged context, and a trajectory without hidden state.
    """
    cache = cache or OutcomeCache(None)
    found: list[list[StepOutcome] | None] = []
    keys = [examinee.key(trajectory, context) for trajectory in trajectories]
    missing = []
    for index, key in enumerate(keys):
        found.append(cache.get(key))
        if found[index] is None:
            missing.append(index)
        else:
            on_episode()
    for start in range(0, len(missing), batch):
        part = missing[start : start + batch]
        answers = examinee.examine([trajectories[index] for index in part], context)
        for index, outcomes in zip(part, answers, strict=True):
            found[index] = outcomes
            cache.put(
                keys[index], outcomes, model=examinee.name, context=context, trajectory=trajectories[index].id
            )
            on_episode()
    return [outcomes for outcomes in found if outcomes is not None]
