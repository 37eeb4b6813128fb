"""Adapters: what they compute, how they share a base, and what is refused."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llama import save_adapter, tiny_base, tiny_model

from dyna_nodes.local.base import Base, LocalModelError, write_fingerprint
from dyna_nodes.local.engine import Engine
from dyna_nodes.local.request import Request

PREFIX = list(range(30, 60))
GIVEN = [70, 71, 72]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    base = tiny_base()
    return {
        "policy": save_adapter(tmp_path / "policy", base, 1),
        "world": save_adapter(tmp_path / "world", base, 2, use_rslora=True),
    }


def scores(engine: Engine, adapter: str | None) -> list[float]:
    [result] = engine.generate([Request(PREFIX, [GIVEN], logprobs=True, adapter=adapter)])
    assert result.branches[0].given_logprobs is not None
    return list(result.branches[0].given_logprobs)


def peft_scores(folder: Path | None) -> list[float]:
    """The same by peft and transformers alone."""
    from peft import PeftModel

    model = tiny_model()
    if folder is not None:
        model = PeftModel.from_pretrained(model, str(folder))
    with torch.inference_mode():
        table = model(torch.tensor([[*PREFIX, *GIVEN]])).logits[0].log_softmax(-1)
    return [float(table[len(PREFIX) - 1 + i, t]) for i, t in enumerate(GIVEN)]


@pytest.mark.parametrize("merge", [True, False])
def test_two_adapters_and_the_base_take_turns(engine: Engine, folders: dict[str, Path], merge: bool) -> None:
    for name, folder in folders.items():
        engine.load_adapter(name, folder, merge=merge)
    expected = {None: peft_scores(None), **{n: peft_scores(f) for n, f in folders.items()}}
    assert abs(expected["policy"][0] - expected[None][0]) > 0.01
    for name in ["policy", None, "world", "policy", "world", None]:
        assert scores(engine, name) == pytest.approx(expected[name], abs=1e-4)


def test_merged_and_unmerged_live_together(engine: Engine, folders: dict[str, Path]) -> None:
    engine.load_adapter("world", folders["world"], merge=False)
    engine.load_adapter("policy", folders["policy"], merge=True)
    for name in ["world", "policy", None, "policy", "world"]:
        expected = peft_scores(folders[name] if name else None)
        assert scores(engine, name) == pytest.approx(expected, abs=1e-4)
    engine.unload_adapter("world")
    assert scores(engine, "policy") == pytest.approx(peft_scores(folders["policy"]), abs=1e-4)


def test_requests_for_several_adapters_run_in_a_batch_each(engine: Engine, folders: dict[str, Path]) -> None:
    for name, folder in folders.items():
        engine.load_adapter(name, folder)
    names = ["policy", "world", None] * 3
    requests = [Request([*PREFIX, i], max_new_tokens=4, stop_ids=(), adapter=n) for i, n in enumerate(names)]
    together = engine.generate(requests)
    assert engine.stats.batches == 3
    for request, result in zip(requests, together, strict=True):
        engine.clear_store()
        assert engine.generate([request])[0].branches == result.branches


def test_an_unloaded_adapter_takes_its_prefixes_along(engine: Engine, folders: dict[str, Path]) -> None:
    engine.load_adapter("a", folders["policy"])
    first = scores(engine, "a")
    engine.unload_adapter("a")
    engine.unload_adapter("a")
    with pytest.raises(LocalModelError, match="no adapter 'a' is loaded; loaded: none"):
        scores(engine, "a")
    engine.load_adapter("a", folders["world"])
    assert scores(engine, "a") == pytest.approx(peft_scores(folders["world"]), abs=1e-4)
    assert scores(engine, "a") != pytest.approx(first, abs=1e-4)


def test_a_request_whose_adapter_is_unloaded_meanwhile_fails_clearly(
    engine: Engine, folders: dict[str, Path]
) -> None:
    engine.load_adapter("a", folders["policy"])
    release = threading.Event()
    running = engine.submit(
        Request([9], max_new_tokens=1, on_token=lambda branch, token: release.wait(30) and None)
    )
    while engine.stats.forwards == 0:
        time.sleep(0.001)
    late = engine.submit(Request(PREFIX, max_new_tokens=1, adapter="a"))
    unloading = threading.Thread(target=engine.unload_adapter, args=["a"])
    unloading.start()
    while not engine._worker._errands:
        time.sleep(0.001)
    release.set()
    unloading.join()
    running.result()
    with pytest.raises(LocalModelError, match="was unloaded before"):
        late.result()


def test_loading_twice_is_harmless_and_a_taken_name_is_refused(
    engine: Engine, folders: dict[str, Path]
) -> None:
    engine.load_adapter("a", folders["policy"])
    engine.load_adapter("a", folders["policy"])
    with pytest.raises(LocalModelError, match="unload it first"):
        engine.load_adapter("a", folders["world"])
    assert engine.adapters == ["a"]


def test_an_adapter_of_another_base_is_refused(engine: Engine, tmp_path: Path) -> None:
    wider, twin = tiny_base(hidden=72), tiny_base(seed=5)
    shapes = save_adapter(tmp_path / "wider", wider, 1)
    with pytest.raises(
        LocalModelError, match=r"another base model: model.layers.0.* has \d+ there, the adapter \d+"
    ):
        engine.load_adapter("a", shapes)
    marked = save_adapter(tmp_path / "twin", twin, 1)
    write_fingerprint(marked, twin)
    with pytest.raises(LocalModelError, match="was trained on tiny-5-48"):
        engine.load_adapter("a", marked)
    assert engine.adapters == []
    assert scores(engine, None) == pytest.approx(peft_scores(None), abs=1e-4)


def test_the_right_fingerprint_is_accepted(engine: Engine, folders: dict[str, Path]) -> None:
    model = tiny_model()
    write_fingerprint(folders["policy"], Base(model, None, engine.fingerprint, "tiny"))
    engine.load_adapter("a", folders["policy"])
    assert engine.adapters == ["a"]


def test_damaged_folders_say_what_is_wrong(engine: Engine, folders: dict[str, Path], tmp_path: Path) -> None:
    def refused(folder: Path, message: str) -> None:
        with pytest.raises(LocalModelError, match=message) as caught:
            engine.load_adapter("a", folder)
        assert str(folder) in str(caught.value)

    refused(tmp_path / "none", "there is no such folder")
    folder = folders["policy"]
    weights, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    refused(folder, "damaged")
    weights.write_bytes(b"")
    refused(folder, "damaged")
    weights.unlink()
    refused(folder, r"adapter_model.safetensors is missing")
    weights.write_bytes(whole)
    said = config.read_text()
    config.write_text(said[:50])
    refused(folder, "damaged")
    config.write_text(json.dumps({k: v for k, v in json.loads(said).items() if k != "lora_alpha"}))
    refused(folder, "lora_alpha")
    config.write_text(said)
    parts = load_file(weights)
    save_file({k: v for k, v in parts.items() if "lora_B" not in k}, weights)
    refused(folder, "it has no lora_B")
    save_file({"something.else": torch.zeros(1)}, weights)
    refused(folder, "it holds no LoRA weights")
    weights.write_bytes(whole)
    (folder / "dyna_base.json").write_text(json.dumps({"base": "x"}))
    refused(folder, "dyna_base.json is damaged")
    (folder / "dyna_base.json").unlink()
    engine.load_adapter("a", folder)
