"""What all fine-tuning recipes share: base with LoRA, the run, and a folder that explains itself."""

from __future__ import annotations

import json
import platform
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from pydantic import BaseModel, ConfigDict, Field
from transformers import TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from dyna_nodes.codec import Example
from dyna_nodes.local.base import Base, load_base, write_fingerprint
from dyna_nodes.nouns import digest_of
from dyna_training import attention
from dyna_training.sft import ExampleDataset, SftTrainer, pack

PACKAGES = ("dyna-graph", "torch", "transformers", "peft", "accelerate")


class SftSettings(BaseModel):
    """Settings that every fine-tuning recipe has."""

    model_config = ConfigDict(extra="forbid")

    base: str = Field("smollm2", description="Base model: `smollm2`, a folder, or an id on the hub.")
    data: list[Path] = Field(
        description="Trajectory files or folders of them, as `dyna collect` writes them."
    )
    out: Path = Field(description="Folder of the run: checkpoints, adapter, model card, metrics.")
    method: Literal["lora", "full"] = Field("lora", description="Train a LoRA adapter or all weights.")
    rank: int = Field(16, ge=1, description="Rank of the LoRA adapter.")
    alpha: int = Field(32, ge=1, description="LoRA's alpha; the adapter is scaled by alpha / rank.")
    adapter: Path | None = Field(None, description="Go on training this adapter instead of a fresh one.")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate (AdamW).")
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = Field(
        "linear", description="Course of the learning rate after the warm-up."
    )
    warmup: float = Field(0.03, ge=0, lt=1, description="Share of the run in which the learning rate rises.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay.")
    epochs: float = Field(1.0, gt=0, description="Passes over the data.")
    rows: int = Field(1, ge=1, description="Episodes packed into one row per device.")
    accumulate: int = Field(2, ge=1, description="Rows per update and device.")
    max_tokens: int = Field(2560, ge=64, description="Longer episodes are left out, counted and reported.")
    save_steps: int = Field(100, ge=1, description="Updates between two checkpoints.")
    seed: int = Field(0, description="Seeds data order, adapter initialisation and label choice.")
    dtype: Literal["bfloat16", "float32"] = Field("bfloat16", description="Precision of the frozen base.")


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
        if self.stopped:
            control.should_save = True
            control.should_training_stop = True
        return control

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals over for the time of the training; a second one interrupts at once."""

        def stop(number: int, _: Any) -> None:
            if self.stopped:
                raise KeyboardInterrupt
            self.stopped = True

        before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def prepare(settings: SftSettings) -> tuple[Base, Any]:
    """Load the base and put what is to be trained on it.

    Returns:
        The base, and the model to train: a peft model, or the base's own for ``method: full``.
    """
    torch.manual_seed(settings.seed)
    base = load_base(settings.base, dtype=settings.dtype, device="cpu")
    if not torch.cuda.is_available():
        base.model.set_attn_implementation(attention.register())
    if settings.method == "full":
        return base, base.model.train().requires_grad_(True)
    if settings.adapter is not None:
        return base, PeftModel.from_pretrained(base.model, str(settings.adapter), is_trainable=True)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        base_model_name_or_path=settings.base,
    )
    return base, get_peft_model(base.model, config)


def fit(
    settings: SftSettings, base: Base, model: Any, examples: Sequence[Example], recipe: str
) -> dict[str, Any]:
    """Train, or go on where the last checkpoint in ``out`` stands, and save adapter, card and metrics.

    Returns:
        The metrics, also written to ``metrics.json``.

    Raises:
        KeyboardInterrupt: Stopped by a signal; a checkpoint was written, the same command goes on from it.
        ValueError: There is nothing to train on.
    """
    out = settings.out
    out.mkdir(parents=True, exist_ok=True)
    dataset = ExampleDataset(examples, settings.max_tokens)
    configuration = {"recipe": recipe, **settings.model_dump(mode="json")}
    (out / "configuration.json").write_text(json.dumps(configuration, indent=1) + "\n", encoding="utf-8")
    stopper = StopOnSignal()
    trainer = SftTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(out / "checkpoints"),
            per_device_train_batch_size=settings.rows,
            gradient_accumulation_steps=settings.accumulate,
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            lr_scheduler_type=settings.schedule,
            warmup_steps=settings.warmup,
            weight_decay=settings.weight_decay,
            max_grad_norm=1.0,
            logging_steps=10,
            save_steps=settings.save_steps,
            save_total_limit=2,
            seed=settings.seed,
            report_to=["tensorboard"],
            remove_unused_columns=False,
            disable_tqdm=None,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
        ),
        train_dataset=dataset,
        data_collator=pack,
        callbacks=[Progress(out), stopper],
    )
    start = time.monotonic()
    checkpoints = out / "checkpoints"
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    with stopper.listening():
        result = trainer.train(resume_from_checkpoint=last)
    if stopper.stopped:
        raise KeyboardInterrupt(
            f"stopped at update {trainer.state.global_step}; run the same command to go on"
        )
    metrics = {
        "recipe": recipe,
        "loss": result.training_loss,
        "updates": trainer.state.global_step,
        "seconds": round(time.monotonic() - start, 1),
        "examples": len(dataset),
        "left_out": dataset.skipped,
        "tokens": dataset.tokens,
        "target_tokens": dataset.targets,
        "data_digest": digest_of([e.ids for e in dataset.examples]),
        "hardware": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU {platform.machine()}",
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in PACKAGES},
    }
    if trainer.is_world_process_zero():
        save(settings, base, model, metrics, configuration)
    return metrics


def save(
    settings: SftSettings, base: Base, model: Any, metrics: dict[str, Any], configuration: dict[str, Any]
) -> None:
    """Write the adapter in bfloat16 (half the size, same greedy output), its card and the metrics."""
    folder = settings.out / ("adapter" if settings.method == "lora" else "model")
    if settings.method == "lora":
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(torch.bfloat16)
    model.save_pretrained(str(folder))
    if settings.method == "full":
        base.tokenizer.save_pretrained(str(folder))
    else:
        write_fingerprint(folder, base)
    (settings.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card(metrics, configuration), encoding="utf-8")


def card(metrics: dict[str, Any], configuration: dict[str, Any]) -> str:
    """Return the model card of a run."""
    # Where a run lay on one machine helps nobody; what it was trained on stands in the digest.
    told = configuration | {"data": ", ".join(Path(d).name for d in configuration["data"])}
    rows = "\n".join(f"| {k} | {v} |" for k, v in told.items() if k != "out")
    facts = "\n".join(f"| {k} | {v} |" for k, v in metrics.items() if k not in {"recipe", "versions"})
    versions = ", ".join(f"{k} {v}" for k, v in metrics["versions"].items())
    return (
        f"---\nlibrary_name: peft\nbase_model: {configuration['base']}\n---\n\n"
        f"# {metrics['recipe']}\n\nTrained by dyna-graph's recipe `{metrics['recipe']}`.\n\n"
        f"| setting | value |\n|---|---|\n{rows}\n\n| result | value |\n|---|---|\n{facts}\n\n"
        f"Versions: {versions}.\n"
    )
