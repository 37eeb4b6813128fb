"""Check that the engine equals the original alfworld package, command by command.

Usage, with a Python that has ``alfworld`` and ``textworld`` installed (it needs nothing of this project)::

    python -m dyna_training.environments.alfworld.equality --games 200 --steps 60 --seed 0 --python PATH

Every game is played once in both engines with the same commands (`plays.commands`): the walkthrough, or a
random start followed by the searching expert, then random admissible commands that prefer rare verbs, with
looks, second visits and invalid commands mixed in. Compared exactly are the observation text, the list of
admissible actions and the success flag, after the reset and after each step. The exit code is 1 if anything
differs.

The original takes seconds per game and leaks memory, so it runs in short-lived processes, one at a time; its
transcripts are kept in ``--cache`` and an interrupted check goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from dyna_training.environments.alfworld import original
from dyna_training.environments.alfworld.engine import State
from dyna_training.environments.alfworld.game import Game, load_game
from dyna_training.environments.alfworld.plays import commands, select
from dyna_training.environments.alfworld.splits import SPLITS, Split, games
from dyna_training.whole import write_whole


@dataclass
class Count:
    """Counts of one task type or of the whole check."""

    games: int = 0
    solved: int = 0
    steps: int = 0
    nothing_happens: int = 0
    observations: int = 0
    admissible: int = 0
    success: int = 0

    @property
    def differences(self) -> int:
        """Differences of any sort."""
        return self.observations + self.admissible + self.success


@dataclass
class Report:
    """Outcome of a check; counts are differences unless their name says otherwise."""

    by_type: dict[str, Count] = field(default_factory=dict)
    total: Count = field(default_factory=Count)
    examples: list[dict[str, Any]] = field(default_factory=list)


def transcripts(
    requests: list[tuple[Path, list[str]]], python: str, cache: Path, per_process: int
) -> Iterator[dict[str, Any]]:
    """Play command lists on the original, in processes of `per_process` games each.

    Args:
        requests: Game files and their commands.
        python: Python that has alfworld.
        cache: Folder for transcripts; what is in it is not played again.
        per_process: Games per process; the original leaks about 100 MB per game.

    Yields:
        One transcript per request, in order (see `original`).

    Raises:
        RuntimeError: The original failed; the message holds the end of what it printed.
    """
    cache.mkdir(parents=True, exist_ok=True)
    files = [cache / f"{_key(path, commands)}.json" for path, commands in requests]
    missing = [index for index, file in enumerate(files) if not file.exists()]
    batches = {missing[i]: missing[i : i + per_process] for i in range(0, len(missing), per_process)}
    for index, file in enumerate(files):
        if index in batches:
            batch = batches[index]
            answers = _ask([requests[i] for i in batch], python)
            for i, answer in zip(batch, answers, strict=True):
                write_whole(files[i], answer)
        transcript: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        yield transcript


def _key(path: Path, commands: list[str]) -> str:
    digest = hashlib.sha256(path.read_bytes())
    digest.update(json.dumps(commands).encode())
    return digest.hexdigest()[:32]


def _ask(requests: list[tuple[Path, list[str]]], python: str) -> list[str]:
    lines = [json.dumps({"game": str(path.resolve()), "commands": commands}) for path, commands in requests]
    try:
        done = subprocess.run(
            [python, str(Path(original.__file__).resolve())],
            input="\n".join(lines) + "\n",
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise RuntimeError(f"{python}: no such Python; give one that has alfworld with --python.") from None
    answers = done.stdout.splitlines()
    if done.returncode != 0 or len(answers) != len(requests):
        raise RuntimeError(
            f"The original engine failed ({python}, exit code {done.returncode}). It needs "
            f"`pip install alfworld==0.4.2 textworld==1.7.0`. It printed: {done.stderr.strip()[-600:]}"
        )
    return answers


def compare(game: Game, commands: list[str], transcript: dict[str, Any], report: Report) -> None:
    """Play `commands` on the engine and add the differences from a transcript of the original to `report`."""
    state = State(game)
    counts = (report.total, report.by_type.setdefault(game.task_type, Count()))
    solved = False
    for index, command in enumerate(("(reset)", *commands)):
        if index == 0:
            observation, won = state.introduction(), state.won
        else:
            observation, won = state.step(command)
        solved = solved or won
        ours = {"observations": observation, "admissible": state.admissible(), "success": won}
        theirs = {
            "observations": transcript["observations"][index],
            "admissible": transcript["admissible"][index],
            "success": transcript["won"][index],
        }
        for count in counts:
            count.steps += index > 0
            count.nothing_happens += theirs["observations"] == "Nothing happens."
        for what, mine in ours.items():
            if mine == theirs[what]:
                continue
            for count in counts:
                setattr(count, what, getattr(count, what) + 1)
            report.examples.append(
                {
                    "game": game.id,
                    "step": index,
                    "command": command,
                    "what": what,
                    "ours": _only(mine, theirs[what]),
                    "original": _only(theirs[what], mine),
                }
            )
    for count in counts:
        count.games += 1
        count.solved += solved


def _only(this: object, other: object) -> object:
    """Shorten a list to what the other lacks, unless only the order differs."""
    if isinstance(this, list) and isinstance(other, list):
        return [item for item in this if item not in other] or (this if sorted(this) == sorted(other) else [])
    return this


def check(
    files: list[Path],
    *,
    steps: int,
    seed: int,
    python: str,
    cache: Path,
    per_process: int = 4,
    quiet: bool = False,
) -> Report:
    """Compare both engines on game files.

    Args:
        files: Game files.
        steps: Least number of commands per game.
        seed: Seeds the commands.
        python: Python that has alfworld.
        cache: Folder for the original's transcripts.
        per_process: Games per process of the original.
        quiet: Show no progress bar.

    Raises:
        GameFileError: A game file cannot be read.
        RuntimeError: The original cannot be run.
    """
    report = Report()
    played = [load_game(file) for file in files]
    requests = [(file, commands(game, steps, seed)) for file, game in zip(files, played, strict=True)]
    console = Console(stderr=True)
    answers = transcripts(requests, python, cache, per_process)
    pairs = zip(played, requests, answers, strict=True)
    for game, request, transcript in track(
        pairs, "Comparing with the original", total=len(files), console=console, disable=quiet
    ):
        compare(game, request[1], transcript, report)
    return report


def main(arguments: list[str] | None = None) -> int:
    """Run the check from the command line.

    Returns:
        0 if the engines are equal, 1 if anything differs.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--games", type=int, default=200, help="number of games, spread over the six task types"
    )
    parser.add_argument("--steps", type=int, default=60, help="least number of commands per game")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--python", default=sys.executable, help="Python that has alfworld and textworld")
    parser.add_argument(
        "--split", action="append", choices=SPLITS, help="split to draw from; default: train and valid_seen"
    )
    parser.add_argument("--files", type=Path, nargs="*", help="compare these game files instead")
    parser.add_argument(
        "--cache", type=Path, default=Path.home() / ".cache" / "dyna-graph" / "alfworld-original"
    )
    parser.add_argument("--per-process", type=int, default=4, help="games per process of the original")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    if options.files:
        files = list(options.files)
    else:
        splits: Sequence[Split] = options.split or PUBLISHED
        pool = [file for split in splits for file in games(split)]
        files = select(options.games, options.seed, pool)
    report = check(
        files,
        steps=options.steps,
        seed=options.seed,
        python=options.python,
        cache=options.cache,
        per_process=options.per_process,
        quiet=options.json,
    )
    if options.json:
        print(json.dumps(asdict(report), indent=1))
    else:
        _print(report)
    return 1 if report.total.differences else 0


PUBLISHED: Final[tuple[Split, ...]] = ("train", "dev_seen", "dev_unseen", "valid_seen")
"""Splits that make up the published folders train and valid_seen."""


def _print(report: Report) -> None:
    table = Table(title="Engine against the original; the last three columns count differences")
    table.add_column("task type", no_wrap=True)
    for name in ("games", "solved", "steps", "refused", "text", "actions", "success"):
        table.add_column(name, justify="right")
    for name, count in [*sorted(report.by_type.items()), ("all", report.total)]:
        values = (count.games, count.solved, count.steps, count.nothing_happens)
        table.add_row(name, *map(str, (*values, count.observations, count.admissible, count.success)))
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table)
    for example in report.examples[:10]:
        console.print_json(json.dumps(example))


if __name__ == "__main__":
    sys.exit(main())
