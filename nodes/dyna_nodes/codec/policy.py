"""The text that a policy trained here reads and writes: thought and action out, observations in.

A policy has a *memory*: with ``thoughts`` its earlier responses stay in its context whole; with ``actions`` it
reads of them only what it did, as reasoning models are commonly run. Training and running agree on it. In
training, a response whose thinking later turns do not see is a branch of its row (`dyna_nodes.codec.row`), so
that a whole episode is still one row and every response sees what it will see when the policy runs.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from langchain_core.messages.tool import ToolCall, tool_call

from dyna_nodes.codec.actions import format_calls, parse_reply
from dyna_nodes.codec.chat import ChatCodec
from dyna_nodes.codec.row import Example, Row, read, write
from dyna_nodes.nouns import Trajectory, Transition
from dyna_nodes.settings import Memory

Thinking = Literal["full", "none"]

POLICY_PROMPT = (
    'Solve the household task. Think in one sentence, then write one action on a line that begins with "> ".'
)
"""The system prompt that policies for text environments are trained with, and must be run with."""


def response_text(transition: Transition, thinking: Thinking = "full") -> str:
    """Return what the policy writes in a turn, as `parse_reply` reads it back: thinking, then the action."""
    return format_calls(thought_text(transition) if thinking == "full" else "", [_call(transition)], "text")


def thought_text(transition: Transition) -> str:
    """Return the thinking of a turn with plain line ends and nothing around it, as the agent keeps it."""
    return "\n".join(transition.thought.strip().splitlines())


def why_not_imitated(transition: Transition, thinking: Thinking = "full") -> str:
    """Return why a turn is read and not imitated; empty when it is imitated.

    Steps whose label ``expert`` is 0 are noise. A turn that the agent could not read back, such as one whose
    thinking has a line that looks like an action, would teach the policy to write what is then misread.
    """
    if not transition.labels.get("expert", 1.0):
        return "labelled as no example to follow (expert 0)"
    reply = parse_reply(response_text(transition, thinking), "text")
    thought = thought_text(transition) if thinking == "full" else ""
    call = _call(transition)
    found = [(c["name"], c["args"]) for c in reply.calls]
    if reply.invalid or reply.thought != thought or found != [(call["name"], call["args"])]:
        return "not read back as it was: a line of the thinking begins with '>', or the action has several"
    return ""


def begin(chat: ChatCodec, trajectory: Trajectory, prompt: str) -> Row:
    """Return a row with the system prompt and the task; a task that no log names has no turn."""
    row = Row()
    row.read(chat.turn("system", prompt))
    if trajectory.task:
        row.read(chat.turn("user", trajectory.task))
    return row


def policy_example(
    chat: ChatCodec,
    trajectory: Trajectory,
    prompt: str = POLICY_PROMPT,
    *,
    memory: Memory = "thoughts",
    thinking: Thinking = "full",
    turns: Collection[int] | None = None,
) -> Example:
    """Encode a trajectory for imitation; what the expert thought and did is the target.

    Turns of which `why_not_imitated` says something are read and not imitated, so that a policy learns to
    recover from mistakes without learning to make them.

    Args:
        chat: The chat codec of the model's tokenizer.
        trajectory: What happened.
        prompt: The system prompt.
        memory: What a turn sees of the turns before it; see `dyna_nodes.settings.LoopSettings`.
        thinking: ``none`` leaves all thinking out: actions only.
        turns: Indices of the turns to imitate; the row ends with the last of them. None is all of them, and the
            row has the whole episode.

    Returns:
        One example; with the memory ``actions`` each response with a thought is a branch.
    """
    row = begin(chat, trajectory, prompt)
    last = len(trajectory.transitions) if turns is None else max(turns, default=-1)
    for index, transition in enumerate(trajectory.transitions[: last + 1]):
        whole = response_text(transition, thinking)
        kept = whole if memory == "thoughts" else response_text(transition, "none")
        imitated = (turns is None or index in turns) and not why_not_imitated(transition, thinking)
        if imitated and kept != whole:
            row.hang(read(chat.opening("assistant")), write([*chat.text(whole), chat.end_id]))
            if index == last:
                break
        row.read(chat.opening("assistant"))
        body = [*chat.text(kept), chat.end_id]
        if imitated and kept == whole:
            row.write(body)
        else:
            row.read(body)
        row.read(chat.closing()[1:])
        if index != last:
            row.read(chat.turn("user", transition.observation))
    return row.example()


def _call(transition: Transition) -> ToolCall:
    return tool_call(name=transition.action.tool, args=dict(transition.action.arguments), id=transition.id)
