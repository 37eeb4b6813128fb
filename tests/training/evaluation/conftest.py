"""Generated households laid out like the official games, and a tiny base model on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyna_training.environments.alfworld.generator import write

pytest.importorskip("torch")

TYPES = (
    "pick_clean_then_place_in_recep",
    "pick_two_obj_and_place",
    "pick_and_place_simple",
    "look_at_obj_in_light",
)


@pytest.fixture(scope="session")
def alfworld(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `$ALFWORLD_DATA` names it: four games in each published split."""
    root = tmp_path_factory.mktemp("alfworld")
    for seed, task_type in enumerate(TYPES):
        write(root / "json_2.1.1" / "train", 100 + seed, task_type)
        write(root / "json_2.1.1" / "valid_seen", 200 + seed, task_type)
    return root


@pytest.fixture
def households(alfworld: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALFWORLD_DATA", str(alfworld))
    return alfworld


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Llama with SmolLM2's tokenizer, as a folder."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from dyna_nodes.local.base import resolve_base

    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = AutoTokenizer.from_pretrained(resolve_base("smollm2"))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=4096,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
