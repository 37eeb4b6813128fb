"""The arithmetic of the study's tables: best of n, pairs by game, claims, orders, and the report itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dyna_nodes.codec.thinking import simulation_line
from dyna_nodes.nouns import Action, Provenance, Trajectory, Transition
from dyna_training.evaluation.statistics import Interval
from dyna_training.evaluation.thinking import judged_turns, thinking_figures
from dyna_training.study import figures, report
from dyna_training.study.plays import Play, plays
from dyna_training.study.results import informed


def play(
    game: str,
    won: bool,
    *,
    seed: int = 0,
    tokens: tuple[int, ...] = (10,),
    right: int = 0,
    domain: str = "in",
) -> Play:
    return Play(seed, "set", domain, game, won, tokens, simulated=len(tokens), right=right)


def test_best_of_counts_a_game_once_per_seed() -> None:
    found = [
        play("a", False), play("a", True), play("a", False),
        play("b", False), play("b", False), play("b", False),
        play("a", False, seed=1), play("b", True, seed=1),
    ]  # fmt: skip
    assert figures.mean(found, figures.SUCCESS).value == pytest.approx(2 / 8)
    best = figures.best_of(found)
    assert best.value == pytest.approx(2 / 4)
    assert best.games == 2


def test_shares_are_of_turns_and_not_of_episodes() -> None:
    found = [play("a", True, tokens=(10, 20, 30), right=3), play("b", False, tokens=(100,), right=0)]
    assert figures.mean(found, figures.TOKENS).value == pytest.approx(160 / 4)
    assert figures.mean(found, figures.ACCURACY).value == pytest.approx(3 / 4)
    assert figures.mean(found, figures.STEPS).value == pytest.approx(2)


def test_differences_are_paired_by_game_and_leave_out_what_only_one_has() -> None:
    first = [play(g, True) for g in "abcd"]
    second = [play(g, g == "a") for g in "abc"]
    difference = figures.minus(first, second, figures.SUCCESS)
    assert difference.value == pytest.approx(2 / 3)
    assert difference.games == 3
    assert difference.low <= difference.value <= difference.high
    # The same plays against themselves differ by nothing, however the games are drawn.
    same = figures.minus(first, first, figures.SUCCESS)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_ratio_of_tokens_is_of_means_per_turn() -> None:
    short = [play("a", True, tokens=(10, 10)), play("b", True, tokens=(40,))]
    long = [play("a", True, tokens=(40,)), play("b", True, tokens=(80, 80))]
    assert figures.times(short, long, figures.TOKENS).value == pytest.approx(20 / (200 / 3))


def test_a_row_has_every_domain_that_was_played() -> None:
    row = figures.row([play("a", True, tokens=tuple(range(1, 101))), play("b", False, domain="out")])
    assert row["all"]["tokens_10_50_90"][1] == 50
    assert (row["in"]["success"]["value"], row["out"]["success"]["value"]) == (1, 0)
    assert row["all"]["by_seed"] == {"0": 0.5}
    assert "out" not in figures.row([play("a", True)])


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(-0.04, 0.1, "holds"), (-0.2, 0.1, "open"), (-0.3, -0.06, "fails")]
)
def test_not_lower_is_said_only_where_the_interval_says_it(low: float, high: float, verdict: str) -> None:
    claim = figures.not_lower(Interval((low + high) / 2, low, high, 10, 10), 0.05)
    assert claim.verdict == verdict
    assert "5 points" in claim.sentence


def test_nothing_is_claimed_without_an_interval() -> None:
    nan = float("nan")
    assert figures.not_lower(Interval(0.1, nan, nan, 1, 1), 0.05).verdict == "open"


def test_orders_are_those_that_were_measured() -> None:
    rows = {name: figures.row([play("a", won), play("b", True)]) for name, won in (("x", False), ("y", True))}
    assert figures.order(rows, ["x", "y", "absent"], "success") == "y (100.0%) ≥ x (50.0%)"


def trajectory(thought: str, observation: str) -> Trajectory:
    action = Action.command("go to desk 1")
    step = Transition(thought=thought, action=action, observation=observation, reward=1.0, done=True)
    origin = Provenance(source="collect", environment="dyna/ALFWorld-v0:task/trial", policy="p", seed=0)
    return Trajectory(task="a task", transitions=(step,), outcome="success", provenance=origin)


def test_plays_have_tokens_and_simulations() -> None:
    thought = simulation_line("go to desk 1", "You arrive at desk 1.")
    played = [trajectory(said, "You arrive at desk 1.") for said in (thought, "")]
    count = lambda text: len(text.split())  # noqa: E731
    turns = judged_turns(played)
    first, second = plays(played, turns, seed=3, games="set", domain="out", count=count)
    assert (first.won, first.simulated, first.right, first.seed, first.domain) == (True, 1, 1, 3, "out")
    assert first.tokens == (len(f"{thought} > go to desk 1".split()),)
    assert (second.simulated, second.tokens) == (0, (5,))


@pytest.mark.parametrize(
    ("environment", "simulates", "share"),
    [("TextWorld", True, None), ("TextWorld", False, 0.0), ("ALFWorld", True, 1.0), ("ALFWorld", False, 0.0)],
)
def test_nobody_is_called_uninformed_where_nobody_can_tell(
    environment: str, simulates: bool, share: float | None
) -> None:
    thought = simulation_line("go to desk 1", "You arrive at desk 1.") if simulates else ""
    played = trajectory(thought, "You arrive at desk 1.")
    origin = played.provenance.model_copy(update={"environment": f"dyna/{environment}-v0:task/trial"})
    figures = thinking_figures([played.model_copy(update={"provenance": origin})])
    found = informed(figures.overall.model_dump(mode="json"))
    assert (found and found["value"]) == share


def results(arms: dict[str, list[Play]], *, seeds: list[int]) -> dict[str, Any]:
    rows = {arm: figures.row(found) for arm, found in arms.items()}
    for row in rows.values():
        row |= {"r": None, "hallucination": None, "informed": None, "sets": {"set": row["all"]}}
        row["data"] = {"policy": 35, "world_model": 116, "target_tokens": 9}
    games = {"set": {"games": 2, "split": "generated", "task_types": "trained", "domain": "in"}}
    home = {"held_out_task_type": "pick_two_obj_and_place"}
    settings = {
        "seeds": seeds,
        "start": None,
        "base": "smollm2",
        "temperature": 1.0,
        "runs": 3,
        "max_steps": 50,
    }
    settings |= {"memory": "actions", "stage_minutes": 10.0, "environments": {"home": home}}
    ratio = figures.times(arms["dit"], arms["distill-full"], figures.TOKENS)
    claim = figures.not_lower(figures.minus(arms["dit"], arms["distill-full"], figures.SUCCESS), 0.05)
    claims = {"tokens": ratio.to_json(), "success_all": claim._asdict()}
    claims["order"] = {"success": figures.order(rows, ["rft", "ddt-critique"], "success")}
    minus = {"dit": figures.differences(arms, "dit")}
    return {
        "command": "dyna study dyna-think", "settings": settings, "complete": False, "hardware": "CPU",
        "underpowered": len(seeds) < 3,
        "parts": {"home": {"rows": rows, "games": games, "minus": minus, "claims": claims}},
        "stages": [{"stage": "home/teacher", "state": "finished", "seconds": 660.0, "over": True}],
    }  # fmt: skip


ARMS = {
    "distill-full": [play(g, g != "a", tokens=(40, 40)) for g in "abc"],
    "dit": [play(g, True, tokens=(10, 30), right=1) for g in "abc"],
    "rft": [play(g, g == "a") for g in "abc"],
    "ddt-critique": [play(g, True) for g in "abc"],
}


def test_the_report_says_what_was_measured_and_what_is_the_papers(tmp_path: Path) -> None:
    found = results(ARMS, seeds=[0])
    text = report.markdown(found, "dyna-think")
    assert "**Underpowered: 1 training seed instead of 3" in text
    assert "DIT's tokens per turn are 0.50 (0.50–0.50)" in text
    assert (
        "Order by average success, as measured (underpowered: below three training seeds): ddt-critique"
        in text
    )
    assert "Of the paper (arXiv 2506.00320), not of this project" in text
    assert "| ddt-critique | 35, 116 | 1.2–2.7x | 26.6 / 30.3 / 17.6 |" in text
    assert "| home/teacher | finished | 11.0 | over 10 |" in text
    assert "| dit | 35, 116 | 100.0% (100–100) |" in text
    assert "underpowered" not in report.markdown(results(ARMS, seeds=[0, 1, 2]), "x").lower()
    files = report.write(found, tmp_path / "out")
    assert json.loads(files[0].read_text())["parts"]["home"]["rows"]["dit"]["all"]["best"]["value"] == 1
    [recorded, *plots] = report.record(found, tmp_path / "docs" / "dyna-think.md")
    assert all(p.name in recorded.read_text() and p.stat().st_size > 1000 for p in plots)
    assert len(plots) == 2


@pytest.mark.parametrize(("tokens", "said"), [((), "an unknown share of"), ((10,), "are 1.00 of")])
def test_the_report_is_written_of_one_game_and_of_arms_that_never_act(
    tokens: tuple[int, ...], said: str
) -> None:
    arms = {arm: [play("a", False, tokens=tokens)] for arm in ("dit", "distill-full")}
    assert said in report.markdown(results(arms, seeds=[0]), "dyna-think")
