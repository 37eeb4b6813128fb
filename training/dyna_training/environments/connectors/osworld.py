"""The connector ``dyna/OSWorld-v0``: virtual desktops, through the package desktop-env."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dyna_training.environments.base import GameFileError, PackageMissing, RenderMode
from dyna_training.environments.connectors.failures import ConnectorError
from dyna_training.environments.connectors.machines import LONGEST_ACTION, Begun, Done, MachineEnv
from dyna_training.environments.connectors.screens import Platform, Seen, UnreadableScreen, desktop, written

INSTALL: Final = (
    "dyna/OSWorld-v0 drives virtual machines through the package desktop-env, whose pins contradict this project's: "
    "pip install --no-deps desktop-env, then what it imports; see docs/environments/connectors.md"
)
SPECIAL: Final = ("WAIT", "DONE", "FAIL")
MAX_STEPS: Final = 15
"""Steps of an episode in OSWorld's own runs."""
HOW: Final = "Write Python that calls pyautogui, such as pyautogui.click(100, 200), or WAIT, DONE or FAIL."


class OSWorldEnv(MachineEnv):
    """A connector: tasks on a virtual desktop, as OSWorld has them. Never run by this project's own tests.

    An action is Python that calls pyautogui, run in the virtual machine, or ``WAIT``, ``DONE`` or ``FAIL``; the
    observation is the machine's accessibility tree as text (`screens.desktop`). An episode ends with ``DONE``, with
    ``FAIL``, which says that the task cannot be done, or after `max_steps`; OSWorld's own evaluation then gives the
    reward.

    `fork` starts another virtual machine and replays all actions, which takes minutes.

    Example:
        >>> env = gymnasium.make("dyna/OSWorld-v0", games=["evaluation_examples/…/x.json"])  # doctest: +SKIP
        >>> observation, info = env.reset()  # doctest: +SKIP
        >>> observation, reward, terminated, truncated, info = env.step("pyautogui.click(35, 13)")  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        games: Sequence[str | Path] = (),
        provider: str = "docker",
        path_to_vm: str | None = None,
        platform: Platform = "Ubuntu",
        max_steps: int | None = None,
        pause: float = 2.0,
        timeout: float = 600.0,
        admissible_actions: bool = False,
        render_mode: RenderMode | None = None,
    ) -> None:
        """Create an environment; a virtual machine is started with the first `reset`.

        Args:
            games: Files of tasks: ``evaluation_examples/examples/<domain>/<id>.json`` of OSWorld's repository.
            provider: What runs virtual machines: ``docker``, ``vmware``, ``virtualbox``, ``aws``, …
            path_to_vm: The virtual machine; desktop-env finds or downloads one by default.
            platform: What runs in it.
            max_steps: Steps after which an episode is cut off and judged; 15 by default.
            pause: Seconds that the machine gets to show what an action did.
            timeout: Seconds that a reset or a step may take.
            admissible_actions: Whether `info` lists clicks on what is seen.
            render_mode: Nothing or ``ansi``, for callers who give it; `render` draws in either case.

        Raises:
            ValueError: An argument cannot be.
        """
        names = list(map(str, games))
        super().__init__(
            names, max_steps, timeout, admissible_actions=admissible_actions, render_mode=render_mode
        )
        self._provider = provider
        self._path_to_vm = path_to_vm
        self._platform: Platform = platform
        self._pause = pause

    def _start(self) -> Any:
        try:
            from desktop_env.desktop_env import DesktopEnv
        except ImportError as error:
            raise PackageMissing(f"{INSTALL} ({error})") from error
        return DesktopEnv(
            provider_name=self._provider,
            path_to_vm=self._path_to_vm,
            os_type=self._platform,
            action_space="pyautogui",
            require_a11y_tree=True,
            headless=True,
        )

    def _stop(self, machine: Any) -> None:
        machine.close()

    def _begin(self, machine: Any, game: str) -> Begun:
        config = read_task(Path(game))
        screen, actions = self._read(machine.reset(task_config=config))
        domain = Path(game).parent.name or "task"
        return Begun(str(config["instruction"]), domain, screen, actions, MAX_STEPS)

    def _refusal(self, action: str) -> str | None:
        if action.strip() in SPECIAL:
            return None
        if len(action) > LONGEST_ACTION:
            return f"The action is too long: {len(action):,} characters; at most {LONGEST_ACTION:,} are run."
        try:
            tree = ast.parse(action)
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return f"This is no Python. {HOW}"
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {f.value.id for f in calls if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name)}
        return None if "pyautogui" in names else f"This calls nothing of pyautogui. {HOW}"

    def _perform(self, machine: Any, action: str) -> Done:
        said = action.strip() if action.strip() in SPECIAL else action
        observation, _, done, _ = machine.step(said, self._pause)
        return Done(*self._read(observation), bool(done))

    def _judge(self, machine: Any, *, ended: bool) -> float:
        return min(1.0, max(0.0, float(machine.evaluate())))

    def _why_no_second(self) -> str | None:
        if self._path_to_vm is not None:
            return f"path_to_vm names one virtual machine only ({self._path_to_vm})"
        return None

    def _read(self, observation: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
        """Return what is seen as text, and clicks on it."""
        tree = observation.get("accessibility_tree")
        if not isinstance(tree, str):
            raise ConnectorError(
                "OSWorld: the virtual machine gave no accessibility tree; the server in it is down or hangs"
            )
        try:
            screen = desktop(tree, self._platform)
        except UnreadableScreen as error:
            raise ConnectorError(f"OSWorld: {error}") from error
        middles = {(seen.x, seen.y) for seen in screen if isinstance(seen, Seen) and seen.active}
        return written(screen), (*(f"pyautogui.click({x}, {y})" for x, y in sorted(middles)), *SPECIAL)


def read_task(file: Path) -> dict[str, Any]:
    """Return the task that a file of OSWorld describes.

    Raises:
        GameFileError: The file is missing, or no task.
    """
    try:
        config = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise GameFileError(
            f"{file} cannot be read ({error}); OSWorld's tasks are files of evaluation_examples/examples"
        ) from error
    missing = [
        key for key in ("id", "instruction", "evaluator") if not isinstance(config, dict) or key not in config
    ]
    if missing:
        raise GameFileError(f"{file} is no task of OSWorld: it has no {', '.join(missing)}")
    return dict(config)
