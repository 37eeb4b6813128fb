"""Which servers a configuration leads to, and with which words vLLM is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dyna_graph import DynaConfig
from dyna_training.serving.causes import cause_of, said
from dyna_training.serving.plan import ServeError, ServerPlan, Wanted, models_of, plan

POLICY, WORLD = Path("/a/policy"), Path("/a/world")
BASE = Wanted("b", "b")
MODELS = [Wanted("b+policy", "b", POLICY), Wanted("b+world", "b", WORLD), BASE]


def shape(plans: list[ServerPlan]) -> list[tuple[int, list[str], bool]]:
    return [(p.port, [m.name for m in p.models], p.lora) for p in plans]


def test_on_a_gpu_adapters_share_a_server_and_on_a_cpu_each_has_its_own() -> None:
    together = [(8000, ["b+policy", "b+world", "b"], True)]
    apart = [(8000, ["b+policy"], False), (8001, ["b+world"], False), (8002, ["b"], False)]
    assert shape(plan(MODELS, lora=None, merge_by_default=False, port=8000)) == together
    assert shape(plan(MODELS, lora=True, merge_by_default=True, port=8000)) == together
    assert shape(plan(MODELS, lora=None, merge_by_default=True, port=8000)) == apart
    assert shape(plan(MODELS, lora=False, merge_by_default=False, port=8000)) == apart


def test_addresses_of_the_configuration_are_kept() -> None:
    models = [
        Wanted("b+policy", "b", POLICY, port=8001),
        Wanted("b+world", "b", WORLD, port=9000),
        Wanted("b", "b", port=9000),
        Wanted("c", "c"),
        Wanted("d", "d"),
    ]
    assert shape(plan(models, lora=None, merge_by_default=True, port=8000)) == [
        (8001, ["b+policy"], False),
        (9000, ["b+world", "b"], True),
        (8000, ["c"], False),
        (8002, ["d"], False),
    ]


def test_a_single_adapter_at_an_address_is_merged_on_a_cpu_only() -> None:
    one = [Wanted("b+policy", "b", POLICY, port=1)]
    assert [p.lora for p in plan(one, lora=None, merge_by_default=True, port=8000)] == [False]
    assert [p.lora for p in plan(one, lora=None, merge_by_default=False, port=8000)] == [True]
    assert [p.lora for p in plan([BASE], lora=True, merge_by_default=False, port=8000)] == [False]


def test_one_address_cannot_hold_two_sets_of_weights() -> None:
    with pytest.raises(
        ServeError, match=r"port 1: merged, 'b\+policy' and 'b' are different weights.*--lora"
    ):
        plan(
            [Wanted("b+policy", "b", POLICY, 1), Wanted("b", "b", None, 1)],
            lora=False,
            merge_by_default=True,
            port=2,
        )
    with pytest.raises(ServeError, match="port 1: 'b' and 'c' have different bases"):
        plan(
            [Wanted("b", "b", None, 1), Wanted("c", "c", None, 1)], lora=None, merge_by_default=False, port=2
        )


def test_there_are_only_so_many_ports() -> None:
    two = [Wanted("b", "b"), Wanted("c", "c")]
    with pytest.raises(ServeError, match="the 2 servers need more ports than there are from 65535 on"):
        plan(two, lora=None, merge_by_default=True, port=65535)


def test_the_models_of_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "dyna.yaml").write_text(
        "model: local:smollm2+mine\n"
        "world_model: vllm:smollm2+mine@http://127.0.0.1:8100/v1\n"
        "critic:\n"
        "  - {critic: judge, model: local:smollm2+mine, tools: [a]}\n"
        "  - {critic: judge, model: vllm:Qwen/Qwen3-8B, tools: [b]}\n"
    )
    adapter = (tmp_path / "mine").resolve()
    assert models_of(DynaConfig.from_file(tmp_path / "dyna.yaml")) == [
        Wanted("smollm2+mine", "smollm2", adapter),
        Wanted("smollm2+mine", "smollm2", adapter, 8100),
        Wanted("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
    ]


def test_a_configuration_without_a_model_to_serve() -> None:
    with pytest.raises(ServeError, match="names no model that vLLM could serve"):
        models_of(DynaConfig.from_dict({"model": "openai:gpt-5-mini"}))


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("OSError: [Errno 98] Address already in use", "the port was taken in the meantime"),
        ("api_server.py: error: unrecognized arguments: --bogus", "does not know an argument: --bogus"),
        ("ModuleNotFoundError: No module named 'numba'", "the package numba is missing in its environment"),
        ("RuntimeError: Failed to infer device type", "finds no device it was made for"),
        (
            "OSError: x/y is not a local folder and is not a valid model identifier",
            "the base model x/y is neither",
        ),
        ("torch.OutOfMemoryError: tried to allocate", "too little memory"),
    ],
)
def test_likely_causes(line: str, meaning: str) -> None:
    assert meaning in cause_of(f"INFO fine\n{line}\nERROR it ended", 1)


def test_lines_lose_process_level_and_time() -> None:
    line = "(APIServer pid=13639) WARNING 11-21 14:07:35 [system_utils.py:255] Found ulimit of 20000"
    assert said(line) == "Found ulimit of 20000"
    assert said(json.dumps({"a": 1})) == '{"a": 1}'
