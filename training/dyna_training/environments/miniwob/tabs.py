"""The one browser of a process and its few tabs, which pages take turns to be shown in."""

from __future__ import annotations

import atexit
import functools
import json
import os
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from dyna_training.environments.miniwob.chromium import Browser, BrowserDied, BrowserError, pages_folder

TABS: Final = 4
"""Most tabs of a browser; a fork that is stepped needs one."""
LOADS: Final = 2000
"""Pages that a browser opens before it makes way for a new one: some of what a page took is never given back."""
ATTEMPTS: Final = 3
"""Browsers that may die one after the other before that is an error."""
TIMEOUT: Final = 30.0
"""Seconds that an action or the opening of a page may take; most take milliseconds, so this one hangs."""
_SCRIPTS: Final = ("clock.js", "view.js", "act.js")


class Shown(Protocol):
    """What a tab can show."""

    @property
    def address(self) -> str:
        """The page's place in the package's folder."""
        ...

    @property
    def beginning(self) -> tuple[int, str]:
        """Seed of the episode and the name of the distribution it is drawn from."""
        ...

    @property
    def done(self) -> Sequence[Any]:
        """The actions so far."""
        ...

    def opened(self, opening: dict[str, Any], now: dict[str, Any]) -> None:
        """Take in what was seen at the beginning and after the actions so far.

        Raises:
            BrowserError: It is something else than before.
        """
        ...


@functools.cache
def script() -> str:
    """Return the script that runs in every document before those of the page."""
    folder = Path(__file__).parent / "scripts"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in _SCRIPTS)


class Tabs:
    """Tabs of one browser, which is started when a page is to be shown and again when it died.

    Threads take turns.

    Attributes:
        loads: Pages that the browser opened.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._browser: Browser | None = None
        # By session, the last used at the end.
        self._owners: OrderedDict[str, weakref.ref[Shown]] = OrderedDict()
        self.loads = 0

    def run(self, page: Shown, expression: str = "null") -> Any:
        """Evaluate an expression in a page; where no tab shows it, one is opened and what was done is repeated.

        Args:
            page: The page.
            expression: JavaScript; what it promises is waited for.

        Raises:
            PackageMissing: The browser or the package of the pages is not installed.
            BrowserError: The browser died again and again, the page hung, or repeating what was done led to another
                state.
        """
        with self._lock:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    return self._evaluate(self._session_of(page), expression)
                except BrowserDied:
                    self.close()
                    if attempt == ATTEMPTS:
                        raise
                except TimeoutError:
                    self.close()
                    raise BrowserError(
                        f"{page.address}, seed {page.beginning[0]}: the page hung for {TIMEOUT:.0f} s after "
                        f"{len(page.done)} actions; its browser was ended"
                    ) from None
                except BaseException:  # Ctrl-C, too: who knows what the tabs are at now
                    self.close()
                    raise
        raise AssertionError("unreachable")

    def release(self, page: Shown) -> None:
        """Let other pages have the tab of a page."""
        with self._lock:
            for session, owner in self._owners.items():
                if owner() is page:
                    self._owners[session] = _NOBODY

    @property
    def browser(self) -> Browser | None:
        """The running browser."""
        return self._browser

    def close(self) -> None:
        """End the browser; the next page starts another one."""
        with self._lock:
            browser, self._browser = self._browser, None
            self._owners.clear()
            if browser is not None:
                browser.close()

    def abandon(self) -> None:
        """Let go of the browser in a process that was forked from its owner's; the lock may be held for ever there."""
        if self._browser is not None:
            self._browser.abandon()

    def _session_of(self, page: Shown) -> str:
        """Return the session of the tab that shows a page; it is now the one that was used last."""
        session = next((name for name, owner in self._owners.items() if owner() is page), None)
        if session is None:
            session = self._free_tab()
            self._owners[session] = weakref.ref(page)
            self._open(session, page)
        self._owners.move_to_end(session)
        return session

    def _free_tab(self) -> str:
        if self._browser is None or self.loads >= LOADS:
            self.close()
            self._browser = Browser()
            self.loads = 0
        free = next((name for name, owner in self._owners.items() if owner() is None), None)
        if free is not None:
            return free
        if len(self._owners) == TABS:
            return next(iter(self._owners))
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        session: str = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Page.enable", session)
        self._ask("Inspector.enable", session)  # tells of crashes
        self._ask("Emulation.setFocusEmulationEnabled", session, enabled=True)
        self._ask("Page.addScriptToEvaluateOnNewDocument", session, source=script())
        return session

    def _open(self, session: str, page: Shown) -> None:
        """Show a page from its beginning and repeat what was done."""
        assert self._browser is not None
        self.loads += 1
        self._browser.forget()
        file = pages_folder() / page.address
        answer = self._ask("Page.navigate", session, url=file.as_uri())
        if "errorText" in answer:
            raise BrowserError(f"{file}: {answer['errorText']}")
        self._browser.wait_for("Page.loadEventFired", session=session, timeout=TIMEOUT)
        seed, mode = page.beginning
        opening = self._evaluate(session, f"dyna.begin({seed}, {json.dumps(mode)})")
        limit = time.monotonic() + TIMEOUT
        while opening is None:  # a page that loads a frame says when that is there
            if time.monotonic() > limit:
                raise TimeoutError
            time.sleep(0.01)
            opening = self._evaluate(session, "dyna.opening()")
        page.opened(opening, self._evaluate(session, played(page.done)) if page.done else opening)

    def _evaluate(self, session: str, expression: str) -> Any:
        answer = self._ask(
            "Runtime.evaluate", session, expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"].get("exception", {})
            raise BrowserError(f"the page failed: {str(thrown.get('description', thrown))[:600]}")
        return answer["result"].get("value")

    def _ask(self, method: str, session: str = "", **given: Any) -> dict[str, Any]:
        assert self._browser is not None
        return self._browser.ask(method, session=session, timeout=TIMEOUT, **given)


def played(actions: Sequence[Any]) -> str:
    """Return the expression that does actions one after the other."""
    return f"dyna.play({json.dumps(list(actions))})"


def _nobody() -> None:
    return None


_NOBODY: Any = _nobody
"""Stands for the owner of a tab that nobody needs."""


@functools.cache
def tabs() -> Tabs:
    """Return the tabs of this process."""
    return Tabs()


def _end() -> None:
    if tabs.cache_info().currsize:
        tabs().close()


def _begin_anew() -> None:
    if tabs.cache_info().currsize:
        tabs().abandon()
        tabs.cache_clear()


atexit.register(_end)
os.register_at_fork(after_in_child=_begin_anew)
