"""What is made of the plays of an agent evaluation: verdict, equal tokens, walkthroughs, pooled seeds, pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
from typer.testing import CliRunner

from dyna_graph.cli import app
from dyna_training.demo.recorded import Evaluation
from dyna_training.environments.alfworld.splits import games
from dyna_training.evaluation import agent, agent_report, agent_run, equal_tokens
from dyna_training.evaluation.agent import ARMS, CONTROLS, AgentEvaluation, GameOutcome
from dyna_training.evaluation.agent_figures import EQUAL, EQUAL_TOKENS, by_row, summarise, verdicts
from dyna_training.evaluation.episodes import walkthroughs_in_train

SETTINGS = AgentEvaluation(policy=Path("policy"), games=40)


def outcome(arm: str, game: str, success: bool, **more: Any) -> GameOutcome:
    given = {"arm": arm, "game": game, "success": success, "task_type": "look", "steps": 5, "candidates": 4}
    given |= {"key": f"{arm}-{game}", "policy_tokens": 100, "model_tokens": 0}
    return GameOutcome.model_validate(given | more)


def arm(name: str, wins: Callable[[int], bool], number: int = 40, **more: Any) -> list[GameOutcome]:
    return [outcome(name, f"task/{n}", wins(n), **more) for n in range(number)]


def everybody(number: int = 40, **more: Any) -> list[GameOutcome]:
    """Greedy wins a quarter, all other controls half, the trained arm three quarters, the oracle all."""
    plays = [p for c in CONTROLS if c != "greedy" for p in arm(c, lambda n: n % 2 == 0, number, **more)]
    plays += arm("greedy", lambda n: n % 4 == 0, number, **more)
    plays += arm("trained", lambda n: n % 4 != 3, number, **{"model_tokens": 65} | more)
    return plays + arm("oracle", lambda n: True, number, **more)


def test_the_claim_holds_when_the_interval_over_the_best_control_lies_above_zero() -> None:
    results = summarise(everybody(), SETTINGS)
    [verdict] = results["verdicts"]
    assert (verdict["claim"], verdict["control"]) == ("holds", "log-probability")
    assert verdict["difference"][0] == pytest.approx(0.25)
    assert 0 < verdict["difference"][1] < 0.25 < verdict["difference"][2]
    assert "“better than the best control” holds: the interval lies above zero" in verdict["sentence"]
    assert "Underpowered: 40 games and 1 training seed instead of 140 and 3" in verdict["sentence"]
    difference = results["trained_minus"]["log-probability"]
    assert (difference["won_only_with"], difference["won_only_without"]) == (10, 0)


def test_the_oracle_is_no_control_and_neither_are_zero_or_losses_a_gain() -> None:
    level = [p for p in everybody() if p.arm != "trained"] + arm("trained", lambda n: n % 4 in (0, 1))
    [verdict] = summarise(level, SETTINGS)["verdicts"]
    assert verdict["claim"] == "open"
    assert verdict["difference"][1] < 0 < verdict["difference"][2]
    assert "is open: the interval includes zero" in verdict["sentence"]
    worse = [p for p in everybody() if p.arm != "trained"] + arm("trained", lambda n: n % 8 == 0)
    [verdict] = summarise(worse, SETTINGS)["verdicts"]
    assert verdict["claim"] == "fails"
    assert "fails: the interval lies below zero" in verdict["sentence"]
    assert summarise(arm("greedy", bool), SETTINGS)["verdicts"] == []
    assert summarise(arm("greedy", bool, 3) + arm("oracle", bool, 3), SETTINGS)["trained_minus"] == {}


def test_a_control_that_was_not_played_leaves_the_claim_open() -> None:
    [verdict] = summarise([p for p in everybody() if p.arm != "majority"], SETTINGS)["verdicts"]
    assert (verdict["claim"], verdict["missing"]) == ("open", ["majority"])
    assert "not all controls were played" in verdict["sentence"]
    assert "Not played: majority." in verdict["sentence"]


def test_three_seeds_on_140_games_are_enough_and_a_game_counts_once() -> None:
    plays = [p for seed in range(3) for p in everybody(140, training_seed=seed)]
    results = summarise(plays, SETTINGS)
    [verdict] = results["verdicts"]
    assert not verdict["underpowered"]
    assert "Underpowered" not in verdict["sentence"]
    assert (verdict["games"], verdict["training_seeds"], results["training_seeds"]) == (140, 3, [0, 1, 2])
    assert (results["games"], results["arms"]["trained"]["plays"]) == (140, 420)
    [single] = summarise(everybody(140), SETTINGS)["verdicts"]
    assert verdict["difference"] == pytest.approx(single["difference"]), (
        "the same games thrice are no more games"
    )
    assert summarise(plays[: len(plays) // 3 * 2], SETTINGS)["verdicts"][0]["underpowered"]


def test_plays_of_one_seed_are_not_paired_with_those_of_another() -> None:
    plays = [
        outcome("greedy", "a", True, training_seed=0),
        outcome("greedy", "a", False, training_seed=1),
        outcome("trained", "a", True, training_seed=1),
        outcome("trained", "b", True, training_seed=1),
    ]
    difference = summarise(plays, SETTINGS)["trained_minus"]["greedy"]
    assert (difference["plays"], difference["success"][0]) == (1, 1.0)


def test_controls_with_the_trained_arms_tokens_are_rows_and_a_verdict_of_their_own() -> None:
    plays = everybody()
    assert equal_tokens.matching_candidates(plays, 4) == 7, "4 candidates cost 100 tokens, imagining 65 more"
    assert equal_tokens.matching_candidates(plays, 4, resample=8) == 7
    [same, *_] = verdicts(by_row(plays, 4), resample=8)
    assert same["sentence"].startswith("At the same k, with 8 drawn anew where an arm rejects all, the claim")
    with pytest.raises(ValueError, match="'log-probability'"):
        equal_tokens.matching_candidates([p for p in plays if p.arm == "trained"], 4, resample=8)
    for name in EQUAL_TOKENS:
        plays += arm(name, lambda n: n % 8 != 7, candidates=7, policy_tokens=175)
    results = summarise(plays, SETTINGS)
    assert list(results["arms"]) == [*ARMS, *(a + EQUAL for a in EQUAL_TOKENS)]
    assert results["arms"]["rules" + EQUAL]["candidates"] == [7]
    assert results["arms"]["trained"]["tokens_per_step"][0] == 33
    assert results["arms"]["rules" + EQUAL]["tokens_per_step"][0] == 35
    same, equal = results["verdicts"]
    assert (same["at"], same["claim"]) == ("the same k", "holds")
    assert (equal["at"], equal["control"]) == ("equal tokens", "log-probability" + EQUAL)
    assert equal["claim"] == "fails"
    report = agent_report.markdown(results)
    assert "Rows “equal tokens”" in report
    assert "| arm | policy tokens | model tokens | tokens per step | seconds |" in report
    assert re.search(r"^\| trained \| [\d,]+ \| [\d,]+ \| 33 \|", report, re.MULTILINE)
    some = [p for p in plays if not (p.arm == "rules" and p.candidates == 7)]
    assert verdicts(by_row(some, 4))[1]["missing"] == ["rules" + EQUAL]


def test_equal_tokens_are_played_with_the_matching_number_of_candidates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[AgentEvaluation] = []

    def evaluate(settings: AgentEvaluation, progress: Any) -> list[GameOutcome]:
        asked.append(settings)
        return []

    monkeypatch.setattr(equal_tokens, "evaluate", evaluate)
    equal_tokens.play(SETTINGS, everybody())
    assert [(s.candidates, s.arms) for s in asked] == [(7, EQUAL_TOKENS)]
    assert equal_tokens.play(SETTINGS, arm("trained", bool)) == [], (
        "imagining that costs nothing buys nothing"
    )
    with pytest.raises(ValueError, match="'trained'"):
        equal_tokens.play(SETTINGS, arm("greedy", bool))
    with pytest.raises(ValueError, match="'trained'"):
        agent_run.run(SETTINGS.model_copy(update={"arms": ("greedy",)}), equal_tokens=True)
    with pytest.raises(ValueError, match="'log-probability'"):
        agent_run.run(SETTINGS.model_copy(update={"arms": ("trained",), "resample": 8}), equal_tokens=True)


def test_within_a_budget_only_what_was_solved_with_it_counts() -> None:
    plays = arm("greedy", lambda n: True, policy_tokens=90)
    plays += arm("trained", lambda n: True, 20, policy_tokens=50, model_tokens=30)
    plays += [outcome("trained", f"task/{n}", True, model_tokens=20) for n in range(20, 40)]
    budget = summarise(plays, SETTINGS)["budget"]
    assert budget["tokens"] == 100
    assert budget["success"]["trained"][0] == 0.5
    assert budget["success"]["greedy"][0] == 1.0
    assert budget["trained_minus"]["greedy"][0] == -0.5


def test_games_with_a_known_walkthrough_are_reported_apart(households: Path) -> None:
    files = games("valid_seen")
    names = [f"{f.parts[-3]}/{f.parts[-2]}" for f in files]
    assert walkthroughs_in_train(names, "valid_seen") == set(), "other seeds, other households"
    trained = [f"{f.parts[-3]}/{f.parts[-2]}" for f in games("train")]
    assert walkthroughs_in_train([*trained, "no/game"], "train") == set(trained)

    known = {f"task/{n}" for n in range(0, 40, 4)}
    results = summarise(everybody(), SETTINGS, known=known)
    parts = results["walkthroughs"]
    assert [parts[p]["games"] for p in ("in train", "not in train")] == [10, 30]
    assert parts["in train"]["success"]["greedy"][0] == 1.0
    assert parts["not in train"]["success"]["greedy"][0] == 0.0
    assert parts["not in train"]["trained_minus_control"][0] == pytest.approx(1 / 3)
    table = agent_report.markdown(results).partition("whether the walkthrough is that of a training game")[2]
    assert "| arm | in train: 10 games | not in train: 30 games |" in table
    assert "| trained minus log-probability, points | +0 (" in table
    assert summarise(everybody(), SETTINGS)["walkthroughs"] is None


def test_the_report_says_the_verdict_first_and_draws_both_pictures(tmp_path: Path) -> None:
    results = summarise(everybody(), SETTINGS, "dyna eval agent")
    files = agent_report.write(results, everybody(), tmp_path)
    report = files[1].read_text(encoding="utf-8").splitlines()
    assert report[2].startswith("**At the same k, the claim “better than the best control” holds")
    assert any(line.startswith("| trained | 4 | 75% (") for line in report)
    assert [f.name for f in files[2:4]] == ["success.png", "tokens.png"]
    assert all(f.read_bytes().startswith(b"\x89PNG") for f in files[2:4])
    assert json.loads(files[0].read_text(encoding="utf-8")) == results
    alone = summarise(arm("greedy", lambda n: False), SETTINGS)
    agent_report.write(alone, [], tmp_path / "nothing solved")
    assert "No verdict" in agent_report.markdown(alone)


def test_finished_evaluations_of_other_seeds_are_counted_in(tmp_path: Path) -> None:
    adapters = [{"training_seed": 1, "policy": None, "world_model": None}]
    plays = everybody(training_seed=1)
    other = SETTINGS.model_copy(update={"training_seed": 1})
    agent_report.write(summarise(plays, other, adapters=adapters), plays, tmp_path)
    assert agent_report.pooled(tmp_path, SETTINGS) == (plays, adapters)
    with pytest.raises(ValueError, match="max_steps 50, not 25"):
        agent_report.pooled(tmp_path, SETTINGS.model_copy(update={"max_steps": 25}))
    file = tmp_path / "results.json"
    whole = file.read_text()
    file.write_text(whole.replace("value 0.25", "value 1"))
    with pytest.raises(ValueError, match="critic household, value 1,"):
        agent_report.pooled(tmp_path, SETTINGS)
    file.write_text(whole)
    with pytest.raises(ValueError, match="training seed 1 too"):
        agent_report.pooled(tmp_path, other)
    with pytest.raises(ValueError, match=r"results.json: not the results of a finished dyna eval agent"):
        agent_report.pooled(tmp_path / "nowhere", SETTINGS)


def test_a_finished_evaluation_is_reported_and_recorded_without_playing(
    households: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("policy", "model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_model.safetensors").write_text(name)
    out = tmp_path / "out"
    settings = AgentEvaluation(policy=tmp_path / "policy", world_model=tmp_path / "model", out=out)
    for changes in ({}, {"candidates": 7, "arms": EQUAL_TOKENS}):
        played = settings.model_copy(update={"split": "valid_seen"} | changes)
        for name in played.arms:
            for file in games("valid_seen"):
                game = f"{file.parts[-3]}/{file.parts[-2]}"
                known = outcome(name, game, name == "trained", key=agent._key(played, name, file))
                costs = {"candidates": played.candidates, "model_tokens": 65 * (name == "trained")}
                agent.append_outcome(out / "games.jsonl", known.model_copy(update=costs))
    file = tmp_path / "record" / "evaluation.json"
    arguments = [
        "eval",
        "agent",
        "--policy",
        str(settings.policy),
        "--world-model",
        str(settings.world_model),
    ]
    arguments += ["--split", "valid_seen", "--device", "cpu", "--equal-tokens", "--training-seed", "3"]
    arguments += ["--out", str(out), "--record", str(file)]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("At the same k, the claim")
    kept = json.loads(file.read_text(encoding="utf-8"))
    assert kept["training_seeds"] == [3]
    assert [v["at"] for v in kept["verdicts"]] == ["the same k", "equal tokens"]
    assert kept["adapters"][0]["policy"]["name"] == "policy"
    assert len(kept["adapters"][0]["world_model"]["digest"]) == 64
    assert (kept["max_steps"], kept["candidates"], kept["temperature"]) == (50, 4, 1.0)
    assert kept["arms"]["trained"]["success"][0] == 1.0
    recorded = Evaluation.model_validate(kept)
    assert recorded.measured({r: kept["adapters"][0][r]["digest"] for r in ("policy", "world_model")})
    assert str(tmp_path) not in file.read_text(encoding="utf-8"), "a record names no folder of this machine"
