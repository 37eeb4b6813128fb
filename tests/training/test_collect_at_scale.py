"""What goes wrong while thousands of episodes are played, and what is said about it; how far a collection is."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dyna_graph import cli
from dyna_nodes.experience import ExperienceError
from dyna_training.collect import CollectSettings, collect
from dyna_training.collect_progress import Meter, Progress, ProgressFile
from dyna_training.collection import CollectError, Collection
from dyna_training.recording import Episode, Played, Record
from dyna_training.workers import Report
from tests.training.processes import end, wait_for
from tests.training.worker_kills import killed


def settings(out: Path, **more: object) -> CollectSettings:
    return CollectSettings.model_validate(
        {"split": "generated", "out": out, "games": 4, "behaviours": ["expert"], **more}
    )


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Spoils the household engine of all processes that start from now on: by a `sitecustomize` of theirs."""
    folder = tmp_path / "site"
    folder.mkdir()

    def spoil(body: str) -> None:
        lines = [
            "import os, signal, sys, time",
            "from pathlib import Path",
            f"SEEN = Path({str(tmp_path)!r})",
            "def once(name):",
            "    there = (SEEN / name).exists()",
            "    (SEEN / name).touch()",
            "    return not there",
            "if 'spawn_main' in ' '.join(sys.orig_argv):",
            "    from dyna_training.environments.alfworld.env import AlfworldEnv",
            "    reset, step = AlfworldEnv.reset, AlfworldEnv.step",
            *(f"    {line}" for line in body.splitlines()),
        ]
        (folder / "sitecustomize.py").write_text("\n".join(lines))
        path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
        monkeypatch.setenv("PYTHONPATH", path.rstrip(os.pathsep))

    return spoil


def test_an_environment_that_raises_at_reset_fails_its_game_alone(
    engine: Callable[[str], None], tmp_path: Path
) -> None:
    engine(
        "def broken(self, *, seed=None, options=None):\n"
        "    if once('raised'):\n"
        "        raise RuntimeError('the engine is out of order')\n"
        "    return reset(self, seed=seed, options=options)\n"
        "AlfworldEnv.reset = broken"
    )
    manifest = collect(settings(tmp_path / "out"))
    [failed] = manifest["failed"]
    assert failed["reason"] == "RuntimeError: the engine is out of order"
    assert manifest["counts"]["episodes"] == 3
    assert not manifest["complete"]
    manifest = collect(settings(tmp_path / "out"))  # another time it may work
    assert manifest["complete"]
    assert not manifest["failed"]


def test_an_environment_that_always_raises_ends_the_collection(
    engine: Callable[[str], None], tmp_path: Path
) -> None:
    engine(
        "def broken(self, *, seed=None, options=None):\n"
        "    raise RuntimeError('no engine')\n"
        "AlfworldEnv.reset = broken"
    )
    with pytest.raises(CollectError) as raised:
        collect(settings(tmp_path / "out", games=30))
    assert str(raised.value) == (
        "10 episodes in a row failed, the last because: RuntimeError: no engine\n0 of 30 episodes are recorded"
    )


def test_an_engine_that_hangs_is_killed_and_its_episode_played_again(
    engine: Callable[[str], None], tmp_path: Path
) -> None:
    engine(
        "def hang(self, action):\n"
        "    if once('hung'):\n"
        "        time.sleep(300)\n"
        "    return step(self, action)\n"
        "AlfworldEnv.step = hang"
    )
    seen: list[Progress] = []
    manifest = collect(settings(tmp_path / "out", time_limit=6.0), on_progress=seen.append)
    assert manifest["complete"]
    assert manifest["crashes"] == 1
    [crash] = [p.report for p in seen if p.report is not None and p.report.kind == "crashed"]
    assert crash.reason == "it took longer than 6 seconds, so that its process was killed"
    collect(settings(tmp_path / "plain"))
    files = [tmp_path / name / "trajectories.jsonl" for name in ("out", "plain")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_engine_that_leaks_is_replaced_and_nothing_is_lost(
    engine: Callable[[str], None], tmp_path: Path
) -> None:
    engine(
        "kept = []\n"
        "def leak(self, *, seed=None, options=None):\n"
        "    kept.append(bytearray(os.urandom(1)) * 200_000_000)\n"
        "    return reset(self, seed=seed, options=options)\n"
        "AlfworldEnv.reset = leak"
    )
    manifest = collect(settings(tmp_path / "out", games=7, memory_limit="450MB"))
    assert manifest["complete"]
    assert manifest["recycled"] == 2, "found after every second episode, when the third has been given"
    assert manifest["crashes"] == 0
    with pytest.raises(
        CollectError, match=r"held more than the limit of 1 MB after a single task.*memory limit"
    ):
        collect(settings(tmp_path / "small", games=8, memory_limit=1_000_000))


def test_two_collectors_cannot_share_a_folder(tmp_path: Path) -> None:
    collection = Collection(tmp_path)
    with collection.writing(), pytest.raises(CollectError) as raised:
        collect(settings(tmp_path))
    assert str(raised.value) == (
        f"another `dyna collect` is at work in {tmp_path} (process {os.getpid()}); wait for it, or choose another "
        "folder with --out"
    )
    assert collect(settings(tmp_path, games=1))["complete"], "once it is over"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(CollectError, match=r"cannot write to /proc/self/no-such-folder"):
        collect(settings(Path("/proc/self/no-such-folder")))
    (tmp_path / "trajectories.jsonl").mkdir()
    with pytest.raises(CollectError, match=r"cannot read .*trajectories\.jsonl: Is a directory"):
        collect(settings(tmp_path))


def test_a_disk_that_fills_up_ends_it_and_what_is_recorded_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Collection.record

    def full(self: Collection, played: Played) -> None:
        if len(self.recorded) == 2:
            raise ExperienceError("cannot append to trajectories.jsonl: No space left on device")
        record(self, played)

    with monkeypatch.context() as patched:
        patched.setattr(Collection, "record", full)
        with pytest.raises(CollectError, match=r"No space left on device\n2 of 4 episodes are recorded"):
            collect(settings(tmp_path))
    assert json.loads((tmp_path / "progress.json").read_text())["state"] == "stopped"
    assert collect(settings(tmp_path))["counts"]["episodes"] == 4


@pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")
def test_killed_at_random_nothing_is_lost_and_nothing_twice(tmp_path: Path) -> None:
    """A small `python -m tests.training.worker_kills`; its writer is killed at a moment of its own, too."""
    games = 25
    mixture = settings(tmp_path / "plain", games=games, behaviours=["expert", "noisy", "random"])
    collect(mixture)
    undisturbed = (tmp_path / "plain" / "trajectories.jsonl").read_bytes()
    out = tmp_path / "killed"
    words = ["collect", "--split", "generated", "--games", str(games), "--out", str(out), "--workers", "2"]
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.training.slow_disk", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        file = out / "trajectories.jsonl"
        wait_for(writer, lambda: file.exists() and file.read_bytes().count(b"\n") >= 2)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert 2 <= file.read_bytes().count(b"\n") < 3 * games
    finally:
        end([writer])
    found = killed(out, undisturbed, 3, random.Random(3), games, cluster=False)
    assert (found.lost, found.duplicated, found.damaged, found.different) == (0, 0, 0, False)


# How far it is


def done(steps: int, outcome: str = "success") -> Report[Episode]:
    record = Record("g", "expert", 0, outcome, steps)
    return Report(Episode("g", "expert", 0), "done", Played(record, b""))


def test_rate_and_time_left_are_those_of_the_last_minute() -> None:
    now = 1000.0
    meter = Meter(100, 10, 5, clock=lambda: now)
    assert meter.progress() == Progress(10, 100, 5)
    assert meter.progress().words() == ""
    for _ in range(20):  # slow: one in ten seconds
        now += 10
        meter.count(done(3))
    slow = meter.progress()
    assert (slow.done, slow.success, slow.steps) == (30, 25, 60)
    assert slow.rate == pytest.approx(0.1)
    assert slow.seconds_left == pytest.approx(700)
    for _ in range(60):  # fast: one a second
        now += 1
        meter.count(done(5, "failure"))
    meter.count(Report(Episode("g", "expert", 0), "failed", reason="no"))
    fast = meter.progress()
    assert fast.rate == pytest.approx(1, rel=0.1)
    assert fast.step_rate == pytest.approx(5, rel=0.1)
    assert fast.seconds_left == pytest.approx(9, rel=0.1), "the failed one is not waited for"
    assert fast.words() == "1.0 episodes/s, 5 steps/s, 28% solved, 0:00:09 left"


def test_programs_can_watch(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    def look(_: Progress) -> None:
        seen.append(json.loads((tmp_path / "progress.json").read_text()))

    collect(settings(tmp_path), on_progress=look)
    last = json.loads((tmp_path / "progress.json").read_text())
    assert seen[0]["state"] == "running"
    assert (seen[0]["done"], seen[0]["total"]) == (0, 4)
    assert (last["format"], last["state"], last["done"]) == ("dyna-progress/1", "done", 4)
    assert last["rate"] > 0
    file = ProgressFile(tmp_path / "missing")
    file.write_now_and_then(Progress(0, 1, 0))  # it cannot be written, and nothing happens
    assert time.time() - last["time"] < 60


def test_sizes_are_read_and_nonsense_is_refused(tmp_path: Path) -> None:
    for words in ("much", "-1GB", "0"):
        result = CliRunner().invoke(
            cli.app,
            ["collect", "--split", "generated", "--out", str(tmp_path / "x"), "--memory-limit", words],
        )
        assert result.exit_code == 2
        assert f"--memory-limit: '{words}' is no size; write for example 800MB or 2GiB" in result.stderr
    assert not (tmp_path / "x").exists()
