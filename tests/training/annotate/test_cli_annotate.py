"""`dyna annotate`: what it prints, how it ends, and that names of models lead to models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dyna_graph.errors import DynaError
from dyna_nodes.experience import TrajectoryWriter
from dyna_training.annotate import annotating
from dyna_training.cli.annotate import app
from tests.training.annotate.test_annotating import Notes, recorded
from tests.training.annotate.test_chat import GOOD, THOUGHT, Scripted, run


def dyna(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(a) for a in arguments], prog_name="dyna annotate")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_model_of_a_provider_annotates_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dyna_graph.models

    asked: list[tuple[str, dict[str, Any]]] = []

    def extract(question: str, _: int) -> Any:
        return "Hm?" if "go 1\n" in question else GOOD["extract"]

    def resolve(name: str, **options: Any) -> Scripted:
        asked.append((name, options))
        return Scripted(answers={**GOOD, "extract": extract})

    monkeypatch.setattr(dyna_graph.models, "resolve_model", resolve)
    with TrajectoryWriter(tmp_path / "own" / "runs.jsonl") as writer:
        writer.append(run(THOUGHT, THOUGHT))
    out = tmp_path / "out"
    words = (
        tmp_path / "own",
        "--objective",
        "critique",
        "--by",
        "some:model",
        "--temperature",
        0,
        "--out",
        out,
    )
    code, text, _ = dyna(*map(str, words))
    assert code == 0
    assert asked == [("some:model", {"temperature": 0.0})]
    assert "critique by some:model: 1 of 2 turns in 1 trajectories, 1 problems" in text
    assert "1 turns simulate; 0 of these simulations came true" in text
    assert "1 turns: extract, the answer cannot be read" in text
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["settings"]["by"] == manifest["annotator"] == "some:model"


def test_interrupted_failed_and_refused_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path / "data")
    words = [tmp_path / "data", "--objective", "difference", "--by", "x:y", "--out", tmp_path / "out"]
    monkeypatch.setattr(annotating, "make_annotator", lambda _: Notes(stops_at="run1"))
    code, _, err = dyna(*words)
    assert code == 130
    assert "the same command goes on from there" in err
    monkeypatch.setattr(annotating, "make_annotator", lambda _: Notes(fails=["run2"]))
    code, text, _ = dyna(*words, "--quiet")
    assert code == 1
    assert "not annotated: run2: nobody answers" in text
    with pytest.raises(DynaError, match="with by 'x:y', not 'y:z'"):
        dyna(*words[:-3], "y:z", *words[-2:])


def test_a_model_that_does_not_exist_is_named(tmp_path: Path) -> None:
    recorded(tmp_path / "data")
    with pytest.raises(DynaError, match="unknown provider 'opnai'"):
        dyna(tmp_path / "data", "--objective", "difference", "--by", "opnai:x", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
