"""observe: reality answers; the prediction is scored, the transition recorded, the loop goes on or ends."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.messages.tool import ToolCall
from langgraph.types import Command, Overwrite

from dyna_nodes.answers import answer, human_outcomes, with_note
from dyna_nodes.comparing import compared
from dyna_nodes.conversation import action_of, final_note, last_ai, refusal, text_of, thought_of
from dyna_nodes.core import DynaCore, DynaNode, Run, transition_id
from dyna_nodes.effects import Effect, Plan, blocking
from dyna_nodes.events import ObserveEvent
from dyna_nodes.histories import Known
from dyna_nodes.nouns import TRUNCATED, Simulation, Step, Transition, Verdict
from dyna_nodes.state import Ended, Judged, Outcome, Progress
from dyna_nodes.surprise import with_surprise
from dyna_nodes.trust import Tally, merge, tally

FOREIGN = "intent:"
"""Begins the key of an intent that is not a call of the current message."""
UNFINISHED = ("unknown", "repeated", "deferred")
EXECUTED = ("ok", "error", "imagined")


class Exits(NamedTuple):
    """Names of the nodes that observe leads to."""

    simulate: str
    critique: str
    end: str


class ObserveNode(DynaNode):
    """The node ``observe``.

    Args:
        core: What the nodes share.
        simulate: Where the loop goes on.
        critique: Where a call goes whose outcome is not known, so that a human is asked.
        end: Where a run ends.

    Answers the calls in ``messages``, in their order, and writes ``history``, ``reliability`` and ``ended``.
    """

    default_name = "observe"

    def __init__(
        self, core: DynaCore, *, simulate: str = "simulate", critique: str = "critique", end: str = "__end__"
    ) -> None:
        super().__init__(core)
        self.exits = Exits(simulate, critique, end)

    def plan(self, state: Any, run: Run) -> Plan[Command[Any]]:
        """Take in what happened."""
        began = time.perf_counter()
        outcomes: list[Outcome] = state.get("outcomes") or []
        if self.core.durable and any(o["status"] in UNFINISHED for o in outcomes):
            recovery = yield from self._recover(state, run, outcomes)
            if recovery is not None:
                return recovery
        return (yield from close_round(self.core, state, run, self.exits, began))

    def _recover(
        self, state: Mapping[str, Any], run: Run, outcomes: Sequence[Outcome]
    ) -> Plan[Command[Any] | None]:
        """Leave what is not known to a human, and keep what is; None when there is nothing left to ask."""
        verdicts: dict[str, Judged] = dict(state["verdicts"])
        for outcome in outcomes:
            judged = verdicts.get(outcome["call_id"])
            if judged is not None and outcome["status"] in ("unknown", "repeated"):
                verdicts[outcome["call_id"]] = {
                    **judged,
                    "human": "recover",
                    "reason": outcome["detail"],
                    "attempt": outcome["attempt"] + 1,
                }
        journal = yield from self.core.journal()
        intents = [] if journal is None else (yield blocking(lambda: journal.open(run.thread, run.ns)))
        for intent in intents:
            if intent.call_id not in verdicts:
                verdicts[FOREIGN + intent.call_id] = foreign(intent)
        if not any(judged["human"] for judged in verdicts.values()):
            return None
        kept = [o for o in outcomes if o["status"] not in UNFINISHED]
        transitions = yield from transitions_of(self.core, state, run, kept)
        for transition in transitions:
            yield from log(self.core, transition)
        finished: list[Outcome] = [{**o, "recorded": True} for o in kept]
        update = {"verdicts": verdicts, "outcomes": Overwrite(finished), "reliability": _tallies(transitions)}
        return Command(update=update, goto=self.exits.critique)


def foreign(intent: Any) -> Judged:
    """Return what a human is asked about an intent of an earlier run that has no outcome."""
    action = intent.action
    what = "an earlier run started this call, and how it ended is not known"
    if intent.status == "done":
        what = "an earlier run has done this call, and the conversation does not know it"
    call = ToolCall(name=action.tool, args=dict(action.arguments), id=intent.call_id, type="tool_call")
    return {
        "call": call,
        "verdict": {"decision": "escalate"},
        "runs": False,
        "answer": None,
        "note": None,
        "simulation": None,
        "human": "recover",
        "reason": f"{what}; may the agent go on?",
        "attempt": intent.attempt,
        "answered_by": None,
    }


def close_round(
    core: DynaCore,
    state: Mapping[str, Any],
    run: Run,
    exits: Exits,
    began: float,
    recorded: Sequence[Transition] = (),
) -> Plan[Command[Any]]:
    """Answer the calls of a round in their order, record what happened, and decide whether to go on.

    Args:
        core: What the nodes share.
        state: The state after the calls.
        run: The run.
        exits: Where it can go.
        began: When observing began, by the performance counter.
        recorded: Transitions of the round that are in the experience log already; their outcomes say so.
    """
    verdicts: dict[str, Judged] = state["verdicts"]
    found: list[Outcome] = [*(state.get("outcomes") or []), *human_outcomes(verdicts)]
    outcomes = {o["call_id"]: o for o in found}
    known = core.known(state, run)
    new: list[BaseMessage] = []
    steps: list[Step] = []
    done, direct = False, True
    for call_id, judged in verdicts.items():
        outcome = outcomes.get(call_id)
        if outcome is None:
            new.append(answer(call_id, judged))
            continue
        new.extend(_noted(m, call_id, judged["note"]) for m in outcome["messages"])
        message = _answer_of(outcome)
        if message is None or outcome["status"] not in (*EXECUTED, "unknown"):
            continue
        if outcome["status"] in EXECUTED:
            steps.append(Step(action=action_of(judged["call"]), observation=text_of(message)))
        done = done or reward_and_end(message)[1] is True
        tool = core.tools.get(judged["call"]["name"])
        direct = direct and tool is not None and tool.return_direct
    unrecorded = yield from transitions_of(core, state, run, list(outcomes.values()))
    for transition in unrecorded:
        yield from log(core, transition)
    transitions = [*recorded, *unrecorded]
    journal = yield from core.journal()
    if journal is not None and outcomes:
        yield blocking(lambda: journal.observe(run.thread, run.ns, outcomes))
    acted = any(o["status"] in (*EXECUTED, "unknown", "answered") for o in outcomes.values())
    queue: list[ToolCall] = state.get("queue") or []
    before: Progress = state["progress"]
    progress: Progress = {**before, "index": before["index"] + len(steps), "done": done}
    if acted:
        progress |= {"steps": before["steps"] + (0 if queue else 1), "revisions": 0, "blocks": 0}
    else:
        progress["blocks"] += 1
    if done and queue:
        new += [refusal(str(c["id"]), c["name"], "Not run: the episode has ended.") for c in queue]
    ended = _ending(core, progress, done, direct and bool(steps), bool(queue))
    if ended is not None and ended["kind"] in ("max_steps", "blocked"):
        new.append(final_note(ended["kind"], ended["reason"]))
    extended = core.histories.extend(run.session(progress["trajectory"]), known, steps) if steps else known
    _tell(run, progress, before, transitions, ended)
    update: dict[str, Any] = {"messages": new, "progress": progress, "outcomes": Overwrite([])}
    if steps:
        update["history"] = extended.source
    else:  # the history is what it was, so old verdicts would still count
        update["verdicts"] = {}
    if queue and ended:
        update["queue"] = []
    if reliability := _tallies(transitions):
        update["reliability"] = reliability
    if ended:
        update["ended"] = ended
    return Command(update=update, goto=exits.end if ended else exits.simulate)


def _ending(core: DynaCore, progress: Progress, done: bool, direct: bool, more: bool) -> Ended | None:
    if done:
        return {"kind": "done", "reason": "the environment's episode has ended"}
    if more:
        return None
    if direct:
        return {"kind": "return_direct", "reason": "the result of the tool is the answer"}
    if progress["blocks"] >= core.settings.max_blocks:
        return {
            "kind": "blocked",
            "reason": f"{progress['blocks']} turns in a row were refused when they should run",
        }
    limit = core.settings.max_steps
    if progress["steps"] >= limit:
        return {"kind": "max_steps", "reason": f"the limit of {limit} steps is reached"}
    return None


def reward_and_end(message: ToolMessage) -> tuple[float | None, bool | None]:
    """Return reward and end flag that a tool reports in its artifact, ``{"reward": …, "done": …}``."""
    artifact = message.artifact
    if not isinstance(artifact, Mapping):
        return None, None
    reward, done = artifact.get("reward"), artifact.get("done")
    return (
        float(reward) if isinstance(reward, int | float) else None,
        bool(done) if isinstance(done, bool | int) else None,
    )


def labels_of(message: BaseMessage) -> dict[str, float]:
    """Return the labels of a call whose tool reports that the episode was cut off, ``{"truncated": True}``."""
    artifact = getattr(message, "artifact", None)
    cut_off = isinstance(artifact, Mapping) and artifact.get("truncated") is True
    return {TRUNCATED: 1.0} if cut_off else {}


def transitions_of(
    core: DynaCore, state: Mapping[str, Any], run: Run, outcomes: Sequence[Outcome]
) -> Plan[list[Transition]]:
    """Return the transitions of the executed calls that are not recorded yet, scored."""
    known, progress = core.known(state, run), state["progress"]
    verdicts: dict[str, Judged] = state["verdicts"]
    thought = thought_of(last_ai(state["messages"]))
    ids = list(verdicts)
    result: list[Transition] = []
    executed = sorted(
        (o for o in outcomes if o["call_id"] in verdicts), key=lambda o: ids.index(o["call_id"])
    )
    ran = [o for o in executed if o["status"] in _STATUS]
    for place, outcome in enumerate(ran):
        if not outcome["recorded"]:
            judged = verdicts[outcome["call_id"]]
            result.append(_transition(core, run, known, progress, place, thought, judged, outcome))
    try:
        return (yield from with_surprise(core, known, result, run))
    except GeneratorExit:
        raise
    except BaseException:
        # The question can be interrupted; what has happened is recorded all the same, without the score.
        for transition in result:
            yield from log(core, transition)
        raise


_STATUS: dict[str, Literal["ok", "error", "unknown"]] = {
    "ok": "ok",
    "error": "error",
    "unknown": "unknown",
    "imagined": "ok",
}


def _transition(
    core: DynaCore,
    run: Run,
    known: Known,
    progress: Progress,
    place: int,
    thought: str,
    judged: Judged,
    outcome: Outcome,
) -> Transition:
    message = _answer_of(outcome)
    status = _STATUS[outcome["status"]]
    seen = message is not None and status != "unknown"
    observation = text_of(message) if message is not None and seen else ""
    reward, done = reward_and_end(message) if message is not None and seen else (None, None)
    provenance = core.provenance_of(run)
    if outcome["status"] == "imagined":
        provenance = provenance.model_copy(update={"source": "imagination"})
    simulation: Simulation | None = None
    scores: dict[str, float] = {}
    labels = labels_of(message) if message is not None and seen else {}
    if judged["simulation"] is not None and (core.world_model is not None or core.inner_simulation):
        simulation = core.shelf.read(Simulation, judged["simulation"])
        if outcome["status"] != "imagined":
            ended = done and not labels.get(TRUNCATED)
            scores, more = compared(core, simulation, observation, reward, ended, status)
            labels |= more
    return Transition(
        id=transition_id(progress["trajectory"], outcome["call_id"], outcome["attempt"]),
        trajectory=progress["trajectory"],
        index=progress["index"] + place,
        task=known.history.task,
        history=known.digest,
        thought=thought,
        action=action_of(judged["call"]),
        prediction=None if simulation is None or core.world_model is None else simulation.prediction,
        inner=None if simulation is None else simulation.inner,
        verdict=core.shelf.read(Verdict, judged["verdict"]),
        observation=observation,
        reward=reward,
        done=done,
        status=status,
        scores=scores,
        labels=labels,
        provenance=provenance,
    )


def log(core: DynaCore, transition: Transition) -> Plan[None]:
    """Append a transition to the experience log, where there is one."""
    record = core.record
    if record is not None:
        yield Effect(lambda: record.append(transition), lambda: record.aappend(transition))


def _tallies(transitions: Sequence[Transition]) -> Tally:
    total: Tally = {}
    for transition in transitions:
        total = merge(total, tally(transition))
    return total


def _answer_of(outcome: Outcome) -> ToolMessage | None:
    """Return the message that answers the call itself."""
    for message in outcome["messages"]:
        if isinstance(message, ToolMessage) and message.tool_call_id == outcome["call_id"]:
            return message
    return None


def _noted(message: BaseMessage, call_id: str, note: str | None) -> BaseMessage:
    if isinstance(message, ToolMessage) and message.tool_call_id == call_id:
        return with_note(message, note)
    return message


def _tell(
    run: Run, progress: Progress, before: Progress, transitions: Sequence[Transition], ended: Ended | None
) -> None:
    run.tell(
        lambda: ObserveEvent.made(
            session=run.session(progress["trajectory"]),
            trajectory=progress["trajectory"],
            index=before["index"],
            transitions=tuple(transitions),
            ended=ended["kind"] if ended else None,
        )
    )
