"""A Chromium without a window, spoken to over a pipe in the DevTools protocol.

The pipe is the browser's life: it ends when the pipe is closed, which the operating system does for a process that
dies of whatever signal. Its messages are JSON, each ended by a zero byte.
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from dyna_training.environments.base import PackageMissing

VARIABLE: Final = "DYNA_CHROMIUM"
"""Environment variable that names the browser's program."""
NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
INSTALL: Final = (
    f"apt-get install chromium (or another Chromium or Chrome), or name its program in ${VARIABLE}"
)
START: Final = 60.0
"""Seconds that the browser has to start."""
_FLAGS: Final = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    # The pages are files of a package, and no name of the network resolves: nothing foreign is ever run. The sandbox
    # cannot be set up by root, nor in most containers.
    "--no-sandbox",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--allow-file-access-from-files",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-features=Translate,OptimizationHints,MediaRouter,DialMediaRouteProvider",
    "--disable-gpu",
    "--disable-renderer-backgrounding",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--force-device-scale-factor=1",
    "--lang=en-US",
    "--metrics-recording-only",
    "--mute-audio",
    "--password-store=basic",
    "--use-mock-keychain",
    "--window-size=500,600",
)


class BrowserError(RuntimeError):
    """The browser did not start, broke off, or a page hung; the message says which and what to do."""


class BrowserDied(BrowserError):
    """The browser is gone: it crashed, was killed, or did not start."""


def browser_program() -> str:
    """Return the program of the browser.

    Raises:
        PackageMissing: There is none.
    """
    given = os.environ.get(VARIABLE)
    if given:
        found = shutil.which(given)
        if found is None:
            raise PackageMissing(f"{VARIABLE}={given}: no such program; {INSTALL}")
        return found
    for name in NAMES:
        if (found := shutil.which(name)) is not None:
            return found
    raise PackageMissing(f"dyna/MiniWoB-v0 shows its pages in Chromium, which is not installed: {INSTALL}")


@functools.cache
def pages_folder() -> Path:
    """Return the folder of the pages of the package miniwob, which is not imported.

    Raises:
        PackageMissing: The package is not installed.
    """
    spec = find_spec("miniwob")
    if spec is None or not spec.submodule_search_locations:
        raise PackageMissing(
            "dyna/MiniWoB-v0 shows the pages of the package miniwob: pip install 'dyna-graph[browser]'"
        )
    return Path(spec.submodule_search_locations[0]) / "html"


class Browser:
    """A running browser; not to be used by two threads at once."""

    def __init__(self) -> None:
        """Start it.

        Raises:
            PackageMissing: It is not installed.
            BrowserDied: It does not start.
            BrowserError: There is no place for its profile.
        """
        program = browser_program()
        try:
            self.profile = Path(tempfile.mkdtemp(prefix="dyna-browser-"))
            self._said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the browser
        except OSError as error:
            where = f"{tempfile.gettempdir()}: {error.strerror or error}"
            raise BrowserError(f"the browser's profile cannot be kept in {where}") from error
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Above 4, where the keeper puts them: two of the four may stand there already.
        passed = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        command = [program, *_FLAGS, f"--user-data-dir={self.profile}", "about:blank"]
        keeper = [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py"))]
        try:
            self._process = subprocess.Popen(
                [*keeper, *map(str, passed), str(self.profile), *command],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                env=os.environ | {"TZ": "UTC"},
                start_new_session=True,  # Ctrl-C is for this process
            )
        finally:
            for end in (*passed, theirs_in, theirs_out):
                os.close(end)
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._rest = b""
        self._number = 0
        self._events: list[dict[str, Any]] = []
        self._crashed: set[str] = set()  # sessions
        self.alive = True
        try:
            self.ask("Browser.getVersion", timeout=START)
        except (BrowserError, TimeoutError) as error:
            said = self._last_words()
            self.close()
            raise BrowserDied(f"{program} does not start: {said or error}") from None

    @property
    def pid(self) -> int:
        """Process id of its keeper, whose only child is the browser."""
        return self._process.pid

    def ask(self, method: str, *, session: str = "", timeout: float, **given: Any) -> dict[str, Any]:
        """Send a command and return its result.

        Args:
            method: Name in the DevTools protocol.
            session: Which tab; the browser itself when left out.
            timeout: Seconds until it must have answered.
            given: Parameters of the command.

        Raises:
            BrowserDied: The browser is gone, or the tab's process.
            TimeoutError: There was no answer in time; the browser is in an unknown state.
            BrowserError: The command was refused.
        """
        self._number += 1
        number, deadline = self._number, time.monotonic() + timeout
        message: dict[str, Any] = {"id": number, "method": method, "params": given}
        if session:
            message["sessionId"] = session
        self._write(json.dumps(message).encode() + b"\0", deadline)
        while True:
            answer = self._next(session, deadline)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error'].get('message', answer['error'])}")
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)

    def wait_for(self, event: str, *, session: str, timeout: float) -> None:
        """Wait for an event of a tab since the last `forget`.

        Raises:
            BrowserDied: The browser is gone, or the tab's process.
            TimeoutError: It did not come.
        """
        deadline = time.monotonic() + timeout
        while not any(e.get("method") == event and e.get("sessionId") == session for e in self._events):
            self._events.append(self._next(session, deadline))

    def forget(self) -> None:
        """Forget the events so far."""
        self._events.clear()

    def close(self) -> None:
        """End it; a second call does nothing."""
        if not self.alive:
            return
        self.alive = False
        os.close(self._in)
        os.close(self._out)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            shutil.rmtree(self.profile, ignore_errors=True)
        self._said.close()

    def abandon(self) -> None:
        """Let go of it in a process that was forked from its owner's."""
        self.alive = False
        os.close(self._in)
        os.close(self._out)

    def _write(self, data: bytes, deadline: float) -> None:
        while data:
            self._wait(self._out, select.POLLOUT, deadline)
            try:
                data = data[os.write(self._out, data) :]
            except BrokenPipeError:
                raise BrowserDied("the browser is gone") from None

    def _next(self, session: str, deadline: float) -> dict[str, Any]:
        """Return the next message; who waits for a tab whose process crashed would wait for ever."""
        if session not in self._crashed:
            message = self._receive(deadline)
            if message.get("method") == "Inspector.targetCrashed":
                self._crashed.add(message["sessionId"])
        if session in self._crashed:
            raise BrowserDied("the process of a page crashed")
        return message

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            self._wait(self._in, select.POLLIN, deadline)
            more = os.read(self._in, 1 << 20)
            if not more:
                raise BrowserDied("the browser is gone")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        received: dict[str, Any] = json.loads(message)
        return received

    def _wait(self, end: int, event: int, deadline: float) -> None:
        if not self.alive:
            raise BrowserDied("the browser is gone")
        waiting = select.poll()  # unlike select it takes any number of open files
        waiting.register(end, event)
        if not waiting.poll(1000 * max(0.0, deadline - time.monotonic())):
            raise TimeoutError("the browser did not answer in time")

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1][-400:] if lines else ""
