"""An environment's functions as tools: a tool for each, one session behind all, replay and the perfect world model."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from dyna_graph.agent import create_dyna_agent
from dyna_nodes.codec.actions import parse_action
from dyna_nodes.nouns import Action, History, Query, Step
from dyna_nodes.testing import ScriptedChatModel, call, calls
from dyna_training.environments.bfcl import BfclEnv, all_tasks
from dyna_training.environments.bfcl.experts import GroundTruth
from dyna_training.tools import EnvironmentTool, environment_tools, task_message
from dyna_training.world_models.environment import EnvironmentWorldModel

GAME = "multi_turn_base_0"


@pytest.fixture
def tools() -> list[EnvironmentTool]:
    return environment_tools("dyna/BFCL-v0", functions=True, games=[GAME], signatures=False)


def solution(game: str = GAME) -> list[Action]:
    """The oracle's calls, ends of turns included."""
    env = BfclEnv(games=[game])
    env.reset()
    expert, taken, over = GroundTruth(all_tasks()[game]), [], False
    while not over:
        decision = expert.decide().action
        observation, _, over, _, _ = env.step(decision)
        expert.observe(decision, observation)
        taken.append(parse_action(decision))
    return taken


def script(actions: list[Action]) -> ScriptedChatModel:
    return ScriptedChatModel(script=[*(call(a.tool, **a.arguments) for a in actions), "I stop."])


def begin(tools: list[EnvironmentTool]) -> dict[str, Any]:
    return {"messages": [task_message(tools[0], seed=1, options={"game": GAME})]}


def thread(name: str = "1") -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}


def answers(result: dict[str, Any]) -> list[ToolMessage]:
    return [m for m in result["messages"] if isinstance(m, ToolMessage)]


def expected(actions: list[Action]) -> list[str]:
    env = BfclEnv(games=[GAME])
    env.reset()
    return [env.step(action.text)[0] for action in actions]


def test_each_function_is_a_tool_with_its_own_schema(tools: list[EnvironmentTool]) -> None:
    by_name = {tool.name: tool for tool in tools}
    assert len(by_name) == len(tools) == 18 + 14 + 1
    schema: Any = by_name["post_tweet"].tool_call_schema
    assert schema["properties"]["tags"]["items"] == {"type": "string"}
    assert schema["required"] == ["content"]
    assert "Post a tweet" in by_name["post_tweet"].description
    assert len({id(tool.sessions) for tool in tools}) == 1
    assert len(environment_tools("dyna/BFCL-v0", functions=True)) == 129
    with pytest.raises(ValueError, match="has no functions"):
        environment_tools("dyna/ALFWorld-v0", functions=True)


def test_an_agent_solves_a_task_with_its_functions(tools: list[EnvironmentTool]) -> None:
    actions = solution()
    begun = begin(tools)
    assert str(begun["messages"][0].content).startswith("User: Move")
    result = create_dyna_agent(script(actions), tools).invoke(begun, thread())
    assert [m.content for m in answers(result)] == expected(actions)
    assert [m.name for m in answers(result)] == [a.tool for a in actions]
    assert answers(result)[-1].artifact == {"reward": 1.0, "done": True, "success": True}
    assert result["ended"]["kind"] == "done"


async def test_langchains_own_agent_does_too(tools: list[EnvironmentTool]) -> None:
    actions = solution()
    result = create_agent(script(actions), tools).invoke(begin(tools), thread("b"))
    assert [m.content for m in answers(result)] == expected(actions)
    result = await create_agent(script(actions), tools).ainvoke(begin(tools), thread("c"))
    assert [m.content for m in answers(result)] == expected(actions)


def test_what_functions_do_not_take_is_answered_by_them(tools: list[EnvironmentTool]) -> None:
    wrong = [Action(tool="cd", arguments={"path": "x"}), Action(tool="cat", arguments={"file_name": 5})]
    result = create_dyna_agent(script([*wrong, *solution()]), tools).invoke(begin(tools), thread())
    first, second, *_ = answers(result)
    assert "unexpected keyword argument 'path'" in str(first.content)
    assert "Error during execution" in str(second.content)
    assert answers(result)[-1].artifact["success"]


def test_of_several_calls_at_once_langchains_agent_runs_the_first(tools: list[EnvironmentTool]) -> None:
    model = ScriptedChatModel(script=[calls(("ls", {}, None), ("pwd", {}, None)), "I stop."])
    first, second = answers(create_agent(model, tools).invoke(begin(tools), thread()))
    assert first.content == expected([Action(tool="ls")])[0]
    assert second.status == "error"
    assert "one after another" in str(second.content)


def test_a_run_goes_on_in_another_process(tools: list[EnvironmentTool]) -> None:
    """The checkpoint is all that is left: other tools, other agent, no session."""
    actions, saver = solution(), InMemorySaver()
    half = len(actions) // 2
    pausing = create_dyna_agent(
        script(actions[: half + 1]), tools, checkpointer=saver, journal=False, interrupt_before=["act"]
    )
    state: Any = begin(tools)
    for _ in range(half + 1):
        pausing.invoke(state, thread())
        state = None
    after = environment_tools("dyna/BFCL-v0", functions=True, games=[GAME], signatures=False)
    going_on = create_dyna_agent(script(actions[half + 1 :]), after, checkpointer=saver, journal=False)
    result = going_on.invoke(None, thread())
    assert [m.content for m in answers(result)] == expected(actions)
    assert answers(result)[-1].artifact["success"]


def test_the_environment_as_world_model_knows_what_a_call_will_do(tools: list[EnvironmentTool]) -> None:
    world, actions = EnvironmentWorldModel(tools), solution()
    seen = expected(actions)
    message = task_message(tools[0], seed=1, options={"game": GAME})
    agent = create_dyna_agent(script(actions[:2]), tools, world_model=world)
    agent.invoke({"messages": [message]}, thread())
    steps = tuple(Step(action=a, observation=o) for a, o in zip(actions[:2], seen, strict=False))
    history = History(task=str(message.content), steps=steps)
    rm = Action(tool="rm", arguments={"file_name": "previous_report.pdf"})
    later, other, strange = world.predict(
        [
            Query(history=history, action=action, session="1")
            for action in (actions[2], rm, Action(tool="web_search", arguments={"query": "x"}))
        ]
    )
    assert (later.observation, later.done) == (seen[2], False)
    assert later.value is not None
    assert other.value is not None
    assert later.value > other.value == 0.0
    assert "is no command of the environment" in str(strange.error)
    assert len(tools[0].sessions.live("1").pairs) == 2  # type: ignore[union-attr]
