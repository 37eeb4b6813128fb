"""A tiny random Llama with a byte tokenizer that speaks ChatML: everything real, in milliseconds."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dyna_nodes.codec import Encoded
from dyna_nodes.local.base import Base, fingerprint

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=SPECIAL[2], pad_token=SPECIAL[0], bos_token=SPECIAL[1]
    )


def tiny_model(seed: int = 0, hidden: int = 48, **settings: object) -> LlamaForCausalLM:
    """A random model whose choices are far apart, so that rounding cannot turn them round."""
    torch.manual_seed(seed)
    shape = {
        "vocab_size": 259,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 3,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 2048,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "initializer_range": 0.15,
    }
    return LlamaForCausalLM(LlamaConfig(**{**shape, **settings})).eval().requires_grad_(False)


def tiny_base(seed: int = 0, hidden: int = 48) -> Base:
    model = tiny_model(seed, hidden)
    return Base(model, tiny_tokenizer(), fingerprint(model), f"tiny-{seed}-{hidden}")


def save_adapter(folder: Path, base: Base, seed: int, **settings: object) -> Path:
    """Write a random LoRA adapter for a copy of ``base``, as peft saves it."""
    from peft import LoraConfig, get_peft_model

    model = LlamaForCausalLM(base.model.config)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", **settings)
    wrapped = get_peft_model(model, config)
    torch.manual_seed(seed)
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    wrapped.save_pretrained(str(folder))
    return folder


def teach(conversations: list[Encoded], steps: int = 400) -> LlamaForCausalLM:
    """Train a tiny Llama until it answers these conversations by heart."""
    model = tiny_model(hidden=96).train().requires_grad_(True)
    longest = max(len(c.ids) for c in conversations)
    ids = torch.tensor([c.ids + [0] * (longest - len(c.ids)) for c in conversations])
    wanted = torch.tensor([c.targets + [0] * (longest - len(c.ids)) for c in conversations]).bool()
    labels = ids.masked_fill(~wanted, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        loss = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=labels).loss
        if loss.item() < 0.004:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05, f"not learned: {loss.item()}"
    return model.eval().requires_grad_(False)
