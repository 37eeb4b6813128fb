"""The trainers that `sft_throughput.py` compares, each in a process of its own.

It is run by the benchmark: ``python benchmarks/sft_trainers.py NAME ...``. It writes a line when it is ready, waits for
a line before every round of updates, and writes what the round took, in JSON.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from datasets import Dataset
from datasets.utils.logging import disable_progress_bar
from peft import get_peft_model
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer, pack_dataset

from dyna_nodes.codec import IGNORED, ChatCodec, Example
from dyna_nodes.codec.policy import policy_example
from dyna_nodes.local.base import load_base
from dyna_training.environments.alfworld.generator import generate
from dyna_training.recipes.common import ROW_MULTIPLE, training_arguments
from dyna_training.recipes.model import lora_config, prepare
from dyna_training.recipes.settings import PolicySettings
from dyna_training.rollouts import play
from dyna_training.sft import SftTrainer, pack

NAMES: Final = ("ours-packed", "trl-packed", "ours-single", "trl-single", "trl-defaults")
EPOCHS: Final = 100
"""More than any benchmark trains; the number of updates ends it."""


def recipe_settings(options: argparse.Namespace, out: Path) -> PolicySettings:
    """Return the recipe's settings that all trainers share."""
    rows = 1 if options.name.endswith("packed") else 2
    return PolicySettings(base=options.base, data=[], out=out, accumulate=rows, seed=options.seed)


def episodes(options: argparse.Namespace, tokenizer: Any, max_tokens: int) -> list[Example]:
    """Return episodes of the searching expert in generated households, none longer than ``max_tokens``."""
    chat = ChatCodec(tokenizer)
    made = [policy_example(chat, play(generate(s), "expert", seed=s)) for s in range(options.episodes)]
    return [example for example in made if len(example.ids) <= max_tokens]


def records(examples: Sequence[Example]) -> Dataset:
    """Return examples as TRL takes them: the label of a token is the token itself, not the next one."""
    return Dataset.from_dict(
        {"input_ids": [e.ids for e in examples], "labels": [[IGNORED, *e.labels[:-1]] for e in examples]}
    )


def packed_rows(examples: Sequence[Example], max_tokens: int) -> list[list[Example]]:
    """Return the examples in the rows that TRL packs them into."""
    by_ids = {tuple(e.ids): e for e in examples}
    rows = []
    for row in pack_dataset(records(examples), max_tokens, "bfd"):
        ids = iter(row["input_ids"])
        rows.append([by_ids[tuple(next(ids) for _ in range(n))] for n in row["seq_lengths"]])
    return rows


def pack_rows(rows: Sequence[Sequence[Example]], multiple: int) -> dict[str, torch.Tensor]:
    """Collate rows that are packed already."""
    return pack([example for row in rows for example in row], multiple)


def measured(parent: Any, options: argparse.Namespace) -> Any:
    """Return a trainer that waits for its turn before every round, and tells what the round took."""

    class Turns(TrainerCallback):  # type: ignore[misc]
        wall = cpu = 0.0
        targets = 0
        losses: list[float] = []  # noqa: RUF012

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % options.updates == 0:
                if not sys.stdin.readline():
                    sys.exit("the benchmark has ended")
                Turns.wall, Turns.cpu = time.perf_counter(), time.process_time()
                Turns.targets, Turns.losses = 0, []

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" not in logs:
                return
            Turns.losses.append(logs["loss"])
            if state.global_step % options.updates == 0:
                tell(
                    wall=time.perf_counter() - Turns.wall,
                    cpu=time.process_time() - Turns.cpu,
                    targets=Turns.targets,
                    losses=Turns.losses,
                    peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                )

    class Measured(parent):  # type: ignore[misc]
        def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            Turns.targets += int((inputs["labels"] != IGNORED).sum())
            return super().training_step(model, inputs, *args, **kwargs)

    return functools.partial(Measured, callbacks=[Turns()])


def ours(options: argparse.Namespace, out: Path) -> Any:
    """Return this project's trainer, as the recipes build it."""
    settings = recipe_settings(options, out)
    base, model = prepare(settings)
    rows: Any = episodes(options, base.tokenizer, settings.max_tokens)
    packed = options.name == "ours-packed"
    if packed:
        rows = packed_rows(rows, settings.max_tokens)
    arguments = training_arguments(settings, epochs=EPOCHS, logging_steps=1)
    arguments.max_steps, arguments.save_strategy, arguments.report_to = options.total, "no", []
    return measured(SftTrainer, options)(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=functools.partial(pack_rows if packed else pack, multiple=ROW_MULTIPLE),
    )


def trl(options: argparse.Namespace, out: Path) -> Any:
    """Return TRL's trainer: with its own choice of everything that throughput hangs on, or tuned for a CPU."""
    settings = recipe_settings(options, out)
    tuned = options.name != "trl-defaults"
    torch.manual_seed(settings.seed)
    base = load_base(settings.base, "bfloat16" if tuned else "float32")
    choice: dict[str, Any] = {}
    if tuned:
        packed = options.name == "trl-packed"
        choice = {
            "per_device_train_batch_size": settings.rows,
            "gradient_accumulation_steps": settings.accumulate,
            "gradient_checkpointing": False,
            "packing": packed,
            "max_length": settings.max_tokens if packed else None,
            "dataloader_pin_memory": False,
        }
    arguments = SFTConfig(
        output_dir=str(out),
        max_steps=options.total,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        seed=settings.seed,
        use_cpu=True,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **choice,
    )
    return measured(SFTTrainer, options)(
        model=get_peft_model(base.model, lora_config(settings)),
        args=arguments,
        train_dataset=records(episodes(options, base.tokenizer, settings.max_tokens)),
        processing_class=base.tokenizer,
    )


def tell(**what: Any) -> None:
    """Tell the benchmark something."""
    print(json.dumps(what), file=sys.__stdout__, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--base", required=True)
    parser.add_argument("--episodes", type=int, required=True)
    parser.add_argument("--updates", type=int, required=True, help="of a round")
    parser.add_argument("--total", type=int, required=True, help="updates")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    options = parser.parse_args()
    sys.stdout = sys.stderr  # what libraries print must not come between the reports
    disable_progress_bar()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        trainer = (ours if options.name.startswith("ours") else trl)(options, Path(folder))
        tell(memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        trainer.train()


if __name__ == "__main__":
    main()
