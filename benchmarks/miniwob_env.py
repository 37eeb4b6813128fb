"""Speed of ``dyna/MiniWoB-v0`` beside the gymnasium environment of the package miniwob, on the same pages and clicks.

Both show the same episodes of a few pages and do the same in them: type into each field and click on it, over and
over. Each step is observed, and ours lists the admissible actions too. Figures are milliseconds of real time and of
processor time, the browser's included, which depends less on what else the machine does; the two take turns. The
package drives its browser by chromedriver, which must be installed. The target is a step in less than half the
package's real time; the exit code is 1 where it is missed.

Usage::

    python benchmarks/miniwob_env.py [--episodes 5] [--steps 20] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from dyna_training.environments.miniwob import MiniWobEnv
from dyna_training.environments.miniwob.chromium import browser_program
from dyna_training.environments.miniwob.seen import Seen

TASKS = ("login-user", "enter-text", "enter-password", "email-inbox-delete", "read-table-2")
TARGET = 0.5
"""Most of the package's time that a step may take."""


class Times(NamedTuple):
    """Milliseconds of real time and of processor time that a reset and a step take."""

    reset: float
    step: float
    reset_work: float
    step_work: float


class Clock:
    """Sums up what is done between its calls, by this process and by all that it has started."""

    def __init__(self) -> None:
        self._spent = {"reset": [0.0, 0.0, 0.0], "step": [0.0, 0.0, 0.0]}

    @contextmanager
    def timing(self, what: str, number: int = 1) -> Iterator[None]:
        """Count what is done inside as so many of these."""
        began, worked = time.perf_counter(), work()
        yield
        for index, more in enumerate((time.perf_counter() - began, work() - worked, number)):
            self._spent[what][index] += more

    def times(self) -> Times:
        """Return the means."""
        (reset, reset_work, resets), (step, step_work, steps) = self._spent.values()
        means = reset / resets, step / steps, reset_work / resets, step_work / steps
        return Times(*(1000 * mean for mean in means))


def work() -> float:
    """Return the seconds of processor time of this process and of the processes that it has started."""
    spent, children = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        pid = int(stat.parent.name)
        spent[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        children.setdefault(int(fields[1]), []).append(pid)
    total, queue = time.process_time(), [os.getpid()]
    for pid in queue:
        queue += children.get(pid, [])
    return total + sum(spent[pid] for pid in queue[1:])


def package_times(task: str, episodes: int, steps: int) -> Times:
    """Play with the package's own environment."""
    import gymnasium
    import miniwob
    from miniwob.action import ActionTypes

    gymnasium.register_envs(miniwob)
    made = gymnasium.make(f"miniwob/{task}-v1", disable_env_checker=True)
    env: Any = made.unwrapped
    clock = Clock()
    try:
        env.reset(seed=0)
        for seed in range(episodes):
            with clock.timing("reset"):
                observation, _ = env.reset(seed=seed)
            fields = [e["ref"] for e in observation["dom_elements"] if e["tag"].startswith("input_")]
            with clock.timing("step", steps):
                for number in range(steps):
                    ref = fields[number % len(fields)] if fields else 1
                    if fields and number % 2 == 0:
                        given = {"ref": ref, "text": f"word{number}"}
                        action = env.create_action(ActionTypes.FOCUS_ELEMENT_AND_TYPE_TEXT, **given)
                    else:
                        action = env.create_action(ActionTypes.CLICK_ELEMENT, ref=ref)
                    env.step(action)
    finally:
        made.close()
    return clock.times()


def our_times(task: str, episodes: int, steps: int) -> Times:
    """Play with ``dyna/MiniWoB-v0``."""
    env = MiniWobEnv(max_steps=10 * steps)
    env.reset(options={"game": f"{task}/0"})
    clock = Clock()
    for seed in range(episodes):
        with clock.timing("reset"):
            observation, _ = env.reset(options={"game": f"{task}/{seed}"})
        fields = [field.ref for field in Seen(observation).all("field")]
        with clock.timing("step", steps):
            for number in range(steps):
                if fields and number % 2 == 0:
                    action = f'type [{fields[number % len(fields)]}] "word{number}"'
                else:
                    action = f"click [{fields[number % len(fields)]}]" if fields else "hover 5,55"
                env.step(action)
    env.close()
    return clock.times()


def fork_time(task: str, steps: int) -> float:
    """Return the milliseconds that a fork and its first step take after some steps."""
    env = MiniWobEnv(max_steps=10 * steps)
    env.reset(options={"game": f"{task}/0"})
    for _ in range(steps):
        env.step("wait")
    spent = []
    for _ in range(10):
        began = time.perf_counter()
        env.fork().step("wait")
        spent.append(1000 * (time.perf_counter() - began))
    return median(spent)


def measure(play: Callable[[str, int, int], Times], episodes: int, steps: int) -> Times:
    """Return the medians over the tasks."""
    found = [play(task, episodes, steps) for task in TASKS]
    return Times(*map(median, zip(*found, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--episodes", type=int, default=5, help="episodes per task and round")
    parser.add_argument("--steps", type=int, default=20, help="steps per episode")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    driver = shutil.which("chromedriver")
    if driver is None:
        print("the package miniwob needs chromedriver: apt-get install chromium-driver", file=sys.stderr)
        return 2
    os.environ.update(SE_OFFLINE="true", MINIWOB_CHROME_BINARY=browser_program(), MINIWOB_CHROMEDRIVER=driver)
    found: dict[str, list[Times]] = {"package": [], "ours": []}
    for _ in range(options.rounds):
        found["package"].append(measure(package_times, options.episodes, options.steps))
        found["ours"].append(measure(our_times, options.episodes, options.steps))
    package, ours = (Times(*map(median, zip(*times, strict=True))) for times in found.values())
    fork = fork_time(TASKS[0], 10)
    good = ours.step <= TARGET * package.step
    if options.json:
        figures = {"package": package._asdict(), "ours": ours._asdict(), "fork": fork, "good": good}
        print(json.dumps({"python": platform.python_version(), "milliseconds": figures}, indent=1))
        return 0 if good else 1
    table = Table(
        title=f"dyna/MiniWoB-v0 beside miniwob, {len(TASKS)} tasks, {options.steps} steps an episode"
    )
    for column in ("milliseconds", "miniwob", "dyna/MiniWoB-v0", "times as fast"):
        table.add_column(column, justify="left" if column == "milliseconds" else "right")
    names = ("reset", "step", "reset, processor time", "step, processor time")
    for name, theirs, mine in zip(names, package, ours, strict=True):
        table.add_row(name, f"{theirs:.1f}", f"{mine:.1f}", f"{theirs / mine:.1f}")
    table.add_row("fork after 10 steps, and a step", "-", f"{fork:.1f}", "-")
    Console().print(table)
    print("good" if good else f"a step takes more than {TARGET:.0%} of the package's time")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
