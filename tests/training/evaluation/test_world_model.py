"""``dyna eval world-model`` from games to report, on a tiny model with a real adapter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
from typer.testing import CliRunner

from dyna_graph.cli import app
from dyna_graph.models import find_adapter
from dyna_nodes.local.base import load_base, write_fingerprint
from dyna_nodes.world_models import chat
from dyna_training.cli.evaluate import _labelled
from dyna_training.evaluation import baselines, report
from dyna_training.evaluation.episodes import near_misses
from dyna_training.evaluation.forcing import ForcingModel
from dyna_training.evaluation.lineup import WorldModelEvaluation, amount_of, examinees
from dyna_training.evaluation.outcomes import OutcomeCache
from dyna_training.evaluation.world_model import evaluate


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of the tiny base that does change what it says."""
    import torch
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter")
    base = load_base(str(tiny_base), "float32")
    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(base.model, config).save_pretrained(folder)
    write_fingerprint(folder, base)
    return folder


def settings(tiny_base: Path, out: Path, **changes: Any) -> WorldModelEvaluation:
    given = {
        "base": str(tiny_base),
        "dtype": "float32",
        "split": "valid_seen",
        "games": 2,
        "train_games": 4,
        "out": out,
    }
    return WorldModelEvaluation.model_validate(given | changes)


def test_from_games_to_report(households: Path, tiny_base: Path, adapter: Path, tmp_path: Path) -> None:
    options = settings(
        tiny_base,
        tmp_path,
        adapters=[("10k", adapter), ("20k", adapter)],
        untrained=True,
        verify=3,
        generate=False,
    )
    seen: set[str] = set()
    results = evaluate(options, lambda what, done, of: seen.add(what))
    assert {"playing valid_seen", "playing train", "10k, agent", "20k, privileged", "copy, agent"} <= seen
    names = [m["name"] for m in results["models"]]
    assert names == ["10k", "20k", "untrained", "untrained, 3-shot", "copy", "template", "rules"]
    steps = results["episodes"]["steps"]
    assert results["episodes"]["trajectories"] == 6
    by_name = {m["name"]: m["contexts"] for m in results["models"]}
    for contexts in by_name.values():
        assert set(contexts) == {"agent", "privileged"}
        for found in contexts.values():
            assert found["steps"] == steps
            parts = found["slices"]["knowledge"]
            assert sum(p["em"]["steps"] for p in parts.values()) == steps
    assert by_name["10k"] == by_name["20k"]
    assert by_name["copy"]["agent"] == by_name["copy"]["privileged"]
    assert (
        by_name["10k"]["agent"]["surprise_per_token"] != by_name["untrained"]["agent"]["surprise_per_token"]
    )
    assert by_name["rules"]["agent"]["em"]["value"] > by_name["copy"]["agent"]["em"]["value"]
    determined = by_name["rules"]["agent"]["slices"]["knowledge"]["determined"]["em"]["value"]
    assert determined > 0.8  # all but the successes, whose flag the rules leave out
    assert set(by_name["rules"]["agent"]["slices"]["walkthrough"]) == {"not in train"}
    assert [(p["amount"], p["context"]) for p in results["curve"]][:2] == [
        (10_000, "agent"),
        (20_000, "agent"),
    ]
    difference = next(d for d in results["differences"] if d["second"] == "10k")
    assert difference["first"] == "20k"
    assert difference["contexts"]["agent"]["em"]["value"] == 0

    files = report.write(results, tmp_path, "dyna eval world-model")
    assert {f.name for f in files} == {
        "report.md",
        "results.json",
        "exact_match.png",
        "by_action_type.png",
        "curve.png",
    }
    assert all(f.stat().st_size > 500 for f in files)
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(json.dumps(results))
    text = (tmp_path / "report.md").read_text()
    assert "| rules | agent | 2 |" in text
    assert results["episodes"]["digest"][:16] in text
    assert "underpowered" in text
    assert "Near misses taken for success" in text
    assert "| pick_and_place_simple | 1 |" in text


def test_interrupted_it_goes_on_where_it_stopped(
    households: Path, tiny_base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = settings(
        tiny_base, tmp_path, adapters=[("a", adapter)], untrained=False, generate=False, contexts=["agent"]
    )

    def interrupt(what: str, done: int, of: int) -> None:
        if (what, done) == ("a, agent", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(options, interrupt)
    file = tmp_path / "outcomes.jsonl"
    assert len(file.read_text().splitlines()) == 3
    with file.open("a") as half:
        half.write('{"key": "half a li')

    forced = []
    original = ForcingModel.force

    def counting(self: ForcingModel, row: Any, adapter: str | None) -> Any:
        forced.append(row)
        return original(self, row, adapter)

    monkeypatch.setattr(ForcingModel, "force", counting)
    results = evaluate(options)
    episodes = results["episodes"]["trajectories"] + results["episodes"]["probes"]
    assert len(forced) == episodes - 3
    assert results["unreadable_lines"] == 1
    again = evaluate(options)
    assert len(forced) == episodes - 3
    assert again["models"] == results["models"]


def test_generated_answers_fill_in_what_forcing_leaves_open(
    households: Path, tiny_base: Path, adapter: Path, tmp_path: Path
) -> None:
    options = settings(
        tiny_base,
        tmp_path,
        games=1,
        adapters=[("a", adapter)],
        untrained=False,
        baselines=False,
        contexts=["agent"],
        verify=2,
        max_new_tokens=4,
    )
    results = evaluate(options)
    [model] = results["models"]
    found = model["contexts"]["agent"]
    assert found["not_generated"] == 0
    assert found["f1"] is not None
    assert found["flag"]["imagined"]["recall"]["value"] == 0  # a random model solves nothing
    assert found["errors"] == found["steps"]  # and does not end within four tokens
    assert found["mistakes"][0]["kind"] == "no answer"
    assert [(v["steps"], v["agree"]) for v in results["verified"]] == [(2, 2)]


def test_prompted_models_are_asked_in_both_contexts_on_fewer_games(
    households: Path, tiny_base: Path, tmp_path: Path
) -> None:
    options = settings(
        tiny_base,
        tmp_path,
        models=[f"local:{tiny_base}"],
        shots=[0, 1],
        model_games=1,
        untrained=False,
        baselines=False,
        max_new_tokens=1,
    )
    results = evaluate(options)
    assert [m["name"] for m in results["models"]] == [f"local:{tiny_base}, {n}-shot" for n in (0, 1)]
    for model in results["models"]:
        assert model["games"] == 1
        for found in model["contexts"].values():
            assert 0 < found["steps"] < results["episodes"]["steps"]
            assert found["errors"] == found["steps"]  # a random model does not keep to the form
            assert found["flag"]["imagined"]["recall"]["value"] == 0
    assert results["differences"] == []


def test_another_prompt_other_weights_or_other_rules_are_asked_again(
    households: Path, tiny_base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [trajectory] = near_misses("train", 1)
    copied = shutil.copytree(adapter, tmp_path / "adapter")
    options = settings(tiny_base, tmp_path, models=[f"local:{tiny_base}+{copied}"], untrained=False)

    def keys() -> dict[str, str]:
        return {e.name: e.key(trajectory, "agent") for e, _ in examinees(options, [], [trajectory])}

    before = keys()
    asked = next(name for name in before if name.startswith("local:"))
    assert before == keys()
    with monkeypatch.context() as patch:
        patch.setattr(chat, "INSTRUCTION", chat.INSTRUCTION + "Be brief.\n")
        assert {name for name, key in keys().items() if key != before[name]} == {asked}
    with monkeypatch.context() as patch:
        patch.setattr(chat, "_asked", lambda action: f"Do: {action.text}")
        assert {name for name, key in keys().items() if key != before[name]} == {asked}
    with monkeypatch.context() as patch:
        patch.setattr(chat.ChatWorldModel, "_task", lambda self, history: history.task)
        assert {name for name, key in keys().items() if key != before[name]} == {asked}
    with monkeypatch.context() as patch:
        patch.setattr(baselines, "code_digest", lambda: "changed")
        changed = {name for name, key in keys().items() if key != before[name]}
        assert changed == {"copy", "template", "rules"}
    weights = copied / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert keys()[asked] != before[asked]


def test_the_command_and_its_json(households: Path, tiny_base: Path, adapter: Path, tmp_path: Path) -> None:
    arguments = [
        "eval",
        "world-model",
        "--base",
        str(tiny_base),
        "--dtype",
        "float32",
        "--split",
        "valid_seen",
    ]
    arguments += [
        "--games",
        "1",
        "--context",
        "agent",
        "--no-untrained",
        "--no-generate",
        "--out",
        str(tmp_path),
    ]
    done = CliRunner().invoke(app, [*arguments, "--adapter", f"tiny={adapter}", "--json"])
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)
    assert [m["name"] for m in results["models"]] == ["tiny", "copy", "template", "rules"]
    shown = CliRunner().invoke(app, [*arguments, "--adapter", str(adapter)])
    assert shown.exit_code == 0
    for word in ("Exact match", "template", "by action type", "report.md"):
        assert word in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "dev"], "--split"),
        (["--context", "all"], "--contexts"),
        (["--dtype", "int8"], "--dtype"),
        (["--adapter", "/nowhere"], "no such folder; installed are: alfworld-policy, alfworld-world-model"),
        (["--base", "/nowhere"], "no folder /nowhere"),
        (["--data", "/nowhere"], "no trajectories there"),
        (["--model", "nobody:nothing", "--no-untrained"], "unknown provider"),
    ],
)
def test_bad_input_is_explained(
    households: Path, tiny_base: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    plain = ["--base", str(tiny_base), "--split", "valid_seen", "--games", "1", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, ["eval", "world-model", *plain, "--no-baselines", *arguments])
    assert done.exit_code == 1
    assert message in done.stderr
    assert "Traceback" not in done.output


def test_adapters_are_named_by_folder_or_by_what_is_shipped(adapter: Path) -> None:
    shipped = find_adapter("alfworld-world-model")
    assert _labelled("alfworld-world-model") == ("alfworld-world-model", shipped)
    assert _labelled("mine=alfworld-world-model") == ("mine", shipped)
    assert _labelled(f"525k={adapter}") == ("525k", adapter)
    assert _labelled("bare=") == ("bare", None)


def test_games_that_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    done = CliRunner().invoke(app, ["eval", "world-model", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert "alfworld-download" in done.stderr


def test_a_cache_that_cannot_be_read_in_part_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "outcomes.jsonl"
    OutcomeCache(file).put("good", [])
    with file.open("a") as more:
        more.write('{"key": "x", "outcomes": [{"exact": "maybe", "unknown": 1}]}\n[1, 2]\nnonsense')
    cache = OutcomeCache(file)
    assert cache.unreadable == 3
    assert cache.get("good") == []
    cache.put("next", [])
    assert OutcomeCache(file).get("next") == []


@pytest.mark.parametrize(
    ("label", "amount"), [("525k", 525_000), ("1.5M", 1_500_000), ("60", 60), ("final", None), ("k", None)]
)
def test_labels_that_are_numbers(label: str, amount: float | None) -> None:
    assert amount_of(label) == amount
