"""How well a prediction matches what really happened.

Exact match and the success flag are those of "From Word to World" (arXiv 2512.18832, section 3); token F1 is
the word-level F1 of question answering, over the multiset of words.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Literal

from dyna_nodes.nouns import Prediction

Status = Literal["ok", "error", "unknown"]

_WORD = re.compile(r"\w+")


def exact_match(predicted: str, actual: str) -> float:
    """Return 1.0 when both texts are equal after stripping, else 0.0."""
    return float(predicted.strip() == actual.strip())


def token_f1(predicted: str, actual: str) -> float:
    """Return the F1 of the words of both texts, in [0, 1]; case and punctuation do not count.

    Where one of the texts has no words at all, it is the exact match.
    """
    if predicted == actual:
        return 1.0
    left, right = Counter(_WORD.findall(predicted.lower())), Counter(_WORD.findall(actual.lower()))
    if not left or not right:
        return exact_match(predicted, actual)
    common = (left & right).total()
    return 2 * common / (left.total() + right.total())


def solved(reward: float | None, done: bool | None) -> bool | None:
    """Tell whether a step solved the task: the episode ended with a positive reward.

    Returns:
        None where the tool reports neither reward nor end flag, so that nobody knows.
    """
    if reward is None and done is None:
        return None
    return bool(done and (reward or 0.0) > 0)


def outcome_match(
    prediction: Prediction, reward: float | None = None, done: bool | None = None, status: Status = "ok"
) -> float | None:
    """Return 1.0 when the predicted outcome came true, 0.0 when not, None when there is nothing to compare.

    Compared are the success flag and the sign of the reward, as far as they are both predicted and reported.
    A call that ended in an error has not succeeded, whatever else its tool reports.
    """
    success = False if status == "error" else solved(reward, done)
    parts: list[bool] = []
    if prediction.success is not None and success is not None:
        parts.append(prediction.success == success)
    if prediction.reward is not None and reward is not None:
        parts.append(_sign(prediction.reward) == _sign(reward))
    return float(all(parts)) if parts else None


def score(
    prediction: Prediction,
    observation: str,
    reward: float | None = None,
    done: bool | None = None,
    *,
    status: Status = "ok",
    surprise: float | None = None,
) -> dict[str, float]:
    """Score a prediction against what really happened.

    Args:
        prediction: What was imagined.
        observation: The real observation.
        reward: The real reward, where the tool reports one.
        done: The real end flag, where the tool reports one.
        status: How the call ended; of an ``unknown`` one nothing is known, so nothing is scored.
        surprise: −log p per token of the real observation under the world model, in nats, where it can tell.

    Returns:
        ``exact``, ``f1``, ``outcome``, ``surprise``: those that can be computed. A prediction with an
        ``error`` predicts nothing and gets no match scores; that it failed is on record in the prediction.
    """
    scores: dict[str, float] = {}
    if status == "unknown":
        return scores
    if prediction.error is None:
        if prediction.observation is not None:
            scores["exact"] = exact_match(prediction.observation, observation)
            scores["f1"] = token_f1(prediction.observation, observation)
        outcome = outcome_match(prediction, reward, done, status)
        if outcome is not None:
            scores["outcome"] = outcome
    if surprise is not None:
        scores["surprise"] = surprise
    return scores


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
