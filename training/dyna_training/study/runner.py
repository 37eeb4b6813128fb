"""Runs the stages of a study, each command in a process of its own, and knows after any crash where to go on."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple

from dyna_training.held import Held, held
from dyna_training.study.process import Halt, run_command
from dyna_training.study.progress import failures
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


class Runner:
    """The stages of a study in a folder.

    Args:
        out: The folder.
        stages: All stages, in order.
        on_event: Told whatever becomes of a stage, one event after another.
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
        self._telling = threading.Lock()

    def _tell(self, event: Event) -> None:
        with self._telling:
            self.on_event(event)

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

    def run(self, wanted: Collection[str], deadline: float | None = None, jobs: int = 1) -> dict[str, Known]:
        """Run stages that are not finished, in order; a broken one holds up only what needs it.

        Args:
            wanted: Names of the stages.
            deadline: `time.monotonic` at which to stop, with everything kept; None is never.
            jobs: How many stages that do not need each other run at the same time.

        Returns:
            What is known of each stage then.

        Raises:
            StudyError: A wanted stage was made from something else, or another run is at it.
            OutOfTime: The deadline has come.
            KeyboardInterrupt: Ctrl-C or SIGTERM; everything is kept.
        """
        with self._alone(), _terminated_as_interrupted(), ThreadPoolExecutor(jobs) as pool:
            known = self.known()
            self._refuse_changed({n: k for n, k in known.items() if n in wanted})
            pending = [name for name in self.stages if name in wanted]
            halt, threads = Halt(), _threads(jobs)
            running: dict[Future[None], str] = {}
            try:
                while True:
                    for name in self._startable(pending, known, running.values(), jobs - len(running)):
                        pending.remove(name)
                        job = pool.submit(self._run, self.stages[name], deadline, halt, threads)
                        running[job] = name
                    if not running:
                        return self.known()
                    for job in wait(running, return_when=FIRST_COMPLETED).done:
                        name = running.pop(job)
                        job.result()
                        known[name] = self._known(self.stages[name], known)
            except BaseException:
                halt.ask()
                try:
                    wait(running)
                except BaseException:
                    halt.at_once()
                    raise
                raise

    def _startable(
        self, pending: list[str], known: dict[str, Known], running: Collection[str], number: int
    ) -> list[str]:
        """Return at most ``number`` stages that can run now, and take out of ``pending`` those that need no run."""
        found: list[str] = []
        for name in list(pending):
            stage = self.stages[name]
            known[name] = now = self._known(stage, known)
            if now.state == "finished":
                self._tell(Event(name, "skipped", now.seconds))
                pending.remove(name)
            elif now.state == "waiting":
                missing = [need for need in stage.needs if known[need].state != "finished"]
                lost = next((need for need in missing if need not in (*pending, *running)), None)
                if lost is not None:
                    self._tell(Event(name, "left", message=f"{lost} is {known[lost].state}"))
                    pending.remove(name)
            elif len(found) < number:
                self._refuse_changed({name: now})
                found.append(name)
        return found

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

    def _run(self, stage: Stage, deadline: float | None, halt: Halt, threads: int | None) -> None:
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
            with held(folder.path / ".lock", wait=True):  # a killed run's command may still be writing there
                _clear(folder.product)
        folder.write(**{"from": source}, state="begun", seconds=before, versions=_versions(), why="")
        self._tell(Event(stage.name, "started", before))

        def progress(done: float | None, left: float | None) -> None:
            self._tell(Event(stage.name, "progress", seconds(), done, left))

        lost: dict[str, int] = {}
        try:
            for command in commands:
                code = run_command(
                    command, folder, deadline=deadline, halt=halt, threads=threads, progress=progress
                )
                failed = failures(folder.product) if code == 1 else None
                if failed is not None and failed[0] <= self.tolerated * failed[1]:
                    lost = {"failed": failed[0], "of": failed[1]}
                elif code != 0:
                    why = f"`dyna {' '.join(command)}` ended with code {code}"
                    folder.write(state="failed", seconds=seconds(), why=why)
                    said = f"{why}; the end of {folder.log}:\n{tail(folder.log)}"
                    self._tell(Event(stage.name, "failed", seconds(), message=said))
                    return
            content = folder.contents()
        except StudyError as error:
            folder.write(state="failed", seconds=seconds(), why=str(error))
            self._tell(Event(stage.name, "failed", seconds(), message=f"{error}; see {folder.log}"))
            return
        except BaseException:
            folder.write(seconds=seconds())
            self._tell(Event(stage.name, "stopped", seconds()))
            raise
        self._contents[stage.name] = content
        folder.write(
            state="finished",
            seconds=seconds(),
            content=content,
            lost=lost,
            ran=[_plain(c, self.out) for c in commands],
        )
        self._tell(Event(stage.name, "finished", seconds()))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the study's folder against other runs.

        Raises:
            StudyError: Another run is at it.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            with held(self.out / LOCK, wait=False):
                yield
        except Held as error:
            raise StudyError(f"another `dyna study` is at work in {self.out} (process {error.by})") from None


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


def _clear(product: Path) -> None:
    """Delete what a command left, but not the answers of a chat model, which were paid for."""
    for path in product.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ANSWERS:
            path.unlink()


def tail(log: Path, lines: int = TAIL) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def _plain(command: list[str], out: Path) -> str:
    """Return a command as it can be typed, with the study's folder under a name of its own."""
    import shlex

    return shlex.join(["dyna", *(word.replace(str(out), OUT) for word in command)])


def _threads(jobs: int) -> int | None:
    """Return how many threads each of several commands may use; None leaves that to the command."""
    if jobs == 1 or "OMP_NUM_THREADS" in os.environ:
        return None
    return max(1, len(os.sched_getaffinity(0)) // jobs)


def _versions() -> dict[str, Any]:
    return {"dyna-graph": version("dyna-graph"), "python": sys.version.split()[0]}
