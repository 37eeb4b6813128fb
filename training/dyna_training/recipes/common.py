"""What all fine-tuning recipes share: the run, and a folder that explains itself."""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainingArguments

from dyna_graph.models import find_adapter
from dyna_nodes.codec import Example
from dyna_nodes.local.base import Base, write_fingerprint
from dyna_nodes.nouns import digest_of
from dyna_training.evaluation.examinees import file_digest
from dyna_training.recipes.left_out import TOO_LONG, LeftOut
from dyna_training.recipes.loss import plot_loss
from dyna_training.recipes.settings import SftSettings
from dyna_training.sft import ExampleDataset, SftTrainer, pack, repeated
from dyna_training.whole import write_whole

logger = logging.getLogger(__name__)
ROW_MULTIPLE = 64
"""On a CPU rows are padded to a multiple of so many tokens, see `pack`."""
PACKAGES = ("dyna-graph", "torch", "transformers", "peft", "accelerate")


class Progress(TrainerCallback):  # type: ignore[misc]
    """Writes ``progress.jsonl``: one line per logged update, with tokens per second."""

    def __init__(self, out: Path) -> None:
        self._file = out / "progress.jsonl"
        self._start = time.monotonic()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Append one line."""
        if state.is_world_process_zero and logs:
            line = {"step": state.global_step, "seconds": round(time.monotonic() - self._start, 1), **logs}
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


class StopOnSignal(TrainerCallback):  # type: ignore[misc]
    """Ends training after the running update when Ctrl-C or SIGTERM came in, with a checkpoint."""

    def __init__(self) -> None:
        self.stopped = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """Ask for a checkpoint and the end."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            # One process must not stop an update before the others, which would wait for it for ever.
            flag = torch.tensor(int(self.stopped), device=args.device)
            torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
            self.stopped = bool(flag.item())
        if self.stopped:
            control.should_save = True
            control.should_training_stop = True
        return control

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals over for the time of the training; a second Ctrl-C interrupts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals
            return

        asked = False  # this process itself; it may stop for another one that was asked before

        def stop(number: int, _: Any) -> None:
            nonlocal asked
            if asked and number == signal.SIGINT:
                raise KeyboardInterrupt
            asked = self.stopped = True

        before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def training_arguments(settings: SftSettings, *, epochs: float, logging_steps: int) -> TrainingArguments:
    """Return what a recipe's settings mean to `transformers.Trainer`."""
    arguments = TrainingArguments(
        output_dir=str(settings.out / "checkpoints"),
        per_device_train_batch_size=settings.rows,
        gradient_accumulation_steps=settings.accumulate,
        num_train_epochs=epochs,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=1.0,
        logging_steps=logging_steps,
        save_steps=settings.save_steps,
        save_total_limit=2,
        seed=settings.seed,
        report_to=["tensorboard"],
        remove_unused_columns=False,
        disable_tqdm=None,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    return on_one_device(arguments)


def on_one_device(arguments: TrainingArguments) -> TrainingArguments:
    """Keep the trainer from dividing a row among the GPUs that one process sees: a packed row is a batch of one."""
    if arguments.n_gpu > 1:
        logger.warning("%d GPUs are here and one of them trains; --processes uses more", arguments.n_gpu)
        arguments._n_gpu = 1
    return arguments


def fit(
    settings: SftSettings,
    base: Base,
    model: Any,
    examples: Sequence[Example],
    recipe: str,
    left_out: LeftOut | None = None,
) -> dict[str, Any]:
    """Train, or go on where the last checkpoint in ``out`` stands, and save adapter, card and metrics.

    A run that is finished is not run again: its metrics are returned as they are.

    Args:
        settings: The settings of the run.
        base: The base model.
        model: What is trained, see `prepare`.
        examples: What it is trained on.
        recipe: Name of the recipe.
        left_out: What was not used, and counts for the metrics; written to ``left_out.jsonl``.

    Returns:
        The metrics, also written to ``metrics.json``.

    Raises:
        KeyboardInterrupt: Stopped by a signal; a checkpoint was written, the same command goes on from it.
        ValueError: There is nothing to train on, or ``out`` holds a run with other settings or data.
    """
    out = settings.out
    left_out = left_out or LeftOut()
    if not examples and left_out.counts():
        counts = left_out.counts()
        why = ", ".join(f"{number} {reason}" for reason, number in counts.items())
        longer = f"; raise max_tokens={settings.max_tokens}" if TOO_LONG in counts else ""
        raise ValueError(f"no example to train on: of the records, {why}{longer}")
    dataset = ExampleDataset(examples, settings.max_tokens)
    configuration = {"recipe": recipe, **settings.model_dump(mode="json")}
    digest = digest_of([(e.ids, e.labels) for e in dataset.examples])
    starts_from = {"base_fingerprint": base.fingerprint, "adapter_digest": _weights(settings.adapter)}
    finished = begin(out, {**configuration, "data_digest": digest, **starts_from})
    if finished is not None:
        return finished
    if os.environ.get("RANK", "0") == "0":
        left_out.write(out)
    stopper = StopOnSignal()
    epochs, shown = settings.epochs, dataset
    if settings.target_tokens is not None:
        epochs = 1.0
        shown = ExampleDataset(
            repeated(dataset.examples, settings.target_tokens, settings.seed), settings.max_tokens
        )
    rows = settings.rows * settings.accumulate * int(os.environ.get("WORLD_SIZE", "1"))
    updates = math.ceil(epochs * len(shown) / rows)
    trainer = SftTrainer(
        model=model,
        args=training_arguments(settings, epochs=epochs, logging_steps=min(10, max(1, updates // 20))),
        train_dataset=shown,
        data_collator=functools.partial(pack, multiple=1 if torch.cuda.is_available() else ROW_MULTIPLE),
        callbacks=[Progress(out), stopper],
    )
    earlier, start = seconds_before(out), time.monotonic()
    with stopper.listening():
        trainer.train(resume_from_checkpoint=last_checkpoint(out))
    if stopper.stopped:
        raise KeyboardInterrupt(f"stopped at update {trainer.state.global_step} of {trainer.state.max_steps}")
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    last = losses[-max(1, len(losses) // 10) :]
    metrics = {
        "recipe": recipe,
        "loss": sum(losses) / len(losses),
        "final_loss": sum(last) / len(last),
        "updates": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "seconds": round(earlier + time.monotonic() - start, 1),
        "examples": len(dataset),
        "left_out": dataset.skipped + left_out.counts().get(TOO_LONG, 0),
        "not_used": left_out.counts(),
        **left_out.figures,
        "tokens": dataset.tokens,
        "target_tokens": dataset.targets,
        "target_tokens_seen": round(shown.targets * epochs),
        "data_digest": digest,
        "hardware": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU {platform.machine()}",
        "threads": torch.get_num_threads(),
        "processes": trainer.accelerator.num_processes,
        "versions": {name: version(name) for name in PACKAGES},
    }
    folder = save_weights(trainer, settings)
    if trainer.is_world_process_zero():
        explain(folder, settings, base, metrics, configuration)
    return metrics


def _weights(adapter: Path | None) -> str | None:
    """Return a digest of an adapter's weights: a name or folder may hold others by the next time."""
    if adapter is None:
        return None
    files = sorted(find_adapter(str(adapter)).glob("adapter_model.*"))
    return digest_of([file_digest(file) for file in files])[:16]


def seconds_before(out: Path) -> float:
    """Return how long the earlier legs of an interrupted run took, up to what they logged last."""
    file = out / "progress.jsonl"
    total = last = 0.0
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            seconds = float(json.loads(line)["seconds"])
        except (ValueError, KeyError):  # a killed leg left half a line
            continue
        if seconds < last:
            total += last
        last = seconds
    return total + last


def begin(out: Path, configuration: dict[str, Any]) -> dict[str, Any] | None:
    """Write the configuration of a run; refuse a folder in which another run stands.

    Returns:
        The metrics, where the folder holds this very run and it is finished.

    Raises:
        ValueError: The folder holds a run with other settings or data.
    """
    file = out / "configuration.json"
    if last_checkpoint(out) is not None and file.is_file():
        earlier = json.loads(file.read_text(encoding="utf-8"))
        free = ("out", "save_steps")
        for key in (k for k in configuration if k in earlier and k not in free):
            if earlier[key] != configuration[key]:
                raise ValueError(
                    f"{out} holds a run with {key} {earlier[key]!r}, not {configuration[key]!r}: go on with "
                    "the same settings, or choose another folder with --out"
                )
        if (out / "metrics.json").is_file():
            metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
            return metrics
    out.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(configuration, indent=1) + "\n")  # other processes of the run read it, too
    return None


def last_checkpoint(out: Path) -> str | None:
    """Return the folder of the newest whole checkpoint of a run; None where there is none."""
    folder = out / "checkpoints"
    if not folder.is_dir():
        return None
    # The trainer's state is written last: where it is missing or cut off, the run was killed or the disk was full.
    whole = [f.parent for f in folder.glob("checkpoint-*/trainer_state.json") if _is_json(f)]
    return str(max(whole, key=lambda f: int(f.name.rpartition("-")[2]))) if whole else None


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def save_weights(trainer: SftTrainer, settings: SftSettings) -> Path:
    """Write what was trained, adapters in bfloat16 (half the size, same greedy output), and return the folder."""
    folder = settings.out / ("adapter" if settings.method == "lora" else "model")
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        trainer.save_model(str(folder))  # every process has a part of it
        (folder / "training_args.bin").unlink(missing_ok=True)
    elif trainer.is_world_process_zero():
        trainer.model.save_pretrained(str(folder))
    if trainer.is_world_process_zero() and settings.method == "lora":
        file = folder / "adapter_model.safetensors"
        halved = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(file).items()}
        save_file(halved, file, metadata={"format": "pt"})
    return folder


def explain(
    folder: Path, settings: SftSettings, base: Base, metrics: dict[str, Any], configuration: dict[str, Any]
) -> None:
    """Write what goes with the weights: whose they are, their card, the course of the loss; last, the metrics."""
    if settings.method == "lora":
        write_fingerprint(folder, base)
    else:
        base.tokenizer.save_pretrained(str(folder))
    plot_loss(settings.out / "progress.jsonl", settings.out / "loss.png")
    write_whole(folder / "README.md", card(metrics, configuration))
    write_whole(settings.out / "metrics.json", json.dumps(metrics, indent=1) + "\n")


def card(metrics: dict[str, Any], configuration: dict[str, Any]) -> str:
    """Return the model card of a run."""
    # Where a run lay on one machine helps nobody; what it was trained on stands in the digest.
    told = configuration | {"data": ", ".join(Path(d).name for d in configuration["data"])}
    if configuration.get("adapter"):
        told["adapter"] = "/".join(Path(configuration["adapter"]).parts[-2:])
    rows = "\n".join(f"| {k} | {v} |" for k, v in told.items() if k != "out")
    facts = "\n".join(f"| {k} | {_told(v)} |" for k, v in metrics.items() if k not in {"recipe", "versions"})
    versions = ", ".join(f"{k} {v}" for k, v in metrics["versions"].items())
    return (
        f"---\nlibrary_name: peft\nbase_model: {configuration['base']}\n---\n\n"
        f"# {metrics['recipe']}\n\nTrained by dyna-graph's recipe `{metrics['recipe']}`.\n\n"
        f"| setting | value |\n|---|---|\n{rows}\n\n| result | value |\n|---|---|\n{facts}\n\n"
        f"Versions: {versions}.\n"
    )


def _told(value: Any) -> str:
    """Write a metric for people; counts by name become one line."""
    if isinstance(value, dict):
        return "; ".join(f"{k}: {_told(v)}" for k, v in value.items()) or "none"
    return str(value)
