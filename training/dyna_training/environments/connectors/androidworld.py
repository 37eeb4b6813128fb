"""The connector ``dyna/AndroidWorld-v0``: Android emulators, through the package android_world."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dyna_training.environments.base import Function, GameFileError, PackageMissing, RenderMode
from dyna_training.environments.calls import NotACall, parse_call
from dyna_training.environments.connectors.failures import ConnectorError
from dyna_training.environments.connectors.machines import Begun, Done, MachineEnv
from dyna_training.environments.connectors.screens import phone, written

INSTALL: Final = (
    "dyna/AndroidWorld-v0 drives emulators through the package android_world, which is installed from its repository "
    "(google-research/android_world); see docs/environments/connectors.md"
)
Emulator = tuple[int, int]
"""Ports of a running emulator: its console's, and that of gRPC."""


def _action(name: str, description: str, **parameters: Mapping[str, Any]) -> Function:
    required = [key for key, schema in parameters.items() if "optional" not in schema]
    properties = {key: {k: v for k, v in s.items() if k != "optional"} for key, s in parameters.items()}
    return Function(name, description, {"type": "object", "properties": properties, "required": required})


_INDEX: Final = {"type": "integer", "description": "Number of the element on the screen."}
_ANY_INDEX: Final = {**_INDEX, "optional": True}
_TEXT: Final = {"type": "string", "description": "The text."}
_DIRECTION: Final = {"type": "string", "enum": ["up", "down", "left", "right"]}
ACTIONS: Final = (
    _action("click", "Tap an element.", index=_INDEX),
    _action("double_tap", "Tap an element twice.", index=_INDEX),
    _action("long_press", "Press an element for long.", index=_INDEX),
    _action("input_text", "Tap an element, type a text and press enter.", text=_TEXT, index=_INDEX),
    _action("keyboard_enter", "Press the enter key."),
    _action("navigate_home", "Go to the home screen."),
    _action("navigate_back", "Go back."),
    _action("scroll", "Scroll the screen, or an element of it.", direction=_DIRECTION, index=_ANY_INDEX),
    _action("open_app", "Open an app.", app_name={"type": "string", "description": "Name of the app."}),
    _action("wait", "Wait for the screen to change."),
    _action("answer", "Answer the question that the task asks.", text=_TEXT),
    _action(
        "status",
        "End the episode: the task is done, or cannot be done.",
        goal_status={"type": "string", "enum": ["complete", "infeasible"]},
    ),
)
"""AndroidWorld's actions on elements; each is written as a call, or as its JSON."""
_NAMES: Final = frozenset(action.name for action in ACTIONS)
_IN_USE: set[Emulator] = set()
_LOCK: Final = threading.Lock()


@dataclass
class Phone:
    """An emulator with the task that is set up on it.

    Attributes:
        emulator: Its ports.
        android: AndroidWorld's environment of it.
        task: The task; None before the first.
    """

    emulator: Emulator
    android: Any
    task: Any = None


class AndroidWorldEnv(MachineEnv):
    """A connector: tasks on an Android emulator, as AndroidWorld has them. Never run by this project's own tests.

    An action is a call, ``click({"index": 3})`` or ``click(index=3)``, or AndroidWorld's JSON of the same; the
    observation lists what is on the screen (`screens.phone`). The episode ends with ``status``, and the task's own
    check gives the reward; one that runs out of steps has none, as in AndroidWorld.

    A game is a task and the seed of its parameters: ``ContactsAddContact/7``. `fork` replays all actions on another
    emulator, which must be running.

    Example:
        >>> env = gymnasium.make("dyna/AndroidWorld-v0", games=["ContactsAddContact/7"])  # doctest: +SKIP
        >>> observation, info = env.reset()  # doctest: +SKIP
        >>> observation, reward, terminated, truncated, info = env.step("click(index=3)")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        games: Sequence[str] = (),
        family: str = "android_world",
        emulators: Sequence[Emulator] = ((5554, 8554),),
        adb_path: str | None = None,
        max_steps: int | None = None,
        timeout: float = 300.0,
        admissible_actions: bool = False,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Create an environment; it connects to an emulator with the first `reset`.

        Args:
            games: Tasks with seeds, such as ``ContactsAddContact/7``; seed 0 where none is given.
            family: Registry of tasks, as AndroidWorld names it.
            emulators: Ports of running emulators, console and gRPC; each serves one environment at a time.
            adb_path: Where adb is, where it is not where AndroidWorld looks.
            max_steps: Steps after which an episode is truncated; ten times the task's complexity by default.
            timeout: Seconds that a reset or a step may take.
            admissible_actions: Whether `info` lists taps on what is seen.
            render_mode: Nothing or ``ansi``, for callers who give it; `render` draws in either case.

        Raises:
            ValueError: An argument cannot be.
        """
        super().__init__(
            games, max_steps, timeout, admissible_actions=admissible_actions, render_mode=render_mode
        )
        if not emulators:
            raise ValueError("emulators must name at least one, by its ports.")
        self._family = family
        self._emulators = tuple(emulators)
        self._adb_path = adb_path

    def functions(self) -> Sequence[Function]:
        """Return AndroidWorld's actions."""
        return ACTIONS

    def _start(self) -> Phone:
        launcher, _, _ = _modules()
        with _LOCK:
            free = [emulator for emulator in self._emulators if emulator not in _IN_USE]
            if not free:
                raise ConnectorError(
                    f"AndroidWorld: all {len(self._emulators)} emulators are in use; start another and name its ports, "
                    "or close() the environments that hold them"
                )
            _IN_USE.add(free[0])
        options = {} if self._adb_path is None else {"adb_path": self._adb_path}
        try:
            android = launcher.load_and_setup_env(
                console_port=free[0][0], grpc_port=free[0][1], emulator_setup=False, **options
            )
        except BaseException:
            _release(free[0])
            raise
        return Phone(free[0], android)

    def _stop(self, machine: Phone) -> None:
        try:
            machine.android.close()
        finally:
            _release(machine.emulator)

    def _begin(self, machine: Phone, game: str) -> Begun:
        name, _, seed = game.partition("/")
        before = random.getstate()
        try:  # AndroidWorld draws from Python's own generator, and seeds it
            task = self._made(machine.android, name, seed or "0")
            if machine.task is not None:
                machine.task.tear_down(machine.android)
                machine.task = None
            task.initialize_task(machine.android)
        finally:
            random.setstate(before)
        machine.task = task
        machine.android.reset(go_home=bool(task.start_on_home_screen))
        screen, actions = _read(machine.android)
        return Begun(str(task.goal), name, screen, actions, max(1, int(10 * task.complexity)))

    def _made(self, android: Any, name: str, seed: str) -> Any:
        _, registry, _ = _modules()
        tasks = registry.TaskRegistry().get_registry(self._family)
        if name not in tasks or not seed.isdecimal():
            raise GameFileError(
                f"no task {name!r} with seed {seed!r} in AndroidWorld's family {self._family!r}; "
                f"games are written as {next(iter(sorted(tasks)), 'Task')}/0"
            )
        kind = tasks[name]
        if hasattr(kind, "set_device_time"):  # versions differ
            kind.set_device_time(android)
        random.seed(int(seed))
        return kind({**kind.generate_random_params(), "seed": int(seed)})

    def _refusal(self, action: str) -> str | None:
        try:
            self._read_action(action)
        except (NotACall, ValueError, TypeError) as error:
            return f"{error}"
        return None

    def _perform(self, machine: Phone, action: str) -> Done:
        said = self._read_action(action)
        if said.action_type == "status":
            return Done(*_read(machine.android), over=True)
        try:
            machine.android.execute_action(said)
        except (ValueError, IndexError) as error:  # there is no such element, and nothing was done
            screen, actions = _read(machine.android)
            return Done(f"{error}\n{screen}", actions)
        return Done(*_read(machine.android))

    def _judge(self, machine: Phone, *, ended: bool) -> float:
        return float(machine.task.is_successful(machine.android)) if ended else 0.0

    def _why_no_second(self) -> str | None:
        with _LOCK:
            if all(emulator in _IN_USE for emulator in self._emulators):
                return f"all {len(self._emulators)} emulators are in use; start another and name its ports"
        return None

    @staticmethod
    def _read_action(action: str) -> Any:
        """Return an action as AndroidWorld's own class.

        Raises:
            NotACall: The text is neither a call nor JSON.
            ValueError: There is no such action.
            TypeError: It takes other arguments.
        """
        text = action.strip()
        if text.startswith("{"):
            try:
                fields = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise NotACall(f"This is no JSON: {error}.") from None
        else:
            call = parse_call(text)
            if call.args:
                raise NotACall('Name the arguments, as in click({"index": 3}).')
            fields = {"action_type": call.name, **call.kwargs}
        if fields.get("action_type") not in _NAMES:
            raise NotACall(
                f"There is no action {fields.get('action_type')!r}; there are {', '.join(sorted(_NAMES))}."
            )
        return _modules()[2].JSONAction(**fields)


def _read(android: Any) -> tuple[str, tuple[str, ...]]:
    """Return what is seen as text, and taps on it."""
    state = android.get_state(wait_to_stabilize=True)
    screen = phone(state.ui_elements, android.logical_screen_size)
    taps = (f'click({{"index": {seen.line.split()[0]}}})' for seen in screen if seen.active)
    text = f"Open: {android.foreground_activity_name or 'unknown'}\n{written(screen)}"
    return text, (*taps, "navigate_back({})", "navigate_home({})", "wait({})")


def _release(emulator: Emulator) -> None:
    with _LOCK:
        _IN_USE.discard(emulator)


def _modules() -> tuple[Any, Any, Any]:
    try:
        from android_world import registry
        from android_world.env import env_launcher, json_action
    except ImportError as error:
        raise PackageMissing(f"{INSTALL} ({error})") from error
    return env_launcher, registry, json_action
