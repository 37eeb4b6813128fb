"""Episodes as rows of chat messages, in the formats of other programs; all text is `dyna_nodes.codec`'s.

* ``word2world``: one conversation per episode, as "From Word to World" trains on with LLaMA-Factory.
* ``trl-sft``: the same as TRL's conversational language modelling.
* ``trl-prompt-completion``: a row per step, so that loss falls on what is to be learned and on nothing else.
* ``trl-preference``: a row per pair of a better and a worse answer to the same prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from dyna_nodes.codec import Context
from dyna_nodes.codec.messages import (
    Message,
    observed,
    policy_messages,
    predicted,
    remembered,
    responded,
    world_model_messages,
)
from dyna_nodes.codec.policy import POLICY_PROMPT, Thinking, why_not_imitated
from dyna_nodes.nouns import Trajectory, Transition
from dyna_nodes.settings import Memory
from dyna_training.store.duplicates import REPEATED

ChatFormat = Literal["word2world", "trl-sft", "trl-prompt-completion", "trl-preference"]
Learner = Literal["world-model", "policy"]
Row = dict[str, Any]
RETURN: Final = "return_to_go"


class ChatSettings(BaseModel):
    """How episodes become messages.

    Attributes:
        format: The format of the rows.
        learner: Who is to learn from them.
        context: Of a world model: whether the hidden state stands in the system turn.
        prompt: Of a policy: its system prompt.
        memory: Of a policy: what it sees of its own earlier turns.
        thinking: Of a policy: whether it is to think.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: ChatFormat
    learner: Learner = "world-model"
    context: Context = "agent"
    prompt: str = POLICY_PROMPT
    memory: Memory = "thoughts"
    thinking: Thinking = "full"


def rows_of(trajectory: Trajectory, settings: ChatSettings) -> list[Row]:
    """Return the rows of an episode; there may be none.

    Raises:
        ValueError: Privileged context without a hidden state.
    """
    origin = trajectory.provenance
    named = {
        "id": trajectory.id,
        "environment": origin.environment,
        "split": origin.split,
        "policy": origin.policy,
    }
    return [{**named, **row} for row in _ROWS[settings.format](trajectory, settings)]


def messages_of(trajectory: Trajectory, settings: ChatSettings) -> list[Message]:
    """Return the whole conversation of an episode."""
    if settings.learner == "policy":
        return policy_messages(
            trajectory, settings.prompt, memory=settings.memory, thinking=settings.thinking
        )
    framing: Literal["dyna", "word2world"] = "word2world" if settings.format == "word2world" else "dyna"
    return world_model_messages(trajectory, context=settings.context, framing=framing)


def _conversation(trajectory: Trajectory, settings: ChatSettings) -> Iterator[Row]:
    if trajectory.transitions:
        yield {"messages": messages_of(trajectory, settings)}


def _completions(trajectory: Trajectory, settings: ChatSettings) -> Iterator[Row]:
    for step, prompt in _prompts(trajectory, settings):
        if not why_not_learned(step, settings):
            yield {"step": step.index, "prompt": prompt, "completion": [_answer(step, settings)]}


def _preferences(trajectory: Trajectory, settings: ChatSettings) -> Iterator[Row]:
    for step, prompt in _prompts(trajectory, settings):
        pairs = _better_actions(step) if settings.learner == "policy" else _better_answers(step)
        for chosen, rejected in pairs:
            yield {"step": step.index, "prompt": prompt, "chosen": [chosen], "rejected": [rejected]}


_ROWS: Final[dict[ChatFormat, Callable[[Trajectory, ChatSettings], Iterator[Row]]]] = {
    "word2world": _conversation,
    "trl-sft": _conversation,
    "trl-prompt-completion": _completions,
    "trl-preference": _preferences,
}


def _prompts(trajectory: Trajectory, settings: ChatSettings) -> Iterator[tuple[Transition, list[Message]]]:
    """Yield every step with the conversation before its answer."""
    messages = messages_of(trajectory, settings)
    if settings.learner == "world-model":
        messages = [remembered(turn) for turn in messages]
    steps = trajectory.transitions
    start = len(messages) - 2 * len(steps)
    for number, step in enumerate(steps):
        yield step, messages[: start + 2 * number + (settings.learner == "world-model")]


def why_not_learned(step: Transition, settings: ChatSettings) -> str:
    """Return why a step is context only; empty when it is learned from."""
    if step.labels.get(REPEATED):
        return "it stands in an episode before"
    if settings.learner == "policy":
        return why_not_imitated(step, settings.thinking)
    return "nobody knows what it led to" if step.status == "unknown" else ""


def _answer(step: Transition, settings: ChatSettings) -> Message:
    return responded(step, settings.thinking) if settings.learner == "policy" else observed(step)


def _better_answers(step: Transition) -> Iterator[tuple[Message, Message]]:
    """Yield what was observed and, where it is something else, what was predicted."""
    said = None if step.prediction is None else predicted(step.prediction)
    if said is not None and step.status != "unknown" and said != observed(step):
        yield observed(step), said


def _better_actions(step: Transition) -> Iterator[tuple[Message, Message]]:
    """Yield for each other action that was tried the one with the larger return and the one with the smaller.

    Nobody thought about the others, so that both are written without thinking.
    """
    own = step.labels.get(RETURN)
    for other in step.counterfactuals:
        value = other.labels.get(RETURN)
        if own is None or value is None or own == value:
            continue
        pair = (responded(step, "none"), responded(Transition(action=other.action), "none"))
        yield pair if own > value else pair[::-1]
