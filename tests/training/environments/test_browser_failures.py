"""Browsers that are missing, die, hang or are left alone; pages that talk; several processes at once."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from dyna_training.environments.base import PackageMissing
from dyna_training.environments.miniwob import BrowserDied, BrowserError, MiniWobEnv, chromium
from dyna_training.environments.miniwob import tabs as tabs_module
from dyna_training.environments.miniwob.catalogue import WebPages
from dyna_training.environments.miniwob.chromium import VARIABLE, Browser, browser_program, pages_folder
from dyna_training.environments.miniwob.tabs import Tabs, tabs
from tests.training.environments.browsers import family, needs_browser
from tests.training.processes import are_gone

GAME = {"game": "login-user/1"}


@pytest.fixture
def env() -> MiniWobEnv:
    env = MiniWobEnv(max_steps=100)
    env.reset(options=GAME)
    return env


def running() -> Browser:
    browser = tabs().browser
    assert browser is not None
    return browser


def kill(kind: str = "") -> None:
    """Kill the browser as a crash would: all at once, its keeper excepted; or those of its processes of a kind."""
    for pid in family(running().pid):
        with contextlib.suppress(OSError):  # it ended with another one
            if kind in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)


# -------------------------------------------------------------------- missing


def test_a_missing_browser_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(
        PackageMissing, match=r"Chromium, which is not installed: apt-get install chromium .*\$DYNA"
    ):
        browser_program()
    with pytest.raises(PackageMissing, match="apt-get install chromium"):
        WebPages().draw("train", 1)
    monkeypatch.setenv(VARIABLE, "/nowhere/chromium")
    with pytest.raises(PackageMissing, match="DYNA_CHROMIUM=/nowhere/chromium: no such program"):
        browser_program()


def test_missing_pages_are_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(chromium, "find_spec", lambda name: None if name == "miniwob" else real(name))
    with pytest.raises(PackageMissing, match=r"pip install 'dyna-graph\[browser\]'"):
        pages_folder.__wrapped__()


def test_a_browser_that_does_not_start_says_what_it_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "broken-chromium"
    program.write_text("#!/bin/sh\necho no display found >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(program))
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("dyna-browser-*"))
    with pytest.raises(BrowserError, match="broken-chromium does not start: no display found"):
        Browser()
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("dyna-browser-*")) <= before


@needs_browser
def test_a_profile_that_cannot_be_kept_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(BrowserError, match=r"profile cannot be kept in .*nowhere: No such file or directory"):
        Browser()


# -------------------------------------------------------------------- dying, hanging, talking


@needs_browser
def test_a_killed_browser_is_replaced_and_the_episode_goes_on(env: MiniWobEnv) -> None:
    env.step('type [1] "one"')
    fork = env.fork()
    before = env.hidden_state()
    first = running().pid
    kill()
    after = env.step('type [2] "two"')[0]
    assert '[1] text field with "one"' in after
    assert '[2] password field with "two"' in after
    assert fork.hidden_state() == before
    assert running().pid != first


@needs_browser
def test_a_page_whose_process_crashes_goes_on(env: MiniWobEnv) -> None:
    other = MiniWobEnv()
    other.reset(options=GAME)
    env.step('type [1] "one"')
    kill("--type=renderer")
    began = time.monotonic()
    assert '[1] text field with "one"' in env.step("click [2]")[0]
    assert '[1] text field with ""' in other.step("click [2]")[0]
    assert time.monotonic() - began < tabs_module.TIMEOUT / 2


@needs_browser
def test_a_browser_that_dies_again_and_again_is_an_error(
    env: MiniWobEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Browser.ask

    def ask(browser: Browser, method: str, **given: object) -> object:
        if method == "Page.navigate":
            kill()
        return real(browser, method, **given)  # type: ignore[arg-type]

    kill()
    with monkeypatch.context() as patched:
        patched.setattr(Browser, "ask", ask)
        with pytest.raises(BrowserDied):
            env.step("click [1]")
    assert env.step("click [1]")[0].startswith('"Username"\n[1] text field with "" focused')


@needs_browser
def test_a_page_that_hangs_is_ended_and_the_episode_goes_on(
    env: MiniWobEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.step('type [1] "one"')
    page = env._require()
    with monkeypatch.context() as patched:
        patched.setattr(tabs_module, "TIMEOUT", 1.0)
        with pytest.raises(
            BrowserError, match=r"login-user.html, seed 1: the page hung for 1 s after 1 actions"
        ):
            tabs().run(page, "(() => { for (;;); })()")
    assert '[1] text field with "one"' in env.step("click [2]")[0]


@needs_browser
def test_a_page_that_cannot_be_repeated_says_what_differs(env: MiniWobEnv) -> None:
    env.step('type [1] "one"')
    page = env._require()
    page.done = (*page.done[:-1], {**page.done[-1], "text": "other"})
    tabs().release(page)
    with pytest.raises(
        BrowserError, match=r"login-user/1: 1 actions, repeated, .*'\[1\].* \"other\".*' instead of"
    ):
        env.step("click [2]")


@needs_browser
def test_what_a_page_asks_is_answered_and_shown(env: MiniWobEnv) -> None:
    page = env._require()
    answers = tabs().run(page, "[alert('Careful!'), confirm('Sure?'), prompt('Name?')]")
    assert answers == [None, True, ""]
    observation = env.step("click [1]")[0]
    assert observation.startswith(
        'The page says "Careful!".\nThe page says "Sure?".\nThe page says "Name?".\n"Username"'
    )
    assert "Careful" not in env.step("click [1]")[0]


@needs_browser
def test_nobody_leaves_the_page(env: MiniWobEnv) -> None:
    page = env._require()
    for way in (
        "location.href = 'about:blank'",
        "window.open('about:blank')",
        "location.reload()",
        "history.back()",
    ):
        tabs().run(page, f"void ({way})")
        assert env.step("click [1]")[0].startswith('"Username"')


@needs_browser
def test_a_mistake_of_the_page_is_an_error(env: MiniWobEnv) -> None:
    with pytest.raises(BrowserError, match="the page failed: Error: broken"):
        tabs().run(env._require(), "Promise.reject(new Error('broken'))")
    assert env.step("click [1]")[0].startswith('"Username"')


@needs_browser
def test_a_browser_makes_way_for_a_new_one(env: MiniWobEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    env.step('type [1] "one"')
    first = running().pid
    monkeypatch.setattr(tabs_module, "LOADS", tabs().loads)
    fork = env.fork()
    assert '[1] text field with "one"' in fork.step("click [2]")[0]
    assert running().pid != first
    assert '[1] text field with "one"' in env.step("click [2]")[0]


# -------------------------------------------------------------------- processes

PLAYER = """
import sys, time
from dyna_training.environments.miniwob import MiniWobEnv
from dyna_training.environments.miniwob.tabs import tabs
env = MiniWobEnv()
env.reset(options={"game": "login-user/1"})
print(tabs().browser.pid, tabs().browser.profile, flush=True)
sys.stdin.read() if len(sys.argv) > 1 else None
"""


def player(*arguments: str) -> tuple[subprocess.Popen[str], list[int], Path]:
    """Return a process that shows a page, the processes it has started, and the browser's profile."""
    process = subprocess.Popen(
        [sys.executable, "-c", PLAYER, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pid, profile = process.stdout.readline().split()
    return process, [int(pid), *family(int(pid))], Path(profile)


@needs_browser
@pytest.mark.parametrize("ending", [None, signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_no_browser_is_left_behind(ending: signal.Signals | None) -> None:
    process, started, profile = player("wait") if ending else player()
    if ending:
        assert len(started) > 2
        assert profile.is_dir()
        process.send_signal(ending)
    process.communicate(timeout=30)
    assert are_gone(started)
    assert not profile.exists()


def _play(game: str) -> tuple[int, str]:
    env = MiniWobEnv(max_steps=100)
    env.reset(options={"game": game})
    seen = [env.step(action)[0] for action in ('type [1] "one"', "click [2]", 'type [2] "two"')]
    return running().pid, json.dumps(seen)


@needs_browser
@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_several_processes_have_a_browser_each(env: MiniWobEnv, start: str) -> None:
    env.step('type [1] "mine"')
    mine = running().pid
    with multiprocessing.get_context(start).Pool(2) as pool:
        results = pool.map(_play, ["login-user/1"] * 2, chunksize=1)
    assert {seen for _, seen in results} == {_play("login-user/1")[1]}
    assert mine not in {pid for pid, _ in results}
    assert '[1] text field with "mine"' in env.step("click [2]")[0]
    assert running().pid == mine


@needs_browser
def test_closing_twice_and_going_on_after_it(env: MiniWobEnv) -> None:
    env.close()
    env.close()
    assert env.step("click [1]")[0].startswith('"Username"')
    own = Tabs()
    own.close()
    own.run(env._require().fork())
    assert own.browser is not None
    started = family(own.browser.pid)
    own.close()
    own.close()
    assert started
    assert are_gone(started)
