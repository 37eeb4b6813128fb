"""What follows from the verdicts about one message: who runs, what answers the rest, when it is enough."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.tool import ToolCall
from langgraph.types import Command, Send

from dyna_nodes.answers import REFUSED, answers, human_outcomes
from dyna_nodes.conversation import action_of, final_note, refusal, thought_of
from dyna_nodes.core import DynaCore, Run, transition_id
from dyna_nodes.effects import Plan
from dyna_nodes.events import CritiqueEvent
from dyna_nodes.guard import bound_digest
from dyna_nodes.histories import Known
from dyna_nodes.judging import Judgement
from dyna_nodes.nouns import Action, Decision, Simulation, Transition, Verdict
from dyna_nodes.observe import Exits, close_round, log
from dyna_nodes.state import Ending, Judged, Progress


class Places(NamedTuple):
    """Names of the nodes that critique leads to."""

    simulate: str
    critique: str
    act: str
    end: str


def bound(core: DynaCore, known: Known, verdict: Verdict, call: ToolCall) -> Verdict:
    """Return a verdict bound to a call, the tool behind it and the history."""
    digest = bound_digest(action_of(call), known.digest, core.identities.of(core.tools[call["name"]]))
    ttl = core.settings.verdict_ttl
    return verdict.model_copy(
        update={"digest": digest, "expires_at": None if ttl is None else time.time() + ttl}
    )


def judged_call(core: DynaCore, known: Known, call: ToolCall, judgement: Judgement) -> Judged:
    """Return what becomes of a call under the mode of the loop."""
    verdict, simulation = judgement
    mode, exists = core.settings.mode, call["name"] in core.tools
    approved = verdict.decision in (Decision.APPROVE, Decision.MODIFY)
    note: str | None = None
    if mode == "enforce" and verdict.action is not None:  # changed, or a human decides about the change
        call = changed(call, verdict.action)
        note = change_note(verdict, call)
    elif mode == "advise" and verdict.decision is not Decision.APPROVE:
        note = f"Advice of the critic {verdict.critic!r}: {verdict.hint or verdict.reason}"
    runs = exists and (approved or mode != "enforce")
    if runs:
        call = shown_to_policy(core, call)
    return {
        "call": call,
        "verdict": core.shelf.write(bound(core, known, verdict, call) if runs else verdict),
        "runs": runs,
        "answer": None if runs else answer_to(verdict),
        "note": note,
        "simulation": None if simulation is None else core.shelf.write(simulation),
        "human": "verdict" if mode == "enforce" and verdict.decision is Decision.ESCALATE else None,
        "reason": verdict.reason,
        "attempt": 1,
        "answered_by": None,
    }


def shown_to_policy(core: DynaCore, call: ToolCall) -> ToolCall:
    """Return a call without arguments that only the graph fills in; a policy may not forge them."""
    hidden = core.identities.injected(core.tools[call["name"]])
    if hidden.isdisjoint(call["args"]):
        return call
    return {**call, "args": {k: v for k, v in call["args"].items() if k not in hidden}}


def changed(call: ToolCall, action: Action) -> ToolCall:
    """Return ``call`` with another action under the same id."""
    return {**call, "name": action.tool, "args": dict(action.arguments)}


def change_note(verdict: Verdict, call: ToolCall) -> str:
    """Return what the result of a changed call says about the change."""
    why = f" ({verdict.reason})" if verdict.reason else ""
    return (
        f"Note: {verdict.critic or 'the critic'} changed this call before it ran{why}. "
        f"Executed instead: {action_of(call).text}"
    )


def answer_to(verdict: Verdict) -> str:
    """Return what answers a call that does not run."""
    return verdict.hint or f"{REFUSED} {verdict.reason}".rstrip()


class Round(NamedTuple):
    """One message of the policy on its way from verdicts to execution.

    Attributes:
        core: What the nodes share.
        places: Where it can go.
        state: The state before this visit.
        run: The run.
        known: The history before the calls.
        began: When the visit began, by the performance counter.
    """

    core: DynaCore
    places: Places
    state: Mapping[str, Any]
    run: Run
    known: Known
    began: float

    def route(
        self,
        message: AIMessage,
        verdicts: dict[str, Judged],
        rest: Sequence[ToolCall],
        *,
        new: Sequence[BaseMessage] = (),
        chosen: int = 0,
        others: Mapping[str, Verdict] | None = None,
    ) -> Plan[Command[Any]]:
        """Send approved calls to act, or answer what was refused.

        Args:
            message: The message that the calls stand in.
            verdicts: The calls that are decided now.
            rest: Calls of the message that come later, one after another.
            new: What enters the conversation with this visit.
            chosen: Index of the candidate.
            others: Verdicts of the calls of the other candidates, for the event.
        """
        progress: Progress = self.state["progress"].copy()
        update: dict[str, Any] = {
            "messages": list(new),
            "verdicts": verdicts,
            "progress": progress,
        }
        if rest or self.state.get("queue"):
            update["queue"] = list(rest)
        self._tell(verdicts, chosen, others=others)
        if any(_ends(j) for j in verdicts.values()) and self.core.settings.mode == "enforce":
            return (yield from self._end(message, verdicts, rest, update))
        if any(j["human"] for j in verdicts.values()):
            return Command(update=update, goto=self.places.critique)
        if self.core.record is not None:
            yield from self._record_refused(verdicts, message)
        outcomes = [*(self.state.get("outcomes") or []), *human_outcomes(verdicts)]
        finished = {o["call_id"] for o in outcomes}
        running = [j["call"] for i, j in verdicts.items() if j["runs"] and i not in finished]
        if running:
            progress["ran"] = True
            return Command(update=update, goto=[Send(self.places.act, {"call": c}) for c in running])
        if finished:
            after = {**self.state, **update, "messages": self.state["messages"]}
            where = Exits(self.places.simulate, self.places.critique, self.places.end)
            return (yield from close_round(self.core, after, self.run, where, self.began))
        if rest or progress["ran"] or any(j["answered_by"] == "respond" for j in verdicts.values()):
            update["messages"] += answers(verdicts)
            update["verdicts"] = {}
            return Command(update=update, goto=self.places.simulate)
        return self._rejected(verdicts, update, progress)

    def resample(
        self,
        candidates: Sequence[AIMessage],
        calls: Sequence[Sequence[ToolCall]],
        judgements: Sequence[Sequence[Judgement]],
        best: int,
    ) -> Plan[Command[Any]]:
        """Drop all candidates, which were rejected, and ask the policy for others without a word about it."""
        if self.core.record is not None:
            yield from self.record_imagined(candidates, calls, judgements, draw=self.state["messages"][-1].id)
        verdicts = [
            {str(call["id"]): judgement.verdict for call, judgement in zip(*pair, strict=True)}
            for pair in zip(calls, judgements, strict=True)
        ]
        others = {i: v for n, found in enumerate(verdicts) if n != best for i, v in found.items()}
        self._tell({}, best, verdicts[best], others, resampled=True)
        progress: Progress = self.state["progress"].copy()
        progress["resampled"] = self.state["messages"][-1].id
        update = {"candidates": [], "simulations": [], "verdicts": {}, "progress": progress}
        return Command(update=update, goto=self.places.simulate)

    def nothing_to_judge(self, messages: Sequence[BaseMessage], hint: str) -> Command[Any]:
        """Reject a response without a readable call."""
        progress: Progress = self.state["progress"].copy()
        verdict = Verdict(
            decision=Decision.REJECT, reason="no readable call and no answer", hint=hint, critic="settings"
        )
        self._tell({}, 0, {"": verdict})
        update = {
            "messages": list(messages),
            "candidates": [],
            "simulations": [],
            "verdicts": {},
            "progress": progress,
        }
        if progress["revisions"] < self.core.settings.max_revisions:
            progress["revisions"] += 1
            return Command(update=update, goto=self.places.simulate)
        return self._blocked(update, progress, hint)

    def _rejected(
        self, verdicts: dict[str, Judged], update: dict[str, Any], progress: Progress
    ) -> Command[Any]:
        """Handle a turn in which every call was rejected: one revision less."""
        settings = self.core.settings
        if progress["revisions"] < settings.max_revisions:
            progress["revisions"] += 1
            update["messages"] += answers(verdicts)
            update["verdicts"] = {}
            return Command(update=update, goto=self.places.simulate)
        reason = f"rejected, and {settings.max_revisions} revisions are used up"
        # What a human has rejected is not allowed after all, and no human is asked twice.
        open_ = {
            i: j
            for i, j in verdicts.items()
            if j["call"]["name"] in self.core.tools and j["answered_by"] != "human"
        }
        policy = "block" if len(open_) < len(verdicts) else settings.on_exhausted
        if policy == "allow":
            allowed = {i: self._allowed(j, reason) for i, j in open_.items()}
            update["verdicts"] = allowed
            progress["ran"] = True
            self._tell(allowed, 0)
            return Command(
                update=update, goto=[Send(self.places.act, {"call": j["call"]}) for j in allowed.values()]
            )
        if policy == "escalate":
            asking: dict[str, Judged] = {
                i: {**j, "human": "verdict", "reason": f"{reason}: {j['reason']}"} for i, j in open_.items()
            }
            update["verdicts"] = asking
            return Command(update=update, goto=self.places.critique)
        hints = "; ".join(sorted({j["reason"] or "no reason given" for j in verdicts.values()}))
        update["messages"] += [
            m.model_copy(update={"content": f"{REFUSED} {m.content}"})
            if not str(m.content).startswith(REFUSED)
            else m
            for m in answers(verdicts)
        ]
        return self._blocked(update, progress, hints)

    def _allowed(self, judged: Judged, reason: str) -> Judged:
        verdict = self.core.shelf.read(Verdict, judged["verdict"])
        allowed = verdict.model_copy(
            update={
                "decision": Decision.APPROVE,
                "action": None,
                "reason": f"allowed although {reason}: {verdict.reason}",
            }
        )
        return {
            **judged,
            "verdict": self.core.shelf.write(bound(self.core, self.known, allowed, judged["call"])),
            "runs": True,
            "answer": None,
            "reason": allowed.reason,
        }

    def _blocked(self, update: dict[str, Any], progress: Progress, why: str) -> Command[Any]:
        """Refuse a turn; end the run when that has happened too often."""
        limit = self.core.settings.max_blocks
        progress["revisions"] = 0
        progress["blocks"] += 1
        update["verdicts"] = {}
        if progress["blocks"] < limit:
            return Command(update=update, goto=self.places.simulate)
        return self._stop(update, "blocked", f"{limit} turns in a row were refused; the last one: {why}")

    def _end(
        self,
        message: AIMessage,
        verdicts: dict[str, Judged],
        rest: Sequence[ToolCall],
        update: dict[str, Any],
    ) -> Plan[Command[Any]]:
        """Obey an ``end`` verdict: every call is answered, then the run ends."""
        reason = next(j["reason"] for j in verdicts.values() if _ends(j)) or "the critic ended the run"
        text = f"{REFUSED} The run was ended: {reason}"
        calls = [*(j["call"] for j in verdicts.values()), *rest]
        update["messages"] += [refusal(str(c["id"]), c["name"], text) for c in calls]
        update |= {"verdicts": {}, "queue": []}
        if self.core.record is not None:
            yield from self._record_refused(verdicts, message)
        return self._stop(update, "end", reason)

    def _stop(self, update: dict[str, Any], kind: Ending, reason: str) -> Command[Any]:
        update["messages"].append(final_note(kind, reason))
        update["ended"] = {"kind": kind, "reason": reason}
        return Command(update=update, goto=self.places.end)

    def record_imagined(
        self,
        candidates: Sequence[AIMessage],
        calls: Sequence[Sequence[ToolCall]],
        judgements: Sequence[Sequence[Judgement]],
        *,
        besides: int | None = None,
        draw: str | None = "",
    ) -> Plan[None]:
        """Record what was imagined about the candidates, but for the one that was chosen.

        Those of a first ``draw`` never enter the conversation, so that others may have the same ids as their calls.
        """
        for index, candidate in enumerate(candidates):
            if index != besides:
                for call, judgement in zip(calls[index], judgements[index], strict=True):
                    judged = judged_call(self.core, self.known, call, judgement)
                    yield from self._record_imagined(call, judged, candidate, draw or "")

    def _record_refused(self, verdicts: Mapping[str, Judged], message: AIMessage) -> Plan[None]:
        """Record what was imagined about the calls that do not run."""
        for judged in verdicts.values():
            if not judged["runs"] and judged["attempt"] == 1:
                yield from self._record_imagined(judged["call"], judged, message)

    def _record_imagined(
        self, call: ToolCall, judged: Judged, message: AIMessage, draw: str = ""
    ) -> Plan[None]:
        """Record a proposal that did not run: never lost, and never mistaken for reality."""
        if judged["simulation"] is None:
            return
        progress: Progress = self.state["progress"]
        simulation = self.core.shelf.read(Simulation, judged["simulation"])
        origin = self.core.provenance_of(self.run).model_copy(update={"source": "imagination"})
        yield from log(
            self.core,
            Transition(
                id=transition_id(progress["trajectory"], f"{call['id']}{draw}", 0),
                trajectory=f"{progress['trajectory']}/imagined",
                index=progress["index"],
                task=self.known.history.task,
                history=self.known.digest,
                thought=thought_of(message),
                action=action_of(call),
                prediction=simulation.prediction,
                inner=simulation.inner,
                verdict=self.core.shelf.read(Verdict, judged["verdict"]),
                status="unknown",
                provenance=origin,
            ),
        )

    def _tell(
        self,
        judged: Mapping[str, Judged],
        chosen: int,
        verdicts: Mapping[str, Verdict] | None = None,
        others: Mapping[str, Verdict] | None = None,
        resampled: bool = False,
    ) -> None:
        progress: Progress = self.state["progress"]
        found = {i: j["verdict"] for i, j in judged.items()}
        self.run.tell(
            lambda: CritiqueEvent.made(
                session=self.run.session(progress["trajectory"]),
                trajectory=progress["trajectory"],
                index=progress["index"],
                chosen=chosen,
                verdicts={i: self.core.shelf.read(Verdict, v) for i, v in found.items()}
                | dict(verdicts or {}),
                others=others or {},
                runs=tuple(i for i, j in judged.items() if j["runs"]),
                escalated=tuple(i for i, j in judged.items() if j["human"]),
                resampled=resampled,
                seconds=time.perf_counter() - self.began,
            )
        )


def _ends(judged: Judged) -> bool:
    return judged["verdict"].get("decision") == Decision.END
