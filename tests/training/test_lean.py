"""The trainer's own attention and adapter products: the same results as the stock ones, in less time."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional

from dyna_nodes.codec import Example
from dyna_training import attention
from dyna_training.lora import LeanLinear, make_lean
from dyna_training.sft import IGNORED, attention_mask, pack, visibility
from tests.nodes.local.tiny_llama import tiny_model


def example(length: int, branches: int, seed: int) -> Example:
    """A random example; branches of three to nine tokens hang on a trunk, at random places."""
    rng = random.Random(seed)
    branch, positions = [], []
    depth = number = 0
    while len(branch) < length:
        if number < branches and rng.random() < 0.1:
            number += 1
            for step in range(rng.randint(3, 9)):
                branch.append(number)
                positions.append(depth + step)
        branch.append(0)
        positions.append(depth)
        depth += 1
    ids = [rng.randrange(3, 60) for _ in branch]
    labels = [i if rng.random() < 0.3 else IGNORED for i in ids]
    return Example(ids, labels, positions, branch)


ROWS = {
    "plain": [example(70, 0, 1)],
    "branches": [example(90, 8, 2)],
    "packed": [example(30, 0, 3), example(45, 5, 4), example(20, 0, 5)],
}


@pytest.mark.parametrize("size", [1, 16, 1000])
@pytest.mark.parametrize("row", sorted(ROWS))
def test_a_plan_shows_to_each_query_what_the_mask_shows(row: str, size: int) -> None:
    packed = pack(ROWS[row], 16)
    wanted = attention_mask(packed["branch"], packed["document"])[0, 0]
    seen = torch.zeros_like(wanted)
    blocks = attention.plan(packed["branch"], packed["document"], torch.float32, size)
    assert [b.start for b in blocks] == [0, *(b.end for b in blocks[:-1])]
    assert blocks[-1].end == len(wanted)
    for block in blocks:
        assert block.end - block.start <= size
        keys = torch.arange(len(wanted))[block.keys]
        open_keys = torch.ones(block.end - block.start, len(keys), dtype=torch.bool)
        open_keys[:, len(keys) - block.bias.shape[1] :] = block.bias == 0
        seen[block.start : block.end, keys] = open_keys
        assert open_keys.any(0).all(), "no key is there for nobody"
    assert torch.equal(seen, wanted)


def loss_and_gradients(model: Any, row: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    labels = row["labels"][0]
    where = (labels != IGNORED).nonzero(as_tuple=True)[0]
    output = model(
        input_ids=row["input_ids"],
        position_ids=row["position_ids"],
        **visibility(model, row["branch"], row["document"]),
        logits_to_keep=where,
        use_cache=False,
    )
    loss = functional.cross_entropy(output.logits[0].float(), labels[where])
    model.zero_grad()
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The distance of two sets of gradients, relative to the second."""
    assert one.keys() == other.keys()
    apart = sum(float((one[n].double() - other[n].double()).square().sum()) for n in one)
    return float((apart / sum(float(g.double().square().sum()) for g in other.values())) ** 0.5)


@pytest.mark.parametrize("row", sorted(ROWS))
def test_blockwise_attention_gives_the_loss_and_gradients_of_the_models_own(
    row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "BLOCK", 16)
    packed = pack(ROWS[row], 16)
    model = tiny_model().requires_grad_(True)
    model.set_attn_implementation("sdpa")
    wanted, gradients = loss_and_gradients(model, packed)
    model.set_attn_implementation(attention.register())
    found, ours = loss_and_gradients(model, packed)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert difference(ours, gradients) < 1e-5


def test_a_mask_that_would_be_ignored_is_refused() -> None:
    model = tiny_model()
    model.set_attn_implementation(attention.register())
    packed = pack(ROWS["packed"])
    with pytest.raises(ValueError, match="takes no attention mask"):
        model(packed["input_ids"], attention_mask=attention_mask(packed["branch"], packed["document"]))


def adapted(dtype: Any, **more: Any) -> Any:
    """A model whose adapter is not the zero that a fresh one is."""
    torch.manual_seed(0)
    config = LoraConfig(
        **{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **more}
    )
    model = get_peft_model(tiny_model().to(dtype), config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def test_lean_layers_give_pefts_loss_and_gradients() -> None:
    packed = pack(ROWS["plain"])
    wanted, gradients = loss_and_gradients(adapted(torch.float32), packed)
    lean = adapted(torch.float32)
    layers = sum("lora_A" in name for name, _ in lean.named_parameters())
    assert make_lean(lean) == layers > 0
    found, ours = loss_and_gradients(lean, packed)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert difference(ours, gradients) < 1e-5


def test_in_bfloat16_lean_layers_are_as_near_the_truth_as_pefts() -> None:
    packed = pack(ROWS["plain"])
    truth, exact = loss_and_gradients(adapted(torch.float32), packed)
    stock, theirs = loss_and_gradients(adapted(torch.bfloat16), packed)
    lean = adapted(torch.bfloat16)
    make_lean(lean)
    found, ours = loss_and_gradients(lean, packed)
    assert abs(found - truth) < 0.01 * truth
    assert abs(stock - truth) < 0.01 * truth
    assert difference(ours, exact) < 1.25 * difference(theirs, exact) < 0.1
    assert {g.dtype for g in ours.values()} == {torch.float32}


def test_an_adapter_that_is_off_or_merged_is_pefts_affair() -> None:
    ids = pack(ROWS["plain"])["input_ids"]
    lean = adapted(torch.float32)
    make_lean(lean)
    with torch.no_grad():
        on = lean(ids).logits
        with lean.disable_adapter():
            off = lean(ids).logits
        merged = lean.merge_and_unload()(ids).logits
    assert torch.allclose(off, tiny_model()(ids).logits, atol=1e-5)
    assert not torch.allclose(on, off, atol=1e-3)
    assert torch.allclose(merged, on, atol=1e-4)


@pytest.mark.parametrize("more", [{"lora_dropout": 0.1}, {"use_dora": True}, {"lora_bias": True}])
def test_layers_with_more_than_plain_lora_stay_as_they_are(more: dict[str, Any]) -> None:
    model = adapted(torch.float32, **more)
    assert make_lean(model) == 0
    assert not any(isinstance(module, LeanLinear) for module in model.modules())
