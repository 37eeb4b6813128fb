"""Model names: taken apart, resolved, and explained when they lead nowhere."""

from __future__ import annotations

import sys

import pytest

from dyna_graph.errors import ModelError
from dyna_graph.models import ModelName, parse_model, resolve_model


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("openai:gpt-5-mini", ModelName("openai", "gpt-5-mini")),
        ("ollama:llama3.1:8b", ModelName("ollama", "llama3.1:8b")),
        ("gpt-5-mini", ModelName("", "gpt-5-mini")),
        ("local:smollm2", ModelName("local", "smollm2")),
        ("local:smollm2+my-adapter", ModelName("local", "smollm2", adapter="my-adapter")),
        ("local:/models/qwen+./a+b", ModelName("local", "/models/qwen", adapter="./a+b")),
        ("vllm:Qwen/Qwen3-8B", ModelName("vllm", "Qwen/Qwen3-8B")),
        ("vllm:mine@https://gpu:8000/v1", ModelName("vllm", "mine", url="https://gpu:8000/v1")),
    ],
)
def test_names_are_taken_apart(name: str, parsed: ModelName) -> None:
    assert parse_model(name) == parsed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "model '' names no model; write provider:model, such as local:smollm2"),
        ("local", "model 'local' names no model; write provider:model, such as local:smollm2"),
        (
            ":x",
            "model ':x' lacks the part before the colon; write provider:model, such as openai:gpt-5-mini",
        ),
        ("local:+a", "model 'local:+a' must read local:base or local:base+adapter"),
        ("vllm:a@b", "model 'vllm:a@b' must read vllm:model or vllm:model@http://host:port/v1"),
        ("opnai:gpt-5", "unknown provider 'opnai' in model 'opnai:gpt-5'; did you mean 'openai'?"),
        ("lokal:smollm2", "unknown provider 'lokal' in model 'lokal:smollm2'; did you mean 'local'?"),
        (
            "smollm2",
            "model 'smollm2' names no provider; write provider:model, such as openai:smollm2 or local:smollm2",
        ),
    ],
)
def test_names_that_lead_nowhere(name: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve_model(name)
    assert str(caught.value) == message


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_openai", None)
    with pytest.raises(ModelError) as caught:
        resolve_model("vllm:qwen")
    assert str(caught.value) == (
        "model 'vllm:qwen' is reached through the OpenAI protocol; langchain_openai is missing: "
        "pip install langchain-openai"
    )


def test_a_provider_whose_package_is_missing() -> None:
    with pytest.raises(ModelError) as caught:
        resolve_model("perplexity:sonar")
    assert str(caught.value) == (
        "model 'perplexity:sonar' needs a package that is missing: pip install langchain-perplexity"
    )
