"""Spawned workers: crashes, retries, errors and the end of the caller, with real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import pytest

from dyna_training import processes, workers
from dyna_training.hosts import Message, TaskError, Work, WorkersFailed
from dyna_training.processes import Processes
from dyna_training.workers import Pool, Report
from tests.training.processes import end, wait_for


def prepare(number: int, folder: str) -> Callable[[str], str]:
    """What the workers do, by the task's first word."""
    if not Path(folder).exists():
        raise OSError("no such disk")

    def handle(task: str) -> str:
        what, _, name = task.partition(" ")
        attempts = Path(folder, f"{name}.attempts")
        attempts.write_text(attempts.read_text() + "x" if attempts.exists() else "x")
        if what == "raise":
            raise TaskError(f"{name} is corrupt")
        if what == "stop":
            raise WorkersFailed("the disk is full")
        if what == "exit":
            raise SystemExit(3)
        while what == "until-d" and not Path(folder, "d.done").exists():
            time.sleep(0.01)
        if what == "slow":
            time.sleep(1)
        if what == "hang" or (what == "hang-once" and attempts.read_text() == "x"):
            engine = subprocess.Popen(["sleep", "300"])
            Path(folder, f"{name}.engine").write_text(str(engine.pid))
            engine.wait()
        if what == "die" or (what == "die-once" and attempts.read_text() == "x"):
            os.kill(os.getpid(), signal.SIGKILL)
        Path(folder, f"{name}.done").write_text(str(os.getpid()))
        return f"{number} {name}"

    return handle


def told(reports: list[Report[str]]) -> dict[str, list[tuple[str, object, str]]]:
    found: dict[str, list[tuple[str, object, str]]] = {}
    for report in reports:
        found.setdefault(report.task.partition(" ")[2], []).append(
            (report.kind, report.result, report.reason)
        )
    return found


def kinds(reports: Iterable[Report[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for report in reports:
        found.setdefault(report.task, []).append(report.kind)
    return found


def pool(
    groups: list[list[str]], folder: Path, prepare: Callable[..., Any] = prepare, **options: Any
) -> Pool[str]:
    work = Work(prepare, (str(folder),), options.pop("width", 1))
    return Pool(groups, work, Processes(), **options)


def run(groups: list[list[str]], folder: Path, **options: Any) -> list[Report[str]]:
    with pool(groups, folder, **options) as running:
        return list(running)


DIED = f"its process died (signal {int(signal.SIGKILL)})"


def test_a_task_that_a_worker_died_in_is_tried_again_and_the_rest_goes_on(tmp_path: Path) -> None:
    groups = [["do a", "die-once b", "raise c", "do d"], ["die e", "do f"], ["do g"]]
    reports = told(run(groups, tmp_path))
    assert reports == {
        "a": [("done", "0 a", "")],
        "b": [("crashed", None, DIED), ("done", "0 b", "")],
        "c": [("failed", None, "c is corrupt")],
        "d": [("done", "0 d", "")],
        "e": [("crashed", None, DIED)] * 2 + [("failed", None, f"{DIED}, 3 times")],
        "f": [("done", "0 f", "")],
        "g": [("done", "0 g", "")],
    }
    assert Path(tmp_path, "e.attempts").read_text() == "xxx"
    pids = {name: Path(tmp_path, f"{name}.done").read_text() for name in "adfg"}
    assert pids["a"] != pids["d"] != pids["f"] == pids["g"]
    assert str(os.getpid()) not in pids.values()


def test_a_worker_without_tasks_takes_those_of_another(tmp_path: Path) -> None:
    groups = [["do a"], ["until-d b", "do c", "do d"]]
    by = {r.task: r.result[0] for r in run(groups, tmp_path, workers=2)}
    # Who does "c" depends on which of the two is ready first.
    assert by["do d"] != by["until-d b"]
    assert len(by) == 4


def test_what_ends_everything_and_what_cannot_start(tmp_path: Path) -> None:
    with pool([["do a", "stop b", "do c", "do d"]], tmp_path) as running:
        reports = iter(running)
        assert next(reports).result == "0 a"
        with pytest.raises(WorkersFailed, match="the disk is full"):
            list(reports)
    assert not Path(tmp_path, "d.done").exists()
    with pytest.raises(WorkersFailed, match="OSError: no such disk"):
        run([["do x"]], tmp_path / "missing")
    assert run([[], []], tmp_path) == []


def test_workers_that_die_one_after_the_other_end_everything(tmp_path: Path) -> None:
    with pytest.raises(WorkersFailed, match=r"10 workers in a row died before .*\(exit code 5\)"):
        run([["do a"]], tmp_path, prepare=prepare_dying)


def prepare_dying(_: int, folder: str) -> Callable[[str], str]:
    os._exit(5)


def meet(number: int, folder: str) -> Callable[[str], str]:
    """Workers whose tasks wait for each other, and die when told to."""
    barrier = threading.Barrier(3, timeout=20)

    def handle(task: str) -> str:
        attempts = Path(folder, f"{task}.attempts")
        again = attempts.exists()
        attempts.touch()
        if not again:
            barrier.wait()
        if task == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if task in ("a", "b"):
            time.sleep(0.5 if again else 60)  # alive when a process dies beside it
        return task

    return handle


def test_several_tasks_at_a_time_and_each_alone_after_a_crash(tmp_path: Path) -> None:
    reports = kinds(run([["x", "y", "z"]], tmp_path, prepare=meet, width=3))
    assert reports == {"x": ["done"], "y": ["done"], "z": ["done"]}, "they could only meet side by side"
    reports = kinds(run([["a", "die", "b"]], tmp_path, prepare=meet, width=3))
    lost = ["crashed", "crashed", "failed"]
    assert reports == {"a": ["crashed", "done"], "die": lost, "b": ["crashed", "done"]}


def test_what_no_handler_may_do_ends_its_process_and_not_the_work(tmp_path: Path) -> None:
    reports = kinds(run([["exit a", "do b"]], tmp_path))
    assert reports == {"exit a": ["crashed", "crashed", "failed"], "do b": ["done"]}


def test_workers_finish_what_they_are_at_and_begin_nothing_else(tmp_path: Path) -> None:
    with pool([["do a", "slow b", "slow c", "slow d", "do e", "do f"]], tmp_path, width=3) as running:
        assert next(iter(running)).result == "0 a"
        assert {r.task for r in running.finish()} == {"slow b", "slow c", "slow d", "do e"}
    assert not (tmp_path / "f.done").exists(), "no worker had been given it"


def test_nobody_waits_for_ever_for_workers_to_finish(tmp_path: Path) -> None:
    with pool([["do a", "hang b"]], tmp_path) as running:
        assert next(iter(running)).result == "0 a"
        assert list(running.finish(0.2)) == []
        began = time.monotonic()
        workers.GRACE, grace = 0.2, workers.GRACE  # type: ignore[misc]
        try:
            running.__exit__(None, None, None)
        finally:
            workers.GRACE = grace  # type: ignore[misc]
    assert time.monotonic() - began < 5


def test_a_task_that_hangs_is_ended_with_its_engine_and_tried_again(tmp_path: Path) -> None:
    reports = told(run([["hang-once a", "do b"]], tmp_path, time_limit=2.0))
    why = "it took longer than 2 seconds, so that its process was killed"
    assert reports == {"a": [("crashed", None, why), ("done", "0 a", "")], "b": [("done", "0 b", "")]}
    assert not is_running(int((tmp_path / "a.engine").read_text()))


class Slow:
    """A host whose workers are ready at once and take a thousand seconds for a task, by a clock of its own."""

    def __init__(self, kind: Literal["done", "died"]) -> None:
        self.kind = kind
        self.now = 0.0
        self.messages: deque[Message] = deque()

    def monotonic(self) -> float:
        return self.now

    def start(self, worker: int, work: Work) -> None:
        self.messages.append(Message(worker, "ready"))

    def send(self, worker: int, number: int, task: Any) -> None:
        self.messages.append(Message(worker, self.kind, number, "it died", memory=2))

    def receive(self, timeout: float | None) -> list[Message]:
        message = self.messages.popleft()
        self.now += 0.0 if message.kind == "ready" else 1000.0
        return [message]

    def retire(self, worker: int) -> None: ...

    def kill(self, worker: int) -> None: ...

    def close(self, grace: float) -> None: ...

    def why_not_ready(self) -> str:
        return ""


@pytest.mark.parametrize(
    ("kind", "told"), [("died", ["crashed", "crashed", "failed"]), ("done", ["done", "recycled"])]
)
def test_when_the_last_task_is_over_no_other_worker_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, kind: Literal["done", "died"], told: list[str]
) -> None:
    host = Slow(kind)
    monkeypatch.setattr(workers, "time", host)
    assert [r.kind for r in Pool([["a"]], Work(prepare), host, memory_limit=1)] == told


def test_one_who_stops_waits_for_no_other_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Slow("done")
    monkeypatch.setattr(workers, "time", host)
    stopped = Pool([["a", "b", "c"]], Work(prepare), host, memory_limit=1)
    assert next(iter(stopped)).kind == "done"
    assert [r.kind for r in stopped.finish(5000)] == ["done", "recycled"]


def test_a_worker_that_leaks_is_replaced_between_two_tasks(tmp_path: Path) -> None:
    limit = 150_000_000
    tasks = [f"leak {name}" for name in "abcdefg"]
    reports = run([tasks], tmp_path, memory_limit=limit, prepare=prepare_leaking)
    assert [r.result for r in reports if r.kind == "done"] == [*range(7)]
    replaced = [r for r in reports if r.kind == "recycled"]
    assert len(replaced) == 2
    assert re.fullmatch(r"its worker held 1\d\d MB after 3 tasks and was replaced", replaced[0].reason)
    with pytest.raises(WorkersFailed, match=r"3 new workers in a row held more than the limit of 1 MB"):
        run([tasks], tmp_path, memory_limit=1_000_000, prepare=prepare_leaking)


def prepare_leaking(_: int, folder: str) -> Callable[[str], int]:
    """A worker whose second task holds much memory, in a process of its own."""
    kept: list[bytes] = []
    engine: list[subprocess.Popen[str]] = []
    holding = "held = bytearray(150_000_000); print(flush=True); input()"

    def handle(task: str) -> int:
        kept.append(b"x")
        if len(kept) == 2:
            command = [sys.executable, "-c", holding]
            engine.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            assert engine[0].stdout is not None
            engine[0].stdout.readline()
        return "abcdefg".index(task[-1])

    return handle


def test_workers_wait_for_whoever_takes_in_the_results(tmp_path: Path) -> None:
    with pool([[f"do {n}" for n in range(20)]], tmp_path, workers=2) as running:
        taken = 0
        for _ in running:
            time.sleep(0.02)
            taken += 1
            assert len(list(tmp_path.glob("*.done"))) <= taken + 4, "two per worker: answered, and begun"
    assert taken == 20


def prepare_impatient(_: int, folder: str) -> Callable[[str], None]:
    """A worker in a task that takes for ever, which does not wait for it long."""
    processes.GRACE = 0.2

    def handle(task: str) -> None:
        Path(folder, "pid").write_text(f"{os.getpid()}\n")
        time.sleep(300)

    return handle


def test_workers_of_a_killed_parent_leave(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\n"
        "from tests.training.test_workers import prepare_impatient, run\n"
        "if __name__ == '__main__':\n"
        f"    run([['a', 'b']], Path({str(tmp_path)!r}), prepare=prepare_impatient)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], text=True, start_new_session=True)
    try:
        pid = tmp_path / "pid"
        wait_for(parent, lambda: pid.exists() and pid.read_text().endswith("\n"))
        parent.kill()
        parent.wait()
        gone = time.monotonic() + 20
        while is_running(int(pid.read_text())):
            assert time.monotonic() < gone, "the worker is still at work"
            time.sleep(0.05)
    finally:
        end([parent])


def is_running(pid: int) -> bool:
    """Return whether a process is alive; one that only waits to be reaped is not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
