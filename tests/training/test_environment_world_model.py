"""The perfect world model: what a fork says is what happens, and the live episode never notices."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from dyna_graph.agent import create_dyna_agent
from dyna_graph.config import DynaConfig
from dyna_nodes.codec.world_model import DISCOUNT
from dyna_nodes.critics import HouseholdCritic
from dyna_nodes.events import ObserveEvent
from dyna_nodes.nouns import Action, History, Prediction, Query
from dyna_nodes.protocols import WorldModel
from dyna_nodes.testing import ScriptedChatModel, call
from dyna_training.environments.alfworld import AlfworldEnv, SearchingExpert, load_game
from dyna_training.environments.alfworld.generator import write
from dyna_training.sessions import Episode, Session
from dyna_training.tools import EnvironmentTool, environment_tools, task_message
from dyna_training.world_models import EnvironmentWorldModel

SEED = 12


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


def opened(act: EnvironmentTool, game: Path, commands: tuple[str, ...] = ()) -> tuple[Session, History]:
    """A live session "1" after some commands, and the history that leads there."""
    session = act.sessions.open(Episode(seed=1, options={"game": str(game)}))
    act.sessions.keep("1", session)
    history = History(task=session.task)
    for command in commands:
        history = history.then(Action.command(command), session.step(command).observation)
    return session, history


def ask(model: EnvironmentWorldModel, history: History, *commands: str, **more: Any) -> list[Prediction]:
    return model.predict(
        [Query(history=history, action=Action.command(c), session="1", **more) for c in commands]
    )


def test_it_says_what_happens_then_and_changes_nothing(
    act: EnvironmentTool, game: Path, solution: tuple[str, ...]
) -> None:
    model = EnvironmentWorldModel([act])
    assert isinstance(model, WorldModel)
    session, history = opened(act, game)
    for command in solution:
        before = (list(session.pairs), session.env.hidden_state())
        everything = [*session.env.admissible(), "dance"]
        predictions = ask(model, history, *everything)
        assert (list(session.pairs), session.env.hidden_state()) == before
        for tried, prediction in zip(everything, predictions, strict=True):
            fork = session.fork()
            reality = fork.step(tried)
            assert prediction.error is None
            said = (prediction.observation, prediction.reward, prediction.done, prediction.success)
            assert said == (reality.observation, reality.reward, reality.done, reality.success)
        history = history.then(Action.command(command), session.step(command).observation)
    assert session.last is not None
    assert session.last.success


def test_the_value_is_the_experts_return_given_the_history(
    act: EnvironmentTool, game: Path, solution: tuple[str, ...]
) -> None:
    model = EnvironmentWorldModel([act])
    _, history = opened(act, game, solution[:1])
    [prediction] = ask(model, history, solution[1])
    env = AlfworldEnv(games=[game])
    observation, info = env.reset()
    expert = SearchingExpert(info["task"], observation)
    for command in solution[:2]:
        expert.observe(command, env.step(command)[0])
    needed, won = 0, False
    while not won:
        command = expert.decide().action
        observation, _, won, _, _ = env.step(command)
        expert.observe(command, observation)
        needed += 1
    assert prediction.value == pytest.approx(DISCOUNT**needed)
    _, history = opened(act, game, solution[:-1])
    [last] = ask(model, history, solution[-1])
    assert (last.success, last.done, last.value) == (True, True, 1.0)
    assert ask(EnvironmentWorldModel([act], value=False), history, solution[-1])[0].value is None


def test_imagined_steps_are_executed_in_the_fork(
    act: EnvironmentTool, game: Path, solution: tuple[str, ...]
) -> None:
    model = EnvironmentWorldModel([act])
    session, history = opened(act, game, solution[:1])
    imagined = history
    for command in solution[1:-1]:
        imagined = imagined.then(Action.command(command), "whatever was imagined")
    count = len(solution) - 2
    [prediction] = ask(model, imagined, solution[-1], imagined=count)
    assert prediction.success
    assert len(session.pairs) == 1
    over = imagined.then(Action.command(solution[-1]), "done")
    [after] = ask(model, over, "look", imagined=count + 1)
    assert "has ended" in str(after.error)


def test_a_step_limit_is_no_end_that_it_predicts(game: Path, solution: tuple[str, ...]) -> None:
    """The limit is of the episode, not of the world: the same step earlier would end nothing."""
    limit = len(solution)
    [act] = environment_tools("dyna/ALFWorld-v0", max_steps=limit)
    session, history = opened(act, game, solution[:-1])
    cut_off, solved = ask(EnvironmentWorldModel([act]), history, "look", solution[-1])
    assert (cut_off.done, cut_off.success, cut_off.value) == (False, False, 0.0)
    assert (solved.done, solved.success, solved.value) == (True, True, 1.0)
    assert session.step("look").truncated


def test_forks_and_rebuilt_sessions_are_closed(game: Path, solution: tuple[str, ...]) -> None:
    """They may hold a machine or a browser's tab."""
    open_ones: set[int] = set()

    class Counted(AlfworldEnv):
        def reset(self, **given: Any) -> Any:
            open_ones.add(id(self))
            return super().reset(**given)

        def fork(self) -> Counted:
            twin = super().fork()
            open_ones.add(id(twin))
            kept.append(twin)  # else another object could get its id
            return twin

        def close(self) -> None:
            open_ones.discard(id(self))

    kept: list[Any] = []
    [act] = environment_tools(Counted)
    session, history = opened(act, game, solution[:2])
    model = EnvironmentWorldModel([act], value=False)
    lie = History(task=history.task).then(Action.command(solution[0]), "You are on the moon.")
    shorter = History(task=history.task, steps=history.steps[:1])
    for asked in (history, lie, shorter, history.model_copy(update={"task": "Book a flight."})):
        ask(model, asked, "look", "inventory")
    assert len(kept) >= 4
    assert open_ones == {id(session.env)}


def test_a_history_that_the_episode_cannot_have_is_refused(
    act: EnvironmentTool, game: Path, solution: tuple[str, ...]
) -> None:
    model = EnvironmentWorldModel([act])
    session, history = opened(act, game, solution[:2])
    lie = History(task=history.task).then(Action.command(solution[0]), "You are on the moon.")
    other_task = history.model_copy(update={"task": "Book a flight."})
    for wrong in (lie, other_task):
        [prediction] = ask(model, wrong, "look")
        assert prediction.error is not None
        assert prediction.observation is None
    [foreign] = model.predict([Query(history=history, action=Action(tool="search"), session="1")])
    assert "no command" in str(foreign.error)
    [nameless] = model.predict([Query(history=history, action=Action.command("look"))])
    assert "no session" in str(nameless.error)
    [unknown] = model.predict([Query(history=history, action=Action.command("look"), session="other")])
    assert "task_message()" in str(unknown.error)
    assert len(session.pairs) == 2
    assert act.sessions.live("1") is session


def test_an_earlier_moment_is_rebuilt_beside_the_live_session(
    act: EnvironmentTool, game: Path, solution: tuple[str, ...]
) -> None:
    model = EnvironmentWorldModel([act])
    session, history = opened(act, game, solution[:3])
    earlier = history.model_copy(update={"steps": history.steps[:1]})
    [prediction] = ask(model, earlier, solution[1])
    assert prediction.observation == history.steps[1].observation
    assert act.sessions.live("1") is session
    assert len(session.pairs) == 3


def test_one_bad_query_does_not_spoil_the_others(act: EnvironmentTool, game: Path) -> None:
    model = EnvironmentWorldModel([act])
    _, history = opened(act, game)
    good = Query(history=history, action=Action.command("look"), session="1")
    answers = asyncio.run(model.apredict([good, good.model_copy(update={"session": "x"}), good]))
    assert [a.error is None for a in answers] == [True, False, True]


def played(agent: Any, message: Any, config: Any = None) -> list[Any]:
    events = agent.stream({"messages": [message]}, config, stream_mode="custom")
    return [t for e in events if isinstance(e, ObserveEvent) for t in e.transitions]


@pytest.mark.parametrize("config", [{"configurable": {"thread_id": "1"}}, None], ids=["thread", "no thread"])
def test_in_an_agent_every_prediction_comes_true(
    act: EnvironmentTool, game: Path, solution: tuple[str, ...], config: Any
) -> None:
    model = ScriptedChatModel(script=[call("act", command=c) for c in solution])
    agent = create_dyna_agent(
        model, [act], world_model=EnvironmentWorldModel([act]), critic=HouseholdCritic(), horizon=1
    )
    transitions = played(agent, task_message(act, seed=1, options={"game": str(game)}), config)
    assert len(transitions) == len(solution)
    assert all(t.scores["exact"] == 1.0 for t in transitions)
    assert transitions[-1].prediction.success


def test_in_a_fresh_process_the_first_prediction_rebuilds_the_session(
    game: Path, solution: tuple[str, ...]
) -> None:
    """Simulate comes before act: the world model is the first to miss the session."""
    saver = InMemorySaver()

    def agent(commands: tuple[str, ...], **more: Any) -> Any:
        [act] = environment_tools("dyna/ALFWorld-v0")
        policy = ScriptedChatModel(script=[call("act", command=c) for c in commands])
        parts = {"world_model": EnvironmentWorldModel([act]), "critic": HouseholdCritic()}
        return act, create_dyna_agent(policy, [act], checkpointer=saver, journal=False, **parts, **more)

    config = {"configurable": {"thread_id": "1"}}
    act, first = agent(solution[:2], interrupt_after=["observe"])
    first.invoke({"messages": [task_message(act, seed=1, options={"game": str(game)})]}, config)
    first.invoke(None, config)
    _, second = agent(solution[2:])
    result = second.invoke(None, config)
    assert result["ended"]["kind"] == "done"


def test_yaml_finds_the_environment_among_the_tools(act: EnvironmentTool, tmp_path: Path) -> None:
    file = tmp_path / "dyna.yaml"
    file.write_text("model: openai:gpt-5-mini\nworld_model: {kind: environment, options: {value: false}}\n")
    from dyna_graph.config.build import build_world_model
    from dyna_graph.errors import ConfigError

    model = build_world_model(DynaConfig.from_file(file), [act])
    assert isinstance(model, EnvironmentWorldModel)
    assert model.sessions is act.sessions
    with pytest.raises(ConfigError, match="the tools of exactly one environment"):
        build_world_model(DynaConfig.from_file(file), [])
