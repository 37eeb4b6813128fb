"""Workers on the machines of a Ray cluster, as actors; results come back to the machine that collects.

    dyna collect … --workers 64 --cluster 10.0.0.1:6379
    dyna collect … --workers 2 --cluster local

A worker takes one CPU of the cluster. An actor that dies, or whose machine does, is replaced wherever there is room.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from importlib.metadata import version
from typing import Any, Final

from dyna_training.hosts import Message, Work, answer, said
from dyna_training.memory import memory_held

LOCAL: Final = "local"
"""In place of an address: a cluster of this machine alone, which lasts as long as the collection."""
REACHED: Final = 30
"""Seconds in which a cluster must answer."""
STORE: Final = 80 * 2**20
"""Bytes of the object store of a local cluster, little more than Ray's least: it holds the results on their way."""
PASSED_ON: Final = ("ALFWORLD_DATA", "BOXOBAN_LEVELS", "WEBSHOP_DATA", "DYNA_")
"""Beginnings of the environment variables that workers get from the machine that collects."""
SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
}
"""Of Ray, read when it is imported: report nothing to anybody, leave the GPUs visible, and print no paragraph to the
standard output for each actor that dies."""
MADE: Final = "error raised in its creation task"
"""What Ray says of an actor that could not be made, for example where this package is not installed."""
TRY: Final = "import ray, sys; ray.init(address=sys.argv[1], logging_level='error', log_to_driver=False)"


class ClusterError(RuntimeError):
    """A cluster cannot be used; the message says why and what to do."""


class Actor:
    """A worker; Ray makes it on a machine of the cluster."""

    def prepare(self, number: int, work: Work, environment: dict[str, str]) -> tuple[str, Any, int]:
        """Make the handler, and return which version of this package is installed here.

        Args:
            number: Number of the worker.
            work: What it does.
            environment: Environment variables it works with.
        """
        os.environ.update(environment)
        try:
            self.handle = work.prepare(number, *work.arguments)
        except Exception as error:
            return "fatal", said(error), 0
        return "ready", version("dyna-graph"), 0

    def do(self, task: Any) -> tuple[str, Any, int]:
        """Handle a task."""
        return (*answer(self.handle, task), memory_held())


class Cluster:
    """The `Host` that is a Ray cluster.

    Args:
        address: ``host:port``, ``ray://host:port``, ``auto``, or ``local``.
        workers: How many workers there will be, for the size of a local cluster.

    Raises:
        ClusterError: Ray is not installed, or the cluster does not answer.
    """

    def __init__(self, address: str, workers: int) -> None:
        for name, value in SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError:
            raise ClusterError(
                "collecting on a cluster needs ray; install it with: pip install 'dyna-graph[cluster]'"
            ) from None
        self._ray = ray
        given: dict[str, Any] = {}
        if address == LOCAL:
            given = {"num_cpus": workers, "object_store_memory": STORE, "include_dashboard": False}
        else:
            reach(address)
        try:
            ray.init(address=address, logging_level="error", log_to_driver=False, **given)
        except Exception as error:  # Ray raises many kinds
            raise ClusterError(f"Ray does not start: {said(error)}") from error
        self._environment = {k: v for k, v in os.environ.items() if k.startswith(PASSED_ON)}
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, tuple[int, int | None]] = {}

    def start(self, worker: int, work: Work) -> None:
        """Ask for an actor."""
        made = self._ray.remote(Actor).options(num_cpus=1, max_restarts=0, max_concurrency=work.width)
        actor = self._actors[worker] = made.remote()
        self._asked[actor.prepare.remote(worker, work, self._environment)] = (worker, None)

    def send(self, worker: int, number: int, task: Any) -> None:
        """Give an actor a task."""
        if worker in self._actors:  # else its death has been heard of
            self._asked[self._actors[worker].do.remote(task)] = (worker, number)

    def receive(self, timeout: float | None) -> list[Message]:
        """Return the messages there are, once there is one."""
        asked = list(self._asked)
        [*first], _ = self._ray.wait(asked, timeout=timeout)
        ready, _ = self._ray.wait(asked, num_returns=len(asked), timeout=0) if first else ([], None)
        messages: list[Message] = []
        for reference in ready:
            if reference in self._asked:
                messages.append(self._read(reference, *self._asked.pop(reference)))
                if messages[-1].kind == "died":
                    self.kill(messages[-1].worker)  # each of its tasks says that it died; once is enough
        return messages

    def _read(self, reference: Any, worker: int, number: int | None) -> Message:
        errors = self._ray.exceptions
        try:
            kind, value, memory = self._ray.get(reference)
        except errors.RayError as error:
            # Errors of the handler are answers; these are of what it is made of, or of the actor's machine.
            if isinstance(error, errors.RayTaskError) or MADE in str(error):
                last = str(error).strip().splitlines()[-1]
                return Message(worker, "fatal", value=f"a machine of the cluster cannot work: {last}")
            return Message(worker, "died", value=_death(error))
        if kind == "ready" and value != version("dyna-graph"):
            found = f"the cluster has dyna-graph {value}, this machine {version('dyna-graph')}"
            return Message(worker, "fatal", value=f"{found}; install the same on all machines")
        return Message(worker, kind, number, value, memory)

    def retire(self, worker: int) -> None:
        """Forget an actor; Ray ends one that nobody knows."""
        del self._actors[worker]
        self._forget(worker)

    def kill(self, worker: int) -> None:
        """Kill an actor; Ray kills what it has started."""
        if worker in self._actors:
            self._ray.kill(self._actors.pop(worker))
        self._forget(worker)

    def _forget(self, worker: int) -> None:
        self._asked = {ref: whose for ref, whose in self._asked.items() if whose[0] != worker}

    def close(self, grace: float) -> None:
        """Leave the cluster, which ends all actors."""
        self._ray.shutdown()

    def why_not_ready(self) -> str:
        """Return how much room there is."""
        there, free = (
            self._ray.cluster_resources().get("CPU", 0),
            self._ray.available_resources().get("CPU", 0),
        )
        return f"; each takes a CPU, of which the cluster has {there:g}, {free:g} of them free"


def reach(address: str) -> None:
    """Find out whether a cluster answers.

    A client that Ray cannot connect waits without end and hears no signal, so a process of its own tries first.

    Raises:
        ClusterError: It does not.
    """
    found = re.fullmatch(r"(?:ray://)?\[?(.+?)\]?:(\d+)", address)
    try:
        if found:
            socket.create_connection((found[1], int(found[2])), timeout=REACHED).close()
        subprocess.run(
            [sys.executable, "-c", TRY, address], timeout=REACHED, check=True, capture_output=True, text=True
        )
    except (OSError, OverflowError) as error:
        raise _unreached(address, str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise _unreached(address, f"no answer within {REACHED} seconds") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise _unreached(address, lines[-1]) from error


def _unreached(address: str, why: str) -> ClusterError:
    return ClusterError(
        f"the Ray cluster {address} cannot be reached: {why}\n"
        "start one with `ray start --head --port 6379` and name it by its address, or use --cluster local"
    )


def _death(error: Exception) -> str:
    """Return in a few words why an actor is no more; Ray says it in a paragraph."""
    text = str(error)
    where = re.search(r"^\s*ip: (\S+)", text, re.MULTILINE)
    kind = re.search(r"Worker exit type: (\w+)", text)
    return f"its actor{f' on {where[1]}' if where else ''} died ({kind[1] if kind else type(error).__name__})"
