"""Kill what collects episodes at random moments, and check that no episode is lost and none is there twice.

    python -m tests.training.worker_kills --kills 100 --seed 0
    python -m tests.training.worker_kills --kills 20 --seed 0 --cluster

Each round is one collection of `GAMES` households by two workers. Every now and then a process is killed with SIGKILL:
a worker, whether it plays, waits or has not begun; or, one time in eight, the process that writes. A command that was
killed, or gave up because no worker lived long enough, is begun again. Its disk is slow, so that many kills hit it in
the middle of a line. With ``--cluster`` the workers are actors of a local Ray cluster. In the end of each round

* every episode of the plan is there (*lost*), and no line is there twice, or half (*duplicated*, *damaged*), and
* the file has the bytes that an undisturbed collection has (*different*).
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dyna_training.collect import CollectSettings, collect, plan
from dyna_training.recording import record_of
from tests.training.processes import descendants, end

GAMES = 100
ROUND = 25
"""Most kills of one collection."""
LONGEST, LONGEST_ON_A_CLUSTER = 3.0, 6.0
"""Most seconds between two kills; a worker takes up to half of that until it plays."""
WRITER = 1 / 8
"""Share of the kills that the writing process gets."""


class Found(NamedTuple):
    """What came of a round."""

    kills: Counter[str]
    lost: int
    duplicated: int
    damaged: int
    different: bool


def command(out: Path, games: int, cluster: bool) -> list[str]:
    words = ["collect", "--split", "generated", "--games", str(games), "--out", str(out), "--workers", "2"]
    return [sys.executable, "-m", "tests.training.slow_disk", *words, *["--cluster", "local"] * cluster]


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that play for a collection, or are about to."""
    return [p for p, said in descendants(process.pid) if b"spawn_main" in said or b"ray::Actor" in said]


def killed(out: Path, undisturbed: bytes, kills: int, rng: random.Random, games: int, cluster: bool) -> Found:
    """Kill a collection at most so many times, let it end, and look at what it left."""
    counted: Counter[str] = Counter()
    longest = LONGEST_ON_A_CLUSTER if cluster else LONGEST
    process = begin(out, games, cluster)
    try:
        while process.poll() is None:
            time.sleep(rng.uniform(0.1, longest))
            if counted.total() >= kills:
                process.wait()
            elif rng.random() < WRITER and (out / "trajectories.jsonl").exists():
                process.kill()
                counted["writer"] += process.wait() == -signal.SIGKILL
            elif found := workers(process):
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(found), signal.SIGKILL)
                    counted["worker"] += 1
            if process.poll() == -signal.SIGKILL or gave_up(process):
                process = begin(out, games, cluster)
        if process.returncode != 0:
            raise SystemExit(f"{out}: the collection ended with {process.returncode}: {said(process)}")
    finally:
        end([process])
    return look(out, undisturbed, games, counted)


def gave_up(process: subprocess.Popen[str]) -> bool:
    return process.poll() == 1 and "workers in a row died" in said(process)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.read()


def begin(out: Path, games: int, cluster: bool) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(out, games, cluster),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def look(out: Path, undisturbed: bytes, games: int, kills: Counter[str]) -> Found:
    """Compare what is recorded with the plan and with what an undisturbed collection recorded."""
    raw = (out / "trajectories.jsonl").read_bytes()
    records = [record_of(line) for line in raw.splitlines()]
    keys = Counter(record.key for record in records if record is not None)
    return Found(
        kills,
        sum(episode.key not in keys for episode in plan(settings(out, games))),
        sum(number - 1 for number in keys.values()),
        records.count(None) + (not raw.endswith(b"\n")),
        raw != undisturbed,
    )


def settings(out: Path, games: int) -> CollectSettings:
    return CollectSettings.model_validate({"split": "generated", "out": out, "games": games})


def main() -> int:
    """Kill, and say what was found; 1 when anything was lost, duplicated or different."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="how many processes to kill (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="draws moments and victims (default: 0)")
    parser.add_argument(
        "--cluster", action="store_true", help="the workers are actors of a local Ray cluster"
    )
    options = parser.parse_args()
    rng = random.Random(options.seed)
    kills: Counter[str] = Counter()
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        collect(settings(Path(name, "undisturbed"), GAMES))
        undisturbed = Path(name, "undisturbed", "trajectories.jsonl").read_bytes()
        while kills.total() < options.kills:
            most = min(ROUND, options.kills - kills.total())
            out = Path(name, f"round-{total['rounds']}")
            found = killed(out, undisturbed, most, rng, GAMES, options.cluster)
            kills.update(found.kills)
            total.update(rounds=1, episodes=len(plan(settings(out, GAMES))), lost=found.lost)
            total.update(duplicated=found.duplicated, damaged=found.damaged, different=found.different)
            print(f"{kills.total()} of {options.kills} kills: {found}", flush=True)
    print(
        f"{kills['worker']} workers and {kills['writer']} writing processes killed in {total['rounds']} collections of "
        f"{total['episodes']} episodes in all: {total['lost']} lost, {total['duplicated']} duplicated, "
        f"{total['damaged']} damaged, {total['different']} collections with other bytes"
    )
    return int(any(total[name] for name in ("lost", "duplicated", "damaged", "different")))


if __name__ == "__main__":
    raise SystemExit(main())
