"""What a step led to, as the text that world models write: observation, reward, and how the episode ended.

An observation alone is a step without a reward that ends nothing; with the suffix `` [SUCCESS]`` it is one that solved
the task for a reward of 1, as in "From Word to World" (arXiv 2512.18832, section 3). This project adds what these two
do not say, for environments that reward a part, charge for every step, or end without success:

    You deliver the parcel late. [REWARD 0.35] [SUCCESS]
    There is no passenger here to pick up. [REWARD -10]
    The acid eats the seed. [REWARD -1] [END]

Where the flag and the reward before it contradict each other, the flag counts. After an observation that itself ends in
such a tag, the reward is always written, so that the tag stays a part of the observation.
"""

from __future__ import annotations

import math
import re
from typing import Final, NamedTuple, Self

from dyna_nodes.nouns import TRUNCATED, Counterfactual, Transition
from dyna_nodes.scoring import solved

SUCCESS: Final = " [SUCCESS]"
END: Final = " [END]"
REWARD: Final = " [REWARD "
"""Begins the tag of a reward, which the number and ``]`` end."""
_DECIMALS: Final = 3
_REWARD: Final = re.compile(re.escape(REWARD.strip()) + r" (-?\d+(?:\.\d+)?)\]$")


class Outcome(NamedTuple):
    """What a step led to.

    Attributes:
        observation: What is seen then.
        success: Whether it solved the task.
        reward: Its reward; None where nobody knows, or a text does not say.
        done: Whether it ended the episode; likewise.
    """

    observation: str
    success: bool = False
    reward: float | None = None
    done: bool | None = None

    @classmethod
    def of(cls, step: Transition | Counterfactual) -> Self:
        """Return what a recorded step led to; where the episode was cut off, it did not end."""
        done = step.done and not step.labels.get(TRUNCATED)
        return cls(step.observation, solved(step.reward, done) is True, step.reward, done)


class AnswerParts(NamedTuple):
    """The text of an answer, which is all three in a row.

    Attributes:
        observation: The observation, stripped.
        reward: The tag of a reward that nothing else says; else empty.
        flag: How the episode ended; empty where it goes on.
    """

    observation: str
    reward: str
    flag: str


def rounded(reward: float) -> float:
    """Return a reward as precisely as it is written."""
    return round(reward, _DECIMALS) + 0.0  # never -0


def answer_parts(outcome: Outcome) -> AnswerParts:
    """Return the text of an answer in its parts."""
    observation, implied = outcome.observation.strip(), float(outcome.success)
    reward = implied
    if outcome.reward is not None and math.isfinite(outcome.reward):
        # A reward that made a success is above 0 as a text, too.
        reward = max(rounded(outcome.reward), 10**-_DECIMALS if outcome.success else -math.inf)
    tag = f"{REWARD}{_number(reward)}]" if reward != implied or _is_tagged(observation) else ""
    return AnswerParts(observation, tag, SUCCESS if outcome.success else END if outcome.done else "")


def answer_text(outcome: Outcome) -> str:
    """Return the text of an answer; `parse_answer` reads it back."""
    return "".join(answer_parts(outcome))


def parse_answer(text: str) -> Outcome:
    """Take an answer apart; what looks like a tag and is none, such as ``[REWARD much]``, is observation.

    Returns:
        The outcome with reward and end as far as the text says them: success is a reward of 1 unless another is
        written, and of a plain observation both are None.
    """
    text = text.strip()
    success, end = (text.endswith(flag.strip()) for flag in (SUCCESS, END))
    if success or end:
        text = text.removesuffix((SUCCESS if success else END).strip()).rstrip()
    text, reward = _without_reward(text)
    if (success or end) and reward is not None and success != (reward > 0):
        reward = None  # they contradict each other
    if reward is None and success:
        reward = 1.0
    return Outcome(text, success, reward, True if success or end else None)


def _without_reward(text: str) -> tuple[str, float | None]:
    found = _REWARD.search(text)
    return (text, None) if found is None else (text[: found.start()].rstrip(), float(found[1]))


def _number(reward: float) -> str:
    return f"{reward:.{_DECIMALS}f}".rstrip("0").rstrip(".")


def _is_tagged(observation: str) -> bool:
    return parse_answer(observation).observation != observation
