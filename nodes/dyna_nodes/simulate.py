"""simulate: the policy proposes, the world model imagines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.tool import ToolCall
from langgraph.types import Command, Overwrite

from dyna_nodes.conversation import (
    Candidate,
    action_of,
    answered,
    ids_in,
    last_ai,
    text_of,
    thought_of,
    well_formed,
)
from dyna_nodes.core import DynaCore, DynaNode, Run, Turn
from dyna_nodes.critics.value import imagined_return
from dyna_nodes.effects import Plan
from dyna_nodes.events import Proposal, SimulateEvent
from dyna_nodes.imagination import inner_of, predict, told_thinking
from dyna_nodes.lookahead import look_ahead
from dyna_nodes.nouns import ImaginedStep, Query, Simulation
from dyna_nodes.policy import log_probability, unseen
from dyna_nodes.state import Ended, Progress, resampling, settled


class SimulateNode(DynaNode):
    """The node ``simulate``.

    Args:
        core: What the nodes share.
        then: Where proposed calls go.
        end: Where a final answer goes.

    Writes ``candidates`` and ``simulations``; a final answer goes straight into ``messages``.
    """

    default_name = "simulate"

    def __init__(self, core: DynaCore, *, then: str = "critique", end: str = "__end__") -> None:
        super().__init__(core)
        self.then, self.end = then, end

    def plan(self, state: Any, run: Run) -> Plan[Command[Any]]:
        """Propose and imagine."""
        began = time.perf_counter()
        core, turn = self.core, self.core.turn(state, run)
        progress: Progress = {**turn.progress, "spent": dict(turn.progress["spent"])}
        turn = turn._replace(progress=progress)
        queue: list[ToolCall] = [] if turn.begins else state.get("queue") or []
        update: dict[str, Any] = {}
        if turn.begins:
            update |= {
                "history": turn.known.source,
                "outcomes": Overwrite([]),
                "verdicts": {},
                "queue": [],
                "ended": None,
            }
        messages: list[BaseMessage] = state["messages"]
        if queue:
            candidates = [Candidate(last_ai(messages), "calls")]
        else:
            candidates = yield from propose(core, turn, messages, run)
            progress["ran"] = False
        first = candidates[0]
        if first.kind == "answer":
            ended: Ended = {"kind": "answer", "reason": "the policy gave its final answer"}
            update |= {"messages": [first.message], "progress": settled(progress), "ended": ended}
            run.tell(lambda: _event(run, progress, [], [], began, answer=text_of(first.message)))
            return Command(update=update, goto=self.end)
        simulations = yield from imagine(core, turn, candidates, messages, queue[:1], run)
        if progress != state.get("progress"):
            update["progress"] = progress
        update |= {
            "candidates": [{"message": c.message} for c in candidates],
            "simulations": [core.shelf.write(s) for s in simulations],
        }
        run.tell(lambda: _event(run, progress, candidates, simulations, began))
        return Command(update=update, goto=self.then)


def propose(core: DynaCore, turn: Turn, messages: Sequence[BaseMessage], run: Run) -> Plan[list[Candidate]]:
    """Ask the policy for candidates.

    Where all of an earlier draw were rejected, so many are drawn as ``resample`` says.
    If the first is a final answer it is the only one; otherwise answers are dropped, and so are responses
    without a readable call where there are others.
    """
    prompt = answered(messages) if turn.progress["gaps"] else messages
    settings, again = core.settings, resampling(turn.progress, messages)
    count = settings.resample if again else settings.candidates
    # A response that may yet be dropped does not stream, even if it is the only one.
    config = unseen(run.config) if settings.resamples else run.config
    replies: list[AIMessage] = yield core.policy.propose(prompt, count, config, again=again)
    taken = ids_in(messages)
    candidates = [well_formed(reply, taken) for reply in replies]
    if not candidates:
        return [well_formed(AIMessage(""), taken)]
    if candidates[0].kind == "answer":
        return candidates[:1]
    return [c for c in candidates if c.kind == "calls"] or [c for c in candidates if c.kind != "answer"][:1]


def imagine(
    core: DynaCore,
    turn: Turn,
    candidates: Sequence[Candidate],
    messages: Sequence[BaseMessage],
    only: Sequence[ToolCall],
    run: Run,
) -> Plan[list[Simulation]]:
    """Imagine the calls of all candidates, one batch of queries per depth.

    Args:
        core: What the nodes share.
        turn: Where the loop stands; what is imagined is counted in its ``spent``.
        candidates: The candidates.
        messages: The conversation so far.
        only: The calls to imagine; all when empty.
        run: The run.

    Returns:
        One simulation per call that is to be judged: known tools that are not opted out.
    """
    history, session = turn.known.history, run.session(turn.progress["trajectory"])
    targets: list[tuple[int, ToolCall, Query]] = []
    for index, candidate in enumerate(candidates):
        calls = list(only) or calls_to_judge(core, candidate.message)
        actions = [action_of(c) for c in calls]
        thinking = told_thinking(core, candidate.message)
        for place, call in enumerate(calls):
            if call["name"] in core.tools and core.tool_settings(call["name"]).simulate:
                siblings = (*actions[:place], *actions[place + 1 :])
                query = Query(
                    history=history,
                    action=actions[place],
                    session=session,
                    siblings=siblings,
                    thinking=thinking,
                )
                targets.append((index, call, query))
    predictions = yield from predict(core, [query for _, _, query in targets], run, turn.progress)
    own = [
        ImaginedStep(action=q.action, prediction=p) for (_, _, q), p in zip(targets, predictions, strict=True)
    ]
    futures: dict[int, list[ImaginedStep]] = {}
    if core.settings.horizon > 1 and core.world_model is not None and not only:
        futures = yield from look_ahead(core, turn, candidates, messages, targets, own, run)
    simulations = []
    for (index, call, _), step in zip(targets, own, strict=True):
        steps = (step, *futures.get(index, ()))
        simulations.append(
            Simulation(
                candidate=index,
                call_id=str(call["id"]),
                steps=steps,
                value=imagined_return(steps, core.settings.discount),
                log_probability=log_probability(candidates[index].message),
                inner=inner_of(core, candidates[index].message, step.action),
            )
        )
    return simulations


def calls_to_judge(core: DynaCore, message: AIMessage) -> list[ToolCall]:
    """Return the calls that are judged at once: all, or the first where they run one after another."""
    calls = message.tool_calls
    if len(calls) > 1 and any(core.tool_settings(c["name"]).sequential for c in calls):
        return calls[:1]
    return calls


def _event(
    run: Run,
    progress: Progress,
    candidates: Sequence[Candidate],
    simulations: Sequence[Simulation],
    began: float,
    answer: str | None = None,
) -> SimulateEvent:
    return SimulateEvent.made(
        session=run.session(progress["trajectory"]),
        trajectory=progress["trajectory"],
        index=progress["index"],
        candidates=tuple(
            Proposal(
                thought=thought_of(c.message),
                calls={str(t["id"]): action_of(t) for t in c.message.tool_calls},
            )
            for c in candidates
        ),
        simulations=tuple(simulations),
        answer=answer,
        seconds=time.perf_counter() - began,
    )
