"""What a tracer such as LangSmith's sees: named runs, and the calls of world model and judge below them."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import CallbackManager
from langchain_core.runnables import RunnableParallel
from langchain_core.tools import tool
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run

from dyna_graph import DynaMiddleware
from dyna_graph.agent import create_dyna_agent
from dyna_graph.middleware.naming import as_run
from dyna_nodes import core
from dyna_nodes.critics import JudgeCritic
from dyna_nodes.effects import Plan, blocking
from dyna_nodes.testing import SamplingChatModel, ScriptedChatModel, call
from dyna_nodes.world_models.chat import ChatWorldModel


@tool
def look(where: str) -> str:
    """Look somewhere."""
    return f"You see {where}."


class Collector(BaseTracer):
    """Keeps finished traces, as LangSmith's tracer sends them away."""

    def __init__(self) -> None:
        super().__init__()
        self.roots: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.roots.append(run)


def told(run: Run) -> Any:
    """Return a run as its kind and name, with the runs below it."""
    children = [told(child) for child in run.child_runs]
    return (run.run_type, run.name, *([children] if children else []))


def parts() -> tuple[ChatWorldModel, JudgeCritic]:
    imagined = "<observation>You see it.</observation><success>no</success>"
    world = ChatWorldModel(ScriptedChatModel(script=lambda m: imagined), name="world model")
    return world, JudgeCritic(ScriptedChatModel(script=lambda m: '{"decision": "approve"}'))


def agent(model: Any, **options: Any) -> Any:
    world, judge = parts()
    return create_dyna_agent(model, [look], world_model=world, critic=judge, **options)


def trace(drive: Any, runnable: Any) -> Any:
    collector = Collector()
    drive(runnable, "go", {"callbacks": [collector]})
    (root,) = collector.roots
    return root


def test_every_node_is_a_named_run_with_its_calls_below(drive: Any) -> None:
    model = ScriptedChatModel(script=[call("look", where="a"), "Done."])
    root = trace(drive, agent(model, name="guarded"))
    assert told(root) == (
        "chain",
        "guarded",
        [
            ("chain", "simulate", [("llm", "ScriptedChatModel"), ("llm", "world model")]),
            ("chain", "critique", [("llm", "judge")]),
            ("chain", "act", [("tool", "look")]),
            ("chain", "observe"),
            ("chain", "simulate", [("llm", "ScriptedChatModel")]),
        ],
    )
    assert all(run.error is None for run in root.child_runs)


def below(run: Run, node: str) -> list[Any]:
    """Return what stands below the runs of a node, each time that it ran."""
    return [told(child)[2:] for child in run.child_runs if child.name == node]


def test_the_middleware_names_simulate_and_critique_below_the_model(drive: Any) -> None:
    model = ScriptedChatModel(script=[call("look", where="a"), "Done."])
    root = trace(drive, create_agent(model, [look], middleware=[DynaMiddleware(*parts())]))
    first, last = below(root, "model")
    said = ("llm", "ScriptedChatModel")
    assert first == (
        [said, ("chain", "simulate", [("llm", "world model")]), ("chain", "critique", [("llm", "judge")])],
    )
    assert last == ([said, ("chain", "simulate")],)
    assert below(root, "tools") == [([("tool", "look")],)]
    simulate = root.child_runs[[c.name for c in root.child_runs].index("model")].child_runs[1]
    assert "You see it." in str(simulate.outputs)
    assert simulate.error is None


def test_what_breaks_in_a_named_run_is_its_error(drive: Any) -> None:
    class Broken(JudgeCritic):
        def judge(self, *_: Any) -> Any:
            raise KeyboardInterrupt

        ajudge = judge

    world, _ = parts()
    broken = DynaMiddleware(world, Broken(ScriptedChatModel(script=[])))
    collector = Collector()
    model = ScriptedChatModel(script=[call("look", where="a"), "Done."])
    with pytest.raises(KeyboardInterrupt):
        drive(create_agent(model, [look], middleware=[broken]), "go", {"callbacks": [collector]})
    node = next(c for c in collector.roots[0].child_runs if c.name == "model")
    critique = next(c for c in node.child_runs if c.name == "critique")
    assert "KeyboardInterrupt" in str(critique.error)


def test_time_limits_keep_calls_below_their_node(drive: Any) -> None:
    """A time limit runs the question in another thread or task; the trace must not notice."""
    model = ScriptedChatModel(script=[call("look", where="a"), "Done."])
    settings = {"look": {"timeout": 5}}
    limited = agent(model, world_model_timeout=5, critic_timeout=5, tool_settings=settings)
    simulate, critique, act, *_ = told(trace(drive, limited))[2]
    assert [name for _, name in simulate[2]] == ["ScriptedChatModel", "world model"]
    assert critique[2] == [("llm", "judge")]
    assert act[2] == [("tool", "look")]


def test_candidates_and_what_is_imagined_of_each_are_below_simulate(drive: Any) -> None:
    model = SamplingChatModel(script=[call("look", where="a"), call("look", where="b"), "Done.", "Done."])
    simulate, critique, *_ = told(trace(drive, agent(model, candidates=2)))[2]
    assert [name for _, name in simulate[2]] == ["SamplingChatModel", "world model", "world model"]
    assert [name for _, name in critique[2]] == ["judge", "judge"]


def test_the_trace_holds_what_was_imagined_and_judged(drive: Any) -> None:
    root = trace(drive, agent(ScriptedChatModel(script=[call("look", where="a"), "Done."])))
    simulate, critique, *_ = root.child_runs
    imagined = simulate.child_runs[1].outputs["generations"][0][0]["text"]
    assert "You see it." in imagined
    assert "You see it." in str(critique.child_runs[0].inputs)
    assert "approve" in str(critique.outputs)


def test_what_a_tracer_sees_does_not_reach_the_stream_of_messages(drive: Any) -> None:
    model = SamplingChatModel(script=[call("look", where="a"), call("look", where="b"), "Done.", "No."])
    parts = drive.stream(agent(model, candidates=2), stream_mode="messages")
    assert [message.content for message, _ in parts] == ["", "You see a.", "Done."]


def test_a_plan_that_nobody_drives_any_more_ends() -> None:
    """As that of a run whose event loop has gone."""

    def waiting(run: core.Run) -> Plan[None]:
        yield blocking(lambda: None)

    callbacks = CallbackManager([Collector()])
    plan = as_run("critique", core.Run.of({"callbacks": callbacks}), {}, waiting)
    plan.send(next(plan).run())
    plan.close()


@pytest.mark.parametrize("name", ["judge", "critique"])
def test_nor_does_the_verdict_of_a_judge_that_is_held_to_a_schema(drive: Any, name: str) -> None:
    said = '{"decision": "approve", "score": 1, "reason": "It is safe.", "hint": ""}'
    judge = JudgeCritic(Held(script=lambda _: said), name=name)
    scripted = ScriptedChatModel(script=[call("look", where="a"), "Done."])
    parts = drive.stream(create_dyna_agent(scripted, [look], critic=judge), stream_mode="messages")
    assert [message.content for message, _ in parts] == ["", "You see a.", "Done."]


class Held(ScriptedChatModel):
    """A model whose answers can be held to a schema."""

    holds_to_schemas: ClassVar[bool] = True

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
        """Return what the model answers as LangChain's models do with ``include_raw``."""
        return RunnableParallel(raw=self)
