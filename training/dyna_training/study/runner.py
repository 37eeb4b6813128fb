"""Runs the stages of a study, each command in a process of its own, and knows after any crash where to go on."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from dyna_training.study.progress import failures, fraction
from dyna_training.study.stages import (
    OUT,
    Stage,
    StageFolder,
    State,
    StudyError,
    differences,
    downstream,
    made_from,
    resolve,
)
from dyna_training.traces.abbreviating import ANSWERS

LOOK: Final = 5.0
"""Seconds between two looks at how far a running command is."""
TAIL: Final = 15
"""Lines of a broken stage's log that are shown."""
LOCK: Final = "study.lock"


class Known(NamedTuple):
    """What is known of a stage.

    Attributes:
        state: ``finished``: its product is there. ``begun``: it was interrupted and goes on. ``ready``: all that
            it needs is there. ``changed``: it was made from something else than it would be made from now.
        seconds: How long it has run, in all its legs.
        why: What was changed, or why it failed.
    """

    state: State
    seconds: float = 0.0
    why: str = ""


class Event(NamedTuple):
    """What has just become of a stage.

    Attributes:
        stage: Its name.
        kind: ``skipped`` (finished before), ``started``, ``progress``, ``finished``, ``failed``, ``stopped`` or
            ``left`` (something that it needs is missing).
        seconds: Seconds of the stage so far.
        fraction: Share of the running command that is done; None where that cannot be told.
        left_s: Seconds that the running command has left, at its speed so far.
        message: Why it failed.
    """

    stage: str
    kind: str
    seconds: float = 0.0
    fraction: float | None = None
    left_s: float | None = None
    message: str = ""


class OutOfTime(Exception):
    """The time for this run is over; everything is kept."""


class Runner:
    """The stages of a study in a folder.

    Args:
        out: The folder.
        stages: All stages, in order.
        on_event: Told whatever becomes of a stage.
        tolerated: Share of the episodes of a stage that may fail for good.
    """

    def __init__(
        self,
        out: Path,
        stages: Mapping[str, Stage],
        on_event: Callable[[Event], None] = lambda _: None,
        tolerated: float = 0.0,
    ) -> None:
        self.out = out
        self.stages = stages
        self.on_event = on_event
        self.tolerated = tolerated
        self._contents: dict[str, str] = {}

    def folder(self, name: str) -> StageFolder:
        """Return the folder of a stage."""
        return StageFolder(self.out, self.stages[name])

    def known(self) -> dict[str, Known]:
        """Return what is known of each stage, in order."""
        found: dict[str, Known] = {}
        for name, stage in self.stages.items():
            found[name] = self._known(stage, found)
        return found

    def _known(self, stage: Stage, before: Mapping[str, Known]) -> Known:
        folder = self.folder(stage.name)
        manifest = folder.manifest()
        seconds = float(manifest.get("seconds", 0.0))
        ready = all(before[need].state == "finished" for need in stage.needs)
        if not manifest:
            return Known("ready" if ready else "waiting")
        if not ready:
            return Known("waiting", seconds)
        apart = differences(manifest["from"], made_from(stage, {n: self._content(n) for n in stage.needs}))
        if apart:
            return Known("changed", seconds, "; ".join(apart))
        if manifest["state"] != "finished":
            return Known(manifest["state"], seconds, manifest.get("why", ""))
        try:
            content = self._content(stage.name)
        except StudyError as error:
            return Known("changed", seconds, str(error))
        if content != manifest["content"]:
            return Known("changed", seconds, "its files are no longer those that it wrote")
        return Known("finished", seconds)

    def _content(self, name: str) -> str:
        if name not in self._contents:
            self._contents[name] = self.folder(name).contents()
        return self._contents[name]

    def redo(self, names: Collection[str]) -> list[str]:
        """Delete stages and everything that is made from them; returns their names."""
        gone = [n for n in downstream(self.stages, names) if self.folder(n).path.exists()]
        with self._alone():
            for name in gone:
                shutil.rmtree(self.folder(name).path)
                self._contents.pop(name, None)
        return gone

    def run(self, wanted: Collection[str], deadline: float | None = None) -> dict[str, Known]:
        """Run stages that are not finished, in order; a broken one holds up only what needs it.

        Args:
            wanted: Names of the stages.
            deadline: `time.monotonic` at which to stop, with everything kept; None is never.

        Returns:
            What is known of each stage then.

        Raises:
            StudyError: A wanted stage was made from something else, or another run is at it.
            OutOfTime: The deadline has come.
            KeyboardInterrupt: Ctrl-C or SIGTERM; everything is kept.
        """
        with self._alone(), _terminated_as_interrupted():
            known = self.known()
            self._refuse_changed({n: k for n, k in known.items() if n in wanted})
            for name, stage in self.stages.items():
                if name not in wanted:
                    continue
                known[name] = now = self._known(stage, known)
                if now.state == "finished":
                    self.on_event(Event(name, "skipped", now.seconds))
                elif now.state == "waiting":
                    missing = next(n for n in stage.needs if known[n].state != "finished")
                    self.on_event(Event(name, "left", message=f"{missing} is {known[missing].state}"))
                else:
                    self._refuse_changed({name: now})
                    self._run(stage, deadline)
                    known[name] = self._known(stage, known)
            return self.known()

    def _refuse_changed(self, known: Mapping[str, Known]) -> None:
        changed = {name: k for name, k in known.items() if k.state == "changed"}
        if changed:
            lines = "\n".join(f"  {name}: {k.why}" for name, k in changed.items())
            redo = " ".join(f"--redo {name}" for name in changed)
            raise StudyError(
                f"{self.out} holds stages that were made otherwise:\n{lines}\n"
                f"Go on with the configuration that they were made with, choose another folder with --out, or make "
                f"them and all that follows from them anew with {redo}"
            )

    def _run(self, stage: Stage, deadline: float | None) -> None:
        """Run one stage to its end, or as far as it goes."""
        folder = self.folder(stage.name)
        before = float(folder.manifest().get("seconds", 0.0))
        start = time.monotonic()

        def seconds() -> float:
            return round(before + time.monotonic() - start, 1)

        source = made_from(stage, {n: self._content(n) for n in stage.needs})
        commands = [resolve(command, self.out, self.stages) for command in stage.commands]
        folder.path.mkdir(parents=True, exist_ok=True)
        if not stage.resumes and folder.product.exists():
            with _held(folder.path / ".lock", wait=True):  # a killed run's command may still be writing there
                _clear(folder.product)
        folder.write(**{"from": source}, state="begun", seconds=before, versions=_versions(), why="")
        self.on_event(Event(stage.name, "started", before))
        lost: dict[str, int] = {}
        try:
            for command in commands:
                code = self._command(stage, command, deadline, seconds)
                failed = failures(folder.product) if code == 1 else None
                if failed is not None and failed[0] <= self.tolerated * failed[1]:
                    lost = {"failed": failed[0], "of": failed[1]}
                elif code != 0:
                    why = f"`dyna {' '.join(command)}` ended with code {code}"
                    folder.write(state="failed", seconds=seconds(), why=why)
                    said = f"{why}; the end of {folder.log}:\n{tail(folder.log)}"
                    self.on_event(Event(stage.name, "failed", seconds(), message=said))
                    return
            content = folder.contents()
        except StudyError as error:
            folder.write(state="failed", seconds=seconds(), why=str(error))
            self.on_event(Event(stage.name, "failed", seconds(), message=f"{error}; see {folder.log}"))
            return
        except BaseException:
            folder.write(seconds=seconds())
            self.on_event(Event(stage.name, "stopped", seconds()))
            raise
        self._contents[stage.name] = content
        folder.write(
            state="finished",
            seconds=seconds(),
            content=content,
            lost=lost,
            ran=[_plain(c, self.out) for c in commands],
        )
        self.on_event(Event(stage.name, "finished", seconds()))

    def _command(
        self, stage: Stage, command: list[str], deadline: float | None, seconds: Callable[[], float]
    ) -> int:
        """Run one command to its end and return its exit code; a signal is a negative one."""
        folder = self.folder(stage.name)
        if deadline is not None and time.monotonic() >= deadline:
            raise OutOfTime
        with folder.log.open("ab") as log, _held(folder.path / ".lock", wait=True) as lock:
            log.write(f"$ dyna {' '.join(command)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [sys.executable, "-m", "dyna_training.study.child", *command],
                stdin=subprocess.PIPE,  # never written to: it ends when this process does
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[lock.fileno()],  # so that nobody begins before this command has really ended
                start_new_session=True,  # Ctrl-C goes to this process, which hands it on once
            )
            begun, first = time.monotonic(), fraction(folder.path)
            try:
                while True:
                    now = time.monotonic()
                    if deadline is not None and now >= deadline:
                        raise OutOfTime
                    try:
                        return process.wait(LOOK if deadline is None else min(LOOK, deadline - now))
                    except subprocess.TimeoutExpired:
                        done = fraction(folder.path)
                        left = _left(first, done, time.monotonic() - begun)
                        self.on_event(Event(stage.name, "progress", seconds(), done, left))
            finally:
                _stop(process)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the study's folder against other runs.

        Raises:
            StudyError: Another run is at it.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        with _held(self.out / LOCK, wait=False):
            yield


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Take SIGTERM as Ctrl-C, so that the running command keeps what it has before this process ends."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _held(file: Path, *, wait: bool) -> Iterator[IO[str]]:
    """Hold a file's lock; whoever inherits the file holds it, too."""
    with file.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            handle.seek(0)
            raise StudyError(
                f"another `dyna study` is at work in {file.parent} (process {handle.read().strip()})"
            ) from None
        handle.seek(0)
        handle.truncate()
        handle.write(str(os.getpid()))
        handle.flush()
        yield handle


def _clear(product: Path) -> None:
    """Delete what a command left, but not the answers of a chat model, which were paid for."""
    for path in product.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ANSWERS:
            path.unlink()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Let an interrupted command keep what it has; a second Ctrl-C kills it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
    if process.stdin is not None:
        process.stdin.close()


def _left(first: float | None, done: float | None, seconds: float) -> float | None:
    """Return the seconds that a command has left, from what it did since it was started."""
    if done is None or done <= (first or 0.0):
        return None
    return seconds * (1 - done) / (done - (first or 0.0))


def tail(log: Path, lines: int = TAIL) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _plain(command: list[str], out: Path) -> str:
    """Return a command as it can be typed, with the study's folder under a name of its own."""
    import shlex

    return shlex.join(["dyna", *(word.replace(str(out), OUT) for word in command)])


def _versions() -> dict[str, Any]:
    return {"dyna-graph": version("dyna-graph"), "python": sys.version.split()[0]}
