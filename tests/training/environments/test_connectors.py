"""Connectors to machines, against stand-ins with the libraries' interfaces: screens, rewards, forks, failures."""

from __future__ import annotations

import pickle
import random
import time
from pathlib import Path
from typing import Any

import pytest

from dyna_training.environments.base import GameFileError, PackageMissing
from dyna_training.environments.connectors import (
    AndroidWorldEnv,
    ConnectorError,
    ForkRefused,
    OSWorldEnv,
    androidworld,
)
from dyna_training.environments.connectors.screens import UnreadableScreen, desktop, written
from dyna_training.tools import environment_tools, task_message
from tests.training.environments.conformance import NONSENSE
from tests.training.environments.stand_ins import (
    Android,
    DesktopEnv,
    install_androidworld,
    install_osworld,
    node,
    osworld_task,
)

NEW_FOLDER = ("pyautogui.click(140, 90)", "import time; pyautogui.typewrite('Reports')")


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> type[DesktopEnv]:
    return install_osworld(monkeypatch)


@pytest.fixture
def desk(machines: type[DesktopEnv], tmp_path: Path) -> OSWorldEnv:
    return OSWorldEnv(games=[osworld_task(tmp_path)], timeout=5.0)


@pytest.fixture
def phones(monkeypatch: pytest.MonkeyPatch) -> list[Android]:
    monkeypatch.setattr(androidworld, "_IN_USE", set())
    return install_androidworld(monkeypatch)


@pytest.fixture
def phone(phones: list[Android]) -> AndroidWorldEnv:
    return AndroidWorldEnv(games=["TurnOn/3"], emulators=[(5554, 8554), (5556, 8556)], timeout=5.0)


def play(env: Any, actions: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return [env.step(action)[:4] for action in actions]


# ---------------------------------------------------------------------- OSWorld


def test_a_desktop_is_read_as_text(desk: OSWorldEnv) -> None:
    observation, info = desk.reset(seed=0)
    assert observation.splitlines() == [
        'Task: Make a folder "Reports".',
        "",
        "[gnome-shell]",
        observation.splitlines()[3],
        "[Files]",
        'icon "Documents" at 120,210',
        'icon "Loschen" at 120,260',
        'push-button "New Folder" at 140,90',
        "entry at 320,90 focused",
    ]
    assert observation.splitlines()[3].startswith('label "Nov 21 14:')
    assert (info["task"], info["task_type"], info["won"]) == ('Make a folder "Reports".', "os", False)
    assert "pyautogui.click(140, 90)" in desk.admissible()
    observation = desk.step(NEW_FOLDER[0])[0]
    assert observation.endswith('text "Folder name" = "new" at 540,330')
    assert desk.hidden_state() == desk.render() == observation


def test_osworlds_evaluation_is_the_reward(desk: OSWorldEnv) -> None:
    desk.reset()
    assert play(desk, NEW_FOLDER)[-1][1:] == (0.0, False, False)
    _, reward, terminated, truncated, info = desk.step("DONE")
    assert (reward, terminated, truncated, info["won"]) == (1.0, True, False, True)
    assert desk.step("WAIT")[:3] == ("The episode is over.", 0.0, True)
    assert desk.admissible() == []
    desk.reset()
    assert desk.step(" FAIL\n")[1:3] == (0.0, True)


def test_an_episode_that_runs_out_of_steps_is_judged_too(machines: Any, tmp_path: Path) -> None:
    env = OSWorldEnv(games=[osworld_task(tmp_path)], max_steps=2, timeout=5.0)
    env.reset()
    assert play(env, NEW_FOLDER)[-1][1:] == (1.0, True, False)
    env.reset()
    assert play(env, ("WAIT", "dance"))[-1][1:] == (0.0, False, True)


def test_what_is_no_use_of_pyautogui_is_not_sent(desk: OSWorldEnv, machines: type[DesktopEnv]) -> None:
    desk.reset()
    before = desk.hidden_state()
    for action in (*NONSENSE, "print('hello')", "import os; os.remove('/')"):
        observation = desk.step(action)[0]
        assert "pyautogui" in observation or "too long" in observation or "over" in observation
        assert desk.observation_space.contains(observation)
    assert machines.made[0].action_history == []
    assert desk.hidden_state() == before


def test_a_fork_is_a_replay_on_another_machine(desk: OSWorldEnv, machines: type[DesktopEnv]) -> None:
    desk.reset()
    desk.step(NEW_FOLDER[0])
    twin = desk.fork()
    assert len(machines.made) == 2
    assert machines.made[1].action_history == [NEW_FOLDER[0]]
    assert "Folder name" in twin.hidden_state()
    twin.step(NEW_FOLDER[1])
    assert "Reports" not in desk.step("WAIT")[0]
    assert twin.step("DONE")[1] == 1.0
    twin.close()
    assert [machine.closed for machine in machines.made] == [False, True]


def test_a_fork_that_cannot_be_is_refused(machines: type[DesktopEnv], tmp_path: Path) -> None:
    env = OSWorldEnv(games=[osworld_task(tmp_path)], path_to_vm="/vm/Ubuntu.vmx", timeout=5.0)
    with pytest.raises(RuntimeError, match="reset"):
        env.fork()
    env.reset()
    with pytest.raises(ForkRefused, match=r"path_to_vm names one virtual machine only \(/vm/Ubuntu\.vmx\)"):
        env.fork()
    machines.trouble = "strange"
    other = OSWorldEnv(games=[osworld_task(tmp_path)], timeout=5.0)
    other.reset()
    other.step("WAIT")
    with pytest.raises(ForkRefused, match=r"the replay led elsewhere: step 0 \('WAIT'\)"):
        other.fork()
    assert machines.made[-1].closed
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(env)


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("down", "gave no accessibility tree; the server in it is down"),
        ("garbage", "the accessibility tree is no XML"),
        ("hang", r"OSWorld \(a step\) did not answer within 0\.2 seconds"),
    ],
)
def test_a_machine_that_breaks_is_named_and_replaced(
    machines: type[DesktopEnv], tmp_path: Path, trouble: str, message: str
) -> None:
    env = OSWorldEnv(games=[osworld_task(tmp_path)], timeout=0.2 if trouble == "hang" else 5.0)
    env.reset()
    machines.trouble = trouble
    began = time.monotonic()
    with pytest.raises(ConnectorError, match=message):
        env.step("WAIT")
    assert time.monotonic() - began < 3.0
    with pytest.raises(RuntimeError, match="after a ConnectorError"):
        env.step("WAIT")
    machines.trouble = ""
    assert "[Files]" in env.reset()[0]
    assert len(machines.made) == 2


def test_a_machine_that_cannot_be_started(machines: type[DesktopEnv], tmp_path: Path) -> None:
    machines.trouble = "start"
    with pytest.raises(ConnectorError, match=r"OSWorld \(starting\): .*Cannot connect to the Docker daemon"):
        OSWorldEnv(games=[osworld_task(tmp_path)], timeout=5.0).reset()


def test_a_machine_that_starts_too_late_is_given_back(machines: type[DesktopEnv], tmp_path: Path) -> None:
    machines.trouble = "slow start"
    with pytest.raises(ConnectorError, match=r"OSWorld \(starting\) did not answer within 0\.1 seconds"):
        OSWorldEnv(games=[osworld_task(tmp_path)], timeout=0.1).reset()
    for _ in range(100):
        if machines.made and machines.made[0].closed:
            break
        time.sleep(0.02)
    assert machines.made[0].closed


def test_tasks_that_are_none(machines: type[DesktopEnv], tmp_path: Path) -> None:
    env = OSWorldEnv(timeout=5.0)
    with pytest.raises(ValueError, match="No game to play"):
        env.reset()
    with pytest.raises(GameFileError, match=r"missing\.json cannot be read"):
        env.reset(options={"game": tmp_path / "missing.json"})
    with pytest.raises(GameFileError, match="is no task of OSWorld: it has no evaluator"):
        env.reset(options={"game": osworld_task(tmp_path, evaluator=None)})
    for options in ({"max_steps": 0}, {"timeout": 0}):
        with pytest.raises(ValueError, match="must be"):
            OSWorldEnv(**options)  # type: ignore[arg-type]


def test_screens_of_other_shapes() -> None:
    many = "".join(node("label", str(i), i, i) for i in range(300))
    tree = f'<desktop xmlns:st="s" xmlns:cp="c"><application name="a">{many}</application></desktop>'
    assert written(desktop(tree)).endswith("\n... and 101 more")
    page = node(
        "panel",
        "Page",
        0,
        0,
        inside=node("paragraph", "", 9, 9, text="See ", inside=node("link", "here", 9, 9)),
    )
    tree = f'<?xml version="1.0" encoding="UTF-8"?><desktop xmlns:st="s" xmlns:cp="c">{page}</desktop>'
    assert written(desktop(tree)) == '[Page]\nparagraph = "See" at 29,19\nlink "here" at 29,19'
    assert written(desktop("<desktop/>")) == "(nothing is seen)"
    windows = (
        '<desktop xmlns:st="https://accessibility.windows.example.org/ns/state" xmlns:cp="c"><window name="Notepad">'
        '<button name="Close" st:visible="true" cp:screencoord="(10, 10)" cp:size="(20, 20)"/></window></desktop>'
    )
    assert written(desktop(windows, "Windows")) == '[Notepad]\nbutton "Close" at 20,20'
    assert desktop(windows, "Ubuntu") == []
    with pytest.raises(UnreadableScreen, match="begins with 'PK"):
        desktop("PK\x03\x04")


# ---------------------------------------------------------------------- AndroidWorld


def test_a_phone_is_read_as_text(phone: AndroidWorldEnv) -> None:
    state = random.getstate()
    observation, info = phone.reset()
    assert random.getstate() == state, "the parameters' seed is nobody else's"
    assert observation.splitlines() == [
        f"Task: {info['task']}",
        "",
        "Open: com.android.settings/.Settings",
        '0 Switch "Wi-Fi" on',
        '1 Switch "Bluetooth" off',
        '2 Switch "Cafe" off',
        '6 EditText "Search" editable',
    ]
    assert (info["task_type"], info["game_id"]) == ("TurnOn", "TurnOn/3")
    assert phone.reset()[1]["task"] == info["task"]
    assert 'click({"index": 1})' in phone.admissible()


@pytest.mark.parametrize(
    "tap", ['click({{"index": {}}})', "click(index={})", '{{"action_type": "click", "index": {}}}']
)
def test_the_tasks_own_check_is_the_reward(phone: AndroidWorldEnv, tap: str) -> None:
    _, info = phone.reset()
    wanted = 1 if "Bluetooth" in info["task"] else 2
    assert phone.step('status(goal_status="complete")')[1:3] == (0.0, True)
    phone.reset()
    observation, reward, terminated, _, _ = phone.step(tap.format(wanted))
    assert (" on" in observation.splitlines()[1 + wanted], reward, terminated) == (True, 0.0, False)
    _, reward, terminated, _, info = phone.step('status({"goal_status": "complete"})')
    assert (reward, terminated, info["won"]) == (1.0, True, True)


def test_a_phones_episode_has_as_many_steps_as_the_task_is_complex(phone: AndroidWorldEnv) -> None:
    phone.reset()
    ends = [phone.step("wait()")[2:4] for _ in range(12)]
    assert ends == [(False, False)] * 11 + [(False, True)]


def test_what_is_no_action_is_answered(phone: AndroidWorldEnv, phones: list[Android]) -> None:
    phone = AndroidWorldEnv(games=["TurnOn/3"], max_steps=100, timeout=5.0)
    phone.reset()
    before = phone.hidden_state()
    others = (
        "click('1')",
        "click(1)",
        "click(foo=1)",
        "scroll(direction='sideways')",
        '{"action_type": "fly"}',
        "{oops",
    )
    for action in (*NONSENSE, *others):
        observation = phone.step(action)[0]
        assert observation.strip()
        assert phone.observation_space.contains(observation)
        assert phone.hidden_state() == before, action[:40]
    assert "Invalid element index: 99" in phone.step("click(index=99)")[0]
    assert phones[0].switches == {"Wi-Fi": True, "Bluetooth": False, "Café": False}


def test_a_phones_fork_takes_another_emulator(phone: AndroidWorldEnv, phones: list[Android]) -> None:
    phone.reset()
    phone.step("click(index=1)")
    twin = phone.fork()
    assert [android.console_port for android in phones] == [5554, 5556]
    assert phones[1].switches["Bluetooth"]
    twin.step("click(index=1)")
    assert phones[0].switches["Bluetooth"]
    with pytest.raises(ForkRefused, match="all 2 emulators are in use"):
        phone.fork()
    twin.close()
    phone.fork().close()
    third = AndroidWorldEnv(games=["TurnOn/3"], timeout=5.0)
    with pytest.raises(ConnectorError, match="all 1 emulators are in use"):
        third.reset()


def test_an_emulator_that_is_gone(phone: AndroidWorldEnv, phones: list[Android], monkeypatch: Any) -> None:
    phone.reset()
    monkeypatch.setattr(Android, "trouble", "gone")
    with pytest.raises(
        ConnectorError, match=r"AndroidWorld \(a step\): ConnectionError: .*'emulator-5554' not found"
    ):
        phone.step("wait()")
    monkeypatch.setattr(Android, "trouble", "")
    phone.reset()


def test_games_that_are_none(phone: AndroidWorldEnv) -> None:
    for game in ("Nothing/1", "TurnOn/x"):
        with pytest.raises(GameFileError, match="games are written as TurnOn/0"):
            phone.reset(options={"game": game})
    with pytest.raises(ValueError, match="emulators"):
        AndroidWorldEnv(emulators=[])


def test_agents_play_on_one_emulator_one_after_the_other(phones: list[Android]) -> None:
    """What the task's message began, the thread goes on with; the next message gets the machine."""
    [act] = environment_tools(lambda: AndroidWorldEnv(games=["TurnOn/3"], timeout=5.0), limit=1)
    for thread in ("1", "2"):
        message = task_message(act, seed=0)
        message = task_message(act, seed=0)  # one that nobody plays holds no emulator
        place = {"configurable": {"thread_id": thread, "episode": message.additional_kwargs["episode"]}}
        count = len(phones)
        assert "Bluetooth" in act.invoke({"command": "click(index=1)"}, place)
        assert len(phones) == count
    assert [phone.closed for phone in phones] == [True, True, True, False]


def test_actions_are_tools_of_their_own(phones: list[Android]) -> None:
    tools = environment_tools(lambda: AndroidWorldEnv(games=["TurnOn/3"], timeout=5.0), functions=True)
    assert {tool.name for tool in tools} >= {"click", "input_text", "status", "answer"}


def test_packages_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(PackageMissing, match="pip install --no-deps desktop-env"):
        OSWorldEnv(games=[osworld_task(tmp_path)]).reset()
    with pytest.raises(PackageMissing, match="google-research/android_world"):
        AndroidWorldEnv(games=["TurnOn/3"]).reset()
