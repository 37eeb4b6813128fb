"""`dyna train`: recipe files and their mistakes, a killed run, Ctrl-C, and what is printed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dyna_graph import cli
from dyna_graph.errors import ConfigError
from dyna_nodes.experience import write_trajectory
from dyna_training.environments.alfworld.generator import generate
from dyna_training.held import held
from dyna_training.recipes import RECIPES, settings_of
from dyna_training.recipes.files import find_recipe, read_settings, shipped_recipes, show_settings
from dyna_training.rollouts import play
from tests.training.processes import end, wait_for


def dyna(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, list(arguments), prog_name="dyna")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("data") / "0.jsonl"
    for seed in range(6):
        write_trajectory(file, play(generate(seed), "expert", seed=seed, max_steps=4))
    return file


def test_a_recipe_file_is_read_and_flags_override_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("recipe: policy\ndata: [a, b]\nout: here\nrank: 8\nlearning_rate: 2e-3\n")
    kind = settings_of("policy")
    plain = read_settings("policy", kind, str(file), [], {})
    assert (plain.rank, plain.learning_rate, plain.data, plain.out) == (
        8,
        2e-3,
        [Path("a"), Path("b")],
        Path("here"),
    )
    over = read_settings(
        "policy", kind, str(file), ["rank=4", "data=[c]", "base=123b"], {"out": "there", "data": None}
    )
    assert (over.rank, over.learning_rate, over.data, over.out) == (4, 2e-3, [Path("c")], Path("there"))
    assert over.base == "123b"


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        ("rank: 8\nalfa: 3", (), ":2: unknown key 'alfa'; did you mean 'alpha'?"),
        ("rank: many", (), ":1: 'rank'"),
        ("\nlearning_rate: -1", (), ":2: 'learning_rate' must be more than 0, got -1"),
        ("method: lorra", (), ":1: 'method' cannot be 'lorra'; did you mean 'lora'?"),
        ("rank: 8\n  alpha: 3", (), ":2: not valid YAML"),
        ("recipe: world-model\nrank: 8", (), ":1: this file is for `dyna train world-model`, not policy"),
        ("rank: 8", ("rnak=3",), "--set rnak=3: unknown key 'rnak'; did you mean 'rank'?"),
        ("rank: 8", ("rank=a: b: c",), "--set rank=a: b: c: the value is not YAML"),
        ("rank: 8", ("rank",), "--set rank: write key=value"),
        ("epochs: ${NO_SUCH_NUMBER}", (), ":1: environment variable NO_SUCH_NUMBER is not set"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    text: str, given: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    options = [part for value in given for part in ("--set", value)]
    arguments = ["--config", str(file), "--data", "x", "--out", str(tmp_path / "out"), *options]
    code, _, stderr = dyna("train", "policy", *arguments)
    assert code == 2
    assert said in stderr
    assert not (tmp_path / "out").exists()


def test_what_is_missing_says_how_to_give_it(tmp_path: Path) -> None:
    code, _, stderr = dyna("train", "world-model")
    assert code == 2
    assert "the key 'data' is missing; give it with --data" in stderr
    assert "the key 'out' is missing; give it with --out" in stderr
    code, _, stderr = dyna("train", "world-model", "--data", str(tmp_path), "--out", str(tmp_path / "run"))
    assert code == 1
    assert "no trajectories there; `dyna collect" in stderr


def test_shipped_recipes_are_found_by_name() -> None:
    for name, file in shipped_recipes().items():
        assert find_recipe(name) == file
        assert name in dyna("train", "list")[1]
        named = re.search(r"^recipe: (.+)$", file.read_text(), re.MULTILINE)
        recipe = named[1] if named else next(r for r in RECIPES if r in name)
        assert read_settings(recipe, settings_of(recipe), name, [], {}).out
    with pytest.raises(ConfigError, match="shipped"):
        find_recipe("nothing-like-it")


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_the_settings_that_are_shown_are_a_recipe_file(recipe: str, tmp_path: Path) -> None:
    code, stdout, _ = dyna("train", recipe, "--show", "--set", "rank=4", "--data", "d", "--out", "o")
    assert code == 0
    file = tmp_path / "shown.yaml"
    file.write_text(stdout)
    kind = settings_of(recipe)
    assert read_settings(recipe, kind, str(file), [], {}) == kind(data=[Path("d")], out=Path("o"), rank=4)
    assert "# Rank of the LoRA adapter.\nrank: 4\n" in stdout
    assert "# data:\n" in show_settings(recipe, kind, {})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("torch")
    from tests.nodes.local.tiny_llama import tiny_model, tiny_tokenizer

    folder = tmp_path_factory.mktemp("base")
    tiny_model(hidden=24, max_position_embeddings=8192).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


def arguments(base: str, data: Path, out: Path) -> list[str]:
    settings = {
        "base": base,
        "dtype": "float32",
        "rank": 4,
        "max_tokens": 3000,
        "accumulate": 1,
        "save_steps": 2,
    }
    given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    return ["world-model", "--data", str(data), "--out", str(out), *given]


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the command in a session of its own; what is left of it in the end is killed."""
    processes: list[subprocess.Popen[str]] = []

    def started(*more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dyna_training.cli.train", *more]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        processes.append(process)
        return process

    yield started
    end(processes)


def checkpoint_of(out: Path) -> str | None:
    """Return the newest whole checkpoint of a run that has told of its progress."""
    from dyna_training.recipes.common import last_checkpoint  # needs torch

    return last_checkpoint(out) if (out / "progress.jsonl").exists() else None


def test_a_killed_run_goes_on_from_its_checkpoint(
    start: Start, base: str, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    given = [*arguments(base, data, out), "--set", "epochs=20"]
    process = start(*given)
    wait_for(process, lambda: checkpoint_of(out))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.communicate()
    before = [json.loads(line) for line in (out / "progress.jsonl").read_text().splitlines()]
    checkpoint = checkpoint_of(out)
    assert checkpoint is not None
    code, stdout, _ = dyna("train", *given, "--set", "save_steps=60", "--json")
    assert code == 0
    after = [json.loads(line) for line in (out / "progress.jsonl").read_text().splitlines()[len(before) :]]
    assert after[0]["step"] > int(checkpoint.rpartition("-")[2])
    assert after[0]["loss"] < before[0]["loss"]
    assert json.loads(stdout)["updates"] == 120
    assert (out / "adapter" / "adapter_model.safetensors").is_file()


def test_ctrl_c_says_how_to_go_on(start: Start, base: str, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(*arguments(base, data, out), "--set", "epochs=1000")
    wait_for(process, lambda: checkpoint_of(out))
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("Interrupted, stopped at update ")
    assert last.endswith("is kept, and the same command goes on from it.")
    assert Path(last.split(": ")[1].split(" is kept")[0]).is_dir()
    assert "Traceback" not in stderr


def test_what_is_printed_at_the_end(base: str, data: Path, tmp_path: Path) -> None:
    given = arguments(base, data, tmp_path / "run")
    code, stdout, _ = dyna("train", *given)
    assert code == 0
    assert stdout.lstrip().startswith("world-model in ")
    assert "loss (end)" in stdout
    assert "updates" in stdout
    assert (tmp_path / "run" / "loss.png").is_file()
    code, stdout, _ = dyna("train", *given, "--json")
    assert code == 0
    assert json.loads(stdout)["updates"] == 6
    code, _, stderr = dyna("train", *given, "--set", "rank=8")
    assert code == 1
    assert "holds a run with rank 4, not 8" in stderr
    code, _, stderr = dyna("train", *given, "--set", "max_tokens=64", "--out", str(tmp_path / "other"))
    assert code == 1
    assert "6 longer than max_tokens; raise max_tokens=64" in stderr


def test_two_trainings_cannot_share_a_folder(base: str, data: Path, tmp_path: Path) -> None:
    """The second would delete the checkpoints of the first, and mix its progress with its own."""
    out = tmp_path / "run"
    out.mkdir()
    with held(out / ".lock", wait=False):
        code, _, stderr = dyna("train", *arguments(base, data, out))
    assert code == 1
    assert f"another training is at work in {out} (process {os.getpid()})" in " ".join(stderr.split())
    assert not (out / "checkpoints").exists()
