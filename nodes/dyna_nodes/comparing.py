"""Holding what was imagined of a call against what happened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from dyna_nodes.core import DynaCore
from dyna_nodes.inner import CORRECT, INNER, score_inner
from dyna_nodes.nouns import Simulation
from dyna_nodes.scoring import Status, score


class Compared(NamedTuple):
    """Scores and labels of a transition."""

    scores: dict[str, float]
    labels: dict[str, float]


def compared(
    core: DynaCore,
    simulation: Simulation,
    observation: str,
    reward: float | None,
    done: bool | None,
    status: Status,
) -> Compared:
    """Compare the world model's prediction, and what the policy's own thinking imagined where that is recorded.

    Args:
        core: What the nodes share.
        simulation: What was imagined.
        observation: The real observation.
        reward: The real reward, where the tool reports one.
        done: The real end flag, where the tool reports one.
        status: How the call ended.
    """
    predicted, action = simulation.prediction, simulation.action
    if core.reads_thinking:
        scores = score_inner(predicted, action, observation, reward, done, status=status)
        return Compared(scores, _labels(scores))
    scores = {}
    if core.world_model is not None:
        scores = score(predicted, observation, reward, done, status=status)
    if simulation.inner is None:
        return Compared(scores, {})
    inner = score_inner(simulation.inner, action, observation, reward, done, status=status)
    return Compared(scores | {f"{INNER}{name}": value for name, value in inner.items()}, _labels(inner))


def _labels(scores: Mapping[str, float]) -> dict[str, float]:
    return {CORRECT: scores["holds"]} if "holds" in scores else {}
