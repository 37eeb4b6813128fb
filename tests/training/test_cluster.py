"""A real Ray cluster of this machine: the same episodes as without it; actors that are killed, hang or cannot work."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dyna_training import cluster
from dyna_training.cluster import Cluster, ClusterError, reach
from dyna_training.collect import CollectSettings, collect, plan
from dyna_training.collection import CollectError
from dyna_training.hosts import Work, WorkersFailed
from dyna_training.recording import Episode, Played, Recorder
from dyna_training.workers import Pool, Report
from tests.training.processes import end, wait_for
from tests.training.worker_kills import killed

# Ray reads what it may print when it is imported, so it is not imported here.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray")


def settings(out: Path, **more: object) -> CollectSettings:
    return CollectSettings.model_validate(
        {"split": "generated", "out": out, "games": 4, "workers": 2, **more}
    )


def do(number: int, folder: str) -> Callable[[str], str]:
    """What the actors do, by the task's first word."""

    def handle(task: str) -> str:
        what, _, name = task.partition(" ")
        attempts = Path(folder, f"{name}.attempts")
        attempts.write_text(attempts.read_text() + "x" if attempts.exists() else "x")
        again = attempts.read_text() != "x"
        if what == "die-once" and not again:
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "hang-once" and not again:
            time.sleep(300)
        if what == "raise":
            raise ValueError("no good")
        if what == "large":
            return "x" * 500_000
        Path(folder, f"{name}.pid").write_text(str(os.getpid()))
        return f"did {name}"

    return handle


def broken(number: int, folder: str) -> Callable[[str], str]:
    raise OSError("no such folder")


class OnlyHere:
    """What other processes cannot read, as where a module is missing."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return fail, ("it is only here",)


def fail(why: str) -> object:
    raise ModuleNotFoundError(why)


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    """A cluster of two CPUs."""
    cluster = Cluster("local", 2)
    yield cluster
    cluster.close(0)


@pytest.fixture
def host(running: Cluster) -> Iterator[Cluster]:
    """The same, without actors; a pool that is no context leaves it running."""
    yield running
    for worker in range(2):
        running.kill(worker)


def told(reports: list[Report[str]]) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for report in reports:
        found.setdefault(report.task, []).append((report.kind, report.reason or report.result[:8]))
    return found


@pytest.mark.slow
def test_actors_die_hang_and_go_on(host: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    groups = [["do a", "die-once b", "raise c"], ["hang-once d", "large e"]]
    reports = told(list(Pool(groups, Work(do, (str(tmp_path),)), host, workers=2, time_limit=5.0)))
    [died, done] = reports.pop("die-once b")
    assert died[0] == "crashed"
    assert "died (SYSTEM_ERROR)" in died[1]
    assert done == ("done", "did b")
    assert reports == {
        "do a": [("done", "did a")],
        "raise c": [("failed", "ValueError: no good")],
        "hang-once d": [
            ("crashed", "it took longer than 5 seconds, so that its process was killed"),
            ("done", "did d"),
        ],
        "large e": [("done", "xxxxxxxx")],
    }
    time.sleep(0.5)
    assert capfd.readouterr().out == "", "Ray prints a paragraph for each death"


def recorder_that_dies(number: int, settings: dict[str, Any], folder: str) -> Callable[[Episode], Played]:
    """A recorder whose process is killed in the first episode that any of them plays."""
    play = Recorder(number, settings)

    def handle(episode: Episode) -> Played:
        died = Path(folder, "died")
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return play(episode)

    return handle


def test_episodes_are_the_same_on_a_cluster_whose_actors_are_killed(host: Cluster, tmp_path: Path) -> None:
    wanted = settings(tmp_path, games=2)
    arguments = (wanted.model_dump(mode="json"),)
    work = Work(recorder_that_dies, (*arguments, str(tmp_path)))
    reports = list(Pool([plan(wanted)], work, host))
    assert reports[0].kind == "crashed"
    assert "died (SYSTEM_ERROR)" in reports[0].reason
    here = Recorder(0, *arguments)
    assert {r.task: r.result for r in reports[1:]} == {e: here(e) for e in plan(wanted)}
    assert len(reports) == 7


@pytest.mark.slow
def test_what_no_actor_can_do_is_said_at_once(
    host: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WorkersFailed, match="OSError: no such folder"):
        list(Pool([["do a"]], Work(broken, (str(tmp_path),)), host))
    with pytest.raises(WorkersFailed, match=r"a machine of the cluster cannot work: .*only here"):
        list(Pool([["do a"]], Work(do, (OnlyHere(),)), host))
    monkeypatch.setattr(cluster, "version", lambda _: "9.9")
    with pytest.raises(WorkersFailed, match=r"has dyna-graph .*, this machine 9\.9; install the same"):
        list(Pool([["do a"]], Work(do, (str(tmp_path),)), host))


@pytest.mark.slow
def test_a_cluster_without_room_is_not_waited_for_without_end(
    host: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    def sleep() -> None:
        time.sleep(120)

    others = [ray.remote(sleep).options(num_cpus=1).remote() for _ in range(2)]
    monkeypatch.setattr("dyna_training.workers.START", 4.0)
    try:
        while ray.available_resources().get("CPU", 0):
            time.sleep(0.05)
        with pytest.raises(WorkersFailed) as raised:
            list(Pool([["do a"]], Work(do, (str(tmp_path),)), host))
    finally:
        for other in others:
            ray.cancel(other, force=True)
    assert str(raised.value) == (
        "no worker was ready within 4 seconds; each takes a CPU, of which the cluster has 2, 0 of them free"
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_collection_with_killed_actors_has_the_same_bytes_as_without_a_cluster(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    collect(settings(plain, games=40, workers=1))
    undisturbed = (plain / "trajectories.jsonl").read_bytes()
    found = killed(tmp_path / "ray", undisturbed, 4, random.Random(0), 40, cluster=True)
    assert found.kills.total() > 0
    assert (found.lost, found.duplicated, found.damaged, found.different) == (0, 0, 0, False)
    files = [
        sorted(f.name for f in out.iterdir() if "truncated" not in f.name)
        for out in (plain, tmp_path / "ray")
    ]
    assert files[0] == files[1]


@pytest.fixture
def started_cluster(tmp_path: Path) -> Iterator[str]:
    """A cluster that was there before, as on machines that others share."""
    script = (
        "import ray, sys\n"
        "ray.init(address='local', num_cpus=1, object_store_memory=80 * 2**20, include_dashboard=False)\n"
        "print(ray.get_runtime_context().gcs_address, flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        end([process])


@pytest.mark.slow
def test_a_cluster_that_is_there_is_used(started_cluster: str, tmp_path: Path) -> None:
    """More workers than it has room for: the others wait."""
    out = tmp_path / "data"
    process = dyna("--games", "2", "--out", str(out), "--workers", "2", "--cluster", started_cluster)
    _, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert (out / "trajectories.jsonl").read_bytes().count(b"\n") == 6


def dyna(*words: str) -> subprocess.Popen[str]:
    command = "from dyna_graph.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", command, "collect", "--split", "generated", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        CollectError, match=r"127\.0\.0\.1:9 cannot be reached: .*refused[\s\S]*ray start --head"
    ):
        collect(settings(tmp_path / "out", cluster="127.0.0.1:9"))
    with pytest.raises(ClusterError, match=r"nowhere\.invalid:6379 cannot be reached"):
        reach("nowhere.invalid:6379")
    monkeypatch.setattr(cluster, "REACHED", 3)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ClusterError, match="no answer within 3"),
    ):
        reach(f"127.0.0.1:{silent.getsockname()[1]}")


def test_without_ray_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        CollectError, match=r"needs ray; install it with: pip install 'dyna-graph\[cluster\]'"
    ):
        collect(settings(tmp_path / "out", cluster="local"))


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_recorded_and_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "data"
    process = dyna("--games", "5000", "--out", str(out), "--workers", "1", "--cluster", "local")
    try:
        file = out / "trajectories.jsonl"
        wait_for(process, lambda: file.exists() and file.read_bytes().count(b"\n") >= 3)
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    finally:
        end([process])
    assert process.returncode == 130, stderr
    lines = file.read_bytes().splitlines(keepends=True)
    assert f"Interrupted. {len(lines)} episodes are recorded" in stderr
    assert "Traceback" not in stderr
    assert all(line.endswith(b"}\n") for line in lines)
    found = [p for p in map(int, filter(str.isdigit, os.listdir("/proc"))) if session(p) == process.pid]
    assert not found


def session(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[3])
    except (OSError, ValueError):
        return None
