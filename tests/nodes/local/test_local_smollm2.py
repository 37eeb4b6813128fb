"""The engine on the real base in float32, against transformers' own generation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from dyna_nodes.codec import ChatCodec
from dyna_nodes.local.base import Base, load_base
from dyna_nodes.local.engine import Engine
from dyna_nodes.local.request import Probe, Request

TASK = (
    "You are in the middle of a room. Looking quickly around you, you see a bed 1, a desk 2, a drawer 3, "
    "a shelf 1 and a garbagecan 1. Your task is to: examine the alarmclock with the desklamp. "
)
ACTIONS = ["go to desk 1", "take alarmclock 2 from desk 1"]


@pytest.fixture(scope="module")
def plain() -> Base:
    return load_base("smollm2", "float32")


@pytest.fixture(scope="module")
def smollm2() -> Iterator[Engine]:
    with Engine(load_base("smollm2", "float32")) as engine:
        yield engine


@pytest.fixture
def codec(smollm2: Engine) -> ChatCodec:
    smollm2.clear_store()
    return smollm2.chat_codec


def reference(base: Base, prefix: list[int], count: int) -> list[int]:
    """Greedy generation by transformers itself."""
    ids: Any = base.model.generate(
        torch.tensor([prefix]),
        attention_mask=torch.ones(1, len(prefix)),
        max_new_tokens=count,
        do_sample=False,
    )
    return list(ids[0][len(prefix) :].tolist())


def test_candidates_batches_and_reused_prefixes_equal_generate(
    smollm2: Engine, plain: Base, codec: ChatCodec
) -> None:
    prefix = codec.turn("system", TASK)
    branches = [[*codec.turn("user", a), *codec.opening("assistant")] for a in ACTIONS]
    expected = [reference(plain, prefix + b, 5) for b in branches]
    [together] = smollm2.generate([Request(prefix, branches, max_new_tokens=5)])
    assert [list(b.ids) for b in together.branches] == expected
    separate = smollm2.generate([Request(prefix + b, max_new_tokens=5) for b in branches])
    assert [r.cached_tokens for r in separate] == [len(prefix)] * len(branches)
    assert [list(r.branches[0].ids) for r in separate] == expected
    smollm2.clear_store()
    alone = smollm2.generate([Request(prefix + branches[0], max_new_tokens=5)])[0]
    assert alone.cached_tokens == 0
    assert list(alone.branches[0].ids) == expected[0]


def test_scores_and_probes_equal_a_plain_forward(smollm2: Engine, plain: Base, codec: ChatCodec) -> None:
    prefix, given = codec.turn("system", TASK), codec.text("You see a lamp.")
    suffix, digits = codec.text("\nReturn: "), [codec.text(str(d))[-1] for d in range(10)]
    request = Request(prefix, [given], logprobs=True, probe=Probe(suffix, digits))
    [branch] = smollm2.generate([request])[0].branches
    with torch.inference_mode():
        table = plain.model(torch.tensor([prefix + given + suffix])).logits[0].log_softmax(-1)
    expected = [float(table[len(prefix) - 1 + i, t]) for i, t in enumerate(given)]
    assert branch.given_logprobs == pytest.approx(expected, abs=1e-3)
    assert branch.probe == pytest.approx(table[-1, digits].tolist(), abs=1e-3)
