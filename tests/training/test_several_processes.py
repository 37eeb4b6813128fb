"""Training in several processes: the shipped accelerate configurations, and two processes beside one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

pytest.importorskip("torch")

import torch
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from dyna_graph import cli
from dyna_nodes.experience import write_trajectory
from dyna_training.accelerate import launchers
from dyna_training.environments.alfworld.generator import generate
from dyna_training.recipes import settings_of, train_of
from dyna_training.recipes.loss import losses
from dyna_training.rollouts import play
from tests.nodes.local.tiny_llama import tiny_model, tiny_tokenizer
from tests.training.processes import in_one_group

KINDS = {
    "multi-gpu": DistributedType.MULTI_GPU,
    "fsdp": DistributedType.FSDP,
    "deepspeed-zero3": DistributedType.DEEPSPEED,
}


def test_each_configuration_is_read_by_accelerate() -> None:
    assert launchers().keys() == KINDS.keys()
    for name, file in launchers().items():
        config = load_config_from_file(str(file))
        assert config.distributed_type == KINDS[name]
        assert not config.use_cpu


@pytest.mark.parametrize("name", sorted(KINDS))
def test_accelerate_launch_understands_every_key(name: str) -> None:
    """Keys of the nested tables are options of ``accelerate launch``; it ignores those that it does not know."""
    file = launchers()[name]
    parser = launch_command_parser()
    told = yaml.safe_load(file.read_text())
    nested = [key for table in told.values() if isinstance(table, dict) for key in table]
    known = vars(parser.parse_args(["script.py"]))
    assert [key for key in nested if key not in known] == []
    chosen, _, _ = _validate_launch_command(
        parser.parse_args(["--config_file", str(file), "--num_processes", "4", "script.py"])
    )
    assert chosen.num_processes == 4
    flags = {
        DistributedType.MULTI_GPU: chosen.multi_gpu,
        DistributedType.FSDP: chosen.use_fsdp,
        DistributedType.DEEPSPEED: chosen.use_deepspeed,
    }
    assert [kind for kind, on in flags.items() if on] == [KINDS[name]]


def test_the_command_says_where_they_lie() -> None:
    runner = CliRunner()
    found = runner.invoke(cli.app, ["train", "launcher", "fsdp"]).stdout
    assert Path(found.strip()) == launchers()["fsdp"]
    listed = runner.invoke(cli.app, ["train", "launcher"]).stdout
    assert [line.split()[0] for line in listed.splitlines()] == sorted(KINDS)
    wrong = runner.invoke(cli.app, ["train", "launcher", "fsdpp"])
    assert wrong.exit_code != 0
    assert "did you mean 'fsdp'" in wrong.stderr


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the runs have in common."""
    folder = tmp_path_factory.mktemp("given")
    tiny_model(hidden=24).save_pretrained(folder / "base")
    tiny_tokenizer().save_pretrained(folder / "base")
    episodes = [play(generate(seed), "expert", seed=seed, max_steps=5) for seed in range(12)]
    for episode in sorted(episodes, key=lambda e: len(e.model_dump_json()))[:8]:
        write_trajectory(folder / "data.jsonl", episode)
    return {
        "base": str(folder / "base"),
        "data": [str(folder / "data.jsonl")],
        "dtype": "float32",
        "rank": 4,
        "successes_only": False,
        "learning_rate": 1e-2,
        "save_steps": 2,
    }


@pytest.fixture(scope="module")
def alone(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of one process with as many rows to an update as the two have together."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("alone")
    train_of("policy")(settings_of("policy").model_validate({**given, "out": out, "accumulate": 2}))
    yield out
    torch.set_num_threads(before)


def together(given: dict[str, Any], out: Path, script: list[str], **environment: str) -> None:
    """Two processes."""
    settings = {**given, "accumulate": 1}
    data = settings.pop("data")[0]
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    command = [sys.executable, *script, "policy", "--data", data, "--out", str(out), *options]
    in_one_group(command, 2, **environment)


def same_run(one: Path, other: Path) -> None:
    metrics = [json.loads((out / "metrics.json").read_text()) for out in (one, other)]
    assert [m["processes"] for m in metrics] == [1, 2]
    assert metrics[0]["data_digest"] == metrics[1]["data_digest"]
    courses = [losses(out / "progress.jsonl") for out in (one, other)]
    assert len(courses[0]) == 4
    assert [step for step, _ in courses[0]] == [step for step, _ in courses[1]]
    assert [loss for _, loss in courses[1]] == pytest.approx([loss for _, loss in courses[0]], rel=1e-4)
    weights, others = (load_file(out / "adapter" / "adapter_model.safetensors") for out in (one, other))
    assert weights.keys() == others.keys()
    for name, weight in weights.items():
        # Sums in another order; the last bit of bfloat16 is 0.8 %.
        assert torch.allclose(weight.float(), others[name].float(), rtol=2e-2, atol=1e-4), name


def test_two_processes_train_what_one_trains(given: dict[str, Any], alone: Path, tmp_path: Path) -> None:
    """Twice the processes are half the accumulation, update by update."""
    together(given, tmp_path / "run", ["-m", "dyna_training.cli.train"])
    same_run(alone, tmp_path / "run")


@pytest.mark.slow
def test_two_processes_with_half_a_model_each_train_what_one_trains(
    given: dict[str, Any], alone: Path, tmp_path: Path
) -> None:
    config = load_config_from_file(str(launchers()["fsdp"]))
    options = {key.upper(): str(value) for key, value in config.fsdp_config.items()}
    script = [str(Path(__file__).with_name("fsdp_on_cpu.py"))]
    together(given, tmp_path / "run", script, ACCELERATE_USE_FSDP="true", **options)
    same_run(alone, tmp_path / "run")
    assert list((tmp_path / "run").glob("checkpoints/*/pytorch_model_fsdp.bin")), "FSDP was on"
