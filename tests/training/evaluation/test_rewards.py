"""Rewards and ends from an agent's log to a trained world model's predictions and their report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
from dyna_graph.agent import create_dyna_agent
from dyna_nodes.codec import Outcome
from dyna_nodes.experience import ExperienceLog, TrajectoryWriter
from dyna_nodes.local.base import load_base
from dyna_nodes.local.engine import Engine
from dyna_nodes.nouns import Trajectory
from dyna_nodes.testing import ScriptedChatModel, call
from dyna_nodes.world_models import TrainedWorldModel
from dyna_training.data import read_trajectories
from dyna_training.environments.adapted import AdaptedEnv
from dyna_training.evaluation import figures
from dyna_training.evaluation.episodes import facts
from dyna_training.evaluation.examinees import TrainedExaminee, queries
from dyna_training.evaluation.forcing import ForcingModel
from dyna_training.recipes import settings_of, train_of
from dyna_training.tools import environment_tools, task_message
from tests.nodes.local.tiny_llama import tiny_model, tiny_tokenizer

COMMANDS = ("up", "right", "down", "left")
LAKE = ("left", "down", "right", "up")


def make_cliff() -> AdaptedEnv:
    """Every step costs 1, a fall 100, and nothing but the limit of steps ends the episode here."""
    return AdaptedEnv("CliffWalking-v1", actions=COMMANDS, task="Cliff.", max_steps=3)


def make_lake() -> AdaptedEnv:
    """A hole ends the episode without reward, the other bank with a reward of 1."""
    return AdaptedEnv("FrozenLake-v1", actions=LAKE, task="Lake.", is_slippery=False)


def played(make: Any, folder: Path, *commands: str) -> None:
    [act] = environment_tools(make)
    model = ScriptedChatModel(script=[call("act", command=command) for command in commands])
    agent = create_dyna_agent(model, [act], record=folder)
    agent.invoke({"messages": [task_message(act, seed=0)]}, {"configurable": {"thread_id": str(commands)}})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of an agent, as trajectories."""
    folder = tmp_path_factory.mktemp("rewards")
    played(make_cliff, folder / "log", "up", "right", "down")
    played(make_cliff, folder / "log", "right", "up", "up")
    played(make_lake, folder / "log", "right", "down")
    played(make_lake, folder / "log", "down", "down", "right", "right", "down", "right")
    with TrajectoryWriter(folder / "trajectories.jsonl") as file:
        for trajectory in ExperienceLog(folder / "log").trajectories():
            file.append(trajectory)
    return folder / "trajectories.jsonl"


@pytest.fixture(scope="module")
def episodes(data: Path) -> list[Trajectory]:
    return list(read_trajectories([data]))


def test_the_log_tells_an_end_from_a_limit_of_steps(episodes: list[Trajectory]) -> None:
    fallen, walked, drowned, crossed = (t.transitions for t in episodes)
    assert [t.reward for t in fallen] == [-1.0, -1.0, -100.0]
    assert [dict(t.labels) for t in fallen] == [{}, {}, {"truncated": 1.0}]
    assert [t[-1].done for t in (fallen, walked, drowned, crossed)] == [True] * 4
    assert [t[-1].reward for t in (drowned, crossed)] == [0.0, 1.0]
    assert not any(t.labels for t in (*drowned, *crossed))


def test_a_trained_model_predicts_reward_and_end(
    data: Path, episodes: list[Trajectory], tmp_path: Path
) -> None:
    tiny_model(hidden=48, initializer_range=0.02).save_pretrained(tmp_path / "base")
    tiny_tokenizer().save_pretrained(tmp_path / "base")
    settings = settings_of("world-model")(
        base=str(tmp_path / "base"),
        data=[data],
        out=tmp_path / "run",
        method="full",
        rows=4,
        accumulate=1,
        dtype="float32",
        learning_rate=1e-2,
        epochs=80,
        max_tokens=1024,
        returns=0,
        blind_returns=0,
    )
    train_of("world-model")(settings)
    base = str(tmp_path / "run" / "model")
    real = [Outcome.of(step) for episode in episodes for step in episode.transitions]
    with Engine(load_base(base, "float32")) as engine:
        world = TrainedWorldModel(engine, value=None)
        asked = [query for episode in episodes for query in queries(episode, "agent")]
        for prediction, outcome in zip(world.predict(asked), real, strict=True):
            assert (prediction.observation, prediction.success) == (outcome.observation, outcome.success)
            assert prediction.reward == (outcome.reward or None)
            assert prediction.done is (outcome.done or None)
        assert all(s is not None and s < 0.5 for s in world.surprise(asked, real))

        examinee = TrainedExaminee("a", ForcingModel(load_base(base, "float32")), generators={"agent": world})
        said = [outcome for part in examinee.examine(episodes, "agent") for outcome in part]
    found = figures.figures([fact for episode in episodes for fact in facts(episode)], said)
    assert found["em"]["value"] == 1
    assert {name: share["value"] for part in found["rewards"].values() for name, share in part.items()} == {
        "accuracy": 1,
        "accuracy_told": 1,
        "precision": 1,
        "recall": 1,
        "recall_without_success": 1,
    }
