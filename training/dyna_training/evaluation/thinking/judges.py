"""Judges by name, and one that remembers what it said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dyna_nodes.nouns import Trajectory, digest_of
from dyna_training.evaluation.thinking.cache import LineCache
from dyna_training.evaluation.thinking.turns import (
    GROUNDED,
    AnnotatorJudge,
    GroundedJudge,
    Judgement,
    ThinkingJudge,
)

JUDGEMENTS: Final = "judgements.jsonl"
"""Where an evaluation keeps what a judge said."""


class CachedJudge:
    """Asks another judge only about turns that it has not judged yet; a judgement that failed is asked for again.

    Args:
        judge: The other one.
        cache: What is known already, and where new judgements go.
    """

    def __init__(self, judge: ThinkingJudge, cache: LineCache) -> None:
        self.name = judge.name
        self._judge = judge
        self._cache = cache

    def judge(self, trajectory: Trajectory, indices: Sequence[int]) -> list[Judgement]:
        """Return one judgement for each of the turns at ``indices``."""
        keys = {index: self._key(trajectory, index) for index in indices}
        new = [index for index, key in keys.items() if self._cache.get(key) is None]
        answers = dict(zip(new, self._judge.judge(trajectory, new), strict=True)) if new else {}
        for index, judgement in answers.items():
            if judgement.simulated is not None:
                self._cache.put(keys[index], judgement.model_dump(mode="json"), judge=judgement.judge)
        return [
            answers[index] if index in answers else Judgement.model_validate(self._cache.get(keys[index]))
            for index in indices
        ]

    def _key(self, trajectory: Trajectory, index: int) -> str:
        step = trajectory.transitions[index]
        before = trajectory.history(index).digest
        return digest_of("judgement", self.name, before, step.thought, step.action.digest, step.observation)


class _Nobody:
    """Judges nothing: stands behind what a judge said earlier."""

    def __init__(self, name: str) -> None:
        self.name = name

    def judge(self, trajectory: Trajectory, indices: Sequence[int]) -> list[Judgement]:
        return [Judgement(judge=self.name, simulated=None, problem="nobody has judged it") for _ in indices]


def remembered(name: str, folder: Path) -> ThinkingJudge:
    """Return a judge that says what a chat model has said in an evaluation, and asks nobody.

    Args:
        name: ``provider:model``.
        folder: The folder of the evaluation.
    """
    return CachedJudge(_Nobody(name), LineCache(folder / JUDGEMENTS))


def judge_named(name: str, cache: LineCache) -> ThinkingJudge:
    """Return the judge of a name: ``grounded``, or a chat model's for thinking in another form than this project's.

    Args:
        name: ``grounded`` or ``provider:model``.
        cache: Keeps what a chat model said.

    Raises:
        ModelError: The model's name leads nowhere.
    """
    if name == GROUNDED:
        return GroundedJudge()
    from dyna_graph.models import resolve_model
    from dyna_training.annotate.chat import ChatAnnotator

    return CachedJudge(AnnotatorJudge(ChatAnnotator(resolve_model(name), "judgement", name=name)), cache)
