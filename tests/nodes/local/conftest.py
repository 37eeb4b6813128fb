"""Engines for the tests of the local model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("torch")

from tiny_llama import LlamaForCausalLM, tiny_base, tiny_model

from dyna_nodes.local.engine import Engine


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(tiny_base()) as engine:
        yield engine


@pytest.fixture(scope="session")
def plain() -> LlamaForCausalLM:
    """The same weights as the engine's, run by transformers itself."""
    return tiny_model()
