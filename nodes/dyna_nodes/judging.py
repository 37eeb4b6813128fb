"""Verdicts: asking the critic, what the settings decide by themselves, and which candidate is the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage
from langgraph.errors import GraphBubbleUp

from dyna_nodes.core import DynaCore, Run
from dyna_nodes.critics.base import failure
from dyna_nodes.critics.value import imagined_return
from dyna_nodes.effects import Effect, Plan, within
from dyna_nodes.imagination import describe, inner_of, predict, told_thinking
from dyna_nodes.nouns import Decision, History, ImaginedStep, Query, Simulation, Verdict
from dyna_nodes.policies import settled
from dyna_nodes.policy import behind_the_scenes
from dyna_nodes.trust import Tally, measured

RANK = {
    Decision.APPROVE: 1.0,
    Decision.MODIFY: 1.0,
    Decision.ESCALATE: 0.5,
    Decision.REJECT: 0.0,
    Decision.END: 0.0,
}


class Bench(NamedTuple):
    """What verdicts are given on.

    Attributes:
        core: What the nodes share.
        history: The history before the calls.
        reliability: Running reliability of the world model.
        run: The run.
        session: Handle of the session.
        candidates: The messages that the calls stand in.
    """

    core: DynaCore
    history: History
    reliability: Tally | None
    run: Run
    session: str
    candidates: Sequence[AIMessage]


class Judgement(NamedTuple):
    """A verdict and the simulation it is about; for ``modify``, that of the changed call."""

    verdict: Verdict
    simulation: Simulation | None


def judge(bench: Bench, simulations: Sequence[Simulation]) -> Plan[list[Judgement]]:
    """Give one verdict per simulation.

    A ``modify`` verdict stands when the changed call, imagined and judged in its turn, is approved.
    """
    verdicts = yield from _ask(bench, simulations)
    judgements = [Judgement(v, s) for v, s in zip(verdicts, simulations, strict=True)]
    places = [i for i, v in enumerate(verdicts) if v.decision is Decision.MODIFY]
    if not places:
        return judgements
    messages = [bench.candidates[simulations[i].candidate] for i in places]
    queries = [
        Query(
            history=bench.history,
            action=action,
            session=bench.session,
            thinking=told_thinking(bench.core, message),
        )
        for i, message in zip(places, messages, strict=True)
        if (action := verdicts[i].action) is not None
    ]
    predictions = yield from predict(bench.core, queries, bench.run)
    changed: list[Simulation] = []
    for i, message, query, prediction in zip(places, messages, queries, predictions, strict=True):
        steps = (ImaginedStep(action=query.action, prediction=prediction),)
        value = imagined_return(steps, bench.core.settings.discount)
        inner = inner_of(bench.core, message, query.action)
        changed.append(simulations[i].model_copy(update={"steps": steps, "value": value, "inner": inner}))
    second = yield from _ask(bench, changed)
    for i, verdict, simulation in zip(places, second, changed, strict=True):
        judgements[i] = Judgement(_combined(verdicts[i], verdict), simulation)
    return judgements


def approved_without_question(reason: str) -> Verdict:
    """Return the verdict of calls that the settings exempt."""
    return Verdict(decision=Decision.APPROVE, reason=reason, critic="settings")


def unknown_tool(core: DynaCore, name: str) -> Verdict:
    """Return the verdict about a call of a tool that does not exist."""
    known = ", ".join(core.tools) or "none"
    hint = f"There is no tool {name!r}. The tools are: {known}."
    return Verdict(decision=Decision.REJECT, reason=f"unknown tool {name!r}", hint=hint, critic="settings")


def best(judgements: Sequence[Sequence[Judgement]]) -> int:
    """Return the index of the best candidate.

    The one whose calls may run, then the one with the highest mean score (the verdict's, else the imagined
    value), then the first.
    """

    def worth(candidate: Sequence[Judgement]) -> tuple[float, float]:
        if not candidate:
            return -1.0, 0.0
        ranks = [RANK[j.verdict.decision] for j in candidate]
        scores = [s for j in candidate if (s := _score(j)) is not None]
        return sum(ranks) / len(ranks), sum(scores) / len(scores) if scores else float("-inf")

    return max(range(len(judgements)), key=lambda i: (*worth(judgements[i]), -i))


def _score(judgement: Judgement) -> float | None:
    if judgement.verdict.score is not None:
        return judgement.verdict.score
    return judgement.simulation.value if judgement.simulation is not None else None


def _combined(first: Verdict, second: Verdict) -> Verdict:
    """Return the final verdict about a call, given the critic's change and its verdict about that."""
    if second.decision is Decision.APPROVE:
        reason = "; ".join(r for r in (first.reason, second.reason) if r)
        return first.model_copy(update={"reason": reason, "score": second.score, "failed": second.failed})
    if second.decision is Decision.MODIFY:
        reason = "; ".join(r for r in (first.reason, "the changed call would be changed again") if r)
        hint = first.hint or first.reason
        return Verdict(
            decision=Decision.REJECT, reason=reason, hint=hint, critic=first.critic, score=second.score
        )
    if second.decision is Decision.ESCALATE:  # a human decides about the changed call, whose outcome is shown
        return second.model_copy(update={"action": first.action})
    return second


def _ask(bench: Bench, simulations: Sequence[Simulation]) -> Plan[list[Verdict]]:
    """Ask the critic once; whatever goes wrong is decided by the failure policy."""
    if not simulations:
        return []
    critic = bench.core.critic
    if critic is None:
        return [
            settled(
                bench.core, Verdict(decision=Decision.APPROVE, reason="there is no critic", score=s.value), s
            )
            for s in simulations
        ]
    name = str(getattr(critic, "name", type(critic).__name__))

    def run_it() -> Any:
        with behind_the_scenes(bench.run.config), measured(bench.reliability):
            return critic.judge(bench.history, simulations)

    async def arun_it() -> Any:
        with behind_the_scenes(bench.run.config), measured(bench.reliability):
            return await critic.ajudge(bench.history, simulations)

    try:
        verdicts: Any = yield within(Effect(run_it, arun_it), bench.core.settings.critic_timeout)
    except GraphBubbleUp:
        raise
    except Exception as error:  # any failure of a critic is reported in its verdicts
        verdicts = [failure(name, f"the critic failed: {describe(error)}")] * len(simulations)
    if not isinstance(verdicts, list | tuple) or len(verdicts) != len(simulations):
        got = f"{len(verdicts)} verdicts" if isinstance(verdicts, list | tuple) else type(verdicts).__name__
        reason = f"the critic answered {len(simulations)} simulations with {got}"
        verdicts = [failure(name, reason)] * len(simulations)
    return [
        settled(bench.core, _sensible(bench.core, verdict, name), simulation)
        for verdict, simulation in zip(verdicts, simulations, strict=True)
    ]


def _sensible(core: DynaCore, verdict: Verdict | object, name: str) -> Verdict:
    if not isinstance(verdict, Verdict):
        return failure(name, f"expected a Verdict, got {type(verdict).__name__}")
    if verdict.decision is Decision.MODIFY:
        if verdict.action is None:
            return failure(name, "a modify verdict names no action")
        if verdict.action.tool not in core.tools:
            return failure(name, f"a modify verdict names the unknown tool {verdict.action.tool!r}")
    elif verdict.action is not None:
        verdict = verdict.model_copy(update={"action": None})
    return verdict if verdict.critic else verdict.model_copy(update={"critic": name})
