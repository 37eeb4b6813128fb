"""Everything that a study found, from the stages that are finished, as one JSON document."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from dyna_nodes.nouns import Trajectory
from dyna_training.data import read_trajectories
from dyna_training.evaluation.thinking import (
    GroundedJudge,
    JudgedTurn,
    ThinkingJudge,
    figures_of,
    judged_turns,
)
from dyna_training.evaluation.thinking.judges import remembered
from dyna_training.study import figures
from dyna_training.study.arms import TEACHER, Part
from dyna_training.study.plays import Count, Play, of_domain, plays, token_counter
from dyna_training.study.runner import Known, Runner
from dyna_training.study.settings import GROUNDED, IMITATION, Arm, StudySettings
from dyna_training.study.stages import training_metrics

FORMAT: Final = "dyna-study/1"


def results(
    runner: Runner, settings: StudySettings, known: Mapping[str, Known], command: str
) -> dict[str, Any]:
    """Return what a study found so far.

    Args:
        runner: The study's stages.
        settings: Its settings.
        known: What is known of each stage.
        command: The command line, for the record.
    """
    count = token_counter(settings.base)
    parts = {
        name: _part(Part(settings, name, part), runner, known, count)
        for name, part in settings.environments.items()
    }
    return {
        "format": FORMAT,
        "command": command,
        "settings": settings.model_dump(mode="json"),
        "complete": all(k.state == "finished" for k in known.values()),
        "underpowered": len(settings.seeds) < figures.SEEDS_FOR_AN_ORDER,
        "parts": parts,
        "stages": [
            {"stage": name, "state": k.state, "seconds": k.seconds, "over": _over(k, settings)}
            for name, k in known.items()
        ],
        "hardware": _hardware(runner, known),
        "versions": {"dyna-graph": version("dyna-graph"), "python": sys.version.split()[0]},
    }


def _over(known: Known, settings: StudySettings) -> bool:
    return settings.stage_minutes is not None and known.seconds > settings.stage_minutes * 60


def _hardware(runner: Runner, known: Mapping[str, Known]) -> str:
    """Return what the training stages ran on."""
    found = {
        training_metrics(runner.folder(name))["hardware"]
        for name, k in known.items()
        if k.state == "finished" and runner.stages[name].product == "run/adapter"
    }
    return ", ".join(sorted(found)) or f"CPU {platform.machine()}"


def _part(part: Part, runner: Runner, known: Mapping[str, Known], count: Count) -> dict[str, Any]:
    """Return what was found in one environment."""
    arms: dict[str, list[Play]] = {}
    thinking: dict[str, Any] = {}
    for arm in part.rows:
        found: list[Play] = []
        trajectories: list[Trajectory] = []
        turns: list[JudgedTurn] = []
        for name, seed, games in _evaluations(part, arm):
            if known[name].state != "finished":
                continue
            played = list(read_trajectories([runner.folder(name).product]))
            judge = _judge(part, arm, games, seed, runner, known)
            if judge is None and any(t.transitions for t in played):
                continue
            judged = judged_turns(played, judge)
            domain = part.part.evaluate[games].domain
            found += plays(played, judged, seed=seed, games=games, domain=domain, count=count)
            trajectories += played
            turns += judged
        if found:
            arms[arm] = found
            # An arm that never acted has no thinking to judge.
            thinks = figures_of(trajectories, turns, played=True) if turns else None
            thinking[arm] = None if thinks is None else thinks.model_dump(mode="json")
    rows = {arm: figures.row(found) for arm, found in arms.items()}
    for arm, row in rows.items():
        row["r"] = thinking[arm] and thinking[arm]["correlation"]
        row["hallucination"] = thinking[arm] and thinking[arm]["hallucination"]
        row["informed"] = thinking[arm] and informed(thinking[arm]["overall"])
        row["sets"] = {
            games: figures.row([p for p in arms[arm] if p.games == games])["all"]
            for games in part.part.evaluate
            if any(p.games == games for p in arms[arm])
        }
    for arm in part.arms:
        if arm in rows:
            rows[arm]["data"] = _data(part, arm, runner, known)
            rows[arm]["same_states"] = _foresight(part, arm, runner, known)
    policies = {arm: found for arm, found in arms.items() if arm != TEACHER}
    return {
        "rows": rows,
        "games": {name: games.model_dump(mode="json") for name, games in part.part.evaluate.items()},
        "minus": {
            reference: figures.differences(policies, reference)
            for reference in ("dit", "rft")
            if reference in policies
        },
        "claims": _claims(part, policies, rows),
    }


def informed(readings: Mapping[str, Any]) -> Any:
    """Return the share of informed turns; None where there are simulations and nobody can tell of any."""
    simulated, told = (readings[name]["coverage"]["value"] for name in ("strict", "informed"))
    return readings["informed"]["product"] if told or not simulated else None


def _evaluations(part: Part, arm: str) -> list[tuple[str, int, str]]:
    """Return the evaluation stages of an arm with their training seed and set of games."""
    seeds: Sequence[int | None] = [None] if arm == TEACHER else part.settings.seeds
    return [
        (part.evaluation(arm, games, seed), -1 if seed is None else seed, games)
        for games in part.part.evaluate
        for seed in seeds
    ]


def _judge(
    part: Part, arm: str, games: str, seed: int, runner: Runner, known: Mapping[str, Known]
) -> ThinkingJudge | None:
    """Return who judges the simulations of an evaluation; None while a chat model has not done so."""
    if part.settings.judge == GROUNDED:
        return GroundedJudge()
    name = part.judgement(arm, games, None if arm == TEACHER else seed)
    finished = known[name].state == "finished"
    return remembered(part.settings.judge, runner.folder(name).product) if finished else None


def _data(part: Part, arm: Arm, runner: Runner, known: Mapping[str, Known]) -> dict[str, int]:
    """Return what an arm was trained on, of the first seed that is finished, summed over rounds.

    ``policy`` counts the episodes that were imitated, ``world_model`` those that a world model was trained on (by
    stage 1, or as a model of its own), ``target_tokens`` the tokens that were learned, as often as they were.
    """
    for seed in part.settings.seeds:
        stages = [s for s in part.arm(arm, seed) if _trains(s.name, arm)]
        if not all(known[s.name].state == "finished" for s in stages):
            continue
        found = {"policy": 0, "world_model": 0, "target_tokens": 0}
        for stage in {s.name: s for s in stages}.values():
            metrics = training_metrics(runner.folder(stage.name))
            found["target_tokens"] += metrics["target_tokens_seen"]
            if "selection" in metrics:
                found["policy"] += metrics["selection"]["kept"]
            else:
                read = [runner.folder(n).product for n in stage.needs if runner.stages[n].product == "data"]
                found["world_model"] += sum(1 for _ in read_trajectories(read))
        return found
    return {}


def _foresight(part: Part, arm: Arm, runner: Runner, known: Mapping[str, Known]) -> dict[str, dict[str, Any]]:
    """Return an arm's world-model accuracy in the states that are the same for all arms, by training seed."""
    found = {}
    for seed in part.settings.seeds:
        name = part.foresight(arm, seed)
        if part.part.states and known[name].state == "finished":
            results = json.loads((runner.folder(name).product / "results.json").read_text(encoding="utf-8"))
            found[str(seed)] = results["policies"][0]["figures"]["overall"]["strict"]["product"]
    return found


def _trains(name: str, arm: str) -> bool:
    """Return whether a stage trains for an arm; the DIT policy that an arm goes on from is not counted."""
    kind = name.split("/")[1]
    return arm in name.split("/") and kind in (
        ["imitation"] if arm in IMITATION else ["stage1", "stage2", "world-model"]
    )


def _claims(part: Part, arms: Mapping[str, Sequence[Play]], rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the study says to the paper's claims."""
    found: dict[str, Any] = {}
    if "dit" in arms and "distill-full" in arms:
        short, full = arms["dit"], arms["distill-full"]
        found["tokens"] = figures.times(short, full, figures.TOKENS).to_json()
        for domain in figures.DOMAINS:
            chosen = of_domain(short, domain), of_domain(full, domain)
            if all(chosen):
                difference = figures.minus(*chosen, figures.SUCCESS)
                claim = figures.not_lower(difference, part.settings.margin)
                found[f"success_{domain}"] = {**difference.to_json(), **claim._asdict()}
    compared = [arm for arm in arms if arm not in IMITATION]
    if len(compared) > 1:
        found["order"] = {
            name: figures.order(rows, compared, name) for name in ("success", "best", "accuracy")
        }
    return found
