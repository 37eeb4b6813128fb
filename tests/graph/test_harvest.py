"""Checkpoints of real agents become transitions: once each, only what ran, and with a reason for whatever else."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    HumanInTheLoopMiddleware,
    SummarizationMiddleware,
    ToolCallLimitMiddleware,
)
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from typer.testing import CliRunner

from dyna_graph import DynaMiddleware, create_dyna_agent
from dyna_graph.cli import app
from dyna_graph.errors import DynaError
from dyna_graph.harvest import Harvest, SqliteCheckpoints, open_database
from dyna_graph.harvest import harvest as harvest_into
from dyna_nodes.critics import OutcomeCritic
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Action, Decision, Prediction, Trajectory, Transition, Verdict
from dyna_nodes.testing import ScriptedChatModel, ScriptedCritic, ScriptedWorldModel, call, calls


def look(place: str) -> str:
    """Look somewhere."""
    if place == "nowhere":
        raise ValueError("there is no such place")
    return f"nothing on {place}"


def take(thing: str) -> str:
    """Take something."""
    return f"you have {thing}"


def thread(name: str = "1", **more: Any) -> Any:
    return {"configurable": {"thread_id": name, **more}}


def said(text: str) -> Any:
    return {"messages": [("user", text)]}


class Place:
    """A database of checkpoints and an experience log."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "checkpoints.sqlite"
        self.log = folder / "log"
        self.connection = sqlite3.connect(self.file, check_same_thread=False)
        self.saver = SqliteSaver(self.connection)

    def agent(self, *script: Any, **more: Any) -> Any:
        """Return an agent as LangChain's documentation writes them."""
        return create_agent(
            ScriptedChatModel(script=list(script)), [look, take], checkpointer=self.saver, **more
        )

    def harvest(self, **options: Any) -> Harvest:
        with SqliteCheckpoints(self.file) as database, ExperienceLog(self.log) as log:
            return harvest_into(database, log, **options)

    def transitions(self) -> list[Transition]:
        problems: list[Any] = []
        found = list(ExperienceLog(self.log).read(problems))
        assert not problems
        return found

    def trajectories(self) -> list[Trajectory]:
        return list(ExperienceLog(self.log).trajectories())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    found.connection.close()


# What ran


def test_what_an_agent_did_becomes_transitions(place: Place) -> None:
    agent = place.agent(
        calls(("look", {"place": "desk"}, "a"), ("look", {"place": "bed"}, "b"), content="I look around."),
        call("take", id="a", thing="lamp"),  # an id that was used before, as small models do
        "I have it.",
        call("look", place="shelf"),
        "Nothing there.",
    )
    agent.invoke(said("Find the lamp."), thread())
    agent.invoke(said("And the shelf?"), thread())
    found = place.harvest()
    assert (found.new, found.known, found.calls, found.reasons, found.threads) == (4, 0, 4, {}, 1)
    assert found.tools == {"look": 3, "take": 1}
    (trajectory,) = place.trajectories()
    steps = trajectory.transitions
    assert [(t.index, t.action.text, t.observation) for t in steps] == [
        (0, 'look({"place": "desk"})', "nothing on desk"),
        (1, 'look({"place": "bed"})', "nothing on bed"),
        (2, 'take({"thing": "lamp"})', "you have lamp"),
        (3, 'look({"place": "shelf"})', "nothing on shelf"),
    ]
    assert [t.task for t in steps[2:]] == ["Find the lamp.", "Find the lamp.\n\nAnd the shelf?"]
    assert (steps[0].thought, steps[2].thought) == ("I look around.", "")
    assert steps[0].history == steps[1].history == trajectory.history(0).digest
    assert steps[2].history == trajectory.history(2).digest
    origin = steps[0].provenance
    assert (origin.source, origin.thread, origin.origin) == ("agent", "1", "sqlite:checkpoints.sqlite")
    assert origin.versions["checkpoint"] == "4"
    assert steps[0].time == steps[1].time < steps[2].time, "the time of the checkpoint"
    assert all(not t.scores and t.prediction is None for t in steps)


def test_harvesting_twice_adds_nothing_and_later_only_what_is_new(place: Place) -> None:
    agent = place.agent(call("look", place="desk"), "no", call("look", place="bed"), "no")
    agent.invoke(said("Look."), thread())
    first = place.harvest()
    before = [p.read_bytes() for p in ExperienceLog(place.log).segments()]
    again = place.harvest()
    assert (first.new, again.new, again.known) == (1, 0, 1)
    assert [p.read_bytes() for p in ExperienceLog(place.log).segments()] == before
    agent.invoke(said("Go on."), thread())
    later = place.harvest()
    assert (later.new, later.known) == (1, 1)
    (trajectory,) = place.trajectories()
    assert [t.index for t in trajectory.transitions] == [0, 1]


def test_threads_of_two_databases_with_the_same_name_stay_apart(place: Place, tmp_path: Path) -> None:
    place.agent(call("look", id="a", place="desk"), "no").invoke(said("Look."), thread())
    place.harvest()
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    other.agent(call("look", id="a", place="desk"), "no").invoke(said("Look."), thread())
    other.log = place.log
    assert other.harvest().new == 1
    assert len(place.trajectories()) == 2
    other.connection.close()


@pytest.mark.parametrize("door", ["graph", "middleware"])
@pytest.mark.parametrize("mode", ["enforce", "advise"])
def test_what_the_loop_itself_recorded_is_not_written_again(place: Place, door: str, mode: str) -> None:
    log = ExperienceLog(place.log)
    script = [
        calls(("look", {"place": "desk"}, None), ("look", {"place": "bed"}, None)),
        call("take", thing="lamp"),
        "done",
        call("take", thing="pen"),
        "done",
    ]
    advising = ScriptedCritic(lambda history, simulation: Verdict(decision=Decision.REJECT, hint="careful"))
    critic = advising if mode == "advise" else CHANGING
    agent = guarded(place, door, script, record=log, mode=mode, critic=critic)
    agent.invoke(said("Find the lamp."), thread())
    agent.invoke(said("And a pen."), thread())
    recorded = place.transitions()
    assert len(recorded) == 4
    found = place.harvest()
    assert (found.new, found.known, found.calls, found.reasons) == (0, 4, 4, {})
    place.log = place.log / "other"
    assert place.harvest().new == 4
    # Calls of one message run side by side, and are written when they end.
    assert [(t.action, t.observation) for t in sorted(place.transitions(), key=place_of)] == [
        (t.action, t.observation) for t in sorted(recorded, key=place_of)
    ], "as it ran, without the critic's notes"


def place_of(transition: Transition) -> int:
    """Return where a transition stands in its trajectory."""
    return transition.index


def changing(history: Any, simulation: Any) -> Verdict:
    """Change what takes a lamp."""
    if simulation.action.arguments.get("thing") == "lamp":
        action = Action(tool="take", arguments={"thing": "candle"})
        return Verdict(decision=Decision.MODIFY, action=action, reason="no lamps")
    return Verdict(decision=Decision.APPROVE)


CHANGING = ScriptedCritic(changing)


def guarded(place: Place, door: str, script: list[Any], **options: Any) -> Any:
    """Return an agent with a world model, through one of the two doors."""
    options = {
        "world_model": ScriptedWorldModel(lambda query: Prediction(observation="?", success=False)),
        "critic": OutcomeCritic("*"),
        **options,
    }
    if door == "middleware":
        return place.agent(*script, middleware=[DynaMiddleware(**options)])
    model = ScriptedChatModel(script=script)
    return create_dyna_agent(model, [look, take], checkpointer=place.saver, **options)


def test_tools_that_raise_and_what_a_summary_removed(place: Place) -> None:
    def caught(error: Exception) -> str:
        return f"failed: {error}"

    from langgraph.prebuilt import ToolNode

    model = ScriptedChatModel(script=[call("look", place="nowhere"), "failed"])
    builder = StateGraph(MessagesState)
    builder.add_node("think", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_node("tools", ToolNode([look], handle_tool_errors=caught))
    builder.add_edge(START, "think")
    builder.add_conditional_edges("think", lambda s: "tools" if s["messages"][-1].tool_calls else "__end__")
    builder.add_edge("tools", "think")
    builder.compile(checkpointer=place.saver).invoke(said("Look."), thread("raises"))
    summary = SummarizationMiddleware(
        model=ScriptedChatModel(script=lambda messages: "It looked around."),
        trigger=("messages", 5),
        keep=("messages", 2),
    )
    script = [call("look", place=f"desk {n}") for n in range(6)]
    place.agent(*script, "done", middleware=[summary]).invoke(said("Look around."), thread("long"))
    state = place.agent("x").get_state(thread("long")).values["messages"]
    assert len(state) < 10, "most of it is gone from the state"
    place.harvest()
    by_thread = {t.provenance.thread: t for t in place.trajectories()}
    (failed,) = by_thread["raises"].transitions
    assert (failed.status, failed.observation) == ("error", "failed: there is no such place")
    long = by_thread["long"].transitions
    assert [t.observation for t in long] == [f"nothing on desk {n}" for n in range(6)]
    assert {t.task for t in long} == {"Look around."}, "the summary is no task"


# What did not run, or perhaps did not


def test_what_humans_and_middleware_answered_did_not_run(place: Place) -> None:
    agent = place.agent(
        calls(("look", {"place": "desk"}, "a"), ("look", {"place": "bed"}, "b")),
        call("take", thing="lamp"),
        "done",
        middleware=[HumanInTheLoopMiddleware(interrupt_on={"look": True, "take": True})],
    )
    agent.invoke(said("Look."), thread("human"))
    edit = {"type": "edit", "edited_action": {"name": "look", "args": {"place": "shelf"}}}
    agent.invoke(Command(resume={"decisions": [edit, {"type": "reject", "message": "no"}]}), thread("human"))
    agent.invoke(Command(resume={"decisions": [{"type": "respond", "message": "here"}]}), thread("human"))
    limit = ToolCallLimitMiddleware(tool_name="look", run_limit=1)
    limited = place.agent(call("look", place="x"), call("look", place="y"), "done", middleware=[limit])
    limited.invoke(said("Look."), thread("limit"))
    waiting = place.agent(
        call("take", thing="pen"), middleware=[HumanInTheLoopMiddleware(interrupt_on={"take": True})]
    )
    waiting.invoke(said("Take it."), thread("waiting"))
    waiting.update_state(
        thread("waiting"),
        {"messages": [ToolMessage("by hand", tool_call_id=_last_call(waiting, "waiting"))]},
        as_node="tools",
    )
    found = place.harvest()
    ran = {t.provenance.thread: t for t in place.transitions()}
    assert set(ran) == {"human", "limit"}
    assert (ran["human"].action.arguments, ran["human"].observation) == (
        {"place": "shelf"},
        "nothing on shelf",
    ), "what ran is what the human made of it, without the note for the model"
    assert found.reasons == {
        "rejected by a human": 1,
        "answered by the middleware (HumanInTheLoopMiddleware.after_model), not by the tool": 1,
        "answered by the middleware (ToolCallLimitMiddleware[look].after_model), not by the tool": 1,
        "written with update_state; nobody knows whether the tool ran": 1,
    }
    assert found.calls == 6


def _last_call(agent: Any, name: str) -> str:
    messages = agent.get_state(thread(name)).values["messages"]
    return next(str(m.tool_calls[0]["id"]) for m in reversed(messages) if isinstance(m, AIMessage))


@pytest.mark.parametrize("door", ["graph", "middleware"])
def test_what_dyna_refused_or_imagined_and_what_nobody_answered(place: Place, door: str) -> None:
    script = [call("take", thing="lamp"), "I could not."]
    guarded(place, door, script).invoke(said("Take it."), thread("refused"))
    guarded(place, door, script, dry_run=True, critic=CHANGING).invoke(said("Take it."), thread("dry"))
    waiting = place.agent(
        call("take", thing="pen"), middleware=[HumanInTheLoopMiddleware(interrupt_on={"take": True})]
    )
    waiting.invoke(said("Take it."), thread("waiting"))
    found = place.harvest()
    assert found.new == 0
    assert found.reasons == {
        "imagined in a dry run": 1,
        "refused by Dyna (rejected)": 1,
        "not answered yet": 1,
    }
    assert [line.thread for line in found.left_out] == ["dry", "refused", "waiting"]


def test_examples_in_the_input_were_not_executed(place: Place) -> None:
    given = [
        HumanMessage("Look at the desk."),
        call("look", id="example", place="desk"),
        ToolMessage("an example", tool_call_id="example"),
        AIMessage("Nothing."),
        HumanMessage("Look at the bed."),
    ]
    place.agent(call("look", place="bed"), "no").invoke({"messages": given}, thread())
    found = place.harvest()
    assert found.reasons == {"given as input, not executed in this thread": 1}
    assert [t.observation for t in place.transitions()] == ["nothing on bed"]


# Time travel and sub-graphs


def test_branches_of_time_travel(place: Place) -> None:
    agent = place.agent(
        call("look", place="desk"), call("look", place="bed"), "no", call("take", thing="pen"), "yes"
    )
    agent.invoke(said("Look."), thread())
    assert place.harvest().new == 2
    fork = next(
        s
        for s in agent.get_state_history(thread())
        if s.next == ("model",) and len(s.values["messages"]) == 3
    )
    agent.invoke(None, fork.config)
    after = place.harvest()
    assert (after.new, after.known, after.branches) == (0, 2, 1)
    assert after.reasons == {"on another branch of time travel": 1}
    with_branches = place.harvest(branches=True)
    assert (with_branches.new, with_branches.known) == (2, 2)
    assert place.harvest(branches=True).new == 0
    first, second = place.trajectories()
    assert [t.action.tool for t in first.transitions] == ["look", "look"]
    assert [t.action.tool for t in second.transitions] == ["look", "take"]
    assert second.transitions[1].history == second.history(1).digest, "its history is whole"
    # The thread goes on where time travel led; what was written first keeps its trajectory.
    assert place.harvest().known == 2


def test_a_fork_without_messages_of_its_own_is_no_branch(place: Place) -> None:
    agent = place.agent(call("look", place="desk"), "no")
    agent.invoke(said("Look."), thread())
    states = list(agent.get_state_history(thread()))
    agent.update_state(states[2].config, {"messages": []}, as_node="tools")
    found = place.harvest()
    assert (found.new, found.branches) == (1, 0)


def test_messages_that_a_sub_graph_shares_are_harvested_once(place: Place) -> None:
    limit = ToolCallLimitMiddleware(tool_name="look", run_limit=1)
    inner = create_agent(
        ScriptedChatModel(script=[call("look", place="desk"), call("look", place="bed"), "no"]),
        [look],
        middleware=[limit],
    )
    builder = StateGraph(MessagesState)
    builder.add_node("helper", inner)
    builder.add_edge(START, "helper")
    builder.compile(checkpointer=place.saver).invoke(said("Look."), thread())
    found = place.harvest()
    assert found.namespaces > found.threads == 1
    assert [t.observation for t in place.transitions()] == ["nothing on desk"]
    assert list(found.reasons) == [
        "answered by the middleware (ToolCallLimitMiddleware[look].after_model), not by the tool"
    ], "only the sub-graph's own checkpoints tell who answered"


# Damage, and databases of others


def test_a_damaged_checkpoint_costs_itself_alone(place: Place) -> None:
    agent = place.agent(call("look", place="desk"), call("look", place="bed"), "no")
    agent.invoke(said("Look."), thread())
    place.agent(call("look", place="x"), "no").invoke(said("Look."), thread("2"))
    ids = [
        r[0] for r in place.connection.execute("SELECT checkpoint_id FROM checkpoints WHERE thread_id = '1'")
    ]
    for id, changes in (
        (ids[3], "checkpoint = x'c1c1'"),
        (ids[4], "type = 'pickle'"),
        (ids[-1], "type = 'msgpack+aes'"),
    ):
        place.connection.execute(f"UPDATE checkpoints SET {changes} WHERE checkpoint_id = ?", (id,))
    place.connection.commit()
    found = place.harvest()
    assert found.new == 3, "later checkpoints hold the same messages"
    assert [line.call for line in found.unreadable] == [ids[3], ids[4], ids[-1]]
    reasons = [line.reason for line in found.unreadable]
    assert reasons[0].startswith("cannot be decoded as msgpack")
    assert reasons[1].startswith("cannot be decoded as pickle")
    assert reasons[2].startswith("encrypted (msgpack+aes)")


def test_nothing_that_a_database_names_is_called(place: Place, tmp_path: Path) -> None:
    """A row can name any function to be called when it is read; here it is one that leaves a trace."""
    import ormsgpack

    agent = place.agent(call("look", place="desk"), "no")
    agent.invoke(said("Look."), thread())
    payload = ormsgpack.packb(("os", "mkdir", [str(tmp_path / "trace")]))
    evil = ormsgpack.packb(
        {
            "v": 4,
            "id": "1",
            "ts": "2026",
            "channel_values": {"messages": ormsgpack.Ext(1, payload)},
            "versions_seen": {},
        }
    )
    place.connection.execute("UPDATE checkpoints SET checkpoint = ?, type = 'msgpack'", (evil,))
    place.connection.commit()
    found = place.harvest()
    assert not (tmp_path / "trace").exists()
    assert found.new == 0
    assert found.unreadable


def test_a_truncated_file(place: Place, tmp_path: Path) -> None:
    for name in range(8):
        place.agent(call("look", place="desk"), "no").invoke(said("Look. " * 200), thread(str(name)))
    place.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole = place.file.read_bytes()
    half = tmp_path / "half.sqlite"
    half.write_bytes(whole[: len(whole) // 2 // 4096 * 4096])
    result = CliRunner().invoke(app, ["harvest", str(half), str(tmp_path / "half")])
    assert result.exit_code in (0, 1)
    assert "malformed" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no database" * 100, "file is not a database"),
        (b"", "has no table `checkpoints`"),
        ("CREATE TABLE other (a)", "has no table `checkpoints`"),
        (
            "CREATE TABLE checkpoints (thread_id, thread_ts, parent_ts, checkpoint)",
            "no column 'checkpoint_id'; if another version",
        ),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, content: bytes | str, message: str) -> None:
    file = tmp_path / "other.sqlite"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        with sqlite3.connect(file) as connection:
            connection.execute(content)
        connection.close()
    with pytest.raises(DynaError, match=message):
        open_database(str(file))
    with pytest.raises(DynaError, match="there is no such file"):
        open_database(str(tmp_path / "nothing.sqlite"))
    assert not (tmp_path / "nothing.sqlite").exists()


def test_a_checkpoint_of_another_version(place: Place) -> None:
    """Version 1 keeps the messages in the same place; a state without messages is named."""
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    messages = [HumanMessage("Look.", id="1"), call("look", id="a", place="desk"), "no"]
    messages[2] = ToolMessage("nothing", tool_call_id="a", id="3")
    serializer = JsonPlusSerializer()
    place.agent("x").invoke(said("hi"), thread("0"))  # makes the tables
    for name, values in (("old", {"messages": messages}), ("foreign", {"documents": ["a"]})):
        checkpoint = {"v": 1, "id": name, "ts": "2024-05-04T06:32:42+00:00", "channel_values": values}
        kind, blob = serializer.dumps_typed(checkpoint)
        place.connection.execute(
            "INSERT INTO checkpoints VALUES (?, '', ?, NULL, ?, ?, NULL)", (name, name, kind, blob)
        )
    place.connection.commit()
    found = place.harvest()
    (transition,) = place.transitions()
    assert (transition.observation, transition.provenance.versions["checkpoint"]) == ("nothing", "1")
    assert transition.time == 1714804362.0
    assert [(line.thread, line.reason) for line in found.unreadable] == [
        ("foreign", "no messages in the channel 'messages'; name another with --channel")
    ]


# The command


def test_the_command_with_a_redaction_hook(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = place.agent(call("look", place="desk of Ann"), call("take", thing="secret"), "done")
    agent.invoke(said("Look."), thread())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "privacy_hook.py").write_text(
        "def hide(transition):\n"
        "    if 'secret' in transition.observation:\n"
        "        return None\n"
        "    text = transition.observation.replace('Ann', '…')\n"
        "    return transition.model_copy(update={'observation': text, 'id': 'changed'})\n"
    )
    words = ["harvest", str(place.file), str(place.log), "--redact", "privacy_hook:hide"]
    dry = CliRunner().invoke(app, [*words, "--dry-run"])
    assert "1 new transitions would be written" in dry.output
    assert not place.log.exists()
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "left out by the redaction hook" in result.output
    assert [t.observation for t in place.transitions()] == ["nothing on desk of …"]
    again = CliRunner().invoke(app, [*words, "--json"])
    assert (json.loads(again.output)["new"], json.loads(again.output)["known"]) == (0, 1)
    wrong = CliRunner().invoke(app, [*words[:3], "--redact", "privacy_hook:hid"])
    assert wrong.exit_code == 2
    none = CliRunner().invoke(app, [*words[:3], "--thread", "nobody"])
    assert none.exit_code == 1
