"""Playing inside a world model: who answers, where it ends, how it is recorded, and that nothing learns from it
unasked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dyna_graph import cli
from dyna_nodes.experience import write_trajectory
from dyna_nodes.nouns import TRUNCATED, Action, Prediction, Query, Transition
from dyna_nodes.testing import ScriptedChatModel, call
from dyna_training.data import read_trajectories
from dyna_training.environments.alfworld import AlfworldEnv
from dyna_training.environments.alfworld.generator import generate, write
from dyna_training.imagined import ImaginedEnv
from dyna_training.recording import ModelPlayer, further_call, record_of
from dyna_training.rollouts import play
from dyna_training.tools import environment_tools


class Told:
    """A world model that counts its history, and imagines success or has no answer at given steps."""

    name = "told"

    def __init__(self, success_at: int = -1, silent_at: int = -1) -> None:
        self.success_at, self.silent_at = success_at, silent_at
        self.asked: list[Query] = []

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        self.asked += queries
        return [self._answer(len(q.history.steps), q.action.text) for q in queries]

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        return self.predict(queries)

    def _answer(self, step: int, command: str) -> Prediction:
        if step == self.silent_at:
            return Prediction(error="no end after 160 tokens")
        return Prediction(observation=f"{command}, {step}.", success=step == self.success_at)


def imagined(world_model: Told, max_steps: int = 50) -> ImaginedEnv:
    real = AlfworldEnv(max_steps=max_steps, admissible_actions=False)
    return ImaginedEnv(world_model, real, max_steps)


def player(world_model: Told, max_steps: int = 50) -> ModelPlayer:
    [act] = environment_tools(lambda: imagined(world_model, max_steps))
    model = ScriptedChatModel(script=lambda _: call("act", content="I look.", command="look"))
    return ModelPlayer("a model", model, [act], max_steps, imagined="runs/world-model/adapter")


def test_the_world_model_answers_from_the_real_first_observation_on(tmp_path: Path) -> None:
    world_model, file = Told(success_at=2), write(tmp_path, 3)
    env = imagined(world_model)
    observation, info = env.reset(seed=0, options={"game": str(file)})
    assert observation == AlfworldEnv(games=[file]).reset(seed=0)[0]
    assert info["game_id"]
    assert env.step("look") == ("look, 0.", 0.0, False, False, {})
    fork = env.fork()
    assert env.step("open fridge 1")[:3] == ("open fridge 1, 1.", 0.0, False)
    assert env.step("look")[:4] == ("look, 2.", 1.0, True, False)
    assert fork.step("look")[0] == "look, 1."
    asked = world_model.asked[2]
    assert asked.history.task == observation
    assert [s.observation for s in asked.history.steps] == ["look, 0.", "open fridge 1, 1."]
    assert asked.imagined == 2
    with pytest.raises(RuntimeError, match="reset"):
        imagined(world_model).step("look")


def test_an_imagined_episode_says_so_and_ends_where_success_is_imagined(tmp_path: Path) -> None:
    trajectory = player(Told(success_at=2)).play(write(tmp_path, 3), seed=4, split="generated")
    assert trajectory.outcome == "success"
    assert [t.observation for t in trajectory.transitions] == ["look, 0.", "look, 1.", "look, 2."]
    assert [t.done for t in trajectory.transitions] == [False, False, True]
    assert [t.thought for t in trajectory.transitions] == ["I look."] * 3
    origin = trajectory.provenance
    assert (origin.source, origin.policy, origin.seed) == ("imagination", "a model", 4)
    assert origin.environment.startswith("imagined dyna/ALFWorld-v0:")
    assert origin.versions["world_model"] == "adapter"
    assert trajectory.hidden_state is None
    assert not trajectory.transitions[0].labels
    # A collection finds the episode again by game, player and seed.
    record = record_of(trajectory.model_dump_json().encode())
    assert record is not None
    assert record.key == ("generated:3", "a model", 4)


class Lost(Told):
    """A world model that imagines a fee for every step, and at the third one the end."""

    def _answer(self, step: int, command: str) -> Prediction:
        return Prediction(
            observation=f"{step}.", success=False, reward=-1.0, done=True if step == 2 else None
        )


def test_an_imagined_reward_and_end_are_those_of_the_episode(tmp_path: Path) -> None:
    file = write(tmp_path, 3)
    lost = player(Lost()).play(file, seed=0, split="generated")
    assert [(t.reward, t.done) for t in lost.transitions] == [(-1.0, False), (-1.0, False), (-1.0, True)]
    assert lost.outcome == "failure"
    cut_off = player(Lost(), max_steps=2).play(file, seed=0, split="generated")
    assert [t.done for t in cut_off.transitions] == [False, False]
    assert cut_off.outcome == "truncated"


def test_an_end_of_which_nothing_is_seen_is_an_end(tmp_path: Path) -> None:
    class Dark(Lost):
        def _answer(self, step: int, command: str) -> Prediction:
            said = super()._answer(step, command)
            return said.model_copy(update={"observation": ""}) if said.done else said

    dark = player(Dark()).play(write(tmp_path, 3), seed=0, split="generated")
    assert [t.observation for t in dark.transitions] == ["0.", "1.", ""]
    assert dark.outcome == "failure"


def test_a_further_call_at_the_limit_is_still_cut_off() -> None:
    step = Transition(action=Action.command("look"), observation="o", labels={TRUNCATED: 1.0})
    assert further_call(step).labels[TRUNCATED] == 1.0


def test_it_is_cut_off_at_the_last_step_and_where_there_is_no_answer(tmp_path: Path) -> None:
    file = write(tmp_path, 3)
    long = player(Told(), max_steps=3).play(file, seed=0, split="generated")
    assert (long.outcome, len(long.transitions)) == ("truncated", 3)
    silent = player(Told(silent_at=1)).play(file, seed=0, split="generated")
    assert silent.outcome == "truncated"
    assert [t.observation for t in silent.transitions] == ["look, 0."]


def test_nothing_reads_what_was_imagined_unless_it_asks(tmp_path: Path) -> None:
    real = play(generate(3), "expert", seed=0, max_steps=3)
    made = player(Told(success_at=1)).play(write(tmp_path / "games", 3), seed=0, split="generated")
    for trajectory in (real, made):
        write_trajectory(tmp_path / "data" / "0.jsonl", trajectory)
    assert [t.id for t in read_trajectories([tmp_path / "data"])] == [real.id]
    assert {t.id for t in read_trajectories([tmp_path / "data"], imagined=True)} == {real.id, made.id}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--imagined", "nowhere", "--policy", "local:smollm2+nowhere"], "no adapter 'nowhere'"),
        (["--imagined", "nowhere", "--policy", "openai:gpt-5-mini"], ""),
        (["--imagined", "nowhere"], "only a --policy plays inside a world model"),
        (
            ["--imagined", "x", "--policy", "local:smollm2", "--behaviours", "expert"],
            "leave out the behaviours",
        ),
    ],
)
def test_what_cannot_be_imagined_is_refused_at_once(tmp_path: Path, options: list[str], message: str) -> None:
    arguments = ["collect", "--split", "generated", "--games", "1", "--out", str(tmp_path / "x"), *options]
    result = CliRunner().invoke(cli.app, arguments, prog_name="dyna")
    assert result.exit_code != 0
    assert message in result.output + str(result.exception)
    assert not (tmp_path / "x").exists()
