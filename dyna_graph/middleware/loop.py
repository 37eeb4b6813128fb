"""The loop inside of somebody else's agent: the same nodes, driven from the hooks of a middleware.

======================  ==============================================================================================
hook                    what happens
======================  ==============================================================================================
``wrap_model_call``     simulate and critique: the agent's model proposes, proposals are imagined and judged
``after_model``         what was rejected is answered, a human is asked, the agent goes on, tries again, or ends
``wrap_tool_call``      act: what was approved runs, once, with an intent in the journal
``before_model``        observe: predictions are scored, transitions recorded (``after_agent`` where no turn follows)
======================  ==============================================================================================

Simulating where the model is called has a reason: LangGraph runs a node again from its beginning when a human has
answered, and ``after_model`` is where a human is asked. So nothing is imagined twice.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

from langchain.agents.middleware import ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, RemoveMessage, ToolMessage
from langchain_core.messages.tool import ToolCall
from langchain_core.tools import BaseTool
from langgraph.types import Overwrite

from dyna_graph.middleware.asking import AgentPolicy, Given
from dyna_graph.middleware.ledger import (
    Execution,
    KnownTool,
    Ledger,
    Route,
    View,
    applied,
    route_of,
    view_of,
)
from dyna_graph.middleware.naming import as_run
from dyna_graph.middleware.proposals import Proposal, unanswered, with_calls
from dyna_nodes.answers import answers
from dyna_nodes.conversation import ids_in, last_ai, marked, new_turn
from dyna_nodes.core import DynaCore, Run
from dyna_nodes.critique import CritiqueNode
from dyna_nodes.effects import Plan, blocking
from dyna_nodes.nouns import Transition, new_id
from dyna_nodes.observe import FOREIGN, Exits, close_round, foreign
from dyna_nodes.protocols import Proposer
from dyna_nodes.rounds import Places, Round
from dyna_nodes.simulate import SimulateNode
from dyna_nodes.state import Judged, Progress, readable, resampling

RAISED = 1_024
"""So many calls that raised are remembered."""
PLACES = Places("simulate", "critique", "act", "__end__")
CHECKPOINTER = "__pregel_checkpointer"
"""Where LangGraph keeps the checkpointer of a run in its configuration."""
State = Any
"""The agent's state, a mapping."""


class Decided(NamedTuple):
    """What was decided about a message.

    Attributes:
        view: The state after simulate and critique.
        route: Where the run goes.
        said: The message; None for one that cannot stay in a conversation, such as an empty one.
        extra: Further messages that enter the conversation.
    """

    view: View
    route: Route
    said: AIMessage | None
    extra: list[BaseMessage]


class AbsentTool(BaseTool):
    """Stands for a tool that only its name and identity are known of."""

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"the tool {self.name!r} is not at hand here")


class AgentLoop:
    """The plans behind the hooks of the middleware.

    Args:
        core: What the nodes share; it is given the agent's model, tools and checkpointer for each run.
    """

    def __init__(self, core: DynaCore) -> None:
        self.core = core
        self.raised: OrderedDict[tuple[str, str], list[Execution]] = OrderedDict()
        """Calls that raised, by session and id: the agent's state learns of them only with the next turn."""
        self._absent: dict[tuple[str, str, bool], AbsentTool] = {}

    def core_for(self, run: Run, policy: Proposer, tools: Sequence[BaseTool]) -> DynaCore:
        """Return the core for a run."""
        return self.core.for_run(policy, tools, run.config.get("configurable", {}).get(CHECKPOINTER))

    def core_of(self, state: State, run: Run, tools: Sequence[BaseTool] | None = None) -> DynaCore:
        """Return the core for a hook in which neither model nor, perhaps, tools are at hand."""
        ledger: Ledger = state["dyna"]
        if tools is None:
            tools = [self._stand_in(known) for known in ledger["tools"]]
        return self.core_for(run, Given([], None, ledger["policy"]), tools)

    def propose(
        self, request: ModelRequest[Any], policy: AgentPolicy, run: Run
    ) -> Plan[tuple[ModelResponse[Any], Ledger | None, dict[str, Any] | None]]:
        """Ask the agent's model, imagine and judge.

        Returns:
            The response that enters the conversation, and where the loop stands with its history; None where the
            response is no business of the loop.
        """
        state = request.state
        tools = [tool for tool in request.tools if isinstance(tool, BaseTool)]
        before = cast("Ledger | None", state.get("dyna"))
        readable(before and before["progress"])
        goes_on = before is not None and before["route"] != "end" and not new_turn(state["messages"])
        if before is not None and goes_on and before["queue"]:
            view = view_of(state, [*state["messages"], before["said"]])
            core = self.core_for(run, Given([], None, policy.name), tools)
            call = before["queue"][0]
            decided = yield from decide(core, view, run)
            message = AIMessage("", tool_calls=[call], id=f"dyna-{new_id()}")
            ledger = self._ledger(core, decided, before["said"], [call])
            return ModelResponse(result=[message]), ledger, decided.view["history"]
        settings, drawn = self.core.settings, 0
        view, count = view_of(state, state["messages"]), settings.candidates
        while True:
            responses: list[ModelResponse[Any]] = yield policy.sample(
                count, drawn=drawn, hidden=settings.resamples
            )
            proposals = [Proposal.of(response) for response in responses]
            if proposals[0].closed:
                return responses[0], None, None
            proposals = [p for p in proposals if not p.closed]
            core = self.core_for(run, Given([p.open for p in proposals], policy, policy.name), tools)
            decided = yield from decide(core, view, run)
            view, drawn, count = decided.view, count, settings.resample
            if not resampling(view["progress"], view["messages"]):
                break
        chosen = next((p for p in proposals if decided.said and p.open.id == decided.said.id), proposals[0])
        said = decided.said or chosen.open
        shown = said.tool_calls
        if decided.view["queue"]:
            shown = shown[:1]
        ledger = self._ledger(core, decided, said, shown)
        return chosen.response(said, shown), ledger, decided.view["history"]

    def route(self, state: State, run: Run) -> Plan[dict[str, Any] | None]:
        """Answer what was rejected, ask a human where one is needed, and send the agent on its way."""
        ledger: Ledger | None = state.get("dyna")
        message = next((m for m in reversed(state["messages"]) if isinstance(m, AIMessage)), None)
        if ledger is None or message is None:
            return None
        core = self.core_of(state, run)
        update: dict[str, Any] = {}
        new: list[BaseMessage] = []
        rewritten = False
        if not _is_about(ledger, message):
            pending = unanswered(state["messages"], message)
            if not pending:
                return None  # an answer, or what others have dealt with
            rewritten = True
            given = message.model_copy(update={"tool_calls": pending})
            core = self.core_for(run, Given([given], None, ledger["policy"]), list(core.tools.values()))
            # Here the model cannot be asked for others.
            core.settings = core.settings.model_copy(update={"resample": 0})
            view = {
                **view_of({**state, "dyna_executions": []}, _before(state["messages"], message)),
                "queue": [],
            }
            decided = yield from decide(core, view, run)
            said = decided.said or given
            shown = said.tool_calls[:1] if decided.view["queue"] else said.tool_calls
            if shown != pending:
                new.append(with_calls(message, shown, pending))
            ledger = self._ledger(core, decided, said, shown)
            update["dyna_history"] = decided.view["history"]
        said, route, extra = ledger["said"], ledger["route"], list(ledger["extra"])
        view = view_of({**state, "dyna": ledger, **update}, [said])
        most = max(self.core.settings.candidates, self.core.settings.resample)
        view["candidates"] = [{"message": said}] * most
        answered = {m.tool_call_id for m in state["messages"] if isinstance(m, ToolMessage)}
        # What another gate has answered already is nobody's business any more.
        view["verdicts"] = {i: j for i, j in view["verdicts"].items() if i not in answered}
        if rewritten and route == "critique":
            view["verdicts"] = {i: unasked(j) for i, j in view["verdicts"].items()}
        while True:
            if route == "act":
                view["verdicts"] |= yield from self._lost(core, view, run, state["messages"])
                route = "critique" if any(j["human"] for j in view["verdicts"].values()) else route
            if route != "critique":
                break
            if any(j["human"] for j in view["verdicts"].values()):
                command = yield from CritiqueNode(core).plan(view, run)
            elif view["verdicts"]:  # who was to be asked about has been answered by another gate
                round_ = Round(core, PLACES, view, run, core.known(view, run), time.perf_counter())
                command = yield from round_.route(said, view["verdicts"], view["queue"])
            else:
                route = "act"
                break
            view, route = applied(view, command), route_of(command)
            extra = list((command.update or {}).get("messages", []))
            view["messages"] = [said]
            if rewritten and route == "critique":
                route = "act"  # nobody is asked about what would be judged anew when the answer comes
                view["verdicts"] = {i: unasked(j) for i, j in view["verdicts"].items()}
        if route == "act":
            extra += answers(view["verdicts"])
        if route in ("simulate", "end") and not said.tool_calls and not said.invalid_tool_calls:
            new.append(RemoveMessage(id=str(message.id)))  # an empty response; providers refuse such messages
        new += [m for m in extra if not (isinstance(m, ToolMessage) and m.tool_call_id in answered)]
        update["dyna"] = _kept(ledger, view, route)
        if new:
            update["messages"] = new
        if route in ("simulate", "end"):
            update["jump_to"] = "model" if route == "simulate" else "end"
        return update

    def close(self, state: State, run: Run) -> Plan[dict[str, Any] | None]:
        """Observe what the calls of the last message did."""
        began = time.perf_counter()
        ledger: Ledger | None = state.get("dyna")
        if ledger is None:
            return None
        executions = [*(state.get("dyna_executions") or []), *self._that_raised(state, ledger, run)]
        if not executions:
            return None
        core = self.core_of(state, run)
        view = view_of({**state, "dyna_executions": executions}, [ledger["said"]])
        recorded = [core.shelf.read(Transition, t) for e in executions for t in e["transitions"]]
        exits = Exits("simulate", "critique", "end")
        command = yield from close_round(core, view, run, exits, began, recorded)
        notes: list[AnyMessage] = [
            m for m in (command.update or {})["messages"] if isinstance(m, AIMessage)
        ]  # the calls are answered already
        view, route = applied(view, command), route_of(command)
        update: dict[str, Any] = {
            "dyna": _kept(ledger, view, route),
            "dyna_history": view["history"],
            "dyna_executions": Overwrite([]),
        }
        if notes:
            update["messages"] = notes
        if route == "end":
            update["jump_to"] = "end"
        return update

    def note_raised(self, progress: Progress, run: Run, executions: list[Execution]) -> None:
        """Remember what came of a call that raised, until `close` takes it in."""
        for execution in executions:
            key = run.session(progress["trajectory"]), execution["outcome"]["call_id"]
            self.raised[key] = [*self.raised.get(key, []), execution]
        while len(self.raised) > RAISED:
            self.raised.popitem(last=False)

    def times_raised(self, progress: Progress, run: Run, call_id: str) -> int:
        """Return how often a call has raised since the last turn."""
        return len(self.raised.get((run.session(progress["trajectory"]), call_id), ()))

    def _that_raised(self, state: State, ledger: Ledger, run: Run) -> list[Execution]:
        """Return the calls of the current message that raised and that no result has followed."""
        known = {e["outcome"]["call_id"] for e in state.get("dyna_executions") or []}
        session = run.session(ledger["progress"]["trajectory"])
        found = {call_id: self.raised.pop((session, call_id), []) for call_id in ledger["verdicts"]}
        return [executions[-1] for i, executions in found.items() if executions and i not in known]

    def _lost(
        self, core: DynaCore, view: View, run: Run, messages: Sequence[BaseMessage]
    ) -> Plan[dict[str, Any]]:
        """Return what an earlier run has left behind; a human decides about it before anything acts.

        That is what was started and nobody knows the end of, and what is done though no message tells of it, as
        after a checkpoint that was lost.
        """
        journal = yield from core.journal()
        if journal is None:
            return {}
        intents = yield blocking(partial(journal.open, run.thread, run.ns))
        done = yield blocking(partial(journal.untold, run.thread, run.ns))
        told = {*ids_in(messages), *view["verdicts"]}
        intents = [*intents, *(i for i in done if i.call_id not in told)]
        return {FOREIGN + i.call_id: foreign(i) for i in intents if i.call_id not in view["verdicts"]}

    def _ledger(self, core: DynaCore, decided: Decided, said: AIMessage, shown: list[ToolCall]) -> Ledger:
        view = decided.view
        return {
            "progress": view["progress"],
            "verdicts": view["verdicts"],
            "queue": view["queue"],
            "reliability": view["reliability"],
            "said": said,
            "shown": shown,
            "route": decided.route,
            "extra": decided.extra,
            "policy": core.policy.name,
            "tools": [_known(core, tool) for tool in core.tools.values()],
        }

    def _stand_in(self, known: KnownTool) -> BaseTool:
        key = known["name"], known["identity"], known["sequential"]
        if key not in self._absent:
            metadata = {"sequential": True} if known["sequential"] else None
            tool = AbsentTool(name=known["name"], description=known["name"], metadata=metadata)
            self.core.identities.remember(tool, known["identity"], known["injected"])
            self._absent[key] = tool
        return self._absent[key]


def decide(core: DynaCore, view: View, run: Run) -> Plan[Decided]:
    """Simulate and judge what the core's policy proposes."""
    command = yield from as_run("simulate", run, view, partial(SimulateNode(core).plan, view))
    view = applied(view, command)
    if route_of(command) == "end":
        return Decided(view, "answer", last_ai(view["messages"]), [])
    command = yield from as_run("critique", run, view, partial(CritiqueNode(core).plan, view))
    new: list[BaseMessage] = (command.update or {}).get("messages", [])
    said = next((m for m in new if isinstance(m, AIMessage) and not marked(m)), None)
    return Decided(applied(view, command), route_of(command), said, [m for m in new if m is not said])


def unasked(judged: Judged) -> Judged:
    """Return a call that a human would have to decide about as one that does not run: nobody can be asked here."""
    if not judged["human"]:
        return judged
    text = "This call was changed after it had been proposed, and would need a human. Propose it again."
    return {**judged, "human": None, "runs": False, "answer": text}


def _kept(ledger: Ledger, view: View, route: Route) -> Ledger:
    return {
        **ledger,
        "progress": view["progress"],
        "verdicts": view["verdicts"],
        "queue": view["queue"],
        "reliability": view["reliability"],
        "route": route,
        "extra": [],
    }


def _known(core: DynaCore, tool: BaseTool) -> KnownTool:
    return {
        "name": tool.name,
        "identity": core.identities.of(tool),
        "injected": sorted(core.identities.injected(tool)),
        "sequential": core.tool_settings(tool.name).sequential,
    }


def _is_about(ledger: Ledger, message: AIMessage) -> bool:
    """Tell whether what was decided is about a message as it stands in the conversation now."""
    calls: Callable[[ToolCall], tuple[Any, ...]] = lambda c: (c["id"], c["name"], c["args"])  # noqa: E731
    shown = {str(c["id"]) for c in ledger["shown"]}
    now = [c for c in message.tool_calls if str(c["id"]) in shown]
    if not shown:
        return message.id == ledger["said"].id
    return [calls(c) for c in now] == [calls(c) for c in ledger["shown"]]


def _before(messages: Sequence[BaseMessage], message: AIMessage) -> list[BaseMessage]:
    return list(messages[: next(i for i, m in enumerate(messages) if m is message)])
