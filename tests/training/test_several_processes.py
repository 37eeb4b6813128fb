"""Training in several processes: the shipped accelerate configurations, and two processes beside one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
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
from dyna_training.recipes.common import StopOnSignal, last_checkpoint
from dyna_training.recipes.loss import losses
from dyna_training.rollouts import play
from tests.nodes.local.tiny_llama import tiny_model, tiny_tokenizer
from tests.training.processes import are_gone, descendants, end, in_one_group, wait_for

KINDS = {
    "multi-gpu": DistributedType.MULTI_GPU,
    "fsdp": DistributedType.FSDP,
    "deepspeed-zero3": DistributedType.DEEPSPEED,
}


two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two processes need two cores")


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
    *named, where = listed.splitlines()
    assert [line.split()[0] for line in named] == sorted(KINDS)
    assert where == f"In {launchers()['fsdp'].parent}"
    wrong = runner.invoke(cli.app, ["train", "launcher", "fsdpp"])
    assert wrong.exit_code != 0
    assert "did you mean 'fsdp'" in wrong.stderr


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the runs have in common."""
    folder = tmp_path_factory.mktemp("given")
    tiny_model(hidden=24, max_position_embeddings=8192).save_pretrained(folder / "base")
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


def words(given: dict[str, Any], out: Path, **more: Any) -> list[str]:
    """What stands after ``dyna train``; two processes need half the accumulation."""
    settings = {**given, "accumulate": 1, **more}
    data = settings.pop("data")[0]
    options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return ["policy", "--data", data, "--out", str(out), *options]


def alike(command: list[str]) -> subprocess.Popen[str]:
    """Two processes."""
    return subprocess.Popen(
        [sys.executable, "-m", "dyna_training.cli.train", *command, "--processes", "2"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


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


@two_cores
def test_two_processes_train_what_one_trains(given: dict[str, Any], alone: Path, tmp_path: Path) -> None:
    """Twice the processes are half the accumulation, update by update; and the first one tells, as one alone does."""
    training = alike([*words(given, tmp_path / "run"), "--json"])
    told, problems = training.communicate()
    assert training.returncode == 0, problems
    assert json.loads(told)["processes"] == 2
    same_run(alone, tmp_path / "run")


LEAVES = """
import atexit, importlib, os, sys, dyna_graph.cli
_, module, how = sys.argv

class Last:
    def __del__(self, write=os.write):
        write(1, b"taken down\\n")

def command():
    atexit.register(print, "at exit")
    print("told")
    raise eval(how)

last = Last()
dyna_graph.cli.main = command
importlib.import_module(module).main()
"""


def leaves(module: str, how: str, with_others: bool, stdout: Any = subprocess.PIPE) -> tuple[int, str, str]:
    """Return the exit code of a process whose command ends in some way, and what it says; its output is buffered."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, "-c", LEAVES, module, how],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=environment | ({"WORLD_SIZE": "2"} if with_others else {}),
    )
    held, process.stdin = process.stdin, None  # a child whose parent is gone would be interrupted
    assert held is not None
    with held:
        told, problems = process.communicate()
    return process.returncode, told, problems


@pytest.mark.parametrize("with_others", [True, False])
@pytest.mark.parametrize(
    ("module", "how", "code", "problem"),
    [
        ("dyna_training.child", "SystemExit", 0, ""),
        ("dyna_training.cli.train", "SystemExit(130)", 130, ""),
        ("dyna_training.cli.train", "SystemExit('no')", 1, "no"),
        ("dyna_training.cli.train", "OSError", 1, "OSError"),
    ],
)
def test_one_of_several_leaves_the_interpreter_standing(
    module: str, how: str, code: int, problem: str, with_others: bool
) -> None:
    """A thread of gloo that wants its lock while it is taken down would abort; the rest of an exit is as always."""
    ended, told, problems = leaves(module, how, with_others)
    assert ended == code, problems
    assert told.splitlines() == ["told", "at exit", *["taken down"] * (not with_others)]
    assert problems.strip().rpartition("\n")[2] == problem


@pytest.mark.parametrize("with_others", [True, False])
def test_what_nobody_could_read_is_no_success(with_others: bool) -> None:
    with open("/dev/full", "w") as full:
        ended, _, problems = leaves("dyna_training.cli.train", "SystemExit", with_others, full)
    assert ended == 120
    assert "No space left" in problems


@two_cores
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_processes_that_train_together_end_together(
    how: signal.Signals, given: dict[str, Any], tmp_path: Path
) -> None:
    """Told to stop, all keep the same update and the command says so; when it is killed, nobody goes on alone."""
    out = tmp_path / "run"
    command = words(given, out, epochs=200)
    training = alike(command)
    try:
        wait_for(training, lambda: last_checkpoint(out))
        helpers = [pid for pid, _ in descendants(training.pid)]
        assert len(helpers) >= 2
        training.send_signal(how)
        _, problems = training.communicate()
        assert training.returncode == (-how if how == signal.SIGKILL else 130), problems
        assert are_gone(helpers, 60)
        kept = last_checkpoint(out)
        assert kept is not None
        if how != signal.SIGKILL:
            assert f"{kept} is kept" in problems
            assert "death signal" not in problems, "the launcher says nothing beside"
    finally:
        end([training])


def test_the_first_signal_of_a_process_that_stops_for_another_is_no_second_one() -> None:
    stopper = StopOnSignal()
    with stopper.listening():
        stopper.stopped = True  # as the others say; its own signal comes a moment later
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@two_cores
def test_one_that_fails_ends_all_and_says_why(given: dict[str, Any], tmp_path: Path) -> None:
    training = alike(words(given | {"base": str(tmp_path / "nothing")}, tmp_path / "run"))
    _, problems = training.communicate()
    assert training.returncode == 1
    assert "Traceback" not in problems
    assert "there is no folder" in problems
    assert "torch" not in problems, "the launcher says nothing beside"


def test_more_processes_than_there_is_room_for_are_refused(given: dict[str, Any], tmp_path: Path) -> None:
    command = ["train", *words(given, tmp_path / "run"), "--processes", "999"]
    refused = CliRunner().invoke(cli.app, command)
    assert refused.exit_code == 1
    assert "999 processes cannot train together here: there is" in refused.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_processes_with_half_a_model_each_train_what_one_trains(
    given: dict[str, Any], alone: Path, tmp_path: Path
) -> None:
    config = load_config_from_file(str(launchers()["fsdp"]))
    options = {key.upper(): str(value) for key, value in config.fsdp_config.items()}
    script = [str(Path(__file__).with_name("fsdp_on_cpu.py"))]
    command = [sys.executable, *script, *words(given, tmp_path / "run")]
    in_one_group(command, 2, ACCELERATE_USE_FSDP="true", **options)
    same_run(alone, tmp_path / "run")
    assert list((tmp_path / "run").glob("checkpoints/*/pytorch_model_fsdp.bin")), "FSDP was on"
