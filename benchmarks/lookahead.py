"""Lookahead: how fast eight imagined futures are in process, next to eight single ``generate`` calls.

Run: ``python benchmarks/lookahead.py`` (SmolLM2-135M, float32 and bfloat16; ``--help`` for more).

The prompt is a household episode of about 800 tokens, as the trained world model reads it; each of eight
candidate actions is imagined onwards for the same number of tokens (ends are ignored, so that both sides
write as much). The peer is ``transformers.generate``, once per candidate, as a program without the engine
would call it. In float32 the answers must be identical, otherwise the exit status is 1; in bfloat16 the
agreement is reported.

Then, in the last dtype, tokens per second while decoding 1, 8 and 32 sequences: candidates of one prompt,
prompts of their own, and transformers' own batch of eight; and 8 candidates with an adapter, merged and
unmerged.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from rich.console import Console
from rich.table import Table

from dyna_nodes.codec import WorldModelCodec
from dyna_nodes.local import Base, Engine, Request, load_base
from dyna_nodes.nouns import Action, History

T = TypeVar("T")
CANDIDATES = [
    "go to desk 1",
    "go to shelf 2",
    "open drawer 4",
    "examine shelf 1",
    "take alarmclock 2 from desk 1",
    "use desklamp 1",
    "go to garbagecan 1",
    "inventory",
]


class Cost(NamedTuple):
    """What something took, in seconds of wall time and of CPU time, which a busy machine disturbs less."""

    wall: float
    cpu: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


@dataclass
class Lookahead:
    """Eight futures of one prompt in one dtype."""

    dtype: str
    prompt_tokens: int
    new_tokens: int
    generate: Cost
    engine: Cost
    engine_next_turn: Cost
    agreement: int

    @property
    def ratio(self) -> Cost:
        """How many times faster the engine is."""
        return Cost(self.generate.wall / self.engine.wall, self.generate.cpu / self.engine.cpu)


@dataclass
class Throughput:
    """Tokens per second of wall time and of CPU time while decoding."""

    what: str
    dtype: str
    sequences: int
    tokens_per_second: Cost


def episode(steps: int) -> History:
    """Return an episode in the words of ALFWorld."""
    places = [f"{name} {i}" for i in range(1, 7) for name in ("drawer", "shelf", "cabinet")]
    history = History(
        task="You are in the middle of a room. Looking quickly around you, you see a bed 1, a desk 1, "
        + ", ".join(f"a {place}" for place in places)
        + ", and a garbagecan 1. Your task is to: look at alarmclock under the desklamp."
    )
    for index in range(steps):
        place = places[index % len(places)]
        things = f"a book {index % 3 + 1}, a cd {index % 4 + 1}, and a pen {index % 2 + 1}"
        seen = f"On the {place}, you see {things}."
        history = history.then(Action.command(f"go to {place}"), f"You arrive at {place}. {seen}")
    return history


def generate(base: Base, prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
    """Decode prompts of one length as a batch of ``transformers.generate``, greedily, ignoring ends."""
    ids = torch.tensor(prompts, device=base.model.device)
    with torch.inference_mode():
        out = base.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=False,
        )
    rows: list[list[int]] = out[:, ids.shape[1] :].tolist()
    return rows


def timed(task: Callable[[], T]) -> tuple[Cost, T]:
    """Return what a task costs, and its result."""
    start = Cost(time.perf_counter(), time.process_time())
    result = task()
    return Cost(time.perf_counter(), time.process_time()) - start, result


def lookahead(plain: Base, engine: Engine, dtype: str, steps: int, new_tokens: int) -> Lookahead:
    """Imagine eight futures both ways."""
    codec = WorldModelCodec(engine.chat_codec)
    prefix = codec.prefix(episode(steps))
    questions = [codec.question(Action.command(c)) for c in CANDIDATES]
    ends = [plain.tokenizer.eos_token_id]
    generate(plain, [prefix[:8]], 2)  # warm up
    engine.generate([Request(prefix[:8], max_new_tokens=2)])
    engine.clear_store()
    single_cost, single = timed(lambda: [generate(plain, [prefix + q], new_tokens)[0] for q in questions])
    request = Request(prefix, questions, max_new_tokens=new_tokens, stop_ids=())
    engine_cost, [result] = timed(lambda: engine.generate([request]))
    next_turn = codec.prefix(episode(steps + 1))
    again = Request(next_turn, questions, max_new_tokens=new_tokens, stop_ids=())
    next_cost, _ = timed(lambda: engine.generate([again]))
    answers = [until(ends, list(b.ids)) for b in result.branches]
    agreement = sum(a == s[: len(a)] for a, s in zip(answers, single, strict=True))
    return Lookahead(dtype, len(prefix), new_tokens, single_cost, engine_cost, next_cost, agreement)


def until(ends: list[int], ids: list[int]) -> list[int]:
    """Cut at the first end: from there on transformers must write something else."""
    return next((ids[:i] for i, token in enumerate(ids) if token in ends), ids)


def throughput(plain: Base, engine: Engine, dtype: str, steps: int, new_tokens: int) -> list[Throughput]:
    """Measure decoding alone: the time for many tokens less the time for one."""
    prefix = WorldModelCodec(engine.chat_codec).prefix(episode(steps))
    own = [[*engine.chat_codec.text(f"{i}"), *prefix] for i in range(32)]
    own = [ids[: len(prefix)] for ids in own]

    def rate(run: Callable[[int], object], sequences: int) -> Cost:
        run(1)  # computes and stores the prefixes
        short, long = timed(lambda: run(1))[0], timed(lambda: run(new_tokens + 1))[0]
        wall, cpu = long - short
        return Cost(sequences * new_tokens / wall, sequences * new_tokens / cpu)

    def candidates(count: int, adapter: str | None = None) -> Callable[[int], object]:
        return lambda tokens: engine.generate(
            [Request(prefix, [()] * count, max_new_tokens=tokens, stop_ids=(), adapter=adapter)]
        )

    def prompts(count: int) -> Callable[[int], object]:
        return lambda tokens: engine.generate(
            [Request(ids, max_new_tokens=tokens, stop_ids=()) for ids in own[:count]]
        )

    def peer(count: int) -> Callable[[int], object]:
        return lambda tokens: generate(plain, own[:count], tokens)

    rows = [Throughput("transformers.generate", dtype, n, rate(peer(n), n)) for n in (1, 8)]
    rows += [Throughput("engine, one prompt", dtype, n, rate(candidates(n), n)) for n in (1, 8, 32)]
    rows += [Throughput("engine, own prompts", dtype, n, rate(prompts(n), n)) for n in (8, 32)]
    with tempfile.TemporaryDirectory() as folder:
        save_adapter(plain, Path(folder))
        for name, merge in (("merged", True), ("unmerged", False)):
            engine.load_adapter(name, folder, merge=merge)
            what = f"engine, one prompt, {name} adapter"
            rows.append(Throughput(what, dtype, 8, rate(candidates(8, name), 8)))
    return rows


def save_adapter(base: Base, folder: Path) -> None:
    """Write a fresh LoRA adapter of rank 16 for the base."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(base.model.config)
    config = LoraConfig(r=16, target_modules="all-linear", base_model_name_or_path=base.name)
    get_peft_model(model, config).save_pretrained(str(folder), save_embedding_layers=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", default="smollm2")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--steps", type=int, default=14, help="steps of the episode; 14 are about 800 tokens")
    parser.add_argument("--new-tokens", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-throughput", action="store_true", help="only the comparison with single calls")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    looks: list[Lookahead] = []
    rates: list[Throughput] = []
    for dtype in arguments.dtypes:
        plain = load_base(arguments.base, dtype, arguments.device)
        with Engine(load_base(arguments.base, dtype, arguments.device)) as engine:
            looks.append(lookahead(plain, engine, dtype, arguments.steps, arguments.new_tokens))
            if dtype == arguments.dtypes[-1] and not arguments.no_throughput:
                rates += throughput(plain, engine, dtype, arguments.steps, arguments.new_tokens)
    if arguments.json:
        data = {
            "lookahead": [{**asdict(x), "ratio": x.ratio} for x in looks],
            "throughput": [asdict(x) for x in rates],
        }
        print(json.dumps(data, indent=1))
    else:
        show(looks, rates)
    return int(any(x.dtype == "float32" and x.agreement < len(CANDIDATES) for x in looks))


def show(looks: list[Lookahead], rates: list[Throughput]) -> None:
    """Print both tables."""
    console = Console()
    columns = ("dtype", "8 generate calls", "engine", "times faster", "next turn", "identical")
    table = Table(*columns, title=f"{len(CANDIDATES)} imagined futures, seconds (CPU seconds)")
    for x in looks:
        ratio = f"{x.ratio.wall:.1f} ({x.ratio.cpu:.1f})"
        same = f"{x.agreement}/{len(CANDIDATES)}"
        table.add_row(x.dtype, both(x.generate), both(x.engine), ratio, both(x.engine_next_turn), same)
    console.print(table)
    console.print(
        f"prompt of {looks[0].prompt_tokens} tokens, {looks[0].new_tokens} new tokens per candidate"
    )
    if rates:
        table = Table("what", "dtype", "sequences", "tokens/s", "tokens/CPU s", title="Decoding")
        for r in rates:
            wall, cpu = r.tokens_per_second
            table.add_row(r.what, r.dtype, str(r.sequences), f"{wall:.0f}", f"{cpu:.0f}")
        console.print(table)


def both(cost: Cost) -> str:
    """Write a cost as wall time and, in brackets, CPU time."""
    return f"{cost.wall:.2f} ({cost.cpu:.2f})"


if __name__ == "__main__":
    sys.exit(main())
