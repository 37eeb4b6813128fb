"""An environment as a tool: sessions by thread, rebuilt by replay, and a replay that disagrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from dyna_graph.agent import create_dyna_agent
from dyna_nodes.conversation import marked
from dyna_nodes.nouns import Action, Step
from dyna_nodes.testing import ScriptedChatModel, call, calls
from dyna_training.acting import EPISODE
from dyna_training.environments.alfworld import AlfworldEnv, load_game
from dyna_training.environments.alfworld.generator import write
from dyna_training.sessions import Episode, SessionLost, Sessions, commands_in
from dyna_training.tools import EnvironmentTool, environment_tools, task_message

SEED = 12
MISSING = "go to the moon"


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("games"), SEED)


@pytest.fixture(scope="module")
def solution(game: Path) -> tuple[str, ...]:
    return load_game(game).walkthrough


@pytest.fixture
def act() -> EnvironmentTool:
    [tool] = environment_tools("dyna/ALFWorld-v0", admissible_actions=False)
    return tool


def begin(tool: EnvironmentTool, game: Path, seed: int = 1) -> dict[str, Any]:
    return {"messages": [task_message(tool, seed=seed, options={"game": str(game)})]}


def thread(name: str = "1") -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}


def script(commands: tuple[str, ...] | list[str]) -> ScriptedChatModel:
    return ScriptedChatModel(script=[*(call("act", command=c) for c in commands), "I stop."])


def answers(result: dict[str, Any]) -> list[ToolMessage]:
    return [m for m in result["messages"] if isinstance(m, ToolMessage)]


def expected(game: Path, commands: tuple[str, ...] | list[str]) -> list[str]:
    env = AlfworldEnv(games=[game])
    env.reset()
    return [env.step(c)[0] for c in commands]


def test_the_policy_sees_one_argument_and_the_loop_that_calls_are_sequential(act: EnvironmentTool) -> None:
    assert act.name == "act"
    assert list(act.args) == ["command"]
    assert act.tool_call_schema.model_json_schema()["required"] == ["command"]  # type: ignore[union-attr]
    assert (act.metadata or {})["sequential"]


@pytest.mark.parametrize("config", [thread(), None], ids=["thread", "no thread"])
def test_an_agent_solves_a_game(
    act: EnvironmentTool, game: Path, solution: tuple[str, ...], config: dict[str, Any] | None
) -> None:
    agent = create_dyna_agent(script(solution), [act])
    result = agent.invoke(begin(act, game), config)  # type: ignore[arg-type]
    assert [m.content for m in answers(result)] == expected(game, solution)
    last = {"reward": 1.0, "done": True, "success": True}
    wins = [m.artifact == last for m in answers(result)]
    assert wins == [False] * (len(solution) - 1) + [True]
    assert result["ended"]["kind"] == "done"


async def test_async_and_langchains_own_agent_play_the_same(
    act: EnvironmentTool, game: Path, solution: tuple[str, ...]
) -> None:
    wanted = expected(game, solution)
    result = await create_dyna_agent(script(solution), [act]).ainvoke(begin(act, game), thread("a"))
    assert [m.content for m in answers(result)] == wanted
    result = create_agent(script(solution), [act]).invoke(begin(act, game), thread("b"))
    assert [m.content for m in answers(result)] == wanted
    result = await create_agent(script(solution), [act]).ainvoke(begin(act, game), thread("c"))
    assert [m.content for m in answers(result)] == wanted


def test_the_first_message_holds_the_observation_and_the_episode(act: EnvironmentTool, game: Path) -> None:
    message = task_message(act, seed=5, options={"game": str(game)}, preface="Play.")
    assert message.content == f"Play.\n\n{AlfworldEnv(games=[game]).reset()[0]}"
    episode = Episode.model_validate(message.additional_kwargs[EPISODE])
    assert (episode.environment, episode.seed, episode.options) == (
        "dyna/ALFWorld-v0",
        5,
        {"game": str(game)},
    )
    assert task_message(act, options={"game": str(game)}).additional_kwargs[EPISODE]["seed"] >= 0


def test_threads_are_apart(act: EnvironmentTool, game: Path, solution: tuple[str, ...]) -> None:
    one, other = create_dyna_agent(script(solution[:1]), [act]), create_dyna_agent(script(["look"]), [act])
    begun = begin(act, game)
    first = answers(one.invoke(begun, thread("1")))[0].content
    second = answers(other.invoke(begun, thread("2")))[0].content
    assert first == expected(game, solution[:1])[0]
    assert second == expected(game, ["look"])[0] != first


def test_a_run_goes_on_in_another_process(game: Path, solution: tuple[str, ...]) -> None:
    """The checkpoint is all that is left: other tool, other agent, no session."""
    saver = InMemorySaver()
    half = len(solution) // 2
    [before] = environment_tools("dyna/ALFWorld-v0")
    pausing = create_dyna_agent(
        ScriptedChatModel(script=[call("act", command=c) for c in solution[: half + 1]]),
        [before],
        checkpointer=saver,
        journal=False,
        interrupt_before=["act"],
    )
    state: Any = begin(before, game)
    for _ in range(half + 1):
        pausing.invoke(state, thread())
        state = None
    [after] = environment_tools("dyna/ALFWorld-v0")
    assert len(after.sessions) == 0
    going_on = create_dyna_agent(script(solution[half + 1 :]), [after], checkpointer=saver, journal=False)
    result = going_on.invoke(None, thread())
    assert [m.content for m in answers(result)] == expected(game, solution)
    assert result["ended"]["kind"] == "done"


def test_of_several_commands_in_one_message_each_runs_in_its_turn(act: EnvironmentTool, game: Path) -> None:
    commands = ["look", "inventory", MISSING]
    model = ScriptedChatModel(script=[calls(*(("act", {"command": c}, None) for c in commands)), "I stop."])
    result = create_dyna_agent(model, [act]).invoke(begin(act, game), thread())
    assert [m.content for m in answers(result)] == expected(game, commands)


def test_an_agent_without_turns_runs_the_first_command_only(act: EnvironmentTool, game: Path) -> None:
    """LangChain's agent runs calls at once; which came first would be chance."""
    commands = ["look", "inventory"]
    model = ScriptedChatModel(
        script=[
            calls(*(("act", {"command": c}, None) for c in commands)),
            call("act", command="inventory"),
            "I stop.",
        ]
    )
    first, second, third = answers(create_agent(model, [act]).invoke(begin(act, game), thread()))
    assert first.content == expected(game, commands)[0]
    assert second.status == "error"
    assert "one after another" in str(second.content)
    assert third.content == expected(game, commands)[1]


def test_a_session_is_dropped_and_rebuilt(game: Path, solution: tuple[str, ...]) -> None:
    [act] = environment_tools(lambda: AlfworldEnv(), limit=1)
    begun = begin(act, game)
    model = {n: [call("act", command=c) for c in solution] for n in "12"}
    seen: dict[str, list[str]] = {"1": [], "2": []}
    saver = InMemorySaver()
    agents = {
        n: create_dyna_agent(
            ScriptedChatModel(script=model[n]),
            [act],
            checkpointer=saver,
            journal=False,
            interrupt_after=["observe"],
        )
        for n in "12"
    }
    for n in "12":
        agents[n].invoke(begun, thread(n))
    for _ in solution[1:]:
        for n in "12":
            result = agents[n].invoke(None, thread(n))
            seen[n] = [str(m.content) for m in answers(result)]
            assert len(act.sessions) == 1
    assert seen["1"] == seen["2"] == expected(game, solution)


def test_time_travel_rebuilds_the_past(act: EnvironmentTool, game: Path, solution: tuple[str, ...]) -> None:
    saver = InMemorySaver()
    agent = create_dyna_agent(script(solution[:3]), [act], checkpointer=saver, journal=False)
    agent.invoke(begin(act, game), thread())
    past = next(
        s
        for s in agent.get_state_history(thread())
        if s.next == ("simulate",) and len(s.values["messages"]) == 3
    )
    branch = create_dyna_agent(script(["inventory"]), [act], checkpointer=saver, journal=False)
    result = branch.invoke(None, past.config)
    assert [m.content for m in answers(result)] == expected(game, [solution[0], "inventory"])


def lying(result: dict[str, Any]) -> list[Any]:
    """The messages of a run, the environment's first answer replaced by something it never said."""
    return [
        m.model_copy(update={"content": "You are on the moon."}) if isinstance(m, ToolMessage) else m
        for m in result["messages"]
    ]


def test_a_replay_that_disagrees_asks_a_human(
    game: Path, solution: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    [before] = environment_tools("dyna/ALFWorld-v0")
    past = lying(create_agent(script(solution[:1]), [before]).invoke(begin(before, game), thread()))
    closed: list[AlfworldEnv] = []
    monkeypatch.setattr(AlfworldEnv, "close", lambda env: closed.append(env))
    for decision in ("approve", "reject"):
        [after] = environment_tools("dyna/ALFWorld-v0")
        agent = create_dyna_agent(script(solution[1:2]), [after], checkpointer=InMemorySaver(), journal=False)
        asked = agent.invoke({"messages": past[:-1]}, thread())
        [request] = asked["__interrupt__"]
        [action] = request.value["action_requests"]
        assert "gave another past" in action["description"]
        assert "on the moon" in action["description"]
        assert len(closed) == 1, "whoever waits for an answer holds no environment"
        closed.clear()
        result = agent.invoke(Command(resume={"decisions": [{"type": decision}]}), thread())
        last = answers(result)[-1]
        if decision == "approve":
            assert last.content == expected(game, solution[:2])[1]
            assert not closed
            assert after.sessions.live("1") is not None
        else:
            assert closed
            assert last.status == "error"
            assert "Not run" in str(last.content)
            assert after.sessions.live("1") is None


def test_outside_of_a_graph_a_lost_session_is_an_error(act: EnvironmentTool, game: Path) -> None:
    with pytest.raises(SessionLost, match=r"configurable\.episode"):
        act.invoke({"command": "look"}, thread())
    episode = Episode(seed=1, options={"game": str(game)}).model_dump(mode="json")
    config = {"configurable": {"thread_id": "1", "episode": episode}}
    assert act.invoke({"command": "look"}, config) == expected(game, ["look"])[0]  # type: ignore[arg-type]
    assert act.invoke({"command": "inventory"}, thread()) == expected(game, ["inventory"])[0]


def test_an_unknown_episode_stops_the_run(act: EnvironmentTool) -> None:
    agent = create_dyna_agent(script(["look"]), [act], checkpointer=InMemorySaver(), journal=False)
    asked = agent.invoke({"messages": [HumanMessage("Play something.")]}, thread())
    [request] = asked["__interrupt__"]
    assert "task_message()" in request.value["action_requests"][0]["description"]
    assert request.value["review_configs"][0]["allowed_decisions"] == ["reject"]


def test_another_game_under_the_same_name_is_found_out(
    act: EnvironmentTool, game: Path, tmp_path: Path
) -> None:
    begun = begin(act, game)
    other = write(tmp_path, SEED + 1)
    message = begun["messages"][0]
    message.additional_kwargs[EPISODE]["options"]["game"] = str(other)
    agent = create_dyna_agent(script(["look"]), [act], checkpointer=InMemorySaver(), journal=False)
    [request] = agent.invoke(begun, thread())["__interrupt__"]
    assert "not this episode's first observation" in request.value["action_requests"][0]["description"]


def test_after_the_end_nothing_runs(act: EnvironmentTool, game: Path, solution: tuple[str, ...]) -> None:
    model = script((*solution, "look"))
    messages = create_agent(model, [act]).invoke(begin(act, game), thread())["messages"]
    last = next(m for m in reversed(messages) if isinstance(m, ToolMessage))
    assert "the episode has ended" in str(last.content)
    assert marked(last)["kind"] == "refused"


def test_an_episode_that_is_cut_off_is_done_and_no_success(game: Path) -> None:
    [act] = environment_tools("dyna/ALFWorld-v0", max_steps=2)
    result = create_dyna_agent(script(["look", "look", "look"]), [act]).invoke(begin(act, game), thread())
    assert [m.artifact["done"] for m in answers(result)] == [False, True]
    assert answers(result)[-1].artifact == {
        "reward": 0.0,
        "done": True,
        "success": False,
        "truncated": True,
    }
    assert result["ended"]["kind"] == "done"


def test_a_thread_can_play_one_game_after_another(
    act: EnvironmentTool, game: Path, solution: tuple[str, ...]
) -> None:
    agent = create_dyna_agent(
        script((*solution, *solution)), [act], checkpointer=InMemorySaver(), journal=False
    )
    agent.invoke(begin(act, game), thread())
    result = agent.invoke(begin(act, game, seed=2), thread())
    assert [m.content for m in answers(result)] == expected(game, solution) * 2
    assert result["ended"]["kind"] == "done"


def test_arguments_that_are_no_text_never_reach_the_environment(
    act: EnvironmentTool, game: Path, solution: tuple[str, ...]
) -> None:
    bad = AIMessage("", tool_calls=[{"name": "act", "args": {"command": 5}, "id": "x"}])
    model = ScriptedChatModel(script=[bad, *(call("act", command=c) for c in solution)])
    result = create_dyna_agent(model, [act]).invoke(begin(act, game), thread())
    assert answers(result)[0].status == "error"
    assert [m.content for m in answers(result)[1:]] == expected(game, solution)
    assert commands_in([Step(action=Action(tool="act", arguments={"command": 5}), observation="x")]) == []


class Breaking(AlfworldEnv):
    """Breaks on the command "break"."""

    def step(self, action: str) -> Any:
        answer = super().step("open everything" if action == "break" else action)
        if action == "break":
            raise ConnectionError("the environment is gone")
        return answer


def test_the_session_of_an_environment_that_broke_is_forgotten(game: Path, solution: tuple[str, ...]) -> None:
    [act] = environment_tools(lambda: Breaking(max_steps=3))
    config = {"configurable": {"thread_id": "1", "episode": {"seed": 1, "options": {"game": str(game)}}}}
    act.invoke({"command": solution[0]}, config)  # type: ignore[arg-type]
    with pytest.raises(ConnectionError):
        act.invoke({"command": "break"}, config)  # type: ignore[arg-type]
    assert act.sessions.live("1") is None


def test_what_cannot_be_made_says_why() -> None:
    with pytest.raises(ValueError, match="options"):
        environment_tools(AlfworldEnv, max_steps=3)
    with pytest.raises(ValueError, match="limit"):
        Sessions(AlfworldEnv, limit=0)
    [taxi] = environment_tools("CartPole-v1")
    with pytest.raises(TypeError, match="no fork"):
        task_message(taxi)
