"""A run that was killed, stopped, or ran out of disk ends with the weights of one that was left alone."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file

from dyna_nodes.experience import write_trajectory
from dyna_nodes.nouns import Trajectory
from dyna_training.environments.alfworld.generator import generate
from dyna_training.recipes import settings_of, train_of
from dyna_training.recipes.common import last_checkpoint
from dyna_training.recipes.loss import losses
from dyna_training.rollouts import play
from tests.nodes.local.tiny_llama import tiny_model, tiny_tokenizer
from tests.training.processes import end, wait_for

RECIPES = ("policy", "ddt")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What all runs have in common: five rows, three times over, two rows to an update."""
    folder = tmp_path_factory.mktemp("given")
    tiny_model(hidden=24, max_position_embeddings=8192).save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    episodes = [play(generate(seed), "expert", seed=seed, max_steps=5) for seed in range(12)]
    for episode in sorted(episodes, key=lambda e: len(e.model_dump_json()))[:5]:
        write_trajectory(folder / "data.jsonl", noted(episode))
    return {
        "base": str(folder / "base"),
        "data": [str(folder / "data.jsonl")],
        "dtype": "float32",
        "rank": 4,
        "learning_rate": 1e-2,
        "accumulate": 2,
        "epochs": 3,
        "save_steps": 2,
    }


def noted(episode: Trajectory) -> Trajectory:
    """Give each step the note that DDT learns from."""
    steps = [s.model_copy(update={"notes": {"difference": s.observation}}) for s in episode.transitions]
    return episode.model_copy(update={"transitions": tuple(steps)})


def options(recipe: str, given: dict[str, Any]) -> dict[str, Any]:
    only = {
        "policy": {"successes_only": False},
        "ddt": {"next_state": 0.5, "difference": 1.0},
    }
    return {**given, **only[recipe]}


def train(recipe: str, given: dict[str, Any], out: Path) -> dict[str, Any]:
    settings = settings_of(recipe).model_validate({**options(recipe, given), "out": out})
    return train_of(recipe)(settings)


@pytest.fixture(scope="module")
def whole(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each recipe that nobody disturbs."""
    runs = {recipe: tmp_path_factory.mktemp("whole") / recipe for recipe in RECIPES}
    for recipe, out in runs.items():
        assert train(recipe, given, out)["updates"] == 9
    return runs


def interrupt(recipe: str, given: dict[str, Any], out: Path, number: int) -> None:
    """Send a signal to a run after its fifth update: in the second pass, one update after a checkpoint."""
    file, held = out.with_suffix(".yaml"), out.with_suffix(".held")
    settings = {"recipe": recipe, **options(recipe, given), "out": str(out)}
    file.write_text(json.dumps(settings))  # JSON is YAML
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("held.py")), recipe, "--config", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HELD_AT": "5", "HELD": str(held)},
    )
    try:
        wait_for(process, held.exists)
        os.killpg(process.pid, number)
        process.communicate()
    finally:
        end([process])


def assert_same(one: Path, other: Path) -> None:
    """Compare two runs bit by bit, in the precision in which they were trained and in that of the result."""
    files = [Path(last_checkpoint(run) or "") / "adapter_model.safetensors" for run in (one, other)]
    results = [run / "adapter" / "adapter_model.safetensors" for run in (one, other)]
    for a, b in (files, results):
        weights, others = load_file(a), load_file(b)
        assert weights.keys() == others.keys()
        assert [name for name in weights if not torch.equal(weights[name], others[name])] == []
    assert losses(one / "progress.jsonl") == losses(other / "progress.jsonl")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_killed_run_ends_with_the_same_weights(
    recipe: str, given: dict[str, Any], whole: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    interrupt(recipe, given, out, signal.SIGKILL)
    assert (last_checkpoint(out) or "").endswith("checkpoint-4")
    assert train(recipe, given, out)["updates"] == 9
    assert_same(whole[recipe], out)


def test_a_terminated_run_ends_with_the_same_weights(
    given: dict[str, Any], whole: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    interrupt("policy", given, out, signal.SIGTERM)
    assert (last_checkpoint(out) or "").endswith("checkpoint-5")
    assert train("policy", given, out)["updates"] == 9
    assert_same(whole["policy"], out)


def test_a_run_without_room_for_a_checkpoint_says_so_and_ends_with_the_same_weights(
    given: dict[str, Any], whole: dict[str, Path], tmp_path: Path
) -> None:
    """No file may grow larger than the adapter, which the optimiser's state does."""
    out = tmp_path / "run"
    adapter = Path(last_checkpoint(whole["policy"]) or "") / "adapter_model.safetensors"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (adapter.stat().st_size + 5_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"update 2: no checkpoint could be written .* make room there"):
            train("policy", given, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (out / "checkpoints" / "checkpoint-2").is_dir()
    assert last_checkpoint(out) is None, "half a checkpoint is none"
    train("policy", given, out)
    assert_same(whole["policy"], out)


def test_a_checkpoint_whose_last_file_was_cut_off_is_none(
    given: dict[str, Any], whole: dict[str, Path], tmp_path: Path
) -> None:
    state = tmp_path / "checkpoints" / "checkpoint-2" / "trainer_state.json"
    later = tmp_path / "checkpoints" / "checkpoint-4" / "trainer_state.json"
    for file in (state, later):
        file.parent.mkdir(parents=True)
        file.write_text('{"global_step": 2}')
    assert last_checkpoint(tmp_path) == str(later.parent)
    later.write_text('{"global_st')
    assert last_checkpoint(tmp_path) == str(state.parent)
    later.write_text("")
    assert last_checkpoint(tmp_path) == str(state.parent)
