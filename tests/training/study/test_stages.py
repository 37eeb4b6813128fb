"""The graph of stages: order, what follows from what, digests of contents, and what changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dyna_training.study.stages import (
    Stage,
    StageFolder,
    StudyError,
    differences,
    downstream,
    in_order,
    made_from,
    resolve,
    upstream,
)


def stage(name: str, *needs: str) -> Stage:
    return Stage(name, (("collect", "--out", f"{{out}}/stages/{name}/data"),), needs)


def test_stages_come_after_what_they_need() -> None:
    stages = in_order([stage("c", "a", "b"), stage("b", "a"), stage("a"), stage("d")])
    assert list(stages) == ["a", "d", "b", "c"]
    assert downstream(stages, ["b"]) == ["b", "c"]
    assert upstream(stages, ["b"]) == ["a", "b"]


def test_a_graph_that_cannot_be_run_is_refused() -> None:
    with pytest.raises(StudyError, match="there is no stage nowhere"):
        in_order([stage("a", "nowhere")])
    with pytest.raises(StudyError, match="need each other"):
        in_order([stage("a", "b"), stage("b", "a")])
    with pytest.raises(StudyError, match="there twice"):
        in_order([stage("a"), stage("a")])


def test_the_digest_of_a_product_follows_its_contents(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path, stage("a"))
    with pytest.raises(StudyError, match="left nothing"):
        folder.contents()
    folder.product.mkdir(parents=True)
    data = folder.product / "worker-0.jsonl"
    data.write_text("one\n")
    (folder.product / "manifest.json").write_text("seconds differ from run to run")
    first = folder.contents()
    (folder.product / "manifest.json").write_text("and do not count")
    assert folder.contents() == first
    data.write_text("two\n")
    assert folder.contents() != first


def test_what_changed_is_said_in_words_of_the_command() -> None:
    was = Stage("a", (("collect", "--games", "2", "--out", "x"),), ("b",))
    now = Stage("a", (("collect", "--games", "3", "--out", "x"),), ("b",))
    assert differences(made_from(was, {"b": "1"}), made_from(was, {"b": "1"})) == []
    found = differences(made_from(was, {"b": "1"}), made_from(now, {"b": "2"}))
    assert found == [
        "it was made from another b",
        "it ran with --games 2, the configuration now says --games 3",
    ]
    more = Stage("a", (("collect", "--games", "2", "--seed", "1", "--out", "x"),), ())
    [added] = differences(made_from(was._replace(needs=()), {}), made_from(more, {}))
    assert added == "it ran with nothing, the configuration now says --seed 1"


def test_a_command_gets_the_tokens_that_other_stages_saw(tmp_path: Path) -> None:
    stages = in_order([stage(n)._replace(product="run/adapter") for n in ("x/stage1", "x/stage2")])
    for name, tokens in (("x/stage1", 2000), ("x/stage2", 150)):
        run = tmp_path / "stages" / name / "run"
        run.mkdir(parents=True)
        (run / "metrics.json").write_text(json.dumps({"target_tokens_seen": tokens}))
    words = ("train", "--set", "target_tokens={tokens:x/stage1+x/stage2}", "--out", "{out}/run")
    assert resolve(words, tmp_path, stages) == [
        "train",
        "--set",
        "target_tokens=2150",
        "--out",
        f"{tmp_path}/run",
    ]
    (tmp_path / "stages" / "x/stage2" / "run" / "metrics.json").unlink()
    with pytest.raises(StudyError, match="x/stage2"):
        resolve(words, tmp_path, stages)
