"""Supervised fine-tuning on examples with explicit targets: the trainer under every recipe.

Three things that a stock SFT trainer does not do, and why they matter here (on a CPU, `dyna_training.attention`
and `dyna_training.lora` make the rest of a step faster):

* **Branches.** A return hangs on an observation as a branch that later tokens must not see
  (`dyna_nodes.codec`), so attention follows ``branch`` and positions follow ``positions``, not the order in
  the row.
* **Packing.** The examples of a micro-batch stand in one row; attention stays inside each example.
* **Logits only where there is a target.** With 49,152 words and 576 dimensions the output layer is
  a quarter of a SmolLM2-135M forward pass; on two CPU cores leaving out the rest is worth a quarter of the
  training time.

Everything else (optimiser, schedule, checkpoints, resuming, TensorBoard, accelerate with one or many
devices) is `transformers.Trainer`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from torch.nn import functional
from transformers import Trainer

from dyna_nodes.codec import IGNORED, Example
from dyna_training import attention


class ExampleDataset(torch.utils.data.Dataset[Example]):
    """Examples in memory.

    Args:
        examples: The examples.
        max_tokens: Longer ones are left out, never cut; ``skipped`` says how many.

    Raises:
        ValueError: Nothing is left.
    """

    def __init__(self, examples: Sequence[Example], max_tokens: int) -> None:
        self.examples = [e for e in examples if len(e.ids) <= max_tokens]
        self.skipped = len(examples) - len(self.examples)
        if not self.examples:
            raise ValueError(
                f"no example to train on: {self.skipped} were longer than max_tokens={max_tokens}; "
                "collect shorter episodes or raise max_tokens"
            )

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]

    @property
    def targets(self) -> int:
        """Number of target tokens in all examples."""
        return sum(e.targets for e in self.examples)

    @property
    def tokens(self) -> int:
        """Number of tokens in all examples."""
        return sum(len(e.ids) for e in self.examples)


def repeated(examples: Sequence[Example], target_tokens: int, seed: int) -> list[Example]:
    """Return examples in random order, over and over, until their targets reach ``target_tokens``.

    Args:
        examples: The examples, each with a target.
        target_tokens: Target tokens at least; the last example may take the sum above it.
        seed: Decides the order.

    Raises:
        ValueError: None of the examples has a target.
    """
    if not any(example.targets for example in examples):
        raise ValueError(f"none of the {len(examples)} examples has a target token")
    rng = random.Random(seed)
    chosen: list[Example] = []
    total = 0
    while total < target_tokens:
        for example in rng.sample(examples, len(examples)):
            chosen.append(example)
            total += example.targets
            if total >= target_tokens:
                break
    return chosen


def pack(examples: Sequence[Example], multiple: int = 1) -> dict[str, torch.Tensor]:
    """Pack examples into one row.

    Args:
        examples: At least one.
        multiple: Pad the row to a multiple of so many tokens. A run in which every row has a length of its own
            leaves the memory of a process in pieces that fit nothing else; one grew to 14 GB in fifty minutes.

    Returns:
        ``input_ids``, ``position_ids`` of shape [1, T]; ``branch`` and ``document`` of shape [1, T];
        ``labels`` of shape [1, T], already aligned: ``labels[0, i]`` is predicted at position i.
    """
    ids: list[int] = []
    labels: list[int] = []
    positions: list[int] = []
    branch: list[int] = []
    document: list[int] = []
    for number, example in enumerate(examples):
        ids += example.ids
        labels += example.labels
        positions += example.positions
        branch += example.branch
        document += [number] * len(example.ids)
    padding = -len(ids) % multiple
    # It belongs to the last example, which ends before it and so never sees it.
    ids += ids[-1:] * padding
    labels += [IGNORED] * padding
    positions += positions[-1:] * padding
    branch += [0] * padding
    document += document[-1:] * padding
    rows = {
        "input_ids": ids,
        "labels": labels,
        "position_ids": positions,
        "branch": branch,
        "document": document,
    }
    return {name: torch.tensor([row]) for name, row in rows.items()}


def attention_mask(branch: torch.Tensor, document: torch.Tensor) -> torch.Tensor:
    """Return who may look at whom.

    Args:
        branch: [1, T]; 0 is the trunk.
        document: [1, T]; number of the example.

    Returns:
        Boolean [1, 1, T, T]; True where the row may attend to the column.
    """
    length = branch.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=branch.device).tril()
    same_document = document[:, :, None] == document[:, None, :]
    visible = (branch[:, None, :] == 0) | (branch[:, :, None] == branch[:, None, :])
    return (causal[None] & same_document & visible)[:, None]


def visibility(model: Any, branch: torch.Tensor, document: torch.Tensor) -> dict[str, Any]:
    """Return what tells a model who may look at whom in a row, as arguments of its ``forward``.

    Args:
        model: A model of transformers or peft.
        branch: See `attention_mask`.
        document: See `attention_mask`.
    """
    if model.config._attn_implementation == attention.NAME:
        return {"attention_mask": None, "blocks": attention.plan(branch, document, model.dtype)}
    # Without branches and packing the model's own causal mask is the same and skips half of the work.
    plain = not bool(branch.any()) and not bool(document.any())
    return {"attention_mask": None if plain else attention_mask(branch, document)}


class SftTrainer(Trainer):  # type: ignore[misc]
    """`transformers.Trainer` whose loss is the mean cross-entropy over the target tokens of a packed row."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return the loss.

        Args:
            model: The model, possibly wrapped by accelerate.
            inputs: A packed row, see `pack`.
            return_outputs: Also return the model's outputs.
            num_items_in_batch: Target tokens in the whole (accumulated) batch, as counted by the trainer.
        """
        labels = inputs["labels"][0]
        where = (labels != IGNORED).nonzero(as_tuple=True)[0]
        outputs = model(
            input_ids=inputs["input_ids"],
            position_ids=inputs["position_ids"],
            **visibility(self.accelerator.unwrap_model(model), inputs["branch"], inputs["document"]),
            logits_to_keep=where,
            use_cache=False,
        )
        loss = functional.cross_entropy(outputs.logits[0].float(), labels[where], reduction="sum")
        count = num_items_in_batch if num_items_in_batch is not None else len(where)
        loss = loss / count
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            # The count is over all devices, and accelerate averages the gradients over them.
            loss = loss * self.accelerator.num_processes
        return (loss, outputs) if return_outputs else loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint.

        Raises:
            OSError: It cannot be written, for instance because the disk is full. The one before is whole.
        """
        try:
            super()._save_checkpoint(model, trial)
        except (
            OSError,
            RuntimeError,
            SafetensorError,
        ) as error:  # torch and safetensors have errors of their own
            raise OSError(
                f"update {self.state.global_step}: no checkpoint could be written to {self.args.output_dir}: "
                f"{error}; make room there and start the same command again, it goes on from the checkpoint before"
            ) from error
