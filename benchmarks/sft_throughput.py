"""Training throughput: target tokens per second of this project's trainer, next to TRL's ``SFTTrainer``.

    python benchmarks/sft_throughput.py            tables; exit status 1 when a target is missed
    python benchmarks/sft_throughput.py --json     the same as JSON

SmolLM2-135M in bfloat16 learns a policy from generated households; nothing is downloaded. Each trainer is a process of
its own. They take turns, an update or a few each, so that a busy machine slows all of them down alike; what counts is
the median over the rounds of the ratio. Both trainers of a pair train the very same rows in the same order with the
same LoRA, optimiser, schedule and seed, so that their losses can be compared update by update:

* *packed*: the rows that TRL packs (``packing=True``, best fit decreasing, nothing is cut), one to an update;
* *single*: one episode to a row, two rows to an update, as the recipes have it by default.

In both, TRL is tuned: base in bfloat16, no gradient checkpointing, no truncation. *TRL's defaults* are its own batch of
eight padded episodes, cut at 1,024 tokens, base in float32 under autocast, with gradient checkpointing; learning rate,
schedule and seed are the recipe's here, too.

Targets: 1.25 times the target tokens per second of tuned TRL in both pairs, and losses that differ by 2 % at most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

MIN_RATIO, MAX_LOSS_DIFFERENCE = 1.25, 0.02
PAIRS: Final = {"packed": ("ours-packed", "trl-packed"), "single": ("ours-single", "trl-single")}
DEFAULTS: Final = "trl-defaults"
NAMES: Final = (*PAIRS["packed"], *PAIRS["single"], DEFAULTS)


@dataclass
class Peer:
    """What one trainer has done.

    Attributes:
        rates: Target tokens per second of wall time, one for each round.
        cpu_rates: The same per second of CPU time, which a busy machine disturbs less.
        losses: Loss per target token of every update, with those that warm up.
        peak_mb: Largest resident memory of the process, in MiB.
    """

    name: str
    rates: list[float] = field(default_factory=list)
    cpu_rates: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    peak_mb: float = 0.0


@dataclass
class Verdict:
    """Two trainers compared.

    Attributes:
        what: Which ones.
        ratios: How many times faster the first was, round by round, in wall time.
        cpu_ratios: The same in CPU time.
        loss_difference: Largest difference of their losses in one update, as a share of the loss; None where they
            did not train the same rows.
        course: First and last loss of both.
    """

    what: str
    ratios: list[float]
    cpu_ratios: list[float]
    loss_difference: float | None = None
    course: str = ""

    @property
    def missed(self) -> bool:
        """Whether a target is missed."""
        if self.loss_difference is None:
            return False
        return statistics.median(self.ratios) < MIN_RATIO or self.loss_difference > MAX_LOSS_DIFFERENCE


class Worker:
    """One trainer's process."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.peer = Peer(name)
        given = {
            "base": options.base,
            "episodes": options.episodes,
            "updates": options.updates,
            "total": options.updates * (options.rounds + 1),
            "threads": options.threads,
            "seed": options.seed,
        }
        self.process = subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("sft_trainers.py")),
                name,
                *(word for key, value in given.items() for word in (f"--{key}", str(value))),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if options.verbose else subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"},
        )

    def wait(self) -> dict[str, Any]:
        """Return what the trainer tells next."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.peer.name} has ended; --verbose shows what it says")
        told: dict[str, Any] = json.loads(line)
        return told

    def round(self, counts: bool) -> None:
        """Let it train for one round."""
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        told = self.wait()
        if counts:
            self.peer.rates.append(told["targets"] / told["wall"])
            self.peer.cpu_rates.append(told["targets"] / told["cpu"])
        self.peer.losses += told["losses"]
        self.peer.peak_mb = told["peak_mb"]


def measure(options: argparse.Namespace) -> dict[str, Peer]:
    """Let all trainers take turns; in every other round in reversed order."""
    workers: list[Worker] = []
    try:
        for name in options.trainers:
            workers.append(Worker(name, options))
            workers[-1].wait()
        for number in range(options.rounds + 1):
            for worker in workers[:: -1 if number % 2 else 1]:
                worker.round(counts=number > 0)
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
    return {worker.peer.name: worker.peer for worker in workers}


def compare(peers: dict[str, Peer]) -> list[Verdict]:
    """Compare this project's trainers with TRL's, and with its defaults."""
    verdicts = []
    for name, (ours, theirs) in PAIRS.items():
        for other in (theirs, DEFAULTS):
            if ours not in peers or other not in peers:
                continue
            one, two = peers[ours], peers[other]
            verdict = Verdict(
                f"{name}, against {'tuned TRL' if other == theirs else 'TRL as it comes'}",
                [a / b for a, b in zip(one.rates, two.rates, strict=True)],
                [a / b for a, b in zip(one.cpu_rates, two.cpu_rates, strict=True)],
            )
            if other == theirs:
                verdict.loss_difference = max(
                    abs(a - b) / b for a, b in zip(one.losses, two.losses, strict=True)
                )
                verdict.course = ", ".join(f"{p.losses[0]:.3f} … {p.losses[-1]:.3f}" for p in (one, two))
            verdicts.append(verdict)
    return verdicts


def show(peers: dict[str, Peer], verdicts: list[Verdict], options: argparse.Namespace) -> None:
    """Print the tables."""
    console = Console()
    title = f"SFT of a policy, {options.base}, {options.threads} thread(s), {options.rounds} rounds in turns"
    table = Table(
        "trainer", "target tokens/s", "lowest to highest", "per CPU s", "peak memory, MiB", title=title
    )
    for peer in peers.values():
        table.add_row(
            peer.name,
            f"{statistics.median(peer.rates):.0f}",
            f"{min(peer.rates):.0f} to {max(peer.rates):.0f}",
            f"{statistics.median(peer.cpu_rates):.0f}",
            f"{peer.peak_mb:,.0f}",
        )
    console.print(table)
    table = Table(
        "ours", "times faster", "lowest to highest", "in CPU time", "losses differ by", "ours, TRL's"
    )
    for v in verdicts:
        table.add_row(
            v.what,
            f"{statistics.median(v.ratios):.2f}",
            f"{min(v.ratios):.2f} to {max(v.ratios):.2f}",
            f"{statistics.median(v.cpu_ratios):.2f}",
            "" if v.loss_difference is None else f"at most {v.loss_difference:.2%}",
            v.course,
        )
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--episodes", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count; one more warms up")
    parser.add_argument("--updates", type=int, default=1, help="updates of each trainer in a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trainers", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--verbose", action="store_true", help="show what the trainers print")
    options = parser.parse_args()
    peers = measure(options)
    verdicts = compare(peers)
    if options.json:
        data = {"trainers": [asdict(p) for p in peers.values()], "comparisons": [asdict(v) for v in verdicts]}
        print(json.dumps(data, indent=1))
    else:
        show(peers, verdicts, options)
    return int(any(v.missed for v in verdicts))


if __name__ == "__main__":
    sys.exit(main())
