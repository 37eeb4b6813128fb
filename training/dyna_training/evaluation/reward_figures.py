"""How well reward and end of the episode are predicted, where there is more of them than success."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dyna_nodes.codec import Outcome
from dyna_nodes.codec.outcome import answer_parts, rounded
from dyna_training.evaluation.episodes import Facts
from dyna_training.evaluation.examinees import StepOutcome
from dyna_training.evaluation.statistics import Bootstrap


def real_outcome(fact: Facts) -> Outcome:
    """Return what a step really led to."""
    return Outcome(fact.observation, fact.success, fact.reward, fact.done)


def reward_figures(
    boot: Bootstrap, facts: Sequence[Facts], outcomes: Sequence[StepOutcome]
) -> dict[str, Any]:
    """Return the accuracy of the reward, and precision and recall of the end of the episode.

    Accuracy is over the steps whose reward is recorded, to three decimals; ``accuracy_told`` over those among them
    whose reward success does not say. The end is that of an episode that ends with or without success. Steps
    without an answer predict neither.

    Returns:
        ``reward`` and ``end``, each only where the episodes have more to predict than success.
    """
    answered = np.array([o.observation is not None or o.error is not None for o in outcomes], dtype=bool)
    told = np.array([bool(answer_parts(real_outcome(f)).reward) for f in facts], dtype=bool)
    ends = np.array([bool(f.done) for f in facts], dtype=bool)
    failed = np.array([bool(f.done) and not f.success for f in facts], dtype=bool)
    found: dict[str, Any] = {}
    if (told & answered).any():
        known = answered & [f.reward is not None and math.isfinite(f.reward) for f in facts]
        right = [
            f.reward is not None and _reward(o) == rounded(f.reward)
            for f, o in zip(facts, outcomes, strict=True)
        ]
        found["reward"] = {
            "accuracy": boot.mean(right, where=known),
            "accuracy_told": boot.mean(right, where=known & told),
        }
    if (failed & answered).any():
        said = np.array([bool(o.done or o.success) for o in outcomes], dtype=bool)
        found["end"] = {
            "precision": boot.share(ends, said & answered),
            "recall": boot.share(said, ends & answered),
            "recall_without_success": boot.share(said, failed & answered),
        }
    return found


def _reward(outcome: StepOutcome) -> float | None:
    """Return a predicted reward; outcomes that were recorded before there were rewards tell success alone."""
    if outcome.reward is None and outcome.success is not None:
        return float(outcome.success)
    return outcome.reward
