"""What a set is made of, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dyna_nodes.nouns import Counterfactual, Prediction, Verdict
from dyna_training.store.names import printable
from dyna_training.store.plots import draw
from dyna_training.store.source import Source
from dyna_training.store.statistics import statistics, success_rate, summary
from tests.training.store.anything import dyna, episode, written

COOL = "pick_cool_then_place_in_recep-Mug-None-Shelf-1"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rich = episode("rich", "look", "go to desk 1", game=f"{COOL}/t1")
    step = rich.transitions[0].model_copy(
        update={
            "prediction": Prediction(observation="A room.", tokens=7),
            "verdict": Verdict(decision="reject"),
            "labels": {"return_to_go": 0.5},
            "notes": {"difference": "none"},
            "counterfactuals": (Counterfactual(action=rich.transitions[1].action, observation="x"),) * 2,
            "thought": "three words here",
        }
    )
    rich = rich.model_copy(update={"transitions": (step, rich.transitions[1])})
    dream = episode("dream", "look")
    dream = dream.model_copy(
        update={"provenance": dream.provenance.model_copy(update={"source": "imagination"})}
    )
    return written(
        tmp_path / "in.jsonl",
        rich,
        episode("twin", "look", "go to desk 1", "take mug 1", won=False, policy="noisy"),
        episode(
            "twin again", "look", "go to desk 1", "take mug 1", won=False, policy="random", split="dev_seen"
        ),
        dream,
    )


def test_everything_is_counted(data: Path) -> None:
    found = statistics(Source([data]))
    assert (found["episodes"], found["steps"], found["games"], found["imagined"]) == (3, 8, 2, 1)
    assert found["outcomes"] == {"failure": 2, "success": 1}
    assert found["success"]["value"] == pytest.approx(1 / 3)
    assert (found["success"]["episodes"], found["success"]["games"]) == (3, 2)
    assert found["length"] == {"mean": 8 / 3, "min": 2, "p10": 2, "median": 3, "p90": 3, "max": 3}
    assert found["lengths"] == {"failure": {3: 2}, "success": {2: 1}}
    assert found["action_types"] == {"look": 3, "go": 3, "take": 2}
    assert found["tools"] == {"act": 8}
    assert found["verdicts"] == {"reject": 1}
    assert found["labels"] == {"return_to_go": 1}
    assert found["notes"] == {"difference": 1}
    assert found["predictions"] == {"steps": 1, "tokens": 7}
    assert found["counterfactuals"] == 2
    assert found["words"]["thought"]["max"] == 3
    assert found["duplicates"] == {"ids": 0, "episodes": 1, "steps": 3}
    assert found["games_in_several_splits"] == ["dyna/ALFWorld-v0:a-b-c/one"]
    assert {n: f["episodes"] for n, f in found["by_behaviour"].items()} == {
        "expert": 1,
        "noisy": 1,
        "random": 1,
    }
    assert {n: f["episodes"] for n, f in found["by_task_type"].items()} == {
        "unknown": 2,
        "pick_cool_then_place_in_recep": 1,
    }
    assert found["by_split"]["dev_seen"]["success"]["value"] == 0


def test_the_same_figures_from_columns(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert dyna("data", "convert", data, "--out", tmp_path / "columns")[0] == 0
    lines, columns = (json.loads(dyna("data", "stats", d, "--json")[1]) for d in (data, tmp_path / "columns"))
    assert {**lines, "files": []} == {**columns, "files": []}


def test_the_figures_are_told(data: Path) -> None:
    code, said = dyna("data", "stats", data)
    assert code == 0
    assert "3 episodes of 2 games, 8 steps; success 33.3%" in said
    assert "1 episodes were imagined, and are not counted" in said
    assert "1 games are recorded under several splits" in said
    assert "look 3 (38%)" in said


def test_many_episodes_of_one_game_are_worth_less_than_as_many_games() -> None:
    wins = [1.0] * 50 + [0.0] * 50
    spread = success_rate(wins, [str(i) for i in range(100)])
    alike = success_rate(wins, [str(i // 10) for i in range(100)])
    assert spread is not None
    assert alike is not None
    assert spread["low"] == pytest.approx(0.404, abs=0.002)
    assert alike["low"] < spread["low"] < 0.5 < spread["high"] < alike["high"]
    assert success_rate([], []) is None


def test_numbers_are_summed_up() -> None:
    from collections import Counter

    assert summary(Counter()) is None
    assert summary(Counter({1: 90, 100: 10})) == {
        "mean": 10.9, "min": 1, "p10": 1, "median": 1, "p90": 1, "max": 100,
    }  # fmt: skip


def test_pictures_are_drawn(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code, said = dyna("data", "stats", data, "--plots", tmp_path / "plots")
    assert code == 0
    names = ["action_types", "lengths", "success_by_behaviour", "success_by_task_type"]
    drawn = sorted((tmp_path / "plots").iterdir())
    assert [p.stem for p in drawn] == names
    assert all(str(p) in said for p in drawn)
    assert all(p.read_bytes().startswith(b"\x89PNG") and p.stat().st_size > 5000 for p in drawn)


@pytest.mark.parametrize("strange", ["[/x]", "a[red]b", "$\\foo$", "half\ud800", "\x1b[31m", "x" * 100_000])
def test_names_may_hold_anything(tmp_path: Path, strange: str) -> None:
    pytest.importorskip("matplotlib")
    found = episode("x", strange, game=strange, policy=strange, split=strange)
    data = written(tmp_path / "in.jsonl", found)
    code, said = dyna("data", "stats", data, "--plots", tmp_path / "plots")
    assert code == 0
    name = printable(strange)
    assert len(name) <= 60
    assert name.isprintable()
    assert said.replace("\n", "").count(name[:20]) >= 2
    code, said = dyna("data", "stats", data, "--json")
    assert strange in json.loads(said)["by_behaviour"]
    assert dyna("data", "check", data, tmp_path)[0] == 1


def test_a_set_whose_outcomes_nobody_knows_has_pictures_too(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    unknown = episode("x").model_copy(update={"outcome": "unknown"})
    figures = statistics(Source([written(tmp_path / "in.jsonl", unknown)]))
    assert figures["success"] is None
    assert [p.stem for p in draw(figures, tmp_path)] == ["lengths", "action_types"]
    assert "success unknown" in dyna("data", "stats", tmp_path / "in.jsonl")[1]
