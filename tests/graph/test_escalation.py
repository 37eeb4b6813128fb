"""A human decides, in the shapes of LangChain's approval screens; nothing is done twice because of the pause."""

from __future__ import annotations

import time
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from dyna_graph.agent import create_dyna_agent
from dyna_nodes.critics import FirstMatch, OutcomeCritic, Together, TrustGate
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Decision, Query, Verdict
from dyna_nodes.testing import ScriptedChatModel, ScriptedCritic, ScriptedWorldModel, call, calls

DONE: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    DONE.clear()


@tool
def look(where: str) -> str:
    """Look somewhere."""
    DONE.append(where)
    return f"You see {where}."


@tool
def drop(what: str) -> str:
    """Drop something."""
    DONE.append(f"drop {what}")
    return f"You drop {what}."


def seeing(query: Query) -> str:
    return f"{query.action.tool} {next(iter(query.action.arguments.values()))}"


def ask(history: Any, simulation: Any) -> Any:
    if "risky" in str(simulation.action.arguments):
        return Verdict(decision=Decision.ESCALATE, reason="it is risky")
    return "reject" if "bad" in str(simulation.action.arguments) else "approve"


def agent_with(script: Any, rule: Any = ask, **options: Any) -> Any:
    options.setdefault("checkpointer", InMemorySaver())
    options.setdefault("world_model", ScriptedWorldModel(seeing))
    critic = ScriptedCritic(rule, can_escalate=True)
    model = ScriptedChatModel(script=script)
    agent = create_dyna_agent(model, [look, drop], critic=critic, **options)
    agent.model, agent.critic, agent.world = model, critic, options["world_model"]
    return agent


def decide(*decisions: dict[str, Any]) -> Command[Any]:
    return Command(resume={"decisions": list(decisions)})


APPROVE = {"type": "approve"}


def contents(result: dict[str, Any]) -> list[str]:
    return [m.content for m in result["messages"] if m.type == "tool"]


def test_the_request_has_the_shape_of_approval_screens_and_shows_the_prediction(
    drive: Any, thread: Any
) -> None:
    agent = agent_with([call("look", where="risky", id="1"), "Done."])
    result = drive(agent, "go", thread)
    assert DONE == []
    (pause,) = result["__interrupt__"]
    (request,) = pause.value["action_requests"]
    assert (request["name"], request["args"]) == ("look", {"where": "risky"})
    assert "it is risky" in request["description"]
    assert "Predicted outcome: look risky" in request["description"]
    assert request["dyna"]["call_id"] == "1"
    assert request["dyna"]["prediction"]["observation"] == "look risky"
    assert pause.value["review_configs"] == [
        {"action_name": "look", "allowed_decisions": ["approve", "edit", "reject", "respond"]}
    ]


def test_approved_by_a_human(drive: Any, thread: Any) -> None:
    agent = agent_with([call("look", where="risky"), "Done."])
    drive(agent, "go", thread)
    result = drive(agent, decide(APPROVE), thread)
    assert DONE == ["risky"]
    assert contents(result) == ["You see risky."]


def test_nothing_is_asked_simulated_or_judged_again_on_resume(drive: Any, thread: Any) -> None:
    agent = agent_with([call("look", where="risky"), "Done."])
    drive(agent, "go", thread)
    drive(agent, decide(APPROVE), thread)
    assert len(agent.model.prompts) == 2
    assert len(agent.world.batches) == 1
    assert len(agent.critic.judged) == 1


def test_edited_by_a_human(drive: Any, thread: Any, tmp_path: Any) -> None:
    agent = agent_with([call("look", where="risky"), "Done."], record=tmp_path)
    drive(agent, "go", thread)
    edit = {"type": "edit", "edited_action": {"name": "drop", "args": {"what": "it"}}}
    result = drive(agent, decide(edit), thread)
    assert DONE == ["drop it"]
    (text,) = contents(result)
    assert text.startswith("Note: a human changed this call before it ran.")
    assert 'drop({"what": "it"})' in text
    (transition,) = ExperienceLog(tmp_path).read()
    assert transition.verdict is not None
    assert (transition.verdict.decision, transition.verdict.critic) == (Decision.MODIFY, "human")
    assert transition.prediction is None, "the prediction was about another call"


def test_rejected_by_a_human(drive: Any, thread: Any) -> None:
    agent = agent_with([call("look", where="risky"), "Done."])
    drive(agent, "go", thread)
    result = drive(agent, decide({"type": "reject", "message": "too dark"}), thread)
    assert DONE == []
    assert contents(result) == ["A human rejected this call: too dark"]


def test_answered_by_a_human(drive: Any, thread: Any) -> None:
    agent = agent_with([call("look", where="risky"), "Done."])
    drive(agent, "go", thread)
    result = drive(agent, decide({"type": "respond", "message": "You see nothing."}), thread)
    message = result["messages"][2]
    assert (message.content, message.status) == ("You see nothing.", "success")
    assert DONE == []


def test_siblings_run_only_after_all_escalations_are_decided(drive: Any, thread: Any) -> None:
    message = calls(
        ("look", {"where": "a"}, "1"),
        ("look", {"where": "risky1"}, "2"),
        ("look", {"where": "bad"}, "3"),
        ("look", {"where": "risky2"}, "4"),
    )
    agent = agent_with([message, "Done."])
    result = drive(agent, "go", thread)
    assert DONE == []
    assert len(result["__interrupt__"]) == 1
    assert len(result["__interrupt__"][0].value["action_requests"]) == 2
    result = drive(agent, decide(APPROVE, {"type": "reject"}), thread)
    assert sorted(DONE) == ["a", "risky1"]
    assert [m.tool_call_id for m in result["messages"] if m.type == "tool"] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("yes", "answer with"),
        ({"decisions": []}, "1 calls wait for a decision, but 0"),
        ({"decisions": [{"type": "shrug"}]}, "'shrug' about 'look' is none of"),
        ({"decisions": [{"type": "edit"}]}, "needs 'edited_action'"),
        (
            {"decisions": [{"type": "edit", "edited_action": {"name": "fly", "args": {}}}]},
            "unknown tool 'fly'",
        ),
        ({"decisions": [{"type": "respond"}]}, "needs a text"),
    ],
)
def test_an_answer_that_does_not_fit_is_asked_for_again(
    drive: Any, thread: Any, answer: Any, error: str
) -> None:
    agent = agent_with([call("look", where="risky"), "Done."])
    drive(agent, "go", thread)
    result = drive(agent, Command(resume=answer), thread)
    assert error in result["__interrupt__"][0].value["error"]
    assert DONE == []
    drive(agent, decide(APPROVE), thread)
    assert DONE == ["risky"]


def test_exhausted_revisions_may_ask_a_human_once(drive: Any, thread: Any) -> None:
    agent = agent_with([call("look", where="bad"), "Done."], max_revisions=0, on_exhausted="escalate")
    result = drive(agent, "go", thread)
    assert "revisions are used up" in result["__interrupt__"][0].value["action_requests"][0]["description"]
    drive(agent, decide(APPROVE), thread)
    assert DONE == ["bad"]


def test_what_a_human_rejected_is_neither_allowed_nor_asked_again(drive: Any, thread: Any) -> None:
    for policy in ("allow", "escalate"):
        agent = agent_with(
            [call("look", where="risky"), "Done."], max_revisions=0, on_exhausted=policy, max_blocks=5
        )
        drive(agent, "go", thread)
        result = drive(agent, decide({"type": "reject"}), thread)
        assert "__interrupt__" not in result
        assert DONE == []


def test_a_broken_critic_may_ask_a_human(drive: Any, thread: Any) -> None:
    agent = agent_with(
        [call("look", where="a"), "Done."], lambda h, s: RuntimeError("gone"), on_failure="escalate"
    )
    result = drive(agent, "go", thread)
    assert "RuntimeError: gone" in result["__interrupt__"][0].value["action_requests"][0]["description"]
    drive(agent, decide(APPROVE), thread)
    assert DONE == ["a"]


@pytest.mark.parametrize(
    "options",
    [
        {"on_exhausted": "escalate"},
        {"on_failure": "escalate"},
        {"critic": ScriptedCritic(ask, can_escalate=True)},
    ],
)
def test_escalation_without_a_checkpointer_is_an_error_with_advice(options: Any) -> None:
    with pytest.raises(ValueError, match=r"needs a checkpointer: pass checkpointer=InMemorySaver"):
        create_dyna_agent(ScriptedChatModel(script=[]), [look], **options)


@pytest.mark.parametrize(
    "critic",
    [
        OutcomeCritic(otherwise="escalate"),
        TrustGate(OutcomeCritic()),
        FirstMatch([(OutcomeCritic(otherwise="escalate"), "pay")]),
        FirstMatch([], otherwise="escalate"),
        Together([OutcomeCritic(), OutcomeCritic(otherwise="escalate")]),
    ],
    ids=lambda critic: critic.name,
)
def test_a_critic_that_may_ask_a_human_needs_a_checkpointer(critic: Any) -> None:
    with pytest.raises(ValueError, match="needs a checkpointer"):
        create_dyna_agent(ScriptedChatModel(script=[]), [look], critic=critic)
    create_dyna_agent(ScriptedChatModel(script=[]), [look], critic=critic, checkpointer=InMemorySaver())


def test_an_undeclared_escalation_without_a_checkpointer_stays_closed(drive: Any) -> None:
    critic = ScriptedCritic(lambda h, s: "escalate")
    agent = create_dyna_agent(
        ScriptedChatModel(script=[call("look", where="a"), "Done."]), [look], critic=critic
    )
    result = drive(agent)
    assert DONE == []
    assert "needs a human" in contents(result)[0]


def test_a_verdict_that_expires_while_a_human_thinks_is_judged_again(drive: Any, thread: Any) -> None:
    message = calls(("look", {"where": "a"}, "1"), ("look", {"where": "risky"}, "2"))
    agent = agent_with([message, "Done."], verdict_ttl=0.2)
    drive(agent, "go", thread)
    time.sleep(0.3)
    drive(agent, decide(APPROVE), thread)
    assert sorted(DONE) == ["a", "risky"]
    assert [[s.action.arguments["where"] for s in batch] for batch in agent.critic.judged] == [
        ["a", "risky"],
        ["a"],
    ]


def test_a_call_that_has_run_is_not_judged_again_while_a_human_thinks(drive: Any, thread: Any) -> None:
    @tool
    def hang(where: str) -> str:
        """Never answer in time."""
        time.sleep(0.6)
        return where

    critic = ScriptedCritic(lambda h, s: "approve")
    message = calls(("look", {"where": "a"}, "1"), ("hang", {"where": "b"}, "2"))
    agent = create_dyna_agent(
        ScriptedChatModel(script=[message, "Done."]),
        [look, hang],
        world_model=ScriptedWorldModel(seeing),
        critic=critic,
        checkpointer=InMemorySaver(),
        tool_settings={"hang": {"timeout": 0.1}},
        verdict_ttl=0.3,
    )
    drive(agent, "go", thread)
    time.sleep(0.4)
    result = drive(agent, decide({"type": "respond", "message": "leave it"}), thread)
    assert contents(result) == ["You see a.", "leave it"]
    assert len(critic.judged) == 1, "the verdict of what has run is nobody's business any more"
    assert DONE == ["a"]


def test_a_tool_that_asks_a_human_itself(drive: Any, thread: Any) -> None:
    @tool
    def pay(amount: int) -> str:
        """Pay."""
        DONE.append("asked")
        answer = interrupt(f"Pay {amount}?")
        DONE.append(f"paid {amount}")
        return f"answered {answer}"

    saver = InMemorySaver()
    message = calls(("look", {"where": "a"}, "1"), ("pay", {"amount": 3}, "2"))
    agent = create_dyna_agent(
        ScriptedChatModel(script=[message, "Done."]), [look, pay], checkpointer=saver, verdict_ttl=0.2
    )
    events = drive.stream(agent, "go", thread, stream_mode=["custom", "values"])
    statuses = {e.call_id: e.status for kind, e in events if kind == "custom" and e.type == "dyna.act"}
    assert statuses == {"1": "ok", "2": "suspended"}
    time.sleep(0.3)
    result = drive(agent, Command(resume="yes"), thread)
    assert contents(result) == ["You see a.", "answered yes"]
    assert DONE.count("a") == 1, "a finished sibling is not run again"
    assert DONE.count("paid 3") == 1


def test_a_user_may_speak_instead_of_deciding(drive: Any, thread: Any) -> None:
    agent = agent_with([call("look", where="risky"), call("look", where="a"), "Done."])
    drive(agent, "go", thread)
    result = drive(agent, "Never mind, look at a.", thread)
    assert DONE == ["a"]
    assert result["messages"][-1].content == "Done."
    prompt = agent.model.prompts[1]
    assert [m.type for m in prompt] == ["human", "ai", "tool", "human"]
    assert "may or may not have run" in prompt[2].content


def test_the_request_tells_how_predictions_about_the_tool_have_held(drive: Any, tmp_path: Any) -> None:
    """All runs that the record knows count, not only this thread."""

    def true(query: Query) -> str:
        return str(look.invoke(dict(query.action.arguments)))

    script = [call("look", where="a"), call("look", where="b"), "Done."]
    world = ScriptedWorldModel(true)
    drive(
        agent_with(script, record=tmp_path, world_model=world),
        "go",
        {"configurable": {"thread_id": "earlier"}},
    )
    agent = agent_with([call("look", where="risky"), "Done."], record=tmp_path, world_model=world)
    (pause,) = drive(agent, "go", {"configurable": {"thread_id": "later"}})["__interrupt__"]
    (request,) = pause.value["action_requests"]
    held = request["dyna"]["track_record"]["exact"]
    assert held == pytest.approx({"calls": 2, "mean": 1.0, "lower": 0.425}, abs=0.001)
    assert "Predictions about this tool that came true to the letter: 2 of 2" in request["description"]
    fresh = agent_with([call("look", where="risky"), "Done."], world_model=ScriptedWorldModel(true))
    (pause,) = drive(fresh, "go", {"configurable": {"thread_id": "new"}})["__interrupt__"]
    assert "to the letter" not in pause.value["action_requests"][0]["description"]
