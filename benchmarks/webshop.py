"""Speed of ``dyna/WebShop-v0`` beside the original WebShop, on the same scripted sessions.

The original runs as in the equality check (`dyna_training.environments.webshop.equality`): unmodified, with its own
Lucene index, in a Python that has what it requires. Both tell the page and what can be clicked on after each action;
the original always computes the latter. All rates are per second of processor time, of single steps only: opening the
shop, resets and making up the actions are not part of it. Without ``--original`` only the environment is measured, and
compared with 78 steps per second, the original's speed as measured with rank_bm25 in place of Lucene. The exit code is
1 where the environment, with all it can tell, is less than ten times as fast.

Usage::

    python benchmarks/webshop.py [--original CLONE --python PATH] [--sessions 40] [--steps 20] [--seed 0] [--json]
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dyna_training.environments.webshop import Shop, WebShopEnv, open_shop
from dyna_training.environments.webshop.equality import CACHE, play
from dyna_training.environments.webshop.plays import actions
from dyna_training.environments.webshop.session import Session

KNOWN = 78.0
TIMES = 10


def scripts_of(shop: Shop, sessions: int, steps: int, seed: int) -> list[tuple[int, list[str]]]:
    return [
        (number, actions(Session(shop, f"synthetic/{number}", attributes_page=True), steps, seed))
        for number in range(sessions)
    ]


def steps_per_second(scripts: Sequence[tuple[int, list[str]]], *, listed: bool) -> float:
    """Return the environment's speed."""
    env = WebShopEnv(games=["synthetic/0"], attributes_page=True, max_steps=10**6, admissible_actions=listed)
    seconds = 0.0
    for number, script in scripts:
        env.reset(seed=0, options={"game": f"synthetic/{number}"})
        began = time.process_time()
        for action in script:
            env.step(action)
        seconds += time.process_time() - began
    return sum(len(script) for _, script in scripts) / seconds


def forks_per_second(scripts: Sequence[tuple[int, list[str]]]) -> float:
    """Return how often the environment forks."""
    env, number = WebShopEnv(games=["synthetic/0"], admissible_actions=False), 200_000
    env.reset(seed=0)
    for action in scripts[0][1][:5]:
        env.step(action)
    began = time.process_time()
    for _ in range(number):
        env.fork()
    return number / (time.process_time() - began)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--original", type=Path, help="clone of princeton-nlp/WebShop")
    parser.add_argument("--python", default=sys.executable, help="Python that has what the original requires")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--sessions", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20, help="least number of actions per session")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    shop = open_shop()
    scripts = scripts_of(shop, options.sessions, options.steps, options.seed)
    number = sum(len(script) for _, script in scripts)
    original, peer = KNOWN, "original, as known"
    if options.original is not None:
        _, *transcripts = play(options.original, options.python, shop, "synthetic", scripts, options.cache)
        original, peer = number / sum(seen["step_s"] for seen in transcripts), "original"
    steps_per_second(scripts[:3], listed=True)  # what is computed once is computed now
    found = {
        peer: original,
        "dyna/WebShop-v0": steps_per_second(scripts, listed=False),
        "dyna/WebShop-v0, actions listed": steps_per_second(scripts, listed=True),
    }
    forks = forks_per_second(scripts)
    good = found["dyna/WebShop-v0, actions listed"] >= TIMES * original
    if options.json:
        print(
            json.dumps(
                {"python": platform.python_version(), "steps": found, "forks": forks, "good": good}, indent=1
            )
        )
        return 0 if good else 1
    table = Table(title=f"WebShop, {len(scripts)} sessions, {number} actions")
    for column in ("", "steps per second of processor time", "times as fast"):
        table.add_column(column, justify="right" if column else "left")
    for name, rate in found.items():
        table.add_row(name, f"{rate:,.0f}", f"{rate / original:,.1f}")
    Console().print(table)
    print(f"{forks:,.0f} forks per second")
    print("good" if good else f"less than {TIMES} times as fast as the original")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
