"""Tells which calls of a conversation were executed, and why the others were not, or may not have been."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.messages.tool import ToolCall

from dyna_graph.harvest.threads import Seen
from dyna_nodes.answers import NOTE
from dyna_nodes.conversation import action_of, is_task, marked, text_of, thought_of
from dyna_nodes.histories import Histories, Known
from dyna_nodes.nouns import Action, Step
from dyna_nodes.observe import reward_and_end

HOOKS = (".before_agent", ".before_model", ".after_model", ".after_agent")
"""Ends of the names of nodes that LangChain's agents make of their middleware."""
REJECTED = re.compile(r"User rejected the tool call for `")
EDITED = re.compile(r".*?Executed instead: (\S+) with arguments (\{.*?\})\.\n\nTool response:\n", re.DOTALL)
"""What `HumanInTheLoopMiddleware` writes before the result of a call that a human has changed."""

CHANGED = re.compile(r"Executed instead: (\S+?)\((\{.*\})\)$", re.DOTALL)
"""What Dyna's own note about a changed call ends with."""
Keys = tuple[str, str, str]
GIVEN = "given as input, not executed in this thread"


class Executed(NamedTuple):
    """A call that a tool answered.

    Attributes:
        keys: Keys of the message with the call and of its answer, and the call's id: what tells it apart from every
            other call, that of another branch included.
        action: What ran.
        thought: What the policy wrote beside the call.
        observation: What the tool answered.
        failed: Whether the tool raised.
        reward: Reward that the tool reports.
        done: End flag that the tool reports.
        task: The task, as far as it was known then.
        history: Digest of the history before the call.
        policy: The model that called, where its provider says so.
        answer: The answer, where it first appeared.
    """

    keys: Keys
    action: Action
    thought: str
    observation: str
    failed: bool
    reward: float | None
    done: bool | None
    task: str
    history: str
    policy: str
    answer: Seen


class Skipped(NamedTuple):
    """A call that is no transition: the keys of message, answer and call, its tool, and why."""

    keys: Keys
    tool: str
    reason: str


class _Turn(NamedTuple):
    """A message with calls that waits for their answers."""

    seen: Seen
    message: AIMessage
    answers: dict[str, Seen]


def calls_of(branch: Sequence[Seen]) -> Iterator[Executed | Skipped]:
    """Yield every call of a branch, in order."""
    reader = _Reader()
    for seen in branch:
        yield from reader.take(seen)
    yield from reader.close(last=True)


class _Reader:
    def __init__(self) -> None:
        self.histories = Histories()
        self.tasks: list[str] = []
        self.known: Known = self.histories.start("", "")
        self.turn: _Turn | None = None

    def take(self, seen: Seen) -> Iterator[Executed | Skipped]:
        """Take the next message."""
        message = seen.message
        if isinstance(message, ToolMessage):
            waits = self.turn is not None and any(
                c["id"] == message.tool_call_id for c in self.turn.message.tool_calls
            )
            if self.turn is None or not waits:
                keys = ("", seen.key, message.tool_call_id)
                yield Skipped(keys, message.name or "", "answers no call: its beginning is gone")
            else:
                self.turn.answers.setdefault(message.tool_call_id, seen)
            return
        yield from self.close(last=False)
        if isinstance(message, AIMessage):
            for call in message.invalid_tool_calls:
                keys = (seen.key, "", str(call["id"]))
                yield Skipped(keys, call["name"] or "", "its arguments could not be read")
            if message.tool_calls:
                self.turn = _Turn(seen, message, {})
        elif is_task(message) and message.additional_kwargs.get("lc_source") is None:  # that is a summary
            self.tasks.append(text_of(message))
            steps = self.known.history.steps
            self.known = self.histories.start("", "\n\n".join(self.tasks), steps)

    def close(self, *, last: bool) -> Iterator[Executed | Skipped]:
        """Decide about the calls of the open turn, now that all their answers are known."""
        turn, self.turn = self.turn, None
        if turn is None:
            return
        thought, before, steps = thought_of(turn.message), self.known, []
        policy = str(turn.message.response_metadata.get("model_name") or "")
        for call in turn.message.tool_calls:
            answer = turn.answers.get(str(call["id"]))
            keys = (turn.seen.key, answer.key if answer else "", str(call["id"]))
            reason = _why_not_executed(answer) if answer else _unanswered(last=last)
            if answer is None or reason:
                yield Skipped(keys, call["name"], reason)
                continue
            assert isinstance(answer.message, ToolMessage)
            action, observation = _what_ran(answer.call or call, answer.message)
            reward, done = reward_and_end(answer.message)
            steps.append(Step(action=action, observation=observation))
            yield Executed(
                keys=keys,
                action=action,
                thought=thought,
                observation=observation,
                failed=answer.message.status == "error",
                reward=reward,
                done=done,
                task=before.history.task,
                history=before.digest,
                policy=policy,
                answer=answer,
            )
        if steps:
            self.known = self.histories.extend("", before, steps)


def _unanswered(*, last: bool) -> str:
    return "not answered yet" if last else "never answered; nobody knows whether it ran"


def _why_not_executed(answer: Seen) -> str:
    """Return why the answer to a call is not what a tool did; empty when it is."""
    message = answer.message
    kind = marked(message).get("kind")
    if kind == "imagined":
        return "imagined in a dry run"
    if kind:
        return f"refused by Dyna ({kind})"
    if isinstance(message, ToolMessage) and message.status == "error" and REJECTED.match(text_of(message)):
        return "rejected by a human"
    hooks = sorted(name for name in answer.writers if name.endswith(HOOKS))
    if hooks and "tools" not in answer.writers:
        return f"answered by the middleware ({hooks[0]}), not by the tool"
    if answer.writers == {"model"}:
        return "a structured response, not a tool"
    if answer.writers == {"__start__"} or answer.source == "input":
        return GIVEN
    if answer.source == "update":
        return "written with update_state; nobody knows whether the tool ran"
    return ""


def _what_ran(call: ToolCall, message: ToolMessage) -> tuple[Action, str]:
    """Return action and observation: a changed call as it ran, and without the note about that or any advice."""
    text = text_of(message)
    own = message.additional_kwargs.get(NOTE)
    if isinstance(own, str):
        changed = CHANGED.search(own)
        action = action_of(call) if changed is None else _read_action(changed[1], changed[2])
        return action or action_of(call), text.removeprefix(own).removeprefix("\n\n")
    foreign = EDITED.match(text)
    action = None if foreign is None else _read_action(foreign[1], foreign[2])
    if foreign is None or action is None:
        return action_of(call), text
    return action, text[foreign.end() :]


def _read_action(tool: str, arguments: str) -> Action | None:
    try:
        values = json.loads(arguments)
    except ValueError:
        return None
    return Action(tool=tool, arguments=values)
