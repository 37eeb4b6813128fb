"""Asking a human, in the shapes of LangChain's human-in-the-loop middleware, so that its screens work."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from langchain_core.messages.tool import ToolCall
from langgraph.types import interrupt

from dyna_nodes.core import DynaCore
from dyna_nodes.effects import Plan, blocking
from dyna_nodes.histories import Known
from dyna_nodes.judging import Bench, judge
from dyna_nodes.nouns import Action, Decision, Prediction, Simulation, Verdict
from dyna_nodes.observe import FOREIGN
from dyna_nodes.rounds import bound, change_note, changed, judged_call, shown_to_policy
from dyna_nodes.state import Judged
from dyna_nodes.trust import METRICS, Estimate, Tally, estimate

ALLOWED = {"verdict": ["approve", "edit", "reject", "respond"], "recover": ["approve", "reject", "respond"]}


def ask_human(
    bench: Bench, known: Known, verdicts: Mapping[str, Judged], finished: Collection[str] = ()
) -> Plan[dict[str, Judged]]:
    """Ask about every call that waits for a human, all in one interrupt, and return what follows.

    The value of the interrupt is a ``HITLRequest``: ``action_requests`` and ``review_configs``; each request
    also carries ``dyna`` with the call's id, the prediction, the verdict, and how predictions about this tool have
    held so far. The answer is a ``HITLResponse``. An answer that does not fit is asked for again, with ``error`` in
    the request.

    Calls whose ids are in ``finished`` have run already: nothing that is decided now is about them.
    """
    core, run = bench.core, bench.run
    waiting = {i: j for i, j in verdicts.items() if j["human"]}
    figures = yield blocking(lambda: core.track_record(bench.reliability))
    request = _request(waiting, figures)
    decisions, error = _decisions(core, waiting, interrupt(request))
    while error is not None:
        decisions, error = _decisions(core, waiting, interrupt({**request, "error": error}))
    result = dict(verdicts)
    journal = yield from core.journal()
    for (call_id, judged), decision in zip(waiting.items(), decisions, strict=True):
        if judged["human"] == "recover" and journal is not None:
            settled, detail = call_id.removeprefix(FOREIGN), f"a human: {decision['type']}"
            yield blocking(partial(journal.settle, run.thread, run.ns, settled, detail))
        result[call_id] = _decided(core, known, judged, decision)
    stopped = any(result[i]["answer"] for i in waiting if i.startswith(FOREIGN))
    result = {i: j for i, j in result.items() if not i.startswith(FOREIGN)}
    if stopped:
        text = "A human decided that this does not run, because the outcome of an earlier call is not known."
        return {
            i: _not_running(core, j, text, "human") if j["runs"] and i not in finished else j
            for i, j in result.items()
        }
    settled_now = {*waiting, *finished}
    stale = {i: j for i, j in result.items() if j["runs"] and i not in settled_now and _expired(j)}
    return {**result, **(yield from _judged_again(bench, known, stale))}


def _judged_again(bench: Bench, known: Known, stale: Mapping[str, Judged]) -> Plan[dict[str, Judged]]:
    """Judge calls again whose verdict has expired while a human was thinking."""
    result = {i: j for i, j in stale.items() if j["simulation"] is None}
    for call_id, judged in result.items():
        verdict = bound(bench.core, known, Verdict.model_validate(judged["verdict"]), judged["call"])
        result[call_id] = {**judged, "verdict": bench.core.shelf.write(verdict)}
    simulated = {i: j for i, j in stale.items() if j["simulation"] is not None}
    simulations = [Simulation.model_validate(j["simulation"]) for j in simulated.values()]
    judgements = yield from judge(bench, simulations)
    for (call_id, judged), judgement in zip(simulated.items(), judgements, strict=True):
        again = judged_call(bench.core, known, judged["call"], judgement)
        result[call_id] = {**again, "note": again["note"] or judged["note"], "attempt": judged["attempt"]}
    return result


def _request(waiting: Mapping[str, Judged], figures: Tally) -> dict[str, Any]:
    requests, configs = [], []
    for call_id, judged in waiting.items():
        call, simulation = judged["call"], judged["simulation"]
        prediction = simulation["steps"][0]["prediction"] if simulation else None
        held = {m: estimate(figures, call["name"], m) for m in METRICS} if prediction else {}
        requests.append(
            {
                "name": call["name"],
                "args": call["args"],
                "description": describe_call(call, judged["reason"], prediction, held),
                "dyna": {
                    "call_id": call_id,
                    "about": judged["human"],
                    "reason": judged["reason"],
                    "prediction": prediction,
                    "verdict": judged["verdict"],
                    "track_record": {m: e._asdict() for m, e in held.items() if e.calls},
                },
            }
        )
        configs.append({"action_name": call["name"], "allowed_decisions": _allowed(call_id, judged)})
    return {"action_requests": requests, "review_configs": configs}


def _allowed(call_id: str, judged: Judged) -> list[str]:
    """Return the decisions that make sense; about a call of the past there is only going on or not."""
    return ["approve", "reject"] if call_id.startswith(FOREIGN) else ALLOWED[judged["human"] or "verdict"]


def describe_call(
    call: ToolCall,
    reason: str,
    prediction: Mapping[str, Any] | None,
    held: Mapping[str, Estimate] = MappingProxyType({}),
) -> str:
    """Return what a human is shown of a call: what it is, why they are asked, and what is predicted."""
    lines = [
        f"Tool: {call['name']}",
        f"Args: {call['args']}",
        f"Why you are asked: {reason or 'no reason given'}",
    ]
    if prediction:
        found = Prediction.model_validate(prediction)
        if found.error is not None:
            lines.append(f"Predicted outcome: none, {found.error}")
        elif found.observation is not None or found.difference is not None:
            lines.append(f"Predicted outcome: {found.observation or found.difference}")
        figures = {"reward": found.reward, "success": found.success, "confidence": found.confidence}
        lines += [f"Predicted {name}: {value}" for name, value in figures.items() if value is not None]
        exact = held.get("exact")
        if exact is not None and exact.calls:
            came = f"{exact.mean * exact.calls:.0f} of {exact.calls}"
            lines.append(f"Predictions about this tool that came true to the letter: {came}")
    return "\n".join(lines)


def _decisions(
    core: DynaCore, waiting: Mapping[str, Judged], answer: Any
) -> tuple[list[dict[str, Any]], str | None]:
    """Read a human's answer; the second part says what is wrong with it."""
    decisions = answer.get("decisions") if isinstance(answer, Mapping) else answer
    if not isinstance(decisions, list) or not all(isinstance(d, Mapping) for d in decisions):
        return [], 'answer with {"decisions": [{"type": "approve"}, …]}, one decision per action request'
    if len(decisions) != len(waiting):
        return [], f"{len(waiting)} calls wait for a decision, but {len(decisions)} decisions were given"
    for (call_id, judged), decision in zip(waiting.items(), decisions, strict=True):
        kind, allowed = decision.get("type"), _allowed(call_id, judged)
        name = judged["call"]["name"]
        if kind not in allowed:
            return [], f"decision {kind!r} about {name!r} is none of {', '.join(allowed)}"
        if kind == "respond" and not isinstance(decision.get("message"), str):
            return [], f"the decision 'respond' about {name!r} needs a text in 'message'"
        edited = decision.get("edited_action")
        if kind == "edit":
            if not isinstance(edited, Mapping) or not isinstance(edited.get("args"), Mapping):
                return [], f"the decision 'edit' about {name!r} needs 'edited_action' with 'name' and 'args'"
            if edited.get("name") not in core.tools:
                unknown = f"the edited action names the unknown tool {edited.get('name')!r}"
                return [], f"{unknown}; the tools are: {', '.join(core.tools)}"
    return [dict(d) for d in decisions], None


def _decided(core: DynaCore, known: Known, judged: Judged, decision: Mapping[str, Any]) -> Judged:
    """Return what a human's decision makes of a call."""
    call, kind = judged["call"], decision["type"]
    judged = {**judged, "human": None}
    if kind == "reject":
        why = decision.get("message")
        why = f": {why}" if why else ". It did not run; do not repeat it unasked."
        text = f"A human rejected this call{why}"
        return _not_running(core, judged, text, "human")
    if kind == "respond":
        return _not_running(core, judged, decision["message"], "respond")
    if call["name"] not in core.tools:
        return judged
    verdict = Verdict(decision=Decision.APPROVE, reason="approved by a human", critic="human")
    call = shown_to_policy(core, call)
    note = judged["note"]
    if kind == "edit":
        action = Action(tool=decision["edited_action"]["name"], arguments=decision["edited_action"]["args"])
        call = shown_to_policy(core, changed(call, action))
        verdict = verdict.model_copy(
            update={"decision": Decision.MODIFY, "reason": "edited by a human", "action": action}
        )
        note = change_note(verdict.model_copy(update={"critic": "a human", "reason": ""}), call)
    return {
        **judged,
        "call": call,
        "verdict": core.shelf.write(bound(core, known, verdict, call)),
        "runs": True,
        "answer": None,
        "note": note,
        "simulation": None if kind == "edit" else judged["simulation"],
    }


def _not_running(core: DynaCore, judged: Judged, text: str, by: Any) -> Judged:
    verdict = Verdict(decision=Decision.REJECT, reason=text, hint=text, critic="human")
    return {
        **judged,
        "runs": False,
        "answer": text,
        "answered_by": by,
        "verdict": core.shelf.write(verdict),
        "human": None,
    }


def _expired(judged: Judged) -> bool:
    expires = judged["verdict"].get("expires_at")
    return expires is not None and time.time() > expires
