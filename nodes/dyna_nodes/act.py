"""act: execute exactly what was approved, once, with an intent written down before each effect."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.messages.tool import ToolCall
from langgraph.errors import GraphBubbleUp, ParentCommand
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from dyna_nodes.conversation import action_of, mark, marked, refusal
from dyna_nodes.core import DynaCore, DynaNode, Run
from dyna_nodes.effects import DeadlineExceeded, Effect, Plan, aperform, blocking, perform, within
from dyna_nodes.events import ActEvent
from dyna_nodes.guard import GuardedTool, Permit, Refused
from dyna_nodes.journal import Intent, IntentJournal, JournalError, answer_text
from dyna_nodes.nouns import Prediction, Simulation
from dyna_nodes.observe import log, transitions_of
from dyna_nodes.settings import ToolSettings
from dyna_nodes.state import Judged, Outcome, StateError, readable
from dyna_nodes.tool_node import CallNode, is_invalid_resume

Result = ToolMessage | Command[Any]
_ELSEWHERE = "another run of this conversation is executing it at this moment"


class ActNode(DynaNode):
    """The node ``act``: one `Send` per approved call, so that a finished sibling is not run again on resume.

    Takes ``{"call": ToolCall}`` and writes ``outcomes``; what a tool returns as `Command` goes its own way,
    except for its messages, which observe puts into their place.
    """

    default_name = "act"

    def plan(self, state: Any, run: Run) -> Plan[Any]:
        """Execute one call."""
        began = time.perf_counter()
        given: ToolCall = state["call"]
        call = ToolCall(name=given["name"], args=given["args"], id=given["id"], type="tool_call")
        node = self.core.tool_node
        result: Any = yield Effect(
            lambda: node.invoke([call], run.config), lambda: node.ainvoke([call], run.config)
        )
        messages, commands = _parts(result)
        outcome = outcome_of(str(call["id"]), messages, time.perf_counter() - began)
        update = {"outcomes": [outcome]}
        return [*commands, update] if commands else update


def make_tool_node(core: DynaCore) -> CallNode:
    """Return LangGraph's own node for tools, with every call guarded."""

    def wrap(request: ToolCallRequest, execute: Callable[[ToolCallRequest], Result]) -> Result:
        return perform(guarded(core, request, lambda r: Effect(lambda: execute(r), _never)))

    async def awrap(
        request: ToolCallRequest, execute: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Result:
        return await aperform(guarded(core, request, lambda r: Effect(_never, lambda: execute(r))))

    return CallNode(
        list(core.tools.values()), handle_tool_errors=_explain, wrap_tool_call=wrap, awrap_tool_call=awrap
    )


def _never() -> Any:
    raise RuntimeError("a plan was driven from the wrong side; this is a bug in dyna-graph")


def _explain(error: Exception) -> str:
    """Return what the policy is told about an error of a tool; errors of the loop itself end the run."""
    if isinstance(error, JournalError | StateError):
        raise error
    if isinstance(error, Refused):
        return f"This call was refused and did not run: {error}."
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def guarded(
    core: DynaCore,
    request: ToolCallRequest,
    execute: Callable[[ToolCallRequest], Effect],
    *,
    waits: bool = True,
) -> Plan[Result]:
    """Execute a call under its verdict, with an intent in the journal.

    Args:
        core: What the nodes share.
        request: The call, with the state that its verdict is in.
        execute: Returns the effect of executing it.
        waits: Whether it waits for calls that were started and whose end nobody knows.
    """
    began = time.perf_counter()
    call, tool, state = request.tool_call, request.tool, request.state
    run = Run.of(request.runtime.config)
    readable(state.get("progress"))
    call_id = str(call["id"])
    judged: Judged | None = (state.get("verdicts") or {}).get(call_id)
    if judged is None or not judged["runs"] or tool is None:
        why = (
            "there is no verdict for it"
            if judged is None or tool is not None
            else f"there is no tool {call['name']!r}"
        )
        return _told(run, state, call, 1, began, _refused(call, why))
    verdict = judged["verdict"]
    attempt = judged["attempt"]
    settings = core.tool_settings(tool.name)
    permit = Permit(
        verdict.get("digest", ""),
        core.known(state, run).digest,
        verdict.get("expires_at"),
        core.identities,
        repeatable=settings.idempotent,
        binding=core.settings.mode == "enforce",
    )
    if core.settings.dry_run:
        return _told(run, state, call, attempt, began, _imagined(core, call, judged))
    journal = yield from core.journal()
    past: list[Intent] = []
    if journal is not None:
        past = yield blocking(lambda: journal.relevant(run.thread, run.ns, call_id))
        if any(i.key[2:] == (call_id, attempt) and i.status == "suspended" for i in past):
            permit.expires_at = None  # it goes on with what it began while the verdict counted
    if journal is not None:
        if not waits:
            past = [i for i in past if i.call_id == call_id]
        known = _known_before(journal, past, call, attempt)
        if known is not None:  # what has happened does not depend on a verdict that still counts
            return _told(run, state, call, attempt, began, known)
        try:  # before an intent is written; the check that counts is the one inside the call
            permit.check(tool, call["args"])
        except Refused as error:
            return _told(run, state, call, attempt, began, _refused(call, str(error)))
    execution = Execution(core, run, journal, call, verdict.get("digest", ""), settings)
    guard = request.override(tool=GuardedTool.around(tool, permit))
    try:
        result = yield from execution.attempts(execute(guard), permit, attempt)
    except GraphBubbleUp:
        _tell(run, state, call, attempt, began, "suspended", "the tool asks a human")
        raise
    if any(
        isinstance(r, Command) and r.graph is not None
        for r in (result if isinstance(result, list) else [result])
    ):
        yield from _leave(core, run, state, call_id, result, time.perf_counter() - began)
    if not permit.uses and isinstance(result, ToolMessage) and not marked(result):
        # Somebody behind this guard has answered in the tool's place: that is no observation of the tool.
        result = result.model_copy(
            update={"additional_kwargs": {**result.additional_kwargs, **mark("answered")}}
        )
    return _told(run, state, call, attempt, began, result)


def _imagined(core: DynaCore, call: ToolCall, judged: Judged) -> ToolMessage:
    """Return what the world model predicts in place of the result of a call."""
    simulation = judged["simulation"]
    found = Prediction() if simulation is None else core.shelf.read(Simulation, simulation).prediction
    text = found.observation if found.observation is not None else found.difference
    if text is None:
        why = found.error or "nothing was predicted"
        return refusal(
            str(call["id"]), call["name"], f"Dry run: this call did not run, and {why}.", kind="imagined"
        )
    reward = found.reward if found.reward is not None else float(found.success) if found.success else None
    done = found.done if found.done is not None else found.success
    return ToolMessage(
        text,
        tool_call_id=str(call["id"]),
        name=call["name"],
        artifact={"reward": reward, "done": done},
        additional_kwargs=mark("imagined"),
    )


def _leave(core: DynaCore, run: Run, state: Any, call_id: str, result: Any, seconds: float) -> Plan[None]:
    """Record a call that hands over to the parent graph: LangGraph leaves this one before observe could."""
    updates = [c.update for c in (result if isinstance(result, list) else [result]) if isinstance(c, Command)]
    messages = [m for u in updates if isinstance(u, Mapping) for m in u.get("messages", [])]
    outcome = outcome_of(call_id, messages, seconds)
    for transition in (yield from transitions_of(core, state, run, [outcome])):
        yield from log(core, transition)


class Execution(NamedTuple):
    """One approved call that is about to run.

    Attributes:
        core: What the nodes share.
        run: The run.
        journal: Where the intent is written; None where nothing can be resumed.
        call: The call.
        digest: What the verdict is bound to.
        settings: The settings of the tool.
    """

    core: DynaCore
    run: Run
    journal: IntentJournal | None
    call: ToolCall
    digest: str
    settings: ToolSettings

    def attempts(self, effect: Effect, permit: Permit, first: int) -> Plan[Result]:
        """Execute the call; again, where the tool is idempotent and raised."""
        last = first + self.settings.retries
        for attempt in range(first, last + 1):
            try:
                result = yield from self._once(effect, attempt)
            except (GraphBubbleUp, JournalError):
                raise
            except Refused:
                return _stopped(self.call, permit)
            except Exception as error:  # as in an agent whose tools may raise
                if attempt == last or is_invalid_resume(error):
                    raise
                continue
            failed = isinstance(result, ToolMessage) and result.status == "error" and not marked(result)
            if not failed or permit.refused:
                break
        if permit.refused and isinstance(result, ToolMessage):
            return _stopped(self.call, permit)
        return result

    def _once(self, effect: Effect, attempt: int) -> Plan[Result]:
        journal = self.journal
        intent = self._intent(attempt)
        if journal is not None and not (
            yield blocking(lambda: journal.start(intent, power=self.settings.irreversible))
        ):
            return unknown(self.call, _ELSEWHERE, attempt)
        try:
            result: Result = yield within(effect, self.settings.timeout)
        except DeadlineExceeded as error:
            yield from self._finish(intent, "unknown", str(error))
            return unknown(
                self.call, f"the tool gave {error}; it may or may not have had its effect", attempt
            )
        except ParentCommand:
            yield from self._finish(intent, "done", "handed over to the parent graph")
            raise
        except GraphBubbleUp:
            yield from self._finish(intent, "suspended", "")
            raise
        except Exception as error:
            answer_refused = is_invalid_resume(error)  # the tool still waits for a human's answer
            yield from self._finish(intent, "suspended" if answer_refused else "failed", repr(error))
            raise
        except BaseException:  # killed or cancelled in the middle: how it ended stays unknown
            if journal is not None:
                journal.abandon(intent)
            raise
        message = result if isinstance(result, ToolMessage) else None
        failed = message is not None and message.status == "error"
        text = answer_text(message) if message is not None and journal is not None else None
        yield from self._finish(intent, "failed" if failed else "done", "", text)
        return result

    def _finish(self, intent: Intent, status: Any, detail: str, result: str | None = None) -> Plan[None]:
        journal = self.journal
        if journal is not None:
            yield blocking(lambda: journal.finish(intent, status, detail=detail, result=result))

    def _intent(self, attempt: int) -> Intent:
        call = self.call
        arguments = (
            json.dumps(call["args"], ensure_ascii=False, default=str) if self.journal is not None else ""
        )
        return Intent(
            self.run.thread, self.run.ns, str(call["id"]), attempt, call["name"], arguments, self.digest
        )


def _known_before(journal: IntentJournal, past: list[Intent], call: ToolCall, attempt: int) -> Result | None:
    """Return what follows from what the journal knows; None when the call may run."""
    mine = [i for i in past if i.call_id == call["id"]]
    others = [i for i in past if i.call_id != call["id"]]
    lost = [i for i in mine if i.status in ("started", "unknown")] + others
    if any(journal.is_live(i) for i in mine):
        return unknown(call, _ELSEWHERE, mine[-1].attempt)
    if any(i.call_id == call["id"] for i in lost):
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(mine[-1].started))
        why = (
            f"it was started at {began}, and how it ended is not known; it may or may not have had its effect"
        )
        return unknown(call, why, mine[-1].attempt)
    finished = [i for i in mine if i.status in ("done", "failed") and i.attempt >= attempt]
    last = finished[-1] if finished else None
    if last is not None and not last.observed:
        answer = last.answer()
        if answer is not None:
            return answer  # it ran, and the run was killed before its answer reached a checkpoint
    if lost:
        names = ", ".join(sorted({i.tool for i in lost}))
        why = f"it waits, because how an earlier call ended is not known: {names}"
        return _status(call, "deferred", why, attempt)
    if last is None:
        return None
    why = "it has run before, and its answer is part of the conversation; running it again repeats its effect"
    if not last.observed:
        why = "it has run before, but its answer was lost; running it again repeats its effect"
    return _status(call, "repeated", why, last.attempt)


def unknown(call: ToolCall, why: str, attempt: int) -> ToolMessage:
    """Return the answer to a call of which nobody knows how it ended."""
    return _status(call, "unknown", why, attempt)


def _status(call: ToolCall, status: str, why: str, attempt: int) -> ToolMessage:
    text = f"The outcome of this call is not known: {why}."
    message = refusal(str(call["id"]), call["name"], text, kind=status)
    return message.model_copy(update={"additional_kwargs": mark(status, detail=why, attempt=attempt)})


def _stopped(call: ToolCall, permit: Permit) -> ToolMessage:
    """Return the answer to a call that was refused; one that has run before raised, and is not tried again."""
    if not permit.uses:
        return _refused(call, permit.refused)
    text = f"The tool raised, and was not called again: {permit.refused}."
    return ToolMessage(text, tool_call_id=str(call["id"]), name=call["name"], status="error")


def _refused(call: ToolCall, why: str) -> ToolMessage:
    message = refusal(str(call["id"]), call["name"], f"This call was refused and did not run: {why}.")
    return message.model_copy(update={"additional_kwargs": mark("refused", detail=why)})


def outcome_of(call_id: str, messages: list[BaseMessage], seconds: float) -> Outcome:
    """Return what came of a call, given the messages that it contributes."""
    message = next((m for m in messages if isinstance(m, ToolMessage) and m.tool_call_id == call_id), None)
    kind, detail, attempt = "ok", "", 1
    if message is not None:
        told = marked(message)
        kind = told.get("kind", "error" if message.status == "error" else "ok")
        detail, attempt = told.get("detail", ""), told.get("attempt", 1)
    return {
        "call_id": call_id,
        "status": kind,  # type: ignore[typeddict-item]  # the marks are the statuses
        "messages": messages,
        "detail": detail,
        "attempt": attempt,
        "seconds": seconds,
        "recorded": False,
    }


def _parts(result: Any) -> tuple[list[BaseMessage], list[Command[Any]]]:
    """Take apart what LangGraph's tool node returns: the messages, and commands without their messages."""
    messages: list[BaseMessage] = []
    commands: list[Command[Any]] = []
    for part in result if isinstance(result, list) else [result]:
        if not isinstance(part, Command):
            messages.extend(part["messages"])
        elif isinstance(part.update, Mapping) and part.graph is None:
            rest = {k: v for k, v in part.update.items() if k != "messages"}
            messages.extend(part.update.get("messages", []))
            if rest or part.goto:
                commands.append(Command(update=rest, goto=part.goto))
        else:
            commands.append(part)
    return messages, commands


def _told(run: Run, state: Any, call: ToolCall, attempt: int, began: float, result: Result) -> Result:
    status, detail = "ok", ""
    if isinstance(result, ToolMessage):
        told = marked(result)
        status = told.get("kind", "error" if result.status == "error" else "ok")
        detail = told.get("detail", "")
    _tell(run, state, call, attempt, began, status, detail)
    return result


def _tell(run: Run, state: Any, call: ToolCall, attempt: int, began: float, status: Any, detail: str) -> None:
    progress = state.get("progress") or {}
    trajectory = progress.get("trajectory", "")
    run.tell(
        lambda: ActEvent.made(
            session=run.session(trajectory),
            trajectory=trajectory,
            index=progress.get("index", 0),
            call_id=str(call["id"]),
            action=action_of(call),
            status=status,
            detail=detail,
            attempt=attempt,
            seconds=time.perf_counter() - began,
        )
    )
