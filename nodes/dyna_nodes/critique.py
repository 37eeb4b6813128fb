"""critique: one verdict per call, the best candidate, bounded revisions, a human where a critic asks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.tool import ToolCall
from langgraph.types import Command

from dyna_nodes.conversation import invalid_answers, last_ai, rejected_alone
from dyna_nodes.core import DynaCore, DynaNode, Run
from dyna_nodes.critics.base import failure
from dyna_nodes.effects import Plan
from dyna_nodes.escalation import ask_human
from dyna_nodes.judging import Bench, Judgement, approved_without_question, best, judge, unknown_tool
from dyna_nodes.nouns import Decision, Simulation
from dyna_nodes.rounds import Places, Round, judged_call
from dyna_nodes.simulate import calls_to_judge
from dyna_nodes.state import Judged, resampling, settled


class CritiqueNode(DynaNode):
    """The node ``critique``.

    Args:
        core: What the nodes share.
        simulate: Where rejected proposals go.
        critique: This node's own name in the graph; it comes back to itself when a human must decide, so that
            nothing is simulated or judged again on resume.
        act: Where approved calls go, one `Send` each.
        end: Where a run goes that a critic ends.

    Puts the chosen candidate into ``messages`` and writes ``verdicts``.
    """

    default_name = "critique"

    def __init__(
        self,
        core: DynaCore,
        *,
        simulate: str = "simulate",
        critique: str = "critique",
        act: str = "act",
        end: str = "__end__",
    ) -> None:
        super().__init__(core)
        self.places = Places(simulate, critique, act, end)

    def plan(self, state: Any, run: Run) -> Plan[Command[Any]]:
        """Judge and choose; on the second visit, ask a human."""
        began = time.perf_counter()
        core = self.core
        known = core.known(state, run)
        session = run.session(state["progress"]["trajectory"])
        candidates: list[AIMessage] = [c["message"] for c in state.get("candidates") or []]
        bench = Bench(core, known.history, state.get("reliability"), run, session, candidates)
        verdicts: dict[str, Judged] = state.get("verdicts") or {}
        again = resampling(state["progress"], state["messages"])
        turn = Round(core, self.places, {**state, "progress": settled(state["progress"])}, run, known, began)
        if any(judged["human"] for judged in verdicts.values()):
            finished = {o["call_id"] for o in state.get("outcomes") or []}
            decided = yield from ask_human(bench, known, verdicts, finished)
            return (yield from turn.route(last_ai(state["messages"]), decided, state.get("queue") or []))
        if not candidates[0].tool_calls:
            messages, hint = rejected_alone(candidates[0])
            return turn.nothing_to_judge(messages, hint)
        queue: list[ToolCall] = state.get("queue") or []
        calls = [queue[:1] if queue else calls_to_judge(core, c) for c in candidates]
        simulations = [core.shelf.read(Simulation, s) for s in state.get("simulations") or []]
        found = yield from judge(bench, simulations)
        of_call = {j.simulation.call_id: j for j in found if j.simulation is not None}
        judgements = [[of_call.get(str(c["id"])) or exempt(core, c) for c in calls_] for calls_ in calls]
        chosen = 0 if core.settings.mode == "shadow" else best(judgements)
        if not (again or queue) and self._resamples(state["messages"], judgements):
            return (yield from turn.resample(candidates, calls, judgements, chosen))
        message = candidates[chosen]
        verdicts = {
            str(call["id"]): judged_call(core, known, call, judgement)
            for call, judgement in zip(calls[chosen], judgements[chosen], strict=True)
        }
        if core.record is not None and len(candidates) > 1:
            yield from turn.record_imagined(candidates, calls, judgements, besides=chosen)
        rest = queue[1:] if queue else message.tool_calls[len(calls[chosen]) :]
        new = [] if queue else [message, *invalid_answers(message)]
        others = {
            str(call["id"]): judgement.verdict
            for index, calls_ in enumerate(calls)
            if index != chosen
            for call, judgement in zip(calls_, judgements[index], strict=True)
        }
        return (yield from turn.route(message, verdicts, rest, new=new, chosen=chosen, others=others))

    def _resamples(self, messages: Sequence[BaseMessage], judgements: Sequence[Sequence[Judgement]]) -> bool:
        """Tell whether the policy proposed nothing but what was rejected, and is to be asked for others."""
        if not self.core.settings.resamples or not messages or messages[-1].id is None:
            return False
        verdicts = [j.verdict for candidate in judgements for j in candidate]
        return all(v.decision is Decision.REJECT and not v.failed for v in verdicts)


def exempt(core: DynaCore, call: ToolCall) -> Judgement:
    """Judge a call that was not simulated: its tool does not exist, or is opted out."""
    if call["name"] not in core.tools:
        return Judgement(unknown_tool(core, call["name"]), None)
    if core.tool_settings(call["name"]).simulate:
        return Judgement(failure("settings", "it was not simulated"), None)
    return Judgement(approved_without_question(f"the tool {call['name']!r} is opted out"), None)
