"""A call of the agent on its way to the tool: it runs under its verdict, and what came of it is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.messages.tool import ToolCall
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from dyna_graph.middleware.ledger import Execution, View, view_of
from dyna_graph.middleware.loop import AgentLoop, unasked
from dyna_nodes.act import guarded, outcome_of
from dyna_nodes.answers import REFUSED, answer, human_outcomes, with_note
from dyna_nodes.conversation import Candidate, action_of, marked, refusal
from dyna_nodes.core import DynaCore, Run, Turn
from dyna_nodes.critique import exempt
from dyna_nodes.effects import Effect, Plan
from dyna_nodes.escalation import ask_human
from dyna_nodes.histories import Known
from dyna_nodes.imagination import describe
from dyna_nodes.journal import JournalError
from dyna_nodes.judging import Bench, judge
from dyna_nodes.nouns import Action, Decision, Verdict
from dyna_nodes.observe import UNFINISHED, log, transitions_of
from dyna_nodes.rounds import bound, changed, judged_call
from dyna_nodes.simulate import imagine
from dyna_nodes.state import Judged, Outcome, Progress
from dyna_nodes.tool_node import is_invalid_resume

EDITED = "hitl_edited_tool_calls"
"""Where `HumanInTheLoopMiddleware` notes what a human has edited: actions by the id of the call."""
Execute = Callable[[ToolCallRequest], Effect]


def execution(loop: AgentLoop, request: ToolCallRequest, execute: Execute) -> Plan[Any]:
    """Execute a call of the agent under its verdict.

    Args:
        loop: The loop.
        request: What the agent is about to do.
        execute: Goes on with a request, through all middlewares that stand behind this one.

    Returns:
        The result of the call, with what came of it for the state.
    """
    began = time.perf_counter()
    state, run, call = request.state, Run.of(request.runtime.config), request.tool_call
    call_id = str(call["id"])
    if not state.get("dyna"):  # something before this middleware has answered in the model's place
        if loop.core.settings.mode != "enforce":
            return (yield execute(request))
        return refusal(
            call_id, call["name"], f"{REFUSED} DynaMiddleware has not seen the turn that it is from."
        )
    tools: list[BaseTool] = list(request.runtime.tools)
    if request.tool is not None and call["name"] not in {tool.name for tool in tools}:
        tools.append(request.tool)  # registered while the agent runs
    core = loop.core_of(state, run, tools)
    view = view_of(state, [state["dyna"]["said"]])
    judged = yield from _standing(core, view, run, request)
    again = loop.times_raised(view["progress"], run, call_id)
    if again and judged["runs"] and core.settings.mode == "enforce":
        # A middleware before this one tries again what has raised.
        if core.tool_settings(judged["call"]["name"]).idempotent:
            judged = {**judged, "attempt": judged["attempt"] + again}
        elif not core.durable:
            text = f"{REFUSED} It has raised before, and may have had its effect: the tool is not declared idempotent."
            return refusal(call_id, call["name"], text)
    waits = True
    while True:
        view["verdicts"] = {**view["verdicts"], call_id: judged}
        if not judged["runs"]:
            said = answer(call_id, judged)
            outcome = next(iter(human_outcomes({call_id: judged})), None)
            return _result([said], None, (yield from _recorded(core, view, run, judged, outcome)), judged)
        tool = core.tools.get(judged["call"]["name"])
        seen = replace(request, tool_call={**judged["call"], "type": "tool_call"}, tool=tool, state=view)
        try:
            result = yield from guarded(core, seen, lambda r: execute(r.override(state=state)), waits=waits)
        except (GraphBubbleUp, JournalError):
            raise
        except Exception as error:
            if not is_invalid_resume(
                error
            ):  # the agent decides what an error means; here it is only recorded
                name = judged["call"]["name"]
                message = ToolMessage(describe(error), tool_call_id=call_id, name=name, status="error")
                outcome = _outcome(judged, [message], time.perf_counter() - began)
                found = yield from _recorded(core, view, run, judged, outcome)
                loop.note_raised(view["progress"], run, found)
            raise
        messages = _messages(result)
        outcome = _outcome(judged, messages, time.perf_counter() - began)
        if outcome["status"] not in UNFINISHED or not core.durable:
            return _result(messages, result, (yield from _recorded(core, view, run, judged, outcome)), judged)
        judged = yield from _asked(core, view, run, judged, outcome)
        waits = waits and outcome["status"] != "deferred"


def _outcome(judged: Judged, messages: list[BaseMessage], seconds: float) -> Outcome:
    outcome = outcome_of(str(judged["call"]["id"]), messages, seconds)
    return {**outcome, "attempt": max(outcome["attempt"], judged["attempt"])}


def _standing(core: DynaCore, view: View, run: Run, request: ToolCallRequest) -> Plan[Judged]:
    """Return what was decided about a call as it is now: a human may have edited it, or anybody else."""
    call = request.tool_call
    call_id = str(call["id"])
    judged: Judged | None = view["verdicts"].get(call_id)
    proposed = next((c for c in view["messages"][-1].tool_calls if c["id"] == call["id"]), None)
    edited = (request.state.get(EDITED) or {}).get(call_id)
    if judged is not None and any(_same(call, c) for c in (proposed, judged["call"], edited)):
        return judged if edited is None else _edited(core, core.known(view, run), judged, edited)
    known = core.known(view, run)
    other = ToolCall(name=call["name"], args=call["args"], id=call["id"], type="tool_call")
    said = view["messages"][-1].model_copy(update={"tool_calls": [other]})
    progress: Progress = view["progress"]
    turn = Turn({**progress, "spent": dict(progress["spent"])}, known, False)
    simulations = yield from imagine(core, turn, [Candidate(said, "calls")], [], [], run)
    bench = Bench(
        core, known.history, view["reliability"], run, run.session(view["progress"]["trajectory"]), [said]
    )
    found = yield from judge(bench, simulations)
    anew = judged_call(core, known, other, found[0] if found else exempt(core, other))
    # Asking here would judge once more when the answer comes, and might then ask for nothing.
    return unasked(anew)


def _edited(core: DynaCore, known: Known, judged: Judged, edited: Mapping[str, Any]) -> Judged:
    """Return what a human's edit makes of a call: it is the verdict."""
    call = changed(judged["call"], Action(tool=edited["name"], arguments=edited["args"]))
    verdict = Verdict(
        decision=Decision.MODIFY, reason="edited by a human", action=action_of(call), critic="human"
    )
    return {
        **judged,
        "call": call,
        "verdict": core.shelf.write(bound(core, known, verdict, call)),
        "runs": True,
        "note": None,  # the gate tells the agent about the edit
        "simulation": None,
    }


def _asked(core: DynaCore, view: View, run: Run, judged: Judged, outcome: Outcome) -> Plan[Judged]:
    """Ask a human about a call whose outcome nobody knows, or that waits for one of those."""
    known = core.known(view, run)
    call_id = outcome["call_id"]
    bench = Bench(
        core,
        known.history,
        view["reliability"],
        run,
        run.session(view["progress"]["trajectory"]),
        view["messages"],
    )
    asking: Judged = {
        **judged,
        "human": "recover",
        "reason": outcome["detail"],
        "attempt": outcome["attempt"] + (0 if outcome["status"] == "deferred" else 1),
    }
    decided = yield from ask_human(bench, known, {call_id: asking})
    return decided[call_id]


def _recorded(
    core: DynaCore, view: View, run: Run, judged: Judged, outcome: Outcome | None
) -> Plan[list[Execution]]:
    """Record a call that has run, at once: the run may end before the agent's next turn."""
    if outcome is None:
        return []
    progress: Progress = view["progress"]
    place = [i for i, j in view["verdicts"].items() if j["runs"] or i == outcome["call_id"]].index(
        outcome["call_id"]
    )
    at = {**view, "progress": {**progress, "index": progress["index"] + place}}
    transitions = yield from transitions_of(core, at, run, [outcome])
    for transition in transitions:
        yield from log(core, transition)
    written = [core.shelf.write(t) for t in transitions]
    return [{"outcome": {**outcome, "recorded": True}, "judged": judged, "transitions": written}]


def _same(call: Mapping[str, Any], other: Mapping[str, Any] | None) -> bool:
    return other is not None and call["name"] == other["name"] and call["args"] == other["args"]


def _messages(result: Any) -> list[BaseMessage]:
    """Return the messages in what a tool call returned."""
    found: list[BaseMessage] = []
    for part in result if isinstance(result, list) else [result]:
        if isinstance(part, Command):
            if isinstance(part.update, Mapping) and part.graph is None:
                found.extend(part.update.get("messages", []))
        else:
            found.append(part)
    return found


def _result(messages: list[BaseMessage], result: Any, kept: list[Execution], judged: Judged) -> Any:
    """Return the result with the note about it, and what came of the call for the state."""
    if result is None or isinstance(result, ToolMessage):
        noted = [_noted(m, judged) for m in messages]
        return Command(update={"messages": noted, "dyna_executions": kept})
    if isinstance(result, Command):
        part = _noted_part(result, judged)
        if part.graph is not None or not isinstance(part.update, Mapping):
            return part
        return replace(part, update={**part.update, "dyna_executions": kept})
    return [*(_noted_part(part, judged) for part in result), Command(update={"dyna_executions": kept})]


def _noted(message: BaseMessage, judged: Judged) -> BaseMessage:
    mine = isinstance(message, ToolMessage) and message.tool_call_id == judged["call"]["id"]
    return (
        with_note(message, judged["note"])
        if mine and isinstance(message, ToolMessage) and not marked(message)
        else message
    )


def _noted_part(part: Any, judged: Judged) -> Any:
    if not isinstance(part, Command):
        return _noted(part, judged)
    if not isinstance(part.update, Mapping) or part.graph is not None:
        return part
    update = {**part.update, "messages": [_noted(m, judged) for m in part.update.get("messages", [])]}
    return replace(part, update=update)
