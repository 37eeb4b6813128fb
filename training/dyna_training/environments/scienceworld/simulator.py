"""The simulator's process: one Java virtual machine for each process, which runs any number of simulations.

It is a program of our own around the simulator's jar (``java/dyna``), spoken to through its standard input and output,
so it ends when this process does, however that ends. Compared with the package's own gateway, a step is one exchange
instead of many; and a simulation can be forked by copying its few thousand objects, which takes some milliseconds
instead of a reset and a replay.
"""

from __future__ import annotations

import atexit
import collections
import importlib.util
import os
import selectors
import shutil
import struct
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, Final

from dyna_training.environments.base import PackageMissing

INSTALL: Final = "pip install 'dyna-graph[scienceworld]'"
INSTALL_JAVA: Final = (
    "install Java 17 (Debian and Ubuntu: apt-get install openjdk-17-jre-headless or default-jre-headless; macOS: "
    "brew install openjdk) so that `java` is on the PATH, or set JAVA_HOME"
)
PROGRAM: Final = Path(__file__).parent / "java"
"""Compiled by `make java`, so that users need no compiler."""
OPTIONS: Final = (
    "-Xmx1g",
    "-Xss16m",  # the simulator walks through nested objects
    "-XX:+UseSerialGC",  # many processes on few cores collect experience; each collects its garbage in one thread
    "--add-opens=java.base/java.util=ALL-UNNAMED",  # random numbers are kept apart for each simulation
)
TIMEOUT: Final = 300.0
"""Seconds after which a request is given up; the longest, solving a task of genetics, takes about ten."""


class ScienceWorldMissing(PackageMissing):
    """The package scienceworld, or Java, is not installed; the message says how to install it."""


class SimulatorDied(RuntimeError):
    """The simulator's process has ended or does not answer; the message says what it said last."""


class SimulatorError(RuntimeError):
    """The simulator could not do what it was asked."""


def jar() -> Path:
    """Return the file of the simulator.

    Raises:
        ScienceWorldMissing: The package scienceworld is not installed.
    """
    found = importlib.util.find_spec("scienceworld")
    if found is None or found.origin is None:
        raise ScienceWorldMissing(f"dyna/ScienceWorld-v0 needs the package scienceworld: {INSTALL}")
    return Path(found.origin).with_name("scienceworld.jar")


def java() -> str:
    """Return the program ``java``: that of ``$JAVA_HOME``, else the one on the path.

    Raises:
        ScienceWorldMissing: There is none.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=os.path.join(home, "bin")) if home else None
    found = found or shutil.which("java")
    if found is None:
        raise ScienceWorldMissing(f"dyna/ScienceWorld-v0 needs Java, and there is none here: {INSTALL_JAVA}")
    return found


class Simulator:
    """A running process.

    Raises:
        ScienceWorldMissing: The package, or a Java that is new enough, is not there.
    """

    def __init__(self) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        simulator = jar()
        command = [java(), *OPTIONS, "-cp", str(PROGRAM), "dyna.Simulations", str(simulator)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=simulator.parent,  # it reads its list of types from there, and writes one where there is none
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us: an episode that is being recorded is finished first
        )
        assert self._process.stdout is not None
        self._answers = selectors.DefaultSelector()
        self._answers.register(self._process.stdout, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._closing: collections.deque[str] = collections.deque()
        self.alive = True

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def request(self, *texts: str) -> str:
        """Ask something and return the answer, see ``Simulations.java``.

        Raises:
            SimulatorDied: The process has ended, or does not answer in `TIMEOUT` seconds.
            SimulatorError: It could not do it.
        """
        with self._lock:
            if len(self._closing) >= 16:
                self._exchange("close", *(self._closing.popleft() for _ in range(len(self._closing))))
            return self._exchange(*texts)

    def close_later(self, simulation: str) -> None:
        """Forget a simulation with the next request; also for finalizers, which may not wait for a lock."""
        self._closing.append(simulation)

    def stop(self) -> None:
        """End the process."""
        self.alive = False
        self._process.kill()
        self._process.wait()
        self.abandon()

    def abandon(self) -> None:
        """Close this side's ends of the pipes and nothing else."""
        self.alive = False
        self._answers.close()
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            assert pipe is not None
            pipe.close()

    def _exchange(self, *texts: str) -> str:
        if not self.alive:
            raise SimulatorDied("the simulator's process has ended")
        encoded = [text.encode() for text in texts]
        parts = [struct.pack(">i", len(encoded)), *(struct.pack(">i", len(e)) + e for e in encoded)]
        try:
            self._send(b"".join(parts))
            failed, length = struct.unpack(">bi", self._receive(5))
            answer = self._receive(length).decode()
        except (OSError, EOFError) as error:
            raise self._died(error) from error
        except BaseException:
            self.stop()  # half an answer was read: the next one would be taken for the rest of it
            raise
        if failed:
            raise SimulatorError(answer)
        return answer

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        while data:
            data = data[self._process.stdin.write(data) or 0 :]

    def _receive(self, length: int) -> bytes:
        assert self._process.stdout is not None
        pipe, parts = self._process.stdout, []
        while length:
            if not self._answers.select(TIMEOUT):
                raise TimeoutError(f"no answer in {TIMEOUT:.0f} s")
            parts.append(pipe.read(length) or b"")
            if not parts[-1]:
                raise EOFError
            length -= len(parts[-1])
        return b"".join(parts)

    def _died(self, error: Exception) -> Exception:
        """Return what to raise once the process answers no more."""
        self._process.kill()
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        self.abandon()
        if "UnsupportedClassVersionError" in said or "Unrecognized option" in said:
            return ScienceWorldMissing(f"dyna/ScienceWorld-v0 needs Java 17 or newer: {INSTALL_JAVA}")
        ended = f"signal {-code}" if code < 0 else f"exit code {code}"
        why = str(error) if isinstance(error, TimeoutError) else ended
        last = f"; it said: {said.splitlines()[-1][-300:]}" if said else ""
        return SimulatorDied(f"the simulator's process has ended ({why}{last})")


_current: Simulator | None = None
_starting = threading.Lock()


def simulator() -> Simulator:
    """Return this process's simulator; it is started where there is none.

    Raises:
        ScienceWorldMissing: See `Simulator`.
    """
    global _current
    with _starting:
        if _current is None or not _current.alive:
            _current = Simulator()
        return _current


def _stop() -> None:
    if _current is not None and _current.alive:
        _current.stop()


def _forget() -> None:
    """After a fork of this process: the simulator is the parent's, and must hear when that has gone."""
    global _current, _starting
    _starting = threading.Lock()
    if _current is not None and _current.alive:
        _current.abandon()
    _current = None


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
