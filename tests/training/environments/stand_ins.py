"""Stand-ins with the interfaces of desktop-env 1.0.2 and android_world, for machines that cannot run in a test.

The desktop is a file manager with one dialogue; the phone is a list of switches. Each plays the part of the library
only: classes, arguments and what they return are as in the libraries, what is on the screens is made up.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import sys
import time
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest

ST, CP = (
    "https://accessibility.ubuntu.example.org/ns/state",
    "https://accessibility.ubuntu.example.org/ns/component",
)


def node(role: str, name: str, x: int, y: int, *states: str, text: str = "", inside: str = "") -> str:
    """An element as the server in OSWorld's machines writes it."""
    shown = " ".join(f'st:{state}="true"' for state in ("visible", "showing", "enabled", *states))
    return f'<{role} name="{name}" {shown} cp:screencoord="({x}, {y})" cp:size="(40, 20)">{text}{inside}</{role}>'


class DesktopEnv:
    """``desktop_env.desktop_env.DesktopEnv``."""

    made: ClassVar[list[DesktopEnv]] = []
    trouble: ClassVar[str] = ""
    minutes: ClassVar[int] = 0

    def __init__(
        self,
        provider_name: str = "vmware",
        region: str | None = None,
        path_to_vm: str | None = None,
        snapshot_name: str = "init_state",
        action_space: str = "pyautogui",
        cache_dir: str = "cache",
        screen_size: tuple[int, int] = (1920, 1080),
        headless: bool = False,
        require_a11y_tree: bool = True,
        require_terminal: bool = False,
        os_type: str = "Ubuntu",
        enable_proxy: bool = False,
        client_password: str = "",
    ) -> None:
        if type(self).trouble == "start":
            raise Exception("docker: Cannot connect to the Docker daemon")
        if type(self).trouble == "slow start":
            time.sleep(0.3)
        assert action_space == "pyautogui"
        self.closed = False
        self.action_history: list[str] = []
        type(self).made.append(self)

    def reset(
        self, task_config: dict[str, Any] | None = None, seed: Any = None, options: Any = None
    ) -> dict[str, Any]:
        assert task_config is not None
        self.action_history.clear()
        self.instruction = task_config["instruction"]
        self.dialogue, self.folders = False, ["Documents", "Löschen"]
        return self._get_obs()

    def step(self, action: str, pause: float = 2) -> tuple[dict[str, Any], float, bool, dict[str, Any]]:
        if type(self).trouble == "hang":
            time.sleep(60)
        self.action_history.append(action)
        if action == "pyautogui.click(140, 90)":
            self.dialogue = True
        typed = re.search(r"typewrite\('(\w+)'\)", action)
        if self.dialogue and typed:
            self.folders.append(typed[1])
            self.dialogue = False
        return self._get_obs(), 0, action in ("DONE", "FAIL"), {}

    def evaluate(self) -> float:
        return float("Reports" in self.folders)

    def close(self) -> None:
        self.closed = True

    def _get_obs(self) -> dict[str, Any]:
        type(self).minutes += 1
        tree = {"": self._tree(), "down": None, "garbage": "<desktop-frame><oops"}.get(
            type(self).trouble, self._tree()
        )
        return {
            "screenshot": b"",
            "accessibility_tree": tree,
            "terminal": None,
            "instruction": self.instruction,
        }

    def _tree(self) -> str:
        things = [node("icon", name, 100, 200 + 50 * i) for i, name in enumerate(self.folders)]
        things += [
            node("push-button", "New Folder", 120, 80),
            node("entry", "", 300, 80, "focused", "editable"),
        ]
        things += [
            '<label name="hidden" cp:screencoord="(1, 1)" cp:size="(40, 20)"/>',
            node("filler", "", 0, 0),
        ]
        if type(self).trouble == "strange":
            things.append(node("label", str(len(type(self).made)), 5, 5))
        if self.dialogue:
            things.append(
                node(
                    "dialog", "Name", 500, 300, inside=node("text", "Folder name", 520, 320, text="new\ufffc")
                )
            )
        clock = node("label", f"Nov 21 14:{type(self).minutes % 60:02}", 900, 5)
        return (
            f'<desktop-frame xmlns:st="{ST}" xmlns:cp="{CP}"><application name="gnome-shell">{clock}</application>'
            f'<application name="Files">{"".join(things)}</application><application name="idle"/></desktop-frame>'
        )


def osworld_task(folder: Path, **changed: Any) -> Path:
    """Write a task as OSWorld's evaluation_examples have them."""
    config = {
        "id": "bb5e4c0d", "snapshot": "os", "instruction": "Make a folder “Reports”.", "config": [],
        "evaluator": {"func": "exact_match", "result": {"type": "vm_command_line"}}, **changed,
    }  # fmt: skip
    file = folder / "os" / "bb5e4c0d.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return file


@dataclasses.dataclass
class BoundingBox:
    x_min: float
    x_max: float
    y_min: float
    y_max: float


@dataclasses.dataclass
class UIElement:
    """``android_world.env.representation_utils.UIElement``."""

    text: str | None = None
    content_description: str | None = None
    class_name: str | None = None
    bbox: BoundingBox | None = None
    bbox_pixels: BoundingBox | None = None
    hint_text: str | None = None
    is_checked: bool | None = None
    is_checkable: bool | None = None
    is_clickable: bool | None = None
    is_editable: bool | None = None
    is_enabled: bool | None = None
    is_focused: bool | None = None
    is_focusable: bool | None = None
    is_long_clickable: bool | None = None
    is_scrollable: bool | None = None
    is_selected: bool | None = None
    is_visible: bool | None = None
    package_name: str | None = None
    resource_name: str | None = None
    tooltip: str | None = None
    resource_id: str | None = None


@dataclasses.dataclass()
class JSONAction:
    """``android_world.env.json_action.JSONAction``."""

    action_type: str | None = None
    index: str | int | None = None
    x: int | None = None
    y: int | None = None
    text: str | None = None
    direction: str | None = None
    goal_status: str | None = None
    app_name: str | None = None
    keycode: str | None = None
    clear_text: bool | None = None

    def __post_init__(self) -> None:
        if self.index is not None:
            self.index = int(self.index)
        if self.direction and self.direction not in ("left", "right", "down", "up"):
            raise ValueError(f"Invalid scroll direction: {self.direction}")


class Android:
    """``android_world.env.interface.AsyncAndroidEnv``, on a phone with three switches."""

    trouble: ClassVar[str] = ""

    def __init__(self, console_port: int) -> None:
        self.console_port = console_port
        self.switches = {"Wi-Fi": True, "Bluetooth": False, "Café": False}
        self.closed = False
        self.interaction_cache = ""
        self.foreground_activity_name = "com.android.settings/.Settings"
        self.logical_screen_size = (1080, 2400)

    def reset(self, go_home: bool = False) -> Any:
        self.interaction_cache = ""
        return self.get_state()

    def get_state(self, wait_to_stabilize: bool = False) -> Any:
        if type(self).trouble == "gone":
            raise ConnectionError("adb: device 'emulator-5554' not found")
        elements = [
            UIElement(
                text=name, class_name="android.widget.Switch", bbox_pixels=BoundingBox(0, 1080, 200 * i, 200 * i + 100),
                is_checkable=True, is_checked=on, is_clickable=True, is_enabled=True, is_visible=True,
            )
            for i, (name, on) in enumerate(self.switches.items())
        ]  # fmt: skip
        elements += [
            UIElement(class_name="FrameLayout", bbox_pixels=BoundingBox(0, 1080, 0, 2400), is_visible=True),
            UIElement(text="below", bbox_pixels=BoundingBox(0, 1080, 2500, 2600), is_visible=True),
            UIElement(text="hidden", bbox_pixels=BoundingBox(0, 10, 0, 10), is_visible=False),
            UIElement(
                hint_text="Search", class_name="android.widget.EditText", bbox_pixels=BoundingBox(0, 500, 900, 1000),
                is_editable=True, is_visible=True, resource_name="com.android.settings:id/search",
            ),
        ]  # fmt: skip
        return types.SimpleNamespace(pixels=None, forest=None, ui_elements=elements)

    def execute_action(self, action: JSONAction) -> None:
        if action.action_type == "answer":
            self.interaction_cache = action.text or ""
        elif action.action_type == "click":
            elements = self.get_state().ui_elements
            assert isinstance(action.index, int)
            if not 0 <= action.index < len(elements):
                raise ValueError(
                    f"Invalid element index: {action.index}, must be between 0 and {len(elements) - 1}."
                )
            name = elements[action.index].text
            if name in self.switches:
                self.switches[name] = not self.switches[name]

    def close(self) -> None:
        self.closed = True


class TurnOn:
    """A task in the manner of ``android_world.task_evals.task_eval.TaskEval``."""

    template = "Turn {name} on."
    complexity = 1.2
    start_on_home_screen = True

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params
        self.initialized = False

    @property
    def goal(self) -> str:
        return self.template.format(**self.params)

    @classmethod
    def generate_random_params(cls) -> dict[str, Any]:
        return {"name": random.choice(["Bluetooth", "Café"])}

    def initialize_task(self, env: Android) -> None:
        if self.initialized:
            raise RuntimeError("TurnOn.initialize_task() is already called.")
        self.initialized = True
        random.seed(self.params["seed"])
        env.switches = {"Wi-Fi": True, "Bluetooth": False, "Café": False}

    def is_successful(self, env: Android) -> float:
        return float(env.switches[self.params["name"]])

    def tear_down(self, env: Android) -> None:
        self.initialized = False


class TaskRegistry:
    """``android_world.registry.TaskRegistry``."""

    def get_registry(self, family: str) -> dict[str, Any]:
        if family != "android_world":
            raise ValueError(f"Unsupported family: {family}")
        return {"TurnOn": TurnOn}


def install_osworld(monkeypatch: pytest.MonkeyPatch) -> type[DesktopEnv]:
    """Put the stand-in where desktop-env would be."""
    fresh = type("DesktopEnv", (DesktopEnv,), {"made": [], "trouble": "", "minutes": 0})
    _module(monkeypatch, "desktop_env")
    _module(monkeypatch, "desktop_env.desktop_env", DesktopEnv=fresh)
    return fresh


def install_androidworld(monkeypatch: pytest.MonkeyPatch) -> list[Android]:
    """Put the stand-in where android_world would be; return the emulators that are connected to."""
    connected: list[Android] = []

    def load_and_setup_env(
        console_port: int = 5554, emulator_setup: bool = False, freeze_datetime: bool = True, adb_path: str = "adb",
        grpc_port: int = 8554,
    ) -> Android:  # fmt: skip
        connected.append(Android(console_port))
        return connected[-1]

    registry = _module(monkeypatch, "android_world.registry", TaskRegistry=TaskRegistry)
    launcher = _module(monkeypatch, "android_world.env.env_launcher", load_and_setup_env=load_and_setup_env)
    actions = _module(monkeypatch, "android_world.env.json_action", JSONAction=JSONAction)
    _module(monkeypatch, "android_world.env", env_launcher=launcher, json_action=actions)
    _module(monkeypatch, "android_world", registry=registry)
    monkeypatch.setattr(Android, "trouble", "")
    return connected


def _module(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(members)
    monkeypatch.setitem(sys.modules, name, module)
    return module
