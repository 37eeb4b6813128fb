"""Model names: taken apart, resolved, and explained when they lead nowhere."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from dyna_graph import plugins
from dyna_graph.errors import ModelError
from dyna_graph.models import VLLM_URL, ModelName, find_adapter, parse_model, resolve_model


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
        ("vllm:smollm2+mine", ModelName("vllm", "smollm2", adapter="mine")),
        ("vllm:b+a@http://gpu:1/v1", ModelName("vllm", "b", adapter="a", url="http://gpu:1/v1")),
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
        (
            "chat openai:gpt-5",
            "model 'chat openai:gpt-5': a provider is one word, not 'chat openai'; write provider:model",
        ),
        ("local:+a", "model 'local:+a' must read local:base or local:base+adapter"),
        ("vllm:+a", "model 'vllm:+a' must read vllm:base+adapter, or vllm:model"),
        ("vllm:a@b", "model 'vllm:a@b' must read vllm:model or vllm:model@http://host:port/v1"),
        (
            "vllm:a@http://b:99999/v1",
            "model 'vllm:a@http://b:99999/v1' must read vllm:model or vllm:model@http://host:port/v1",
        ),
        ("opnai:gpt-5", "unknown provider 'opnai' in model 'opnai:gpt-5'; did you mean 'openai'?"),
        ("lokal:smollm2", "unknown provider 'lokal' in model 'lokal:smollm2'; did you mean 'local'?"),
        (
            "smollm2",
            "model 'smollm2' names no provider; write provider:model, such as openai:smollm2 or "
            "local:smollm2",
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
        "model 'vllm:qwen' needs langchain_openai, which is missing: pip install 'dyna-graph[vllm]'"
    )


def test_a_provider_whose_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain_perplexity", None)
    with pytest.raises(ModelError) as caught:
        resolve_model("perplexity:sonar")
    assert str(caught.value) == (
        "model 'perplexity:sonar' needs langchain_perplexity, which is missing: "
        "pip install langchain-perplexity"
    )


def test_a_local_model_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModelError) as caught:
        resolve_model("local:smollm2")
    assert str(caught.value) == (
        "model 'local:smollm2' needs torch, which is missing: pip install 'dyna-graph[local]'"
    )


def test_an_adapter_is_a_folder_or_comes_with_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "adapters" / "mine").mkdir(parents=True)
    assert find_adapter("adapters/mine", tmp_path) == tmp_path / "adapters" / "mine"
    info, shipped = tmp_path / "acme-1.0.dist-info", tmp_path / "acme_adapters" / "tidy"
    info.mkdir()
    shipped.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dyna_graph.adapters]\nacme = acme_adapters\n")
    (tmp_path / "acme_adapters" / "__init__.py").touch()
    (shipped / "adapter_config.json").write_text("{}")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins._points.cache_clear()
    try:
        assert find_adapter("tidy") == shipped
        with pytest.raises(
            ModelError, match=r"no adapter 'tidi': there is no such folder; installed are: .*tidy"
        ):
            resolve_model("local:smollm2+tidi")
    finally:
        plugins._points.cache_clear()


class _Server(BaseHTTPRequestHandler):
    """Answers like a vLLM server and keeps what it was asked."""

    asked: ClassVar[list[tuple[str, str, dict[str, object]]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, self.headers["Authorization"], body))
        answer = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
            ],
        }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


def test_a_model_on_a_server() -> None:
    pytest.importorskip("langchain_openai")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/v1"
            model = resolve_model(f"vllm:Qwen/Qwen3-8B@{url}", temperature=0.25, max_tokens=7)
            assert model.invoke("hi").content == "hello"
        finally:
            server.shutdown()
    [(path, key, body)] = _Server.asked
    assert (path, key) == ("/v1/chat/completions", "Bearer none")
    assert body["model"] == "Qwen/Qwen3-8B"
    assert body["temperature"] == 0.25
    assert 7 in (body.get("max_tokens"), body.get("max_completion_tokens"))


class _Reasoning(_Server):
    """Answers like a vLLM server with a reasoning parser; in parts when asked to stream."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = "reasoning" if body["model"] == "newer" else "reasoning_content"
        shared = {"id": "1", "created": 1, "model": body["model"]}
        if body.get("stream"):
            deltas = [
                {"role": "assistant", key: "If I look, "},
                {key: "I see a mug."},
                {"content": "I look."},
            ]
            parts = [
                {**shared, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}
                for delta in deltas
            ]
            data = "".join(f"data: {json.dumps(part)}\n\n" for part in parts).encode() + b"data: [DONE]\n\n"
            kind = "text/event-stream"
        else:
            message = {"role": "assistant", "content": "I look.", key: "If I look, I see a mug."}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            data = json.dumps({**shared, "object": "chat.completion", "choices": [choice]}).encode()
            kind = "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.mark.parametrize("name", ["older", "newer"])
@pytest.mark.parametrize("streaming", [False, True])
def test_the_thinking_of_a_reasoning_model_on_a_server_is_kept(name: str, streaming: bool) -> None:
    pytest.importorskip("langchain_openai")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Reasoning) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/v1"
            message = resolve_model(f"vllm:{name}@{url}", streaming=streaming).invoke("hi")
        finally:
            server.shutdown()
    assert message.content == "I look."
    assert message.additional_kwargs["reasoning_content"] == "If I look, I see a mug."


def test_the_server_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    openai = pytest.importorskip("langchain_openai")
    monkeypatch.setenv("VLLM_BASE_URL", "http://gpu:9000/v1")
    model = resolve_model("vllm:mine")
    assert isinstance(model, openai.ChatOpenAI)
    assert model.openai_api_base == "http://gpu:9000/v1"
    monkeypatch.delenv("VLLM_BASE_URL")
    assert resolve_model("vllm:mine").openai_api_base == VLLM_URL  # type: ignore[attr-defined]


def test_options_that_a_model_refuses() -> None:
    pytest.importorskip("langchain_openai")
    with pytest.raises(ModelError, match=r"^model 'vllm:mine': temperature: .*valid number"):
        resolve_model("vllm:mine", temperature="warm")


def test_a_missing_key_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("langchain_openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelError, match=r"model 'openai:gpt-5-mini' cannot be used: .*OPENAI_API_KEY"):
        resolve_model("openai:gpt-5-mini")
