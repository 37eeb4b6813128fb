"""The settings of all recipes; apart from them, so that a mistake is found before torch is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dyna_nodes.codec.objectives import OBJECTIVES, Objective
from dyna_nodes.codec.policy import POLICY_PROMPT, Thinking
from dyna_nodes.settings import Memory


class SftSettings(BaseModel):
    """Settings that every fine-tuning recipe has."""

    model_config = ConfigDict(extra="forbid")

    base: str = Field("smollm2", description="Base model: `smollm2`, a folder, or an id on the hub.")
    data: list[Path] = Field(
        description="Trajectory files, logs, Parquet, or folders of them, as `dyna collect` and `dyna data` write them."
    )
    out: Path = Field(description="Folder of the run: checkpoints, adapter, model card, metrics.")
    method: Literal["lora", "full"] = Field("lora", description="Train a LoRA adapter or all weights.")
    rank: int = Field(16, ge=1, description="Rank of the LoRA adapter.")
    alpha: int = Field(32, ge=1, description="LoRA's alpha; the adapter is scaled by alpha / rank.")
    adapter: Path | None = Field(
        None, description="Go on training this adapter, a folder or a shipped one, instead of a fresh one."
    )
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate (AdamW).")
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = Field(
        "linear", description="Course of the learning rate after the warm-up."
    )
    warmup: float = Field(0.03, ge=0, lt=1, description="Share of the run in which the learning rate rises.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay.")
    epochs: float = Field(1.0, gt=0, description="Passes over the data.")
    target_tokens: int | None = Field(
        None,
        ge=1,
        description="Train until so many target tokens were seen, instead of for `epochs`; matches two runs in "
        "what they learn from.",
    )
    rows: int = Field(1, ge=1, description="Episodes packed into one row per device.")
    accumulate: int = Field(2, ge=1, description="Rows per update and device.")
    max_tokens: int = Field(
        2560, ge=64, description="Longer rows are never cut: they are left out, counted and reported."
    )
    save_steps: int = Field(100, ge=1, description="Updates between two checkpoints.")
    seed: int = Field(0, description="Seeds data order, adapter initialisation and label choice.")
    dtype: Literal["bfloat16", "float32"] = Field(
        "bfloat16", description="Precision of the frozen base; all weights (`full`) are trained in float32."
    )

    @model_validator(mode="after")
    def _all_weights_are_trained_in_float32(self) -> Self:
        if self.method == "full" and self.dtype == "bfloat16":
            if "dtype" in self.model_fields_set:
                raise ValueError(
                    "dtype: bfloat16 goes with method: lora; it is too coarse for the small steps of all weights"
                )
            self.dtype = "float32"
        return self

    @model_validator(mode="after")
    def _adapter_is_trained_as_one(self) -> Self:
        if self.adapter is not None and self.method == "full":
            raise ValueError("adapter goes with method: lora; to train all weights, give the model as base")
        return self


class WorldModelSettings(SftSettings):
    """Settings of the recipe ``world-model``."""

    privileged: float = Field(
        0.4,
        ge=0,
        le=1,
        description="Share of the episodes that are shown with the hidden state of the environment.",
    )
    returns: float = Field(
        0.5, ge=0, le=1, description="Share of the steps with a return after the observation."
    )
    blind_returns: float = Field(0.2, ge=0, le=1, description="Share of the steps with a return before it.")
    counterfactuals: int = Field(
        0,
        ge=0,
        description="Recorded counterfactuals of an episode that are learned too, drawn at random; half of "
        "them also with the return before the observation.",
    )


class PolicySettings(SftSettings):
    """Settings of the recipe ``policy``."""

    prompt: str = Field(POLICY_PROMPT, description="The system prompt; the agent must be run with the same.")
    memory: Memory = Field(
        "thoughts",
        description="What a turn sees of earlier turns: `thoughts` shows them whole, `actions` what was done; the "
        "agent must be run with the same.",
    )
    thinking: Thinking = Field(
        "full", description="Imitate the thinking as recorded (`full`), or actions only (`none`)."
    )
    successes_only: bool = Field(True, description="Leave out episodes that did not end in success.")
    best_of: int | None = Field(
        None,
        ge=1,
        description="Rejection sampling: of the first so many episodes of a task keep the shortest success.",
    )
    imagined: bool = Field(
        False, description="Learn also from episodes that were played inside a world model (vanilla Dyna)."
    )


class DdtSettings(SftSettings):
    """Settings of the recipe ``ddt``."""

    prompt: str = Field(POLICY_PROMPT, description="The system prompt of the policy.")
    memory: Memory = Field(
        "thoughts",
        description="What a turn sees of earlier turns: `thoughts` or `actions`; that of the policy.",
    )
    next_state: float = Field(
        1.0, ge=0, le=1, description="Share of the turns from which the next observation is learned."
    )
    difference: float = Field(
        0.0, ge=0, le=1, description="Share of the turns from which the noted difference is learned."
    )
    critique: float = Field(
        0.0, ge=0, le=1, description="Share of the turns from which the noted critique is learned."
    )

    def share(self, objective: Objective) -> float:
        """Return the share of the turns from which an objective is learned, in [0, 1]."""
        return {"next_state": self.next_state, "difference": self.difference, "critique": self.critique}[
            objective
        ]

    @model_validator(mode="after")
    def _learns_something(self) -> Self:
        if not any(self.share(objective) for objective in OBJECTIVES):
            raise ValueError(f"nothing to learn: give one of {', '.join(OBJECTIVES)} a share above 0")
        return self
