"""BFCL's tasks in all that is made of environments: collections, labels, and models that play."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dyna_nodes.codec.policy import why_not_imitated
from dyna_nodes.testing import ScriptedChatModel, call
from dyna_training.collect import CollectSettings, collect
from dyna_training.data import read_trajectories
from dyna_training.environments.bfcl import BfclEnv, games
from dyna_training.environments.catalogue import BFCL
from dyna_training.recording import ModelPlayer, default_prompt
from dyna_training.rollouts import play
from dyna_training.tools import environment_tools


def test_a_collection_is_recorded_and_labelled(tmp_path: Path) -> None:
    settings = CollectSettings.model_validate(
        {
            "environment": BFCL,
            "split": "train",
            "games": 4,
            "out": tmp_path,
            "behaviours": ("expert", "noisy", "random"),
        }
    )
    manifest = collect(settings)
    assert manifest["failed"] == []
    trajectories = list(read_trajectories([tmp_path]))
    assert len(trajectories) == 12
    assert {t.provenance.environment.partition(":")[2] for t in trajectories} <= set(games("train"))
    solved = [t for t in trajectories if t.provenance.policy == "expert"]
    assert [t.outcome for t in solved] == ["success"] * 4
    for trajectory in solved:
        values = [step.labels["return_to_go"] for step in trajectory.transitions]
        assert values == sorted(values)
        assert values[-1] == 1.0
        assert "turn: 1 of" in str(trajectory.hidden_state)


def test_what_is_recorded_can_be_played_again() -> None:
    trajectory = play("multi_turn_base_55", "noisy", seed=3, environment=BFCL, counterfactuals=2)
    env = BfclEnv(games=["multi_turn_base_55"])
    assert env.reset()[0] == trajectory.task
    for step in trajectory.transitions:
        for other in step.counterfactuals:
            assert env.fork().step(other.action.text)[0] == other.observation
        assert env.step(step.action.text)[0] == step.observation


@pytest.mark.parametrize("seed", range(3))
def test_invalid_commands_of_experts_lose_nothing(seed: int) -> None:
    for game in games("dev")[:6]:
        assert play(game, "expert", seed=seed, environment=BFCL).outcome == "success"


def test_a_model_is_told_how_to_call() -> None:
    prompt = default_prompt("openai:gpt-5-mini", BFCL)
    assert "call done" in prompt
    assert "`act`" not in prompt


def test_steps_are_recorded_as_calls_and_can_be_imitated() -> None:
    trajectory = play("multi_turn_base_55", "expert", seed=5, environment=BFCL)
    tools = {step.action.tool for step in trajectory.transitions}
    assert (
        {"lockDoors", "done"} <= tools <= {f.name for f in BfclEnv(games=["multi_turn_base_55"]).functions()}
    )
    assert {why_not_imitated(step) for step in trajectory.transitions if step.labels["expert"]} == {""}


def test_a_model_plays_with_a_tool_for_each_function() -> None:
    """As `dyna collect --policy` does; the model is a script."""
    game = games("dev")[0]
    calls = [step.action for step in play(game, "expert", seed=0, environment=BFCL).transitions]
    tools = environment_tools(BFCL, functions=True, max_steps=50, admissible_actions=False)
    offered: list[list[str]] = []

    class Watched(ScriptedChatModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            offered.append([tool.name for tool in tools])
            return super().bind_tools(tools, **kwargs)

    model = Watched(script=[*(call(a.tool, **a.arguments) for a in calls), "I stop."])
    trajectory = ModelPlayer("a model", model, tools, environment=BFCL).play(game, seed=0, split="dev")
    assert trajectory.outcome == "success"
    assert [step.action for step in trajectory.transitions] == calls
    assert trajectory.transitions[-1].labels["return_to_go"] == 1.0
    assert offered[0] == [function.name for function in BfclEnv(games=[game]).functions()]
