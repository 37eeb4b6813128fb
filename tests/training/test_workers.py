"""Spawned workers: crashes, retries, errors and the end of the caller, with real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from dyna_training import workers
from dyna_training.workers import Report, TaskError, WorkersFailed, run_tasks
from tests.training.processes import end, wait_for


def prepare(number: int, folder: str) -> Callable[[str], str]:
    """What the workers do, by the task's first word."""
    if number == 7:
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
        if what == "slow":
            time.sleep(1)
        if what == "die" or (what == "die-once" and attempts.read_text() == "x"):
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "write-and-die":
            Path(folder, f"{name}.written").touch()
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


def test_a_crashed_task_is_tried_once_more_and_the_rest_goes_on(tmp_path: Path) -> None:
    tasks = [["do a", "die-once b", "raise c", "do d", "die e", "do f"], ["do g", "write-and-die h", "do i"]]

    def finished(number: int, task: str) -> str | None:
        name = task.partition(" ")[2]
        return f"found {name}" if Path(tmp_path, f"{name}.written").exists() else None

    reports = told(list(run_tasks(tasks, prepare, (str(tmp_path),), finished=finished)))
    died = f"its process died (signal {int(signal.SIGKILL)})"
    assert reports == {
        "a": [("done", "0 a", "")],
        "b": [("crashed", None, died), ("done", "0 b", "")],
        "c": [("failed", None, "c is corrupt")],
        "d": [("done", "0 d", "")],
        "e": [("crashed", None, died), ("failed", None, f"{died}, twice")],
        "f": [("done", "0 f", "")],
        "g": [("done", "1 g", "")],
        "h": [("done", "found h", "")],
        "i": [("done", "1 i", "")],
    }
    assert Path(tmp_path, "e.attempts").read_text() == "xx"
    assert Path(tmp_path, "h.attempts").read_text() == "x"
    pids = {name: Path(tmp_path, f"{name}.done").read_text() for name in "adfgi"}
    assert pids["a"] != pids["d"] != pids["f"]
    assert str(os.getpid()) not in pids.values()


def test_what_ends_everything_and_what_cannot_start(tmp_path: Path) -> None:
    reports = run_tasks([["do a", "stop b", "do c"]], prepare, (str(tmp_path),))
    assert next(reports).result == "0 a"
    with pytest.raises(WorkersFailed, match="the disk is full"):
        list(reports)
    assert not Path(tmp_path, "c.done").exists()
    with pytest.raises(WorkersFailed, match="OSError: no such disk"):
        list(run_tasks([[]] * 7 + [["do x"]], prepare, (str(tmp_path),)))
    assert list(run_tasks([[], []], prepare, (str(tmp_path),))) == []


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
    reports = kinds(run_tasks([["x", "y", "z"]], meet, (str(tmp_path),), width=3))
    assert reports == {"x": ["done"], "y": ["done"], "z": ["done"]}, "they could only meet side by side"
    reports = kinds(run_tasks([["a", "die", "b"]], meet, (str(tmp_path),), width=3))
    assert reports == {"a": ["crashed", "done"], "die": ["crashed", "failed"], "b": ["crashed", "done"]}


def test_what_no_handler_may_do_ends_its_process_and_not_the_work(tmp_path: Path) -> None:
    reports = kinds(run_tasks([["exit a", "do b"]], prepare, (str(tmp_path),)))
    assert reports == {"exit a": ["crashed", "failed"], "do b": ["done"]}


def test_workers_finish_what_they_are_at_when_nobody_listens_any_more(tmp_path: Path) -> None:
    reports = run_tasks([["do a", "slow b", "slow c", "do d"]], prepare, (str(tmp_path),), width=3)
    assert next(reports).result == "0 a"
    reports.close()
    assert {"b", "c"} <= {file.stem for file in tmp_path.glob("*.done")}
    with pytest.raises(WorkersFailed, match="the disk is full"):
        list(run_tasks([["slow e", "stop f"]], prepare, (str(tmp_path),), width=2))
    assert Path(tmp_path, "e.done").exists()


def prepare_impatient(_: int, folder: str) -> Callable[[str], None]:
    """A worker in a task that takes for ever, which does not wait for it long."""
    workers.GRACE = 0.2

    def handle(task: str) -> None:
        Path(folder, "pid").write_text(f"{os.getpid()}\n")
        time.sleep(300)

    return handle


def test_workers_of_a_killed_parent_leave(tmp_path: Path) -> None:
    script = (
        "from dyna_training.workers import run_tasks\n"
        "from tests.training.test_workers import prepare_impatient\n"
        "if __name__ == '__main__':\n"
        f"    list(run_tasks([['a', 'b']], prepare_impatient, ({str(tmp_path)!r},)))\n"
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
