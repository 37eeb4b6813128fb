"""The settings of all recipes; apart from them, so that a mistake is found before torch is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from dyna_nodes.codec.policy import POLICY_PROMPT


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
    successes_only: bool = Field(True, description="Leave out episodes that did not end in success.")
