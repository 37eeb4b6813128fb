"""Recipes on a tiny real model: what is a target, who sees whom, and that a run learns, stops and goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch.nn import functional

from dyna_nodes.codec import IGNORED, ChatCodec, Example, Outcome, WorldModelCodec, return_level
from dyna_nodes.codec.policy import POLICY_PROMPT, policy_example
from dyna_nodes.experience import write_trajectory
from dyna_nodes.local import LocalChatModel
from dyna_nodes.local.base import load_base
from dyna_nodes.nouns import Trajectory
from dyna_training.environments.alfworld.generator import generate
from dyna_training.recipes import RECIPES, settings_of, train_of
from dyna_training.recipes.common import begin, last_checkpoint, on_one_device, training_arguments
from dyna_training.recipes.left_out import LeftOut
from dyna_training.recipes.loss import losses, plot_loss
from dyna_training.recipes.model import prepare
from dyna_training.recipes.policy import PolicySettings
from dyna_training.recipes.world_model import NO_ROOM, WorldModelSettings, examples
from dyna_training.rollouts import play
from dyna_training.sft import ExampleDataset, attention_mask, pack
from tests.nodes.local.tiny_llama import tiny_model, tiny_tokenizer

MAX_TOKENS = 2200


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("base")
    tiny_model(hidden=24, max_position_embeddings=8192).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def trajectories() -> list[Trajectory]:
    """Short episodes, some of them won, some with steps that are no example to follow."""
    made = [play(generate(seed), "noisy", seed=seed, max_steps=6) for seed in range(60)]
    short = sorted(made, key=lambda t: len(t.model_dump_json()))
    some = [t for t in short if t.outcome == "success"][:4] + [t for t in short if t.outcome != "success"][:6]
    assert len(some) == 10
    return some


@pytest.fixture(scope="module")
def data(trajectories: list[Trajectory], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "0.jsonl"
    for trajectory in trajectories:
        write_trajectory(file, trajectory)
    return file


@pytest.fixture(scope="module")
def codec() -> WorldModelCodec:
    return WorldModelCodec(ChatCodec(tiny_tokenizer()))


def spans(example: Example, codec: WorldModelCodec, branch: bool) -> list[str]:
    """The targets as text, one item per unbroken run of them."""
    found: list[list[int]] = []
    before = -2
    where = [
        i for i, label in enumerate(example.labels) if label != IGNORED and bool(example.branch[i]) == branch
    ]
    trunk = {i: n for n, i in enumerate(i for i in range(len(example.ids)) if not example.branch[i])}
    for i in where:
        place = i if branch else trunk[i]
        if place != before + 1 or branch:
            found.append([])
        found[-1].append(example.labels[i])
        before = place
    return [codec.chat.tokenizer.decode(ids) for ids in found]


def test_the_world_models_targets_are_observations_success_end_and_returns(
    trajectories: list[Trajectory], codec: WorldModelCodec
) -> None:
    for trajectory in trajectories:
        every = range(len(trajectory.transitions))
        example = codec.example(trajectory, context="privileged", returns=every, blind_returns=every)
        wanted = [
            step.observation.strip() + (" [SUCCESS]" if step.done else "") + "<|im_end|>"
            for step in trajectory.transitions
        ]
        assert spans(example, codec, branch=False) == wanted
        digits = [str(return_level(t.labels["return_to_go"])) for t in trajectory.transitions]
        assert spans(example, codec, branch=True) == [d for digit in digits for d in (digit, digit)]
        plain = codec.example(trajectory)
        assert spans(plain, codec, branch=False) == wanted
        assert sum(label != IGNORED for label in plain.labels) == sum(
            len(codec.chat.text(w)) for w in []
        ) + sum(len(codec.answer(Outcome(t.observation, bool(t.done)))) for t in trajectory.transitions)
    assert any("[SUCCESS]" in s for t in trajectories for s in spans(codec.example(t), codec, branch=False))


def test_the_policys_targets_are_what_the_expert_thought_and_did(
    trajectories: list[Trajectory], codec: WorldModelCodec
) -> None:
    for trajectory in trajectories:
        example = policy_example(codec.chat, trajectory)
        wanted = [
            f"{t.thought}\n> {t.action.text}<|im_end|>" for t in trajectory.transitions if t.labels["expert"]
        ]
        assert spans(example, codec, branch=False) == wanted
        text = codec.chat.tokenizer.decode(example.ids)
        assert text.startswith(f"<|im_start|>system\n{POLICY_PROMPT}<|im_end|>\n<|im_start|>user\n")
        assert all(f"> {t.action.text}<|im_end|>" in text for t in trajectory.transitions)
    assert any(not t.labels["expert"] for trajectory in trajectories for t in trajectory.transitions)


def logits(model: Any, row: dict[str, Any]) -> Any:
    with torch.no_grad():
        return model(
            input_ids=row["input_ids"],
            position_ids=row["position_ids"],
            attention_mask=attention_mask(row["branch"], row["document"]),
            use_cache=False,
        ).logits[0]


def loss(model: Any, row: dict[str, Any]) -> float:
    return float(
        functional.cross_entropy(logits(model, row), row["labels"][0], ignore_index=IGNORED, reduction="sum")
    )


def test_branches_are_invisible_to_everything_after_them(
    trajectories: list[Trajectory], codec: WorldModelCodec
) -> None:
    model = tiny_model()
    trajectory = trajectories[0]
    plain = pack([codec.example(trajectory)])
    branched = pack([codec.example(trajectory, returns=[0, 2], blind_returns=[0, 1])])
    trunk = branched["branch"][0] == 0
    assert (~trunk).sum() > 0
    assert torch.equal(branched["input_ids"][0][trunk], plain["input_ids"][0])
    assert torch.equal(branched["position_ids"][0][trunk], plain["position_ids"][0])
    assert torch.allclose(logits(model, branched)[trunk], logits(model, plain), atol=1e-4)


def test_a_branch_sees_its_history_as_if_nothing_came_after(
    trajectories: list[Trajectory], codec: WorldModelCodec
) -> None:
    """The branch after the second observation predicts what a conversation that ends there would predict."""
    model = tiny_model()
    trajectory = trajectories[0]
    row = pack([codec.example(trajectory, returns=[1])])
    [at] = [
        i for i in range(row["branch"].shape[1]) if row["branch"][0, i] and row["labels"][0, i] != IGNORED
    ]
    history = trajectory.history(1)
    step = trajectory.transitions[1]
    ids = [*codec.prefix(history), *codec.question(step.action)]
    ids += [*codec.answer(Outcome(step.observation, bool(step.done)))[:-1], *codec.return_suffix]
    with torch.no_grad():
        alone = model(input_ids=torch.tensor([ids])).logits[0, -1]
    assert torch.allclose(logits(model, row)[at], alone, atol=1e-4)


def test_packed_and_unpacked_losses_agree(trajectories: list[Trajectory], codec: WorldModelCodec) -> None:
    model = tiny_model()
    some = [codec.example(t, returns=[0], blind_returns=[1]) for t in trajectories[:3]]
    alone = [loss(model, pack([example])) for example in some]
    assert loss(model, pack(some)) == pytest.approx(sum(alone), rel=1e-5)
    assert loss(model, pack(some[::-1])) == pytest.approx(sum(alone), rel=1e-5)


def test_shares_of_contexts_and_returns_are_drawn_from_the_seed(
    trajectories: list[Trajectory], codec: WorldModelCodec, data: Path
) -> None:
    def settings(**more: Any) -> WorldModelSettings:
        return WorldModelSettings(data=[data], out=Path("unused"), **more)

    none = examples(trajectories, codec, settings(privileged=0, returns=0, blind_returns=0))
    assert [sum(e.branch) for e in none] == [0] * len(none)
    every = examples(trajectories, codec, settings(privileged=1, returns=1, blind_returns=1))
    for example, trajectory in zip(every, trajectories, strict=True):
        assert max(example.branch) == 2 * len(trajectory.transitions)
        assert "Hidden state:" in codec.chat.tokenizer.decode(example.ids)
    half = settings(privileged=0.5, returns=0.5)
    assert examples(trajectories, codec, half) == examples(trajectories[::-1], codec, half)[::-1]
    assert examples(trajectories, codec, half) != examples(
        trajectories, codec, settings(seed=1, privileged=0.5)
    )


def test_counterfactuals_are_learned_where_there_is_room_for_them(data: Path, codec: WorldModelCodec) -> None:
    trajectories = [play(generate(seed), "noisy", seed=0, counterfactuals=2) for seed in range(3)]
    settings = WorldModelSettings(
        data=[data],
        out=Path("unused"),
        returns=0,
        blind_returns=0,
        counterfactuals=4,
        max_tokens=100_000,
    )
    plain = examples(trajectories, codec, settings.model_copy(update={"counterfactuals": 0}))
    made = examples(trajectories, codec, settings)
    assert [max(e.branch) for e in made] == [4 + 2] * 3, "half of them with the blind return, too"
    short = settings.model_copy(update={"max_tokens": min(len(e.ids) for e in plain)})
    left_out = LeftOut()
    assert examples(trajectories, codec, short, left_out) == plain
    # The others are too long even without them, which `train` says.
    assert left_out.counts() == {NO_ROOM: sum(len(e.ids) <= short.max_tokens for e in plain)}


def test_too_long_episodes_are_left_out_never_cut(
    trajectories: list[Trajectory], codec: WorldModelCodec
) -> None:
    made = [codec.example(t) for t in trajectories]
    longest = max(len(e.ids) for e in made)
    dataset = ExampleDataset(made, longest - 1)
    assert dataset.skipped == sum(len(e.ids) == longest for e in made) > 0
    assert all(len(e.ids) < longest for e in dataset.examples)
    with pytest.raises(ValueError, match="longer than max_tokens=10"):
        ExampleDataset(made, 10)


def settings(recipe: str, base: str, data: Path, out: Path, **more: Any) -> Any:
    given = {
        "base": base,
        "data": [data],
        "out": out,
        "rank": 4,
        "max_tokens": MAX_TOKENS,
        "dtype": "float32",
        "learning_rate": 1e-2,
        "save_steps": 4,
        "accumulate": 1,
    }
    return settings_of(recipe)(**{**given, **more})


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_a_run_learns_and_leaves_a_folder_that_explains_itself(
    recipe: str, base: str, data: Path, tmp_path: Path
) -> None:
    wanted = settings(recipe, base, data, tmp_path / "run", epochs=2)
    metrics = train_of(recipe)(wanted)
    course = [value for _, value in losses(tmp_path / "run" / "progress.jsonl")]
    assert course[-1] < 0.88 * course[0]
    assert metrics["final_loss"] < 0.88 * course[0]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    configuration = json.loads((tmp_path / "run" / "configuration.json").read_text())
    assert configuration["recipe"] == recipe
    assert configuration["learning_rate"] == 1e-2
    assert configuration["data_digest"] == metrics["data_digest"]
    assert (tmp_path / "run" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "run" / "checkpoints").rglob("events.out.tfevents.*"))
    adapter = tmp_path / "run" / "adapter"
    assert f"recipe `{recipe}`" in (adapter / "README.md").read_text()
    weights = load_file(adapter / "adapter_model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.bfloat16}
    model = LocalChatModel(base=base, adapter=adapter, max_tokens=4, dtype="float32")
    assert isinstance(model.invoke("You are in a kitchen.").content, str)
    again = train_of(recipe)(wanted)
    assert again == metrics


def test_rows_are_no_longer_than_the_base_reads(
    base: str, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is longer is left out and counted, as what is longer than ``max_tokens``."""
    small = tmp_path / "base"
    shutil.copytree(base, small)
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 1200}))
    metrics = train_of("policy")(settings("policy", str(small), data, tmp_path / "run", successes_only=False))
    assert "reads no more than 1200 tokens" in caplog.text
    assert metrics["left_out"] > 0
    assert json.loads((tmp_path / "run" / "configuration.json").read_text())["max_tokens"] == 1200


def test_all_weights_can_be_trained(base: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train_of("policy")(settings("policy", base, data, out, method="full", learning_rate=1e-3))
    trained, original = load_base(str(out / "model"), "float32"), load_base(base, "float32")
    changed = [
        not torch.equal(a, b)
        for a, b in zip(trained.model.parameters(), original.model.parameters(), strict=True)
    ]
    assert all(changed)


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_checkpoint_asks_no_hub_about_the_base(
    base: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*_: Any) -> None:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", asked)
    _, model = prepare(settings("policy", base, data, tmp_path))
    model.peft_config["default"].base_model_name_or_path = "a-name"
    model.save_pretrained(str(tmp_path / "checkpoint"))
    assert (tmp_path / "checkpoint" / "adapter_model.safetensors").is_file()


def test_all_weights_are_trained_in_float32(data: Path) -> None:
    """Steps of a small learning rate are lost in bfloat16: 1 + 1/512 is 1 there."""
    given = {"data": [data], "out": data / "run"}
    assert PolicySettings.model_validate({**given, "method": "full"}).dtype == "float32"
    assert PolicySettings.model_validate({**given, "method": "lora"}).dtype == "bfloat16"
    with pytest.raises(ValidationError, match="too coarse"):
        PolicySettings.model_validate({**given, "method": "full", "dtype": "bfloat16"})


def test_a_row_is_not_divided_among_gpus(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = training_arguments(PolicySettings(data=[data], out=tmp_path), epochs=1, logging_steps=1)
    arguments._n_gpu = 2  # as the trainer finds them where nobody launched several processes
    assert on_one_device(arguments).n_gpu == 1
    assert arguments.train_batch_size == 1
    assert "2 GPUs are here and one of them trains; --processes uses more" in caplog.text


class StopAfter(threading.Thread):
    """Sends a signal to this process once a run has logged so many updates."""

    def __init__(self, out: Path, updates: int, number: int) -> None:
        super().__init__(daemon=True)
        self.progress, self.updates, self.number = out / "progress.jsonl", updates, number
        self.start()

    def run(self) -> None:
        while not (self.progress.exists() and len(self.progress.read_text().splitlines()) >= self.updates):
            time.sleep(0.005)
        os.kill(os.getpid(), self.number)


def test_ctrl_c_leaves_a_checkpoint_and_the_run_goes_on_as_if_nothing_had_been(
    base: str, data: Path, tmp_path: Path
) -> None:
    whole = settings("world-model", base, data, tmp_path / "whole", save_steps=1000)
    train_of("world-model")(whole)
    stopped = settings("world-model", base, data, tmp_path / "stopped", save_steps=1000)
    StopAfter(tmp_path / "stopped", 3, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="stopped at update"):
        train_of("world-model")(stopped)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    checkpoint = last_checkpoint(tmp_path / "stopped")
    assert checkpoint is not None
    at = int(checkpoint.rpartition("-")[2])
    metrics = train_of("world-model")(stopped)
    assert metrics["updates"] == 10 > at
    lines = (tmp_path / "stopped" / "progress.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines if '"loss"' in line] == list(range(1, 11))
    assert losses(tmp_path / "stopped" / "progress.jsonl") == losses(tmp_path / "whole" / "progress.jsonl")
    trained = [tmp_path / run / "adapter" / "adapter_model.safetensors" for run in ("whole", "stopped")]
    one, other = (load_file(file) for file in trained)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_sigterm_stops_a_run_like_ctrl_c(base: str, data: Path, tmp_path: Path) -> None:
    StopAfter(tmp_path / "run", 1, signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt, match="stopped at update"):
        train_of("policy")(settings("policy", base, data, tmp_path / "run", epochs=50))
    assert last_checkpoint(tmp_path / "run") is not None


def test_training_goes_on_from_an_adapter_of_the_same_base_only(
    base: str, data: Path, tmp_path: Path
) -> None:
    first = train_of("policy")(settings("policy", base, data, tmp_path / "first", epochs=2))
    adapter = tmp_path / "first" / "adapter"
    second = train_of("policy")(settings("policy", base, data, tmp_path / "second", adapter=adapter))
    assert (
        losses(tmp_path / "second" / "progress.jsonl")[0][1]
        < losses(tmp_path / "first" / "progress.jsonl")[0][1]
    )
    assert second["loss"] < first["loss"]
    other = tmp_path / "other"
    tiny_model(seed=5).save_pretrained(other)
    tiny_tokenizer().save_pretrained(other)
    with pytest.raises(ValueError, match="was trained on"):
        train_of("policy")(settings("policy", str(other), data, tmp_path / "third", adapter=adapter))
    with pytest.raises(ValueError, match="holds no adapter"):
        train_of("policy")(settings("policy", base, data, tmp_path / "third", adapter=tmp_path))


def test_another_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "checkpoints" / "checkpoint-7"
    state.mkdir(parents=True)
    assert last_checkpoint(tmp_path) is None  # a checkpoint that was never finished
    (state / "trainer_state.json").touch()
    assert last_checkpoint(tmp_path) is None  # nor one whose last file was cut off
    (state / "trainer_state.json").write_text("{}", encoding="utf-8")
    assert last_checkpoint(tmp_path) == str(state)
    assert begin(tmp_path, {"rank": 4, "data_digest": "a", "out": "x"}) is None
    assert begin(tmp_path, {"rank": 4, "data_digest": "a", "out": "moved"}) is None
    with pytest.raises(ValueError, match="holds a run with rank 4, not 8"):
        begin(tmp_path, {"rank": 8, "data_digest": "a"})
    with pytest.raises(ValueError, match="data_digest"):
        begin(tmp_path, {"rank": 4, "data_digest": "b"})


def test_the_course_of_a_killed_run_is_read_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    file.write_text(
        '{"step": 1, "loss": 3}\n{"step": 2, "loss": 2}\n{"step": 2, "loss": 1.5}\n{"train_runtime": 3}\n{"st'
    )
    assert losses(file) == [(1, 3.0), (2, 1.5)]
    plot_loss(file, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 5_000


def test_the_policy_imitates_successes_unless_told_otherwise(
    base: str, data: Path, trajectories: list[Trajectory], tmp_path: Path
) -> None:
    won = sum(t.outcome == "success" for t in trajectories)
    metrics = train_of("policy")(settings("policy", base, data, tmp_path / "won"))
    assert metrics["examples"] == won < len(trajectories)
    assert PolicySettings(data=[data], out=tmp_path).successes_only
