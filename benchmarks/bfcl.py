"""Speed of ``dyna/BFCL-v0`` beside the executor of bfcl-eval, on the ground truth of all 200 multi-turn base tasks.

Each plays every task from its beginning, the same calls in the same order. The executor executes only, and gets the
calls of a turn at once, or one at a time, as when a model makes them. The environment also shows observations, judges
every turn, and reads calls in both forms. Rates are per second of processor time. The exit code is 1 where an answer
differs, a task is not solved, or the environment makes fewer than 10,000 calls per second.

Usage::

    python benchmarks/bfcl.py [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import platform
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from dyna_training.environments.bfcl import BfclEnv, all_tasks, package, parse_call
from dyna_training.environments.bfcl.apis import Apis
from dyna_training.environments.bfcl.functions import parameters_of
from dyna_training.environments.calls import canonical
from dyna_training.environments.text import plain

WANTED = 10_000
RUNS = itertools.count()
"""The executor keeps the instances of every run under its name, so each needs another one."""


def executed(*, at_once: bool) -> list[str]:
    """Return what bfcl-eval's executor answers to all calls."""
    execute = package.module("eval_checker.multi_turn_eval.multi_turn_utils").execute_multi_turn_func_call
    run, answers = f"run{next(RUNS)}", []
    for name, task in all_tasks().items():
        for calls in task.calls:
            for part in [list(calls)] if at_once else [[call] for call in calls]:
                answers += execute(part, task.config, list(task.apis), run, name, is_evaL_run=True)[0]
    return answers


def played(env: BfclEnv, scripts: dict[str, list[list[str]]]) -> list[str]:
    """Return what the environment answers to all calls."""
    answers = []
    for name, turns in scripts.items():
        env.reset(options={"game": name})
        for calls in turns:
            answers += [env.step(call)[0] for call in calls]
            _, reward, over, _, _ = env.step("done")
        if not (over and reward == 1.0):
            raise SystemExit(f"{name} is not solved by its ground truth")
    return answers


def rates(works: dict[str, Callable[[], Any]], number: int, rounds: int) -> dict[str, float]:
    """Return the median rates of some rounds, in which all take turns."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            began = time.process_time()
            work()
            found[name].append(number / (time.process_time() - began))
    return {name: median(values) for name, values in found.items()}


def forks(rounds: int) -> dict[str, float]:
    """Return how often per second the APIs of all tasks are copied."""
    everything = [Apis(task.apis, task.config) for task in all_tasks().values()]
    works = {
        "copy.deepcopy of the package's instances": lambda: [copy.deepcopy(a.instances) for a in everything],
        "fork of dyna/BFCL-v0's": lambda: [a.fork() for a in everything],
    }
    return rates(works, len(everything), rounds)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    env = BfclEnv()
    python = {name: [list(calls) for calls in task.calls] for name, task in all_tasks().items()}
    ours = {name: [list(map(in_our_form, calls)) for calls in turns] for name, turns in python.items()}
    answers = executed(at_once=True)
    shown = list(map(plain, answers))
    same = shown == played(env, python) == played(env, ours) and answers == executed(at_once=False)
    works: dict[str, Callable[[], Any]] = {
        "bfcl-eval's executor, a turn at once": lambda: executed(at_once=True),
        "bfcl-eval's executor, one at a time": lambda: executed(at_once=False),
        "dyna/BFCL-v0, calls as BFCL writes them": lambda: played(env, python),
        "dyna/BFCL-v0, calls in the project's form": lambda: played(env, ours),
    }
    found = rates(works, len(answers), options.rounds)
    good = same and min(list(found.values())[2:]) >= WANTED
    copied = forks(options.rounds)
    if options.json:
        result = {"python": platform.python_version(), "calls": len(answers), "same": same, "good": good}
        print(json.dumps({**result, "calls_per_second": found, "forks_per_second": copied}, indent=1))
        return 0 if good else 1
    table = Table(title=f"{len(answers):,} ground-truth calls of {len(python)} tasks")
    for column in ("per second of processor time", "calls", "forks"):
        table.add_column(column, justify="left" if column.startswith("per") else "right")
    for name, rate in found.items():
        table.add_row(name, f"{rate:,.0f}", "")
    for name, rate in copied.items():
        table.add_row(name, "", f"{rate:,.0f}")
    Console().print(table)
    print(f"answers of both: {'identical' if same else 'different'}; {WANTED:,} calls per second are wanted")
    return 0 if good else 1


def in_our_form(text: str) -> str:
    """Return a call as the project writes it."""
    call = parse_call(text)
    return canonical(call, parameters_of(call.name))


if __name__ == "__main__":
    sys.exit(main())
