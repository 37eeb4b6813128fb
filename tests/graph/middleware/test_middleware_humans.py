"""A human beside the middleware: asked by it, or by LangChain's own gate."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from dyna_graph.middleware import gated
from dyna_nodes.journal import Intent, journal_beside
from dyna_nodes.nouns import Decision, Verdict
from dyna_nodes.testing import ScriptedCritic, ScriptedWorldModel, call, calls
from tests.graph.judged import DONE, contents, look, seeing
from tests.graph.middleware.doors import decide, guarded, recorded

APPROVE = {"type": "approve"}


def asking(history: Any, simulation: Any) -> Verdict:
    where = str(simulation.action.arguments["where"])
    if "risky" in where:
        return Verdict(decision=Decision.ESCALATE, reason="it is risky")
    return Verdict(decision=Decision.REJECT if "bad" in where else Decision.APPROVE, hint="Not there.")


def careful(script: Any, saver: Any = None, **options: Any) -> Any:
    options.setdefault("critic", ScriptedCritic(asking, can_escalate=True))
    return guarded(script, [look], checkpointer=saver or InMemorySaver(), **options)


FOUR = calls(
    ("look", {"where": "a"}, "1"),
    ("look", {"where": "risky1"}, "2"),
    ("look", {"where": "bad"}, "3"),
    ("look", {"where": "risky2"}, "4"),
)


def test_all_are_decided_before_any_runs_and_nothing_is_imagined_twice(drive: Any, thread: Any) -> None:
    world = ScriptedWorldModel(seeing)
    agent = careful([FOUR, "Done."], world_model=world)
    result = drive(agent, "go", thread)
    assert DONE == []
    (pause,) = result["__interrupt__"]
    first, second = pause.value["action_requests"]
    assert (first["name"], first["args"]) == ("look", {"where": "risky1"})
    assert "Predicted outcome: You see risky1." in first["description"]
    assert first["dyna"]["prediction"]["observation"] == "You see risky1."
    assert second["dyna"]["call_id"] == "4"
    result = drive(agent, decide(APPROVE, {"type": "reject", "message": "too dark"}), thread)
    assert sorted(DONE) == ["a", "risky1"]
    assert sorted(contents(result)) == [
        "A human rejected this call: too dark",
        "Not there.",
        "You see a.",
        "You see risky1.",
    ]
    assert len(world.batches) == 1
    shown = agent.scripted.prompts[-1]
    assert [m.tool_call_id for m in shown if m.type == "tool"] == ["1", "2", "3", "4"], (
        "providers want them in order"
    )


def test_another_process_goes_on_after_the_answer(drive: Any, thread: Any, tmp_path: Path) -> None:
    saver, script = InMemorySaver(), [FOUR, "Done."]
    drive(careful(script, saver, record=tmp_path), "go", thread)
    world = ScriptedWorldModel(seeing)
    later = careful(["Done."], saver, world_model=world, record=tmp_path)
    result = drive(later, decide(APPROVE, APPROVE), thread)
    assert sorted(DONE) == ["a", "risky1", "risky2"]
    assert result["messages"][-1].content == "Done."
    assert world.batches == []
    assert [t["verdict"]["critic"] for t in recorded(tmp_path) if t["observation"]] == [
        "scripted",
        "human",
        "human",
    ]


@pytest.mark.parametrize("kind", ["edit", "respond"])
def test_a_human_edits_or_answers(kind: str, drive: Any, thread: Any, tmp_path: Path) -> None:
    agent = careful([call("look", "1", where="risky"), "Done."], record=tmp_path)
    drive(agent, "go", thread)
    edit = {"type": "edit", "edited_action": {"name": "look", "args": {"where": "attic"}}}
    result = drive(
        agent, decide(edit if kind == "edit" else {"type": "respond", "message": "Nothing."}), thread
    )
    if kind == "respond":
        assert (DONE, contents(result)) == ([], ["Nothing."])
        return
    assert DONE == ["attic"]
    (text,) = contents(result)
    assert text.startswith("Note: a human changed this call")
    assert text.endswith("You see attic.")
    (transition,) = recorded(tmp_path)
    assert transition["observation"] == "You see attic."
    assert transition["verdict"]["decision"] == "modify"


def test_an_answer_that_does_not_fit_is_asked_for_again(drive: Any, thread: Any) -> None:
    agent = careful([call("look", "1", where="risky"), "Done."])
    drive(agent, "go", thread)
    result = drive(agent, decide(), thread)
    assert "1 calls wait for a decision" in result["__interrupt__"][0].value["error"]
    drive(agent, decide(APPROVE), thread)
    assert DONE == ["risky"]


def test_a_verdict_that_expires_while_a_human_thinks_is_judged_again(drive: Any, thread: Any) -> None:
    critic = ScriptedCritic(asking, can_escalate=True)
    message = calls(("look", {"where": "a"}, "1"), ("look", {"where": "risky"}, "2"))
    agent = careful([message, "Done."], critic=critic, verdict_ttl=0.2)
    drive(agent, "go", thread)
    time.sleep(0.3)
    drive(agent, decide(APPROVE), thread)
    assert sorted(DONE) == ["a", "risky"]
    assert [[s.action.arguments["where"] for s in batch] for batch in critic.judged] == [
        ["a", "risky"],
        ["a"],
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"critic": ScriptedCritic(asking, can_escalate=True)},
        {"on_failure": "escalate"},
        {"on_exhausted": "escalate"},
    ],
)
def test_without_a_checkpointer_nobody_can_be_asked(options: Any, drive: Any) -> None:
    with pytest.raises(ValueError, match="needs a checkpointer"):
        drive(guarded(["Done."], **options))


def test_a_call_that_hangs_is_asked_about_and_what_is_known_is_recorded(
    drive: Any, thread: Any, tmp_path: Path
) -> None:
    @tool
    def hang(x: int) -> str:
        """Hang the first time."""
        DONE.append(f"hang {x}")
        if DONE.count(f"hang {x}") == 1:
            time.sleep(0.5)
        return "answered"

    message = calls(("look", {"where": "a"}, "1"), ("hang", {"x": 1}, "2"))
    options = {"tool_settings": {"hang": {"timeout": 0.1}}, "record": tmp_path}
    agent = guarded([message, "Done."], [look, hang], checkpointer=InMemorySaver(), **options)
    result = drive(agent, "go", thread)
    (pause,) = result["__interrupt__"]
    assert "no answer within 0.1 s" in pause.value["action_requests"][0]["description"]
    assert [t["observation"] for t in recorded(tmp_path)] == ["You see a."]
    result = drive(agent, decide(APPROVE), thread)
    assert contents(result) == ["You see a.", "answered"]
    assert DONE.count("a") == 1
    assert [t["observation"] for t in recorded(tmp_path)] == ["You see a.", "answered"]


@pytest.mark.parametrize(("decision", "done"), [("approve", ["a"]), ("reject", [])])
def test_what_an_earlier_run_left_open_is_asked_about_first(
    decision: str, done: list[str], drive: Any, thread: Any
) -> None:
    saver = InMemorySaver()
    journal = journal_beside(saver)
    journal.start(Intent("t", "", "lost", 1, "look", '{"where": "vault"}', ""))
    journal.abandon(Intent("t", "", "lost", 1, "look", "{}", ""))
    agent = careful([call("look", "1", where="a"), "Done."], saver)
    result = drive(agent, "go", thread)
    assert DONE == []
    assert result["__interrupt__"][0].value["action_requests"][0]["args"] == {"where": "vault"}
    drive(agent, decide({"type": decision}), thread)
    assert done == DONE
    assert journal.open("t", "") == []


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", ["approve", "edit", "reject"])
def test_beside_the_gate_of_langchain(
    kind: str, first: bool, drive: Any, thread: Any, tmp_path: Path
) -> None:
    """In whichever order: the gate shows the prediction, its decision counts, and nothing is imagined twice."""
    gate: Any = HumanInTheLoopMiddleware(interrupt_on={"look": gated()}, edit_notice=None)
    world = ScriptedWorldModel(seeing)
    agent = guarded(
        [call("look", "1", where="a"), "Done."],
        [look],
        **{"others" if first else "behind": [gate]},
        checkpointer=InMemorySaver(),
        world_model=world,
        record=tmp_path,
    )
    result = drive(agent, "go", thread)
    (request,) = result["__interrupt__"][0].value["action_requests"]
    assert "Predicted outcome: You see a." in request["description"]
    decision: dict[str, Any] = {"type": kind}
    if kind == "edit":
        decision["edited_action"] = {"name": "look", "args": {"where": "attic"}}
    drive(agent, decide(decision), thread)
    assert {"approve": ["a"], "edit": ["attic"], "reject": []}[kind] == DONE
    found = recorded(tmp_path)
    assert [t["observation"] for t in found if t["observation"]] == [f"You see {w}." for w in DONE]
    if kind == "edit":
        assert found[0]["action"]["arguments"] == {"where": "attic"}
        assert found[0]["verdict"]["critic"] == "human"
    assert len(world.batches) == 1


@pytest.mark.parametrize("place", ["others", "behind"])
def test_a_gate_is_not_bothered_with_what_is_vetoed(place: str, drive: Any, thread: Any) -> None:
    gate: Any = HumanInTheLoopMiddleware(interrupt_on={"look": gated()})
    message = calls(("look", {"where": "bad"}, "1"), ("look", {"where": "a"}, "2"))
    agent = guarded([message, "Done."], [look], **{place: [gate]}, checkpointer=InMemorySaver())
    result = drive(agent, "go", thread)
    assert [r["args"] for r in result["__interrupt__"][0].value["action_requests"]] == [{"where": "a"}]
    drive(agent, decide(APPROVE), thread)
    assert DONE == ["a"]
