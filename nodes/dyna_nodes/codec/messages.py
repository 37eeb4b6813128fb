"""Conversations as messages of role and content, for programs that bring a chat template of their own.

The texts are those that `dyna_nodes.codec` makes tokens of: in ChatML, the messages of an episode are its example,
token by token. Only a written reward or end stands in a conversation as a whole and in no history (`remembered`). Two
framings of the world model's system turn: ``dyna`` is this project's, ``word2world`` that of "From Word to World"
(arXiv 2512.18832), whose data, models and scripts read no other.
"""

from __future__ import annotations

from typing import Final, Literal, TypedDict

from dyna_nodes.codec.outcome import Outcome, answer_text, parse_answer
from dyna_nodes.codec.policy import POLICY_PROMPT, Thinking, response_text
from dyna_nodes.codec.world_model import HIDDEN, INSTRUCTION, Context, system_text
from dyna_nodes.nouns import History, Prediction, Trajectory, Transition
from dyna_nodes.settings import Memory

Framing = Literal["dyna", "word2world"]
_HIDDEN_HEAD: Final = "# Environment Information (Only visible to Assistant)"
_SHOWN_HEAD: Final = "# User Environment Information (Displayed to User)"


class Message(TypedDict):
    """A message as TRL, `datasets` and chat templates have it."""

    role: str
    content: str


def message(role: Literal["system", "user", "assistant"], content: str) -> Message:
    """Return a message."""
    return {"role": role, "content": content}


def world_model_messages(
    trajectory: Trajectory, *, context: Context = "agent", framing: Framing = "dyna"
) -> list[Message]:
    """Return an episode as a world model's conversation: system, then action and observation in turn.

    Raises:
        ValueError: Privileged context without a hidden state.
    """
    if context == "privileged" and trajectory.hidden_state is None:
        raise ValueError(f"trajectory {trajectory.id} has no hidden state for the privileged context")
    history = trajectory.history(0, privileged=context == "privileged")
    system = system_text(history) if framing == "dyna" else _word2world(history)
    messages = [message("system", system)]
    for step in trajectory.transitions:
        messages += [message("user", step.action.text), observed(step)]
    return messages


def observed(step: Transition) -> Message:
    """Return what a world model should have answered."""
    return message("assistant", answer_text(Outcome.of(step)))


def predicted(prediction: Prediction) -> Message | None:
    """Return what a world model did answer; None where it imagined no observation."""
    if prediction.observation is None:
        return None
    success = prediction.success is True
    outcome = Outcome(prediction.observation, success, prediction.reward, prediction.done)
    return message("assistant", answer_text(outcome))


def remembered(turn: Message) -> Message:
    """Return a world model's turn as those after it see it: of its answer the observation."""
    if turn["role"] != "assistant":
        return turn
    return message("assistant", parse_answer(turn["content"]).observation)


def policy_messages(
    trajectory: Trajectory,
    prompt: str = POLICY_PROMPT,
    *,
    memory: Memory = "thoughts",
    thinking: Thinking = "full",
) -> list[Message]:
    """Return an episode as a policy's conversation: system, task, then response and observation in turn.

    It ends with the last observation. A task that no log names has no message.

    Args:
        trajectory: The episode.
        prompt: The system prompt.
        memory: ``actions`` leaves the thinking out of every response.
        thinking: ``none`` does the same: actions only.
    """
    kept: Thinking = "none" if memory == "actions" else thinking
    messages = [message("system", prompt)]
    messages += [message("user", trajectory.task)] if trajectory.task else []
    for step in trajectory.transitions:
        messages += [responded(step, kept), message("user", step.observation)]
    return messages


def responded(step: Transition, thinking: Thinking = "full") -> Message:
    """Return what the policy wrote in a turn."""
    return message("assistant", response_text(step, thinking))


def read_system(text: str) -> History:
    """Return task and hidden state of a world model's system turn, in either framing.

    In this project's framing a hidden state ends with the first empty line. A text in neither is a task.
    """
    text = text.strip()
    if text.startswith(_HIDDEN_HEAD):
        hidden, found, task = text.removeprefix(_HIDDEN_HEAD).rpartition(_SHOWN_HEAD)
        if found:
            return History(task=task.strip(), hidden_state=hidden.strip())
    body = text.removeprefix(INSTRUCTION).lstrip("\n")
    if body == text or not body.startswith(f"{HIDDEN}\n"):
        return History(task=body)
    hidden, _, task = body.removeprefix(f"{HIDDEN}\n").partition("\n\n")
    return History(task=task, hidden_state=hidden)


def _word2world(history: History) -> str:
    if history.hidden_state is None:
        return history.task
    return f"{_HIDDEN_HEAD}\n\n{history.hidden_state}\n\n{_SHOWN_HEAD}\n\n{history.task}\n"
