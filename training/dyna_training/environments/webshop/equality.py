"""Check that the shop equals the original WebShop: goals, prices, pages, what can be clicked on, rewards.

Usage::

    git clone https://github.com/princeton-nlp/WebShop
    python -m dyna_training.environments.webshop.equality WebShop --sessions 200 --steps 20 --seed 0 --python PATH

``PATH`` is a Python that has what the original requires (its ``requirements.txt``, and Java for its search); it needs
nothing of this project. The original runs as it is, with its own Lucene index, which is built from the data of
``$WEBSHOP_DATA`` and kept in ``--cache``. Two things are set from outside: the seed of Python's generator, which the
original leaves to chance, and, unless ``--nouns spacy``, which words of a title name things, since spaCy's model has to
be downloaded.

Every session is played in both with the same actions (`plays.actions`) and ends with a purchase. Compared exactly are
all goals and prices, and after each action the page's text, what can be clicked on, reward and end. The exit code is 1
if anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from dyna_training.environments.webshop import original
from dyna_training.environments.webshop.goals import KINDS, PRICE_SEED, Goal, Kind
from dyna_training.environments.webshop.nouns import NOUNS, Nouns
from dyna_training.environments.webshop.plays import actions
from dyna_training.environments.webshop.products import data_files, records
from dyna_training.environments.webshop.session import Session
from dyna_training.environments.webshop.shop import Shop, open_shop
from dyna_training.whole import write_whole

WHAT: Final = ("goals", "prices", "pages", "clickables", "rewards", "ends")
CACHE: Final = Path.home() / ".cache" / "dyna-graph" / "webshop-original"


@dataclass
class Report:
    """Outcome of a check.

    Attributes:
        sessions: Sessions played.
        steps: Actions in them.
        rewards: How many sessions ended with which reward.
        differences: Differences of each sort.
        examples: What differs.
        original_s: Seconds of processor time that the original's steps took.
        ours_s: Seconds of processor time that the same steps took here.
    """

    sessions: int = 0
    steps: int = 0
    rewards: Counter[float] = field(default_factory=Counter)
    differences: dict[str, int] = field(default_factory=lambda: dict.fromkeys(WHAT, 0))
    examples: list[dict[str, Any]] = field(default_factory=list)
    original_s: float = 0.0
    ours_s: float = 0.0

    def compare(self, what: str, where: str, ours: object, theirs: object) -> None:
        """Count what differs."""
        if ours != theirs:
            self.differences[what] += 1
            self.examples.append({"what": what, "where": where, "ours": ours, "original": theirs})


def play(
    repository: Path,
    python: str,
    shop: Shop,
    kind: Kind,
    scripts: Sequence[tuple[int, list[str]]],
    cache: Path,
) -> list[dict[str, Any]]:
    """Play scripts on the original (see `original`).

    Args:
        repository: Clone of the original.
        python: Python that has what the original requires.
        shop: The shop whose data the original is to have.
        kind: Kind of goals.
        scripts: Number of a goal, and actions.
        cache: Folder for the original's data and index.

    Returns:
        The original's goals and prices, then what was seen of each script.

    Raises:
        RuntimeError: The original failed; the message holds the end of what it printed.
    """
    if not (repository / "web_agent_site").is_dir():
        raise RuntimeError(
            f"{repository}: no clone of princeton-nlp/WebShop; it has no folder web_agent_site."
        )
    settings = {
        "repository": str(repository.resolve()),
        **_files(shop.source[0], cache),
        "kind": kind,
        "seed": PRICE_SEED,
        "show_attributes": True,
        "nouns": {product.title: shop.nouns(product.title) for product in shop.products}
        if shop.source[1] == "words"
        else None,
    }
    requests = [settings, *({"goal": goal, "actions": script} for goal, script in scripts)]
    try:
        done = subprocess.run(
            [python, str(Path(original.__file__).resolve())],
            input="".join(json.dumps(request) + "\n" for request in requests),
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise RuntimeError(f"{python}: no such Python; give one with --python.") from None
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(answers) != len(requests):
        raise RuntimeError(
            f"The original failed ({python}, exit code {done.returncode}). It needs Java and what its requirements.txt "
            f"names. It printed: {done.stderr.strip()[-800:]}"
        )
    return answers


def _files(products: Path, cache: Path) -> dict[str, str]:
    """Return the files that the original reads; what it cannot read as it is, is written into the cache."""
    _, attributes, human = data_files(products)
    folder = cache / hashlib.sha256(products.read_bytes()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    found = [dict(record) for _, record in records(products)]
    if not human.is_file():
        human = folder / human.name
        written = {record["asin"]: record["instructions"] for record in found if "instructions" in record}
        write_whole(human, json.dumps(written))
    if products.suffix != ".json":
        products = folder / "items_shuffle.json"
        for record in found:
            record.pop("instructions", None)
            record["pricing"] = "".join(f"${price}" for price in record["pricing"])
        write_whole(products, json.dumps(found))
    return {
        "products": str(products.resolve()),
        "attributes": str(attributes.resolve()),
        "human": str(human.resolve()),
        "index": str(folder.resolve() / "index"),
    }


def check(
    repository: Path,
    *,
    python: str,
    shop: Shop,
    kind: Kind,
    sessions: int,
    steps: int,
    seed: int,
    cache: Path,
) -> Report:
    """Compare the shop with the original.

    Args:
        repository: Clone of the original.
        python: Python that has what the original requires.
        shop: The shop.
        kind: Kind of goals.
        sessions: How many sessions.
        steps: Least number of actions in each.
        seed: Seeds the drawing of goals and the actions.
        cache: Folder for the original's data and index.

    Raises:
        RuntimeError: The original cannot be run.
    """
    number = len(shop.goals[kind])
    drawn = random.Random(seed).sample(range(number), min(sessions, number))
    opened = [Session(shop, f"{kind}/{goal}", attributes_page=True) for goal in drawn]
    scripts = [(goal, actions(session, steps, seed)) for goal, session in zip(drawn, opened, strict=True)]
    world, *transcripts = play(repository, python, shop, kind, scripts, cache)
    report = Report(sessions=len(scripts))
    goals = world["goals"]
    report.compare("goals", "number", number, len(goals))
    for index, (ours, theirs) in enumerate(zip(shop.goals[kind], goals, strict=False)):
        report.compare("goals", f"{kind}/{index}", _plain(ours), _original(theirs))
    report.compare("prices", "all", dict(shop.prices[kind]), world["prices"])
    for session, (_, script), transcript in zip(opened, scripts, transcripts, strict=True):
        compare(session, script, transcript, report)
    return report


def compare(session: Session, script: Sequence[str], transcript: dict[str, Any], report: Report) -> None:
    """Play a script and add the differences from a transcript of the original to a report."""
    began = time.process_time()
    seen = [(session.page(), list(session.clickables()), 0.0, False), *(_act(session, a) for a in script)]
    report.ours_s += time.process_time() - began
    report.original_s += transcript["step_s"]
    report.steps += len(script)
    rewards, ends = [0.0, *transcript["rewards"]], [False, *transcript["done"]]
    theirs = zip(transcript["pages"], transcript["clickables"], rewards, ends, strict=True)
    for index, (mine, other) in enumerate(zip(seen, theirs, strict=True)):
        where = f"{session.name}, step {index}: {script[index - 1] if index else 'reset'}"
        for what, ours, it in zip(("pages", "clickables", "rewards", "ends"), mine, other, strict=True):
            report.compare(what, where, ours, it)
    report.rewards[round(seen[-1][2], 2)] += 1


def _act(session: Session, action: str) -> tuple[str, list[str], float, bool]:
    bought = session.act(action) and session.state.bought
    reward = bought.total if bought else 0.0
    return session.page(), list(session.clickables()), reward, session.state.page == "done"


def _plain(goal: Goal) -> dict[str, Any]:
    options = [list(wish) if isinstance(wish, tuple) else wish for wish in goal.options]
    asked = {"asin": goal.product.asin, "instruction": goal.instruction, "attributes": list(goal.attributes)}
    return {**asked, "price_upper": goal.price_upper, "options": options, "weight": goal.weight}


def _original(goal: dict[str, Any]) -> dict[str, Any]:
    options = goal["goal_options"]
    wishes = [list(wish) for wish in options.items()] if isinstance(options, dict) else options
    asked = {"asin": goal["asin"], "instruction": goal["instruction_text"], "attributes": goal["attributes"]}
    return {**asked, "price_upper": goal["price_upper"], "options": wishes, "weight": goal["weight"]}


def main(arguments: list[str] | None = None) -> int:
    """Run the check from the command line.

    Returns:
        0 if the shops are equal, 1 if anything differs.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("original", type=Path, help="clone of princeton-nlp/WebShop")
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--steps", type=int, default=20, help="least number of actions per session")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, default="synthetic", help="kind of goals")
    parser.add_argument("--nouns", choices=NOUNS, default="words", help="see the page on WebShop")
    parser.add_argument("--data", type=Path, help="data files; default: $WEBSHOP_DATA")
    parser.add_argument("--python", default=sys.executable, help="Python that has what the original requires")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    nouns: Nouns = options.nouns
    report = check(
        options.original,
        python=options.python,
        shop=open_shop(options.data, nouns),
        kind=options.kind,
        sessions=options.sessions,
        steps=options.steps,
        seed=options.seed,
        cache=options.cache,
    )
    if options.json:
        print(json.dumps(asdict(report), indent=1))
    else:
        _print(report)
    return 1 if any(report.differences.values()) else 0


def _print(report: Report) -> None:
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(f"The shop against the original: {report.sessions} sessions, {report.steps} actions")
    table = Table()
    table.add_column("compared", no_wrap=True)
    table.add_column("differences", justify="right")
    for what, count in report.differences.items():
        table.add_row(what, str(count))
    console.print(table)
    rewards = ", ".join(f"{reward:g}: {count}" for reward, count in sorted(report.rewards.items()))
    console.print(f"Sessions by reward: {rewards}")
    rates = (report.steps / report.original_s, report.steps / report.ours_s)
    console.print(f"Steps per second of processor time: original {rates[0]:,.0f}, here {rates[1]:,.0f}")
    for example in report.examples[:10]:
        console.print_json(json.dumps(example))


if __name__ == "__main__":
    sys.exit(main())
