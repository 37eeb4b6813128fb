"""`dyna collect`: Ctrl-C, a killed worker, a full disk and wrong words, in real processes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dyna_graph import cli
from dyna_nodes.experience import Problem, iter_trajectory_file
from dyna_training.data import read_trajectories
from tests.training.processes import end, wait_for


def dyna(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli.app, list(arguments), prog_name="dyna")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the command in a session of its own; ``limit`` is the longest file. What is left is killed."""
    processes: list[subprocess.Popen[str]] = []

    def started(*arguments: str, limit: int | None = None) -> subprocess.Popen[str]:
        def prepare() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        code = "from dyna_graph.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, "collect", "--split", "generated", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=prepare,
        )
        processes.append(process)
        return process

    yield started
    end(processes)


def lines(out: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in out.glob("*.jsonl"))


def children(pid: int) -> list[int]:
    """The workers: children that multiprocessing spawned for tasks."""
    numbers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(n) for n in numbers if b"spawn_main" in Path(f"/proc/{n}/cmdline").read_bytes()]


def test_ctrl_c_keeps_everything_and_says_how_to_go_on(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "data"
    arguments = ("--games", "100000", "--behaviours", "expert", "--out", str(out), "--workers", "2")
    process = start(*arguments)
    wait_for(process, lambda: lines(out) >= 3)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    recorded = lines(out)
    last = stderr.strip().splitlines()[-1]
    assert (
        last
        == f"Interrupted. {recorded} episodes are recorded in {out}; the same command goes on from there."
    )
    assert "Traceback" not in stderr
    problems: list[Problem] = []
    found = [t for file in out.glob("*.jsonl") for t in iter_trajectory_file(file, problems)]
    assert len(found) == recorded
    assert not problems
    manifest = json.loads((out / "manifest.json").read_text())
    assert not manifest["complete"]
    assert manifest["counts"]["episodes"] == recorded


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_a_killed_worker_is_replaced(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "data"
    games = 120
    process = start("--games", str(games), "--behaviours", "random", "--out", str(out), "--json")
    wait_for(process, lambda: lines(out) >= 3)
    [worker] = children(process.pid)
    os.kill(worker, signal.SIGKILL)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    manifest = json.loads(stdout)
    assert manifest["complete"]
    assert manifest["counts"]["episodes"] == games == len(list(read_trajectories([out])))
    if manifest["crashes"]:  # unless it was killed between two episodes
        assert "signal 9" in stderr


def test_a_full_disk_stops_with_a_word_and_the_rest_is_recorded_later(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "data"
    arguments = ("--games", "12", "--behaviours", "expert", "--out", str(out))
    process = start(*arguments, limit=20_000)
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert "cannot append to" in stderr
    assert "Free space" in stderr
    recorded = lines(out)
    assert 0 < recorded < 12
    assert f"{recorded} of 12 episodes are recorded" in stderr
    assert "Traceback" not in stderr
    code, stdout, _ = dyna("collect", "--split", "generated", *arguments, "--json")
    assert code == 0
    assert json.loads(stdout)["counts"]["episodes"] == 12


def test_wrong_words_are_answered_with_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = ("--out", str(tmp_path / "data"))
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    assert dyna("collect", *out, "--split", "dev_sen") == (
        2, "", "--split: unknown split 'dev_sen'; did you mean 'dev_seen'?\n"
    )  # fmt: skip
    assert "did you mean 'noisy'?" in dyna("collect", *out, "--behaviours", "expert,noisi")[2]
    assert "leave out --behaviours" in dyna("collect", *out, "--behaviours", "expert", "--mixture")[2]
    alone = dyna("collect", *out, "--policy", "local:smollm2", "--counterfactuals", "2")
    assert "add --mixture or --behaviours" in alone[2]
    assert "did you mean 'openai'?" in dyna("collect", *out, "--policy", "opnai:gpt")[2]
    code, _, stderr = dyna("collect", *out, "--split", "train")
    assert code == 1
    assert "alfworld-download" in stderr
    assert "--split generated" in stderr
    assert not (tmp_path / "data").exists()


def test_an_environment_without_a_list_of_games_is_not_called_unknown(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli.app, ["collect", "--environment", "dyna/OSWorld-v0", "--out", str(tmp_path / "data")]
    )
    assert result.exit_code == 2
    assert "no list of games" in result.stderr
    assert "did you mean" not in result.stderr
