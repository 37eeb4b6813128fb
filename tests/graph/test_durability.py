"""After a crash nothing is repeated silently: the known is not done again, the unknown is asked about."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from dyna_graph.agent import create_dyna_agent
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.journal import Intent, IntentJournal, journal_beside
from dyna_nodes.testing import ScriptedChatModel, ScriptedCritic, call, calls
from tests.graph.crashing import lines

KILLED = -signal.SIGKILL
Process = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def process(request: pytest.FixtureRequest, tmp_path: Path, server: Any) -> Process:
    """Run the crashing agent in a process of its own; returns what it says, or its exit status."""
    import crashing

    def run(where: str, text: str = "") -> Any:
        child = server.Process(target=crashing.main, args=(tmp_path, where, request.param, text))
        child.start()
        child.join(60)
        if child.exitcode == KILLED:
            return KILLED
        assert child.exitcode == 0
        return json.loads((tmp_path / "result").read_text())

    return run


def resume(folder: Path, *decisions: dict[str, Any]) -> dict[str, Any]:
    """Go on in this process, as an approval screen would."""
    import crashing

    with crashing.saver_in(folder) as saver:
        agent = crashing.make_agent(folder, "never", saver)
        return agent.invoke(Command(resume={"decisions": list(decisions)}), crashing.CONFIG)  # type: ignore[no-any-return]


@pytest.mark.parametrize("where", ["before", "after"])
def test_killed_in_a_tool(process: Process, tmp_path: Path, where: str) -> None:
    assert process(f"{where} b", "a b c") == KILLED
    before = lines(tmp_path, "effects")
    assert before == (["a"] if where == "before" else ["a", "b"])
    result = process("never")
    assert lines(tmp_path, "effects") == before, "nothing acts before the unknown is decided"
    (pause,) = result["pauses"]
    (request,) = pause["action_requests"]
    assert (request["name"], request["args"]) == ("write", {"word": "b"})
    assert "how it ended is not known" in request["description"]
    final = resume(tmp_path, {"type": "approve"})
    assert [m.content for m in final["messages"] if m.type == "tool"] == ["wrote a", "wrote b", "wrote c"]
    assert lines(tmp_path, "effects") == [*before, "b", "c"], "the finished sibling is not run again"
    assert len(lines(tmp_path, "policy")) == 2, "the policy is not asked again for what it had decided"
    recorded = list(ExperienceLog(tmp_path / "experience").read())
    assert [t.observation for t in recorded] == ["wrote a", "wrote b", "wrote c"]


def test_a_human_may_say_what_happened(process: Process, tmp_path: Path) -> None:
    process("after b", "a b")
    process("never")
    final = resume(tmp_path, {"type": "respond", "message": "b stands there"})
    assert [m.content for m in final["messages"] if m.type == "tool"] == ["wrote a", "b stands there"]
    assert lines(tmp_path, "effects") == ["a", "b"]
    recorded = list(ExperienceLog(tmp_path / "experience").read())
    assert [(t.observation, t.status) for t in recorded] == [("wrote a", "ok"), ("b stands there", "ok")]


def test_a_human_may_leave_it_unknown(process: Process, tmp_path: Path) -> None:
    process("before b", "a b")
    process("never")
    final = resume(tmp_path, {"type": "reject"})
    assert "A human rejected this call" in final["messages"][3].content
    assert lines(tmp_path, "effects") == ["a"]
    recorded = list(ExperienceLog(tmp_path / "experience").read())
    assert [(t.observation, t.status) for t in recorded] == [("wrote a", "ok"), ("", "unknown")]


def test_killed_after_the_effect_was_noted_as_done(process: Process, tmp_path: Path) -> None:
    """The answer is in the journal, so nobody has to be asked and nothing is done again."""
    assert process("finish", "a b") == KILLED
    result = process("never")
    assert result == {"tools": ["wrote a", "wrote b"], "pauses": []}
    assert lines(tmp_path, "effects") == ["a", "b"]


def test_killed_while_the_transition_was_recorded(process: Process, tmp_path: Path) -> None:
    assert process("record", "a b") == KILLED
    assert process("never")["pauses"] == []
    assert lines(tmp_path, "effects") == ["a", "b"]
    recorded = list(ExperienceLog(tmp_path / "experience").read())
    assert [t.observation for t in recorded] == ["wrote a", "wrote b"], "recorded once, though observed twice"


def test_killed_in_the_policy(process: Process, tmp_path: Path) -> None:
    assert process("policy", "a b") == KILLED
    assert process("never") == {"tools": ["wrote a", "wrote b"], "pauses": []}
    assert lines(tmp_path, "effects") == ["a", "b"]


DONE: list[str] = []


@pytest.fixture(autouse=True)
def _clean() -> None:
    DONE.clear()


@tool
def look(where: str) -> str:
    """Look somewhere."""
    DONE.append(where)
    return f"You see {where}."


def contents(result: dict[str, Any]) -> list[str]:
    return [m.content for m in result["messages"] if m.type == "tool"]


def before_act(agent: Any, config: Any) -> Any:
    """Return the config of the first checkpoint at which a call waits to be executed."""
    return [s.config for s in agent.get_state_history(config) if s.next and s.next[0] == "act"][-1]


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_time_travel_past_a_done_call_asks(drive: Any, thread: Any, steps: int, decision: str) -> None:
    def policy(messages: list[Any]) -> Any:
        seen = sum(m.type == "tool" for m in messages)
        return call("look", where=str(seen)) if seen < steps else "Done."

    agent = create_dyna_agent(ScriptedChatModel(script=policy), [look], checkpointer=InMemorySaver())
    drive(agent, "go", thread)
    assert len(DONE) == steps
    result = drive(agent, None, before_act(agent, thread))
    assert len(DONE) == steps, "travelling in time repeats no effect"
    (pause,) = result["__interrupt__"]
    assert "it has run before" in pause.value["action_requests"][0]["description"]
    drive(agent, Command(resume={"decisions": [{"type": decision}]}), thread)
    assert DONE[steps : steps + 1] == (["0"] if decision == "approve" else DONE[steps : steps + 1])
    if decision == "reject":
        assert "0" not in DONE[steps:]


def test_a_conversation_that_is_resumed_twice_at_once_acts_once(thread: Any) -> None:
    """As when somebody clicks twice."""
    inside, leave = threading.Event(), threading.Event()

    @tool
    def pay(amount: int) -> str:
        """Pay."""
        DONE.append(str(amount))
        inside.set()
        leave.wait(20)
        return "paid"

    model = ScriptedChatModel(script=[call("pay", amount=1), "Done."])
    agent = create_dyna_agent(model, [pay], checkpointer=InMemorySaver(), interrupt_before=["act"])
    agent.invoke({"messages": [("user", "go")]}, thread)
    first = threading.Thread(target=agent.invoke, args=(None, thread))
    first.start()
    assert inside.wait(20)
    second = agent.invoke(None, thread)
    leave.set()
    first.join()
    assert DONE == ["1"]
    (pause,) = second["__interrupt__"]
    assert (
        "another run of this conversation is executing it" in pause.value["action_requests"][0]["description"]
    )


def lost(journal: IntentJournal, thread: str = "t") -> None:
    """Leave an intent behind as a killed process would, under an id that no message knows."""
    intent = Intent(thread, "", "lost", 1, "look", '{"where": "vault"}', "")
    journal.start(intent)
    journal.abandon(intent)


@pytest.mark.parametrize(("decision", "done"), [("approve", ["a"]), ("reject", [])])
def test_an_intent_under_another_id_is_asked_about_first(
    drive: Any, thread: Any, decision: str, done: list[str]
) -> None:
    saver = InMemorySaver()
    lost(journal_beside(saver))
    model = ScriptedChatModel(script=[call("look", where="a"), "Done.", "Done."])
    agent = create_dyna_agent(model, [look], checkpointer=saver)
    result = drive(agent, "go", thread)
    assert DONE == []
    (request,) = result["__interrupt__"][0].value["action_requests"]
    assert request["args"] == {"where": "vault"}
    assert result["__interrupt__"][0].value["review_configs"][0]["allowed_decisions"] == ["approve", "reject"]
    drive(agent, Command(resume={"decisions": [{"type": decision}]}), thread)
    assert done == DONE
    assert journal_beside(saver).open("t", "") == []


def test_a_call_that_waited_for_one_that_ended_meanwhile_may_be_called_again(drive: Any, thread: Any) -> None:
    """Another process was executing it after all, and has finished before anybody could be asked."""

    class Slow(IntentJournal):
        def open(self, thread: str, ns: str) -> list[Intent]:
            self.finish(Intent(thread, ns, "lost", 1, "look", "{}", ""), "done")
            return super().open(thread, ns)

    journal = Slow()
    lost(journal)
    model = ScriptedChatModel(script=[call("look", where="a"), call("look", where="a"), "Done."])
    agent = create_dyna_agent(model, [look], checkpointer=InMemorySaver(), journal=journal)
    result = drive(agent, "go", thread)
    assert DONE == ["a"]
    assert [m.status for m in result["messages"] if m.type == "tool"] == ["error", "success"]


def test_an_intent_of_another_thread_is_nobodys_business(drive: Any, thread: Any) -> None:
    saver = InMemorySaver()
    lost(journal_beside(saver), "another")
    agent = create_dyna_agent(
        ScriptedChatModel(script=[call("look", where="a"), "Done."]), [look], checkpointer=saver
    )
    drive(agent, "go", thread)
    assert DONE == ["a"]


class Interrupted(BaseException):
    """Like KeyboardInterrupt, without upsetting the test runner."""


def test_interrupted_in_a_tool(drive: Any, thread: Any) -> None:
    @tool
    def press(x: int) -> str:
        """Press."""
        DONE.append(f"press {x}")
        if len(DONE) == 1:
            raise Interrupted
        return "pressed"

    agent = create_dyna_agent(
        ScriptedChatModel(script=lambda m: "Done." if m[-1].type == "tool" else call("press", x=1)),
        [press],
        checkpointer=InMemorySaver(),
    )
    with pytest.raises(Interrupted):
        drive(agent, "go", thread)
    result = drive(agent, None, thread)
    assert DONE == ["press 1"]
    assert "how it ended is not known" in str(result["__interrupt__"][0].value)
    result = drive(agent, Command(resume={"decisions": [{"type": "approve"}]}), thread)
    assert contents(result) == ["pressed"]


def test_a_tool_that_hangs_is_asked_about_and_siblings_wait(drive: Any, thread: Any, tmp_path: Path) -> None:
    release = threading.Event()

    @tool
    def hang(x: int) -> str:
        """Hang."""
        DONE.append(f"hang {x}")
        if len([d for d in DONE if d.startswith("hang")]) == 1:
            release.wait(2)
        return "answered"

    one_by_one = {**thread, "max_concurrency": 1}
    message = calls(("look", {"where": "a"}, "1"), ("hang", {"x": 1}, "2"))
    agent = create_dyna_agent(
        ScriptedChatModel(script=[message, "Done."]),
        [look, hang],
        checkpointer=InMemorySaver(),
        tool_settings={"hang": {"timeout": 0.1}},
        record=tmp_path,
    )
    parts = drive.stream(agent, "go", one_by_one, stream_mode="values")
    release.set()
    pauses = [p for part in parts for p in part.get("__interrupt__", ())]
    assert "no answer within 0.1 s" in pauses[0].value["action_requests"][0]["description"]
    assert [t.observation for t in ExperienceLog(tmp_path).read()] == ["You see a."], (
        "what is known is recorded"
    )
    result = drive(agent, Command(resume={"decisions": [{"type": "approve"}]}), thread)
    assert contents(result) == ["You see a.", "answered"]
    assert DONE.count("a") == 1
    assert [t.observation for t in ExperienceLog(tmp_path).read()] == ["You see a.", "answered"]


def test_checkpoints_are_written_before_a_tool_runs(drive: Any, thread: Any) -> None:
    saver = InMemorySaver()
    waiting: list[bool] = []

    @tool
    def check(x: int) -> str:
        """Look at the checkpoint."""
        waiting.append("act" in agent.get_state(thread).next)
        return "ok"

    agent = create_dyna_agent(
        ScriptedChatModel(script=[call("check", x=1), "Done."]), [check], checkpointer=saver
    )
    drive(agent, "go", thread)
    assert waiting == [True]


def test_checkpoints_hold_plain_values(drive: Any, thread: Any, recwarn: pytest.WarningsRecorder) -> None:
    saver = InMemorySaver()
    message = calls(("look", {"where": "a"}, None), ("look", {"where": "b"}, None))
    critic = ScriptedCritic(lambda h, s: "approve")
    agent = create_dyna_agent(
        ScriptedChatModel(script=[message, "Done."]), [look], critic=critic, checkpointer=saver
    )
    drive(agent, "go", thread)
    for snapshot in agent.get_state_history(thread):
        plain = {k: v for k, v in snapshot.values.items() if k not in ("messages", "candidates", "outcomes")}
        assert json.loads(json.dumps(plain)) == plain
    assert not [w for w in recwarn if "serial" in str(w.message).lower()]


def test_a_checkpointer_without_a_place_for_the_journal_is_refused(tmp_path: Path) -> None:
    class Remote(BaseCheckpointSaver[str]):
        pass

    with pytest.raises(ValueError, match=r"journal='path\.sqlite'"):
        create_dyna_agent(ScriptedChatModel(script=[]), [look], checkpointer=Remote())
    create_dyna_agent(
        ScriptedChatModel(script=[]), [look], checkpointer=Remote(), journal=tmp_path / "j.sqlite"
    )


def test_without_a_journal_a_run_still_works(drive: Any, thread: Any) -> None:
    model = ScriptedChatModel(script=[call("look", where="a"), "Done."])
    agent = create_dyna_agent(model, [look], checkpointer=InMemorySaver(), journal=False)
    assert contents(drive(agent, "go", thread)) == ["You see a."]


def test_a_broken_journal_stops_the_run_before_the_tool(drive: Any, thread: Any, tmp_path: Path) -> None:
    journal = IntentJournal(tmp_path / "j.sqlite")
    model = ScriptedChatModel(script=[call("look", where="a"), "Done."])
    agent = create_dyna_agent(model, [look], checkpointer=InMemorySaver(), journal=journal)
    journal.close()
    with pytest.raises(OSError, match="nothing acts without it"):
        drive(agent, "go", thread)
    assert DONE == []
