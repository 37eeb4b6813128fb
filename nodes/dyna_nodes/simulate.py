"""simulate: the policy proposes, the world model imagines."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.tool import ToolCall
from langgraph.errors import GraphBubbleUp
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
from dyna_nodes.effects import Effect, Plan, within
from dyna_nodes.events import Proposal, SimulateEvent
from dyna_nodes.nouns import History, ImaginedStep, Prediction, Query, Simulation
from dyna_nodes.policy import behind_the_scenes, log_probability
from dyna_nodes.state import Ended, Progress

logger = logging.getLogger("dyna_nodes")


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
            update |= {"messages": [first.message], "progress": progress, "ended": ended}
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

    If the first is a final answer it is the only one; otherwise answers are dropped, and so are responses
    without a readable call where there are others.
    """
    prompt = answered(messages) if turn.progress["gaps"] else messages
    replies: list[AIMessage] = yield core.policy.propose(prompt, core.settings.candidates, run.config)
    taken = ids_in(messages)
    candidates = [well_formed(reply, taken) for reply in replies]
    if not candidates:
        return [well_formed(AIMessage(""), taken)]
    if candidates[0].kind == "answer":
        return candidates[:1]
    return [c for c in candidates if c.kind == "calls"] or [c for c in candidates if c.kind != "answer"][:1]


class Path(NamedTuple):
    """The imagined future of one candidate: the conversation and history that lead to its next action."""

    candidate: int
    messages: list[BaseMessage]
    history: History
    imagined: int


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
        for place, call in enumerate(calls):
            if call["name"] in core.tools and core.tool_settings(call["name"]).simulate:
                siblings = (*actions[:place], *actions[place + 1 :])
                targets.append(
                    (
                        index,
                        call,
                        Query(history=history, action=actions[place], session=session, siblings=siblings),
                    )
                )
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
            )
        )
    return simulations


def calls_to_judge(core: DynaCore, message: AIMessage) -> list[ToolCall]:
    """Return the calls that are judged at once: all, or the first where they run one after another."""
    calls = message.tool_calls
    if len(calls) > 1 and any(core.tool_settings(c["name"]).sequential for c in calls):
        return calls[:1]
    return calls


def look_ahead(
    core: DynaCore,
    turn: Turn,
    candidates: Sequence[Candidate],
    messages: Sequence[BaseMessage],
    targets: Sequence[tuple[int, ToolCall, Query]],
    own: Sequence[ImaginedStep],
    run: Run,
) -> Plan[dict[int, list[ImaginedStep]]]:
    """Let the policy go on in the imagined world, ``horizon`` − 1 actions deep, and imagine those too.

    Returns:
        Further imagined steps by candidate. A future ends where the world model fails, where the episode is
        imagined to end, or where the policy proposes no call of a known tool.
    """
    paths = [p for i, c in enumerate(candidates) if (p := _first_path(turn, i, c, messages, targets, own))]
    futures: dict[int, list[ImaginedStep]] = {}
    session = run.session(turn.progress["trajectory"])
    for _ in range(core.settings.horizon - 1):
        if not paths:
            break
        try:
            replies: list[AIMessage] = yield core.policy.go_on(
                [answered(p.messages) for p in paths], run.config
            )
        except GraphBubbleUp:
            raise
        except (
            Exception
        ) as error:  # the policy may fail on imagined text; what was imagined so far still counts
            logger.warning("the policy failed while looking ahead, so the horizon is cut short: %r", error)
            break
        steps: list[tuple[Path, AIMessage, ToolCall, Query]] = []
        for path, reply in zip(paths, replies, strict=True):
            message = well_formed(reply, ids_in(path.messages)).message
            known = [c for c in message.tool_calls if c["name"] in core.tools][:1]
            for call in known:
                query = Query(
                    history=path.history, action=action_of(call), session=session, imagined=path.imagined
                )
                steps.append((path, message.model_copy(update={"tool_calls": known}), call, query))
        predictions = yield from predict(core, [query for *_, query in steps], run, turn.progress)
        paths = []
        for (path, message, call, query), prediction in zip(steps, predictions, strict=True):
            futures.setdefault(path.candidate, []).append(
                ImaginedStep(action=query.action, prediction=prediction)
            )
            if _goes_on(prediction):
                paths.append(
                    Path(
                        path.candidate,
                        [*path.messages, message, _imagined_answer(call, prediction)],
                        path.history.then(query.action, prediction.observation or ""),
                        path.imagined + 1,
                    )
                )
    return futures


def _first_path(
    turn: Turn,
    index: int,
    candidate: Candidate,
    messages: Sequence[BaseMessage],
    targets: Sequence[tuple[int, ToolCall, Query]],
    own: Sequence[ImaginedStep],
) -> Path | None:
    mine = [(call, step) for (i, call, _), step in zip(targets, own, strict=True) if i == index]
    if len(mine) < len(candidate.message.tool_calls) or not all(_goes_on(s.prediction) for _, s in mine):
        return None
    history = turn.known.history
    for _, step in mine:
        history = history.then(step.action, step.prediction.observation or "")
    answers = [_imagined_answer(call, step.prediction) for call, step in mine]
    return Path(index, [*messages, candidate.message, *answers], history, len(mine))


def _goes_on(prediction: Prediction) -> bool:
    return prediction.error is None and not prediction.done and not prediction.success


def _imagined_answer(call: ToolCall, prediction: Prediction) -> ToolMessage:
    return ToolMessage(prediction.observation or "", tool_call_id=str(call["id"]), name=call["name"])


def predict(
    core: DynaCore, queries: Sequence[Query], run: Run, progress: Progress | None = None
) -> Plan[list[Prediction]]:
    """Ask the world model, all queries at once; whatever goes wrong becomes the ``error`` of a prediction.

    Equal queries are asked once. Queries beyond a tool's budget are not asked.
    """
    model = core.world_model
    if model is None or not queries:
        return [Prediction() for _ in queries]
    keys = [_key(q) for q in queries] if len(queries) > 1 else [""]
    answers: dict[Any, Prediction] = {}
    asked: dict[Any, Query] = {}
    for key, query in zip(keys, queries, strict=True):
        if key in asked or key in answers:
            continue
        error = _over_budget(core, query.action.tool, progress)
        if error is None:
            asked[key] = query
        else:
            answers[key] = Prediction(model=model.name, error=error)
    if asked:
        found = yield from _ask(core, list(asked.values()), run)
        answers |= dict(zip(asked, found, strict=True))
    return [answers[key] for key in keys]


def _key(query: Query) -> tuple[Any, ...]:
    return (id(query.history), query.action.text, tuple(a.text for a in query.siblings))


def _over_budget(core: DynaCore, tool: str, progress: Progress | None) -> str | None:
    budget = core.tool_settings(tool).budget
    if budget is None or progress is None:
        return None
    spent = progress["spent"].get(tool, 0)
    if spent >= budget:
        return f"the simulation budget of {tool!r} is used up ({budget} per trajectory)"
    progress["spent"][tool] = spent + 1
    return None


def _ask(core: DynaCore, queries: list[Query], run: Run) -> Plan[list[Prediction]]:
    model = core.world_model
    assert model is not None
    name = str(getattr(model, "name", type(model).__name__))

    def run_it() -> Any:
        with behind_the_scenes(run.config):
            return model.predict(queries)

    async def arun_it() -> Any:
        with behind_the_scenes(run.config):
            return await model.apredict(queries)

    try:
        answers: Any = yield within(Effect(run_it, arun_it), core.settings.world_model_timeout)
    except GraphBubbleUp:
        raise
    except Exception as error:  # any failure of a world model is reported in its predictions
        return [Prediction(model=name, error=f"the world model failed: {describe(error)}") for _ in queries]
    if not isinstance(answers, list | tuple) or len(answers) != len(queries):
        got = f"{len(answers)} answers" if isinstance(answers, list | tuple) else type(answers).__name__
        error_text = f"the world model answered {len(queries)} queries with {got}"
        return [Prediction(model=name, error=error_text) for _ in queries]
    return [
        a
        if isinstance(a, Prediction)
        else Prediction(model=name, error=f"expected a Prediction, got {type(a).__name__}")
        for a in answers
    ]


def describe(error: BaseException) -> str:
    """Return an error as one line: its type and what it says."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


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
