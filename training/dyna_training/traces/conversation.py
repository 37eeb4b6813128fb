"""From the messages of one conversation to a trajectory: every turn is kept or reported."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from dyna_nodes.nouns import Action, Provenance, Trajectory, Transition, digest_of
from dyna_training.traces.messages import Call, Message
from dyna_training.traces.problems import Fate, Imported, Outcome, Reason, Reported
from dyna_training.traces.thinking import find_action, thought_text


class Conversation(NamedTuple):
    """What a file says about one run of an agent.

    Attributes:
        file: The file.
        record: Number of the record in it, from 1.
        messages: The messages, oldest first.
        turns: Messages of the assistant in the record, those that cannot be read included.
        tools: Names of the tools that the agent had; None where the log does not say.
        outcome: As in `Trajectory`.
        model: Name of the model, where the log says it.
        reported: What was found while the messages were read.
    """

    file: str
    record: int
    messages: Sequence[Message]
    turns: int
    tools: Collection[str] | None = None
    outcome: Outcome = "unknown"
    model: str = ""
    reported: tuple[Reported, ...] = ()


class Reading(NamedTuple):
    """How logs are read.

    Attributes:
        tools: Names of the known tools; None takes what each log says.
        pattern: How actions are written in text; None for `dyna_training.traces.thinking.ACTION_PATTERNS`.
    """

    tools: Collection[str] | None = None
    pattern: re.Pattern[str] | None = None


AS_LOGGED: Final = Reading()
"""Known tools as each log says, actions as models usually write them."""


def convert(conversation: Conversation, format: str, reading: Reading = AS_LOGGED) -> Imported:
    """Make a trajectory of a conversation.

    Args:
        conversation: The conversation.
        format: Name of the log's format, for the record.
        reading: How it is to be read.
    """
    builder = _Builder(conversation, reading)
    for message in conversation.messages:
        builder.take(message)
    builder.close(last=True)
    reported = (*conversation.reported, *builder.reported)
    if not builder.steps:
        return Imported(conversation.file, None, conversation.turns, reported)
    id = digest_of(format, conversation.file, conversation.record)[:32]
    configuration: dict[str, Any] = {"format": format, "record": conversation.record}
    if builder.system:
        configuration["system"] = "\n\n".join(builder.system)
    trajectory = Trajectory(
        id=id,
        task="\n\n".join(builder.task),
        transitions=tuple(
            step.model_copy(update={"id": f"{id}-{i}", "trajectory": id, "index": i})
            for i, step in enumerate(builder.steps)
        ),
        outcome=conversation.outcome,
        configuration=configuration,
        provenance=Provenance(source="agent", policy=conversation.model, thread=conversation.file),
    )
    return Imported(conversation.file, trajectory, conversation.turns, reported)


class _Turn:
    """A turn of the assistant that waits for what its calls lead to."""

    def __init__(self, number: int, thought: str, calls: Sequence[Call], *, by_text: bool) -> None:
        self.number = number
        self.thought = thought
        self.calls = list(calls)
        self.by_text = by_text
        self.problems: list[tuple[Reason, str]] = []
        self.answers: dict[int, tuple[str, bool]] = {}

    def answer(self, message: Message) -> bool:
        """Take the answer to one of the calls; False when it answers none."""
        for index, call in enumerate(self.calls):
            named = call.action is not None and message.answers == call.action.tool
            if index not in self.answers and (message.answers in ("", call.id) or named):
                self.answers[index] = (message.text, message.failed)
                return True
        return False


class _Builder:
    def __init__(self, conversation: Conversation, reading: Reading) -> None:
        self.conversation = conversation
        self.pattern = reading.pattern
        self.tools = conversation.tools if reading.tools is None else reading.tools
        # In a log with tool calls, what looks like an action in a text is a quotation.
        self.by_text = not conversation.tools and not any(m.calls for m in conversation.messages)
        self.system: list[str] = []
        self.task: list[str] = []
        self.steps: list[Transition] = []
        self.reported: list[Reported] = []
        self.number = 0
        self.turn: _Turn | None = None

    def report(
        self, reason: Reason, detail: str, fate: Fate, *, turn: int | None = None, turns: int = 0
    ) -> None:
        place = self.conversation
        self.reported.append(
            Reported(
                file=place.file,
                record=place.record,
                turn=turn,
                reason=reason,
                detail=detail,
                fate=fate,
                turns=turns,
            )
        )

    def take(self, message: Message) -> None:
        if message.role == "assistant":
            self.close(last=False)
            self.open(message)
        elif message.role == "tool":
            if self.turn is None or not self.turn.answer(message):
                detail = f"a tool message answers no call of the turn before it: {message.text[:60]!r}"
                self.report(Reason.ORDER, detail, Fate.LEFT_OUT, turn=self.number or None)
        elif message.role == "user":
            self.user(message)
        elif self.number:
            self.report(Reason.ORDER, "a system message in the middle", Fate.LEFT_OUT, turn=self.number)
        else:
            self.system.append(message.text)

    def user(self, message: Message) -> None:
        if self.turn is not None and self.turn.by_text and self.turn.calls and not self.turn.answers:
            self.turn.answer(message)
            return
        if not self.number:
            self.task.append(message.text)
            return
        self.close(last=False)
        if not self.steps:
            self.task.append(message.text)
            return
        # Later turns react to it, so it belongs to what they have seen.
        last = self.steps[-1]
        seen = "\n\n".join(part for part in (last.observation, message.text) if part)
        self.steps[-1] = last.model_copy(update={"observation": seen})

    def open(self, message: Message) -> None:
        self.number += 1
        calls, text, problem = message.calls, message.text, ""
        if not calls and self.by_text:
            found = find_action(text, self.pattern)
            text, problem = found.rest, found.problem
            if found.action is not None:
                calls = (Call("", found.action),)
        turn = _Turn(self.number, thought_text(message.thinking, text), calls, by_text=self.by_text)
        if self.number == 1 and not (self.task or self.system):
            turn.problems.append((Reason.ORDER, "the assistant speaks before there is a task"))
        if not message.closed:
            turn.problems.append(
                (Reason.UNCLOSED, "the reply ends at its longest length or inside its thinking")
            )
        if problem or any(c.action is None for c in calls):
            why = problem or next(c.problem for c in calls if c.action is None)
            turn.problems.append((Reason.NOT_PARSED, why))
        elif not calls:
            turn.problems.append((Reason.NO_ACTION, f"only text: {text[:60]!r}"))
        for name in [c.action.tool for c in calls if c.action is not None]:
            if self.tools is not None and name not in self.tools and not self.by_text:
                known = ", ".join(sorted(self.tools)) or "none"
                turn.problems.append((Reason.UNKNOWN_TOOL, f"{name!r}; the tools are: {known}"))
        if not message.thinking and calls:
            turn.problems.append((Reason.NO_THINKING, ""))
        self.turn = turn

    def close(self, *, last: bool) -> None:
        """Decide about the open turn, now that everything that answers it is known."""
        turn, self.turn = self.turn, None
        if turn is None:
            return
        problems = list(turn.problems)
        problems += [(Reason.FAILED, text[:80]) for text, failed in turn.answers.values() if failed]
        unanswered = len(turn.calls) - len(turn.answers)
        open_end = last and not turn.answers
        if unanswered and not open_end and turn.by_text:
            problems.append((Reason.ORDER, "the next assistant message follows without an observation"))
        elif unanswered and not open_end:
            problems.append((Reason.UNANSWERED, f"{unanswered} of {len(turn.calls)} calls"))
        steps = [
            _step(call.action, *turn.answers.get(index, ("", None)))
            for index, call in enumerate(turn.calls)
            if call.action is not None and (index in turn.answers or (open_end and not problems))
        ]
        if problems:
            steps = [s.model_copy(update={"labels": {"expert": 0.0}}) for s in steps]
            reason, detail = problems[0]
            more = "; also: " + ", ".join(dict.fromkeys(r for r, _ in problems[1:])) if problems[1:] else ""
            fate = Fate.READ if steps else Fate.LEFT_OUT
            self.report(reason, detail + more, fate, turn=turn.number, turns=1)
        elif steps:
            steps[0] = steps[0].model_copy(update={"thought": turn.thought})
            steps[1:] = [s.model_copy(update={"labels": {"expert": 0.0}}) for s in steps[1:]]
            if steps[1:]:
                detail = f"{len(steps)} calls; the first is imitated, the others are read"
                self.report(Reason.PARALLEL, detail, Fate.NOTED, turn=turn.number)
        self.steps += steps


def _step(action: Action, observation: str, failed: bool | None) -> Transition:
    status: Literal["ok", "error", "unknown"] = "unknown" if failed is None else "error" if failed else "ok"
    return Transition(action=action, observation=observation, status=status, time=0.0)


def outcome_of(record: Mapping[str, Any]) -> Outcome:
    """Return the outcome that a record states with ``outcome``, ``success``, ``solved`` or ``reward``.

    They are looked for in the record, its ``metadata`` and its ``outputs``.
    """
    for place in (record, record.get("metadata"), record.get("outputs")):
        if not isinstance(place, Mapping):
            continue
        stated: tuple[Outcome, ...] = ("success", "failure", "truncated")
        for outcome in stated:
            if place.get("outcome") == outcome:
                return outcome
        for key in ("success", "solved"):
            if isinstance(place.get(key), bool):
                return "success" if place[key] else "failure"
        reward = place.get("reward")
        if isinstance(reward, int | float):
            return "success" if reward > 0 else "failure"
    return "unknown"
