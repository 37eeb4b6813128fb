"""What went wrong once: gates that answer first, users who speak, tools that raise, answers in a tool's place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    LLMToolEmulator,
    ModelCallLimitMiddleware,
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
)
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from dyna_graph import DynaMiddleware, create_dyna_agent
from dyna_graph.middleware import gated
from dyna_nodes.journal import Intent, journal_beside
from dyna_nodes.nouns import Decision, Prediction, Verdict
from dyna_nodes.testing import ScriptedChatModel, ScriptedCritic, ScriptedWorldModel, call, calls
from tests.graph.judged import DONE, contents, look, seeing, touch
from tests.graph.middleware.doors import decide, guarded, own_graph, recorded


def asking(history: Any, simulation: Any) -> Verdict:
    text = str(simulation.action.arguments)
    if "risky" in text:
        return Verdict(decision=Decision.ESCALATE, reason="it is risky")
    return Verdict(decision=Decision.REJECT if "bad" in text else Decision.APPROVE, hint="Not there.")


@pytest.mark.parametrize("gate", ["limit", "human"])
def test_a_gate_that_answers_first_lets_nothing_rejected_through(gate: str, drive: Any, thread: Any) -> None:
    message = calls(("touch", {"what": "risky"}, "1"), ("look", {"where": "bad vault"}, "2"))
    behind: Any = ToolCallLimitMiddleware(tool_name="touch", run_limit=0)
    if gate == "human":
        behind = HumanInTheLoopMiddleware(interrupt_on={"touch": gated()})
    agent = guarded(
        [message, "Done.", "Done."],
        critic=ScriptedCritic(asking, can_escalate=True),
        behind=[behind],
        checkpointer=InMemorySaver(),
    )
    result = drive(agent, "go", thread)
    if gate == "human":
        result = drive(agent, decide({"type": "reject"}), thread)
    assert DONE == []
    assert sorted(m.tool_call_id for m in result["messages"] if m.type == "tool") == ["1", "2"]
    assert result["messages"][-1].content == "Done."


def test_calls_that_wait_are_dropped_when_the_user_speaks(drive: Any, thread: Any) -> None:
    message = calls(("look", {"where": "a"}, "1"), ("look", {"where": "everything"}, "2"))
    agent = guarded(
        [message, "Stopped."],
        [look],
        tool_settings={"look": {"sequential": True}},
        others=[ModelCallLimitMiddleware(run_limit=1)],
        checkpointer=InMemorySaver(),
    )
    drive(agent, "go", thread)
    result = drive(agent, "Do nothing more!", thread)
    assert DONE == ["a"]
    assert result["messages"][-1].content == "Stopped."


@pytest.mark.parametrize("door", [own_graph, guarded])
def test_a_human_decides_about_the_call_whose_outcome_is_shown(door: Any, drive: Any, thread: Any) -> None:
    def changing(history: Any, simulation: Any) -> Verdict:
        if simulation.action.arguments["where"] == "attic":
            return Verdict(decision=Decision.APPROVE)
        other = simulation.action.model_copy(update={"arguments": {"where": "attic"}})
        return Verdict(decision=Decision.MODIFY, reason="too dark", action=other)

    settings = {"look": {"min_confidence": 0.9, "on_uncertain": "escalate"}}
    agent = door(
        [call("look", "1", where="cellar"), "Done."],
        [look],
        critic=ScriptedCritic(changing),
        tool_settings=settings,
        checkpointer=InMemorySaver(),
    )
    (pause,) = drive(agent, "go", thread)["__interrupt__"]
    (request,) = pause.value["action_requests"]
    assert request["args"] == {"where": "attic"}
    assert "You see attic." in request["description"]
    drive(agent, decide({"type": "approve"}), thread)
    assert DONE == ["attic"]


class Rewriter(AgentMiddleware[Any, Any, Any]):
    """Makes every call in the model's message a risky one."""

    def after_model(self, state: Any, runtime: Any) -> Any:
        message = state["messages"][-1]
        changed = [{**c, "args": {"where": "risky vault"}} for c in message.tool_calls]
        return {"messages": [message.model_copy(update={"tool_calls": changed})]} if changed else None

    async def aafter_model(self, state: Any, runtime: Any) -> Any:
        return self.after_model(state, runtime)


class Forger(AgentMiddleware[Any, Any, Any]):
    """Makes every call a risky one on its way to the tool."""

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(tool_call={**request.tool_call, "args": {"where": "risky vault"}}))

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        return await handler(
            request.override(tool_call={**request.tool_call, "args": {"where": "risky vault"}})
        )


@pytest.mark.parametrize("place", [{"behind": [Rewriter()]}, {"others": [Forger()]}])
def test_nobody_is_asked_about_what_would_be_judged_again(place: Any, drive: Any, thread: Any) -> None:
    agent = guarded(
        [call("look", "1", where="a"), "Done."],
        [look],
        critic=ScriptedCritic(asking, can_escalate=True),
        checkpointer=InMemorySaver(),
        **place,
    )
    result = drive(agent, "go", thread)
    assert "__interrupt__" not in result
    assert DONE == []
    assert "would need a human" in contents(result)[0]


def flaky(failures: int) -> Any:
    @tool
    def pay(x: int) -> str:
        """Pay, and lose the answer at first."""
        DONE.append(f"paid {x}")
        if len(DONE) <= failures:
            raise ConnectionError("no answer")
        return "paid"

    return pay


def retrying() -> ToolRetryMiddleware:
    return ToolRetryMiddleware(max_retries=2, initial_delay=0.0, on_failure="continue")


@pytest.mark.parametrize("place", ["others", "behind"])
def test_another_middleware_retries_idempotent_tools_only(place: str, drive: Any, tmp_path: Path) -> None:
    script = [call("pay", "1", x=1), "Done."]
    careful = guarded(script, [flaky(1)], record=tmp_path / "once", **{place: [retrying()]})
    drive(careful)
    assert DONE == ["paid 1"]
    assert [t["status"] for t in recorded(tmp_path / "once")] == ["error"]
    DONE.clear()
    settings = {"pay": {"idempotent": True}}
    options: Any = {place: [retrying()], "tool_settings": settings, "record": tmp_path / "twice"}
    result = drive(guarded(script, [flaky(1)], **options))
    assert DONE == ["paid 1", "paid 1"]
    assert contents(result) == ["paid"]
    assert [t["status"] for t in recorded(tmp_path / "twice")][-1] == "ok"


class Handler(AgentMiddleware[Any, Any, Any]):
    """Turns an error into an answer."""

    def _answer(self, request: Any, error: Exception) -> ToolMessage:
        return ToolMessage(str(error), tool_call_id=request.tool_call["id"], status="error")

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        try:
            return handler(request)
        except ConnectionError as error:
            return self._answer(request, error)

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        try:
            return await handler(request)
        except ConnectionError as error:
            return self._answer(request, error)


def test_a_step_that_raised_is_a_step(drive: Any, tmp_path: Path) -> None:
    world = ScriptedWorldModel(lambda query: "paid")
    script = [call("pay", str(i), x=i) for i in range(3)]
    agent = guarded(
        [*script, "Done."], [flaky(9)], others=[Handler()], world_model=world, max_steps=2, record=tmp_path
    )
    result = drive(agent)
    assert "limit of 2 steps" in result["messages"][-1].content
    assert [t["index"] for t in recorded(tmp_path)] == [0, 1]
    assert [len(q.history.steps) for batch in world.batches for q in batch] == [0, 1]


def test_an_answer_in_the_place_of_a_tool_is_no_observation(drive: Any, tmp_path: Path) -> None:
    emulator = LLMToolEmulator(tools=["look"], model=ScriptedChatModel(script=lambda m: "emulated!"))
    result = drive(
        guarded([call("look", "1", where="a"), "Done."], [look], behind=[emulator], record=tmp_path)
    )
    assert contents(result) == ["emulated!"]
    assert recorded(tmp_path) == []


def test_a_tool_that_returns_a_command_returns_one(drive: Any) -> None:
    """Others who stand before the middleware, as those of deep agents, understand a message or a command."""
    seen: list[str] = []

    class Before(AgentMiddleware[Any, Any, Any]):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            result = handler(request)
            seen.append(type(result).__name__)
            return result

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            result = await handler(request)
            seen.append(type(result).__name__)
            return result

    @tool
    def hand(x: int) -> Command[Any]:
        """Return a command."""
        return Command(update={"messages": [ToolMessage("handed", tool_call_id="1")]})

    result = drive(guarded([call("hand", "1", x=1), "Done."], [hand], others=[Before()]))
    assert contents(result) == ["handed"]
    assert seen == ["Command"]


def test_calls_that_cannot_be_read_leave_no_answer_without_its_call(drive: Any) -> None:
    agent = guarded([call("look", "1", where="half \udc80 a pair"), "Done."], [look])
    drive(agent)
    ids = {
        c["id"]
        for m in agent.scripted.prompts[-1]
        if m.type == "ai"
        for c in (*m.tool_calls, *m.invalid_tool_calls)
    }
    assert {m.tool_call_id for m in agent.scripted.prompts[-1] if m.type == "tool"} <= ids
    assert DONE == []


def test_without_a_thread_there_is_nothing_to_resume(drive: Any, tmp_path: Path) -> None:
    for _ in range(2):
        script = [call("look", "same", where="a"), "Done."]
        drive(guarded(script, [look], journal=tmp_path / "intents.sqlite"))
    assert DONE == ["a", "a"]


def test_what_is_done_and_in_no_conversation_is_asked_about(drive: Any, thread: Any) -> None:
    """As after a kill that lost the checkpoint with the call."""
    saver = InMemorySaver()
    journal = journal_beside(saver)
    intent = Intent("t", "", "gone", 1, "look", '{"where": "vault"}', "")
    journal.start(intent)
    journal.finish(intent, "done")
    agent = guarded([call("look", "1", where="vault"), "Done."], [look], checkpointer=saver)
    (pause,) = drive(agent, "go", thread)["__interrupt__"]
    assert "has done this call, and the conversation does not know it" in str(pause.value)
    drive(agent, decide({"type": "reject"}), thread)
    assert DONE == []
    assert journal.untold("t", "") == []


def test_shadow_blocks_nothing_that_another_middleware_does(drive: Any, tmp_path: Path) -> None:
    agent = guarded([call("look", "1", where="a"), "Done."], [look], behind=[Forger()], mode="shadow")
    drive(agent)
    assert DONE == ["risky vault"]


def test_shadow_ends_no_run_early(drive: Any) -> None:
    script = [call("look", where=str(n)) for n in range(4)]
    watched = guarded([*script, "Done."], mode="shadow", max_steps=2)
    assert drive(watched)["messages"][-1].content == "Done."
    assert len(DONE) == 4
    bounded = guarded([*script, "Done."], max_steps=2)
    assert "the limit of 2 steps is reached" in drive(bounded)["messages"][-1].content
    assert len(DONE) == 6


def test_a_doubt_is_a_doubt_whoever_approved(drive: Any) -> None:
    doomed = ScriptedWorldModel(lambda query: Prediction(observation="gone", success=False))
    for settings, critic in (
        ({"on_reject": "allow"}, ScriptedCritic(lambda h, s: "reject")),
        ({"on_failure": "allow"}, ScriptedCritic(lambda h, s: RuntimeError("broken"))),
    ):
        model = ScriptedChatModel(script=[call("touch", "1", what="a"), "Done."])
        agent = create_dyna_agent(
            model,
            [touch],
            world_model=doomed,
            critic=critic,
            tool_settings={"touch": {"irreversible": True, **settings}},
        )
        drive(agent)
        assert DONE == []


def test_stand_ins_for_tools_do_not_pile_up(drive: Any) -> None:
    middleware = DynaMiddleware(ScriptedWorldModel(seeing))
    model = ScriptedChatModel(script=lambda m: "Done." if len(m) > 40 else call("look", where=str(len(m))))
    drive(create_agent(model, [look], middleware=[middleware]))
    assert len(middleware._loop.core.identities._known) < 5
