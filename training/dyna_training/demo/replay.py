"""The saved replay: one HTML file without any network, to step through the games with the keyboard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from dyna_nodes.nouns import Decision
from dyna_training.demo.record import ARMS, Candidate, Play, Round, Turn
from dyna_training.demo.report import changed, figures, tally
from dyna_training.demo.verify import Overruling

TEMPLATE = "replay.html"
PLACE = "{{data}}"


def write_replay(file: Path, plays: Sequence[Play], found: Sequence[Overruling]) -> None:
    """Write the replay.

    Args:
        file: The HTML file; an existing one is replaced.
        plays: The games, as far as they were played.
        found: Where the policy was overruled, verified in forks.

    Raises:
        OSError: It cannot be written.
    """
    template = resources.files("dyna_training.demo").joinpath(TEMPLATE).read_text(encoding="utf-8")
    file.write_text(template.replace(PLACE, embedded(replay_data(plays, found))), encoding="utf-8")


def embedded(data: Any) -> str:
    """Return JSON that can stand inside a script element, whatever texts it holds."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def replay_data(plays: Sequence[Play], found: Sequence[Overruling]) -> dict[str, Any]:
    """Return what the page shows."""
    steps = sum(len(p.turns) for p in plays if p.arm == "with")
    verified = {(o.game, o.step): o for o in found}
    return {
        "changed": changed(found, steps),
        "tally": tally(found, steps) if found else "",
        "arms": {arm: figures(plays, arm).model_dump() for arm in ARMS},
        "plays": [_play(play, verified) for play in plays],
    }


def _play(play: Play, verified: dict[tuple[int, int], Overruling]) -> dict[str, Any]:
    return {
        "arm": play.arm,
        "game": play.game.number,
        "task": play.game.task,
        "id": play.game.id,
        "introduction": play.introduction,
        "outcome": play.outcome,
        "ended": play.ended,
        "turns": [
            _turn(turn, verified.get((play.game.number, number)) if play.arm == "with" else None)
            for number, turn in enumerate(play.turns, start=1)
        ],
    }


def _turn(turn: Turn, overruling: Overruling | None) -> dict[str, Any]:
    transition = turn.transition
    return {
        "thought": transition.thought,
        "action": transition.action.text,
        "rounds": [_round(r) for r in turn.rounds],
        "observation": transition.observation,
        "noEffect": turn.no_effect,
        "solved": bool(transition.done and (transition.reward or 0) > 0),
        "scores": dict(transition.scores),
        "seconds": round(turn.seconds, 2),
        "overruled": None
        if overruling is None
        else {
            "first": overruling.first.text,
            "really": overruling.first_really,
            "effect": overruling.effect,
            "firstLeft": overruling.first_left,
            "ranLeft": overruling.ran_left,
        },
    }


def _round(round_: Round) -> dict[str, Any]:
    return {
        "ran": round_.ran,
        "chosen": round_.chosen,
        "candidates": [_candidate(c) for c in round_.candidates],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    prediction, verdict = candidate.prediction, candidate.verdict
    return {
        "thought": candidate.thought,
        "action": candidate.text,
        "imagined": None if prediction is None else prediction.observation,
        "error": None if prediction is None else prediction.error,
        "success": bool(prediction is not None and prediction.success),
        "value": candidate.value,
        "vetoed": verdict is not None and verdict.decision is Decision.REJECT,
        "decision": None if verdict is None else verdict.decision.value,
        "reason": "" if verdict is None else verdict.reason,
        "score": None if verdict is None else verdict.score,
    }
