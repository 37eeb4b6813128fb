"""Commands as processes of their own, for tests that interrupt or kill them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path


def end(processes: list[subprocess.Popen[str]]) -> None:
    """Kill what is still running, with everything that it has started."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(process: subprocess.Popen[str], condition: Callable[[], object]) -> None:
    """Wait until something holds; the process must not end before."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def in_one_group(command: list[str], count: int, **environment: str) -> None:
    """Run a command as several processes that train together, on the CPU; all of them must succeed.

    Args:
        command: The command of each process.
        count: How many.
        environment: More variables.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count)}
    own = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    common = {**os.environ, **group, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", **environment}
    processes = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**common, **rank},
        )
        for rank in own
    ]
    try:
        said = [process.communicate() for process in processes]
        assert [process.returncode for process in processes] == [0] * count, said
    finally:
        end(processes)


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def are_gone(pids: Iterable[int], seconds: float = 20.0) -> bool:
    """Return whether processes end within some seconds."""
    limit = time.monotonic() + seconds
    while running := any(alive(pid) for pid in pids):
        if time.monotonic() > limit:
            break
        time.sleep(0.05)
    return not running


def descendants(pid: int) -> list[tuple[int, bytes]]:
    """Return the processes that a process has started, and those that they have, each with its command line."""
    found: list[tuple[int, bytes]] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(OSError):
                for child in map(int, children.read_text().split()):
                    waiting.append(child)
                    found.append((child, Path(f"/proc/{child}/cmdline").read_bytes()))
    return found
