"""What the games showed: figures by arm, and what the world model changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dyna_nodes.nouns import Noun
from dyna_training.demo.record import ARMS, Arm, Play
from dyna_training.demo.recorded import Recorded
from dyna_training.demo.verify import Overruling, best_example


class ArmFigures(Noun):
    """Figures of one arm; means are over its finished games.

    Attributes:
        games: Finished games.
        successes: Solved ones.
        steps: Mean number of executed steps.
        invalid: Mean number of actions that did nothing.
        tokens: Mean number of written tokens, those of the policy and those of the world model.
        seconds: Mean wall-clock time; all games are played at once and share the machine.
    """

    games: int
    successes: int
    steps: float
    invalid: float
    tokens: float
    seconds: float


def figures(plays: Sequence[Play], arm: Arm) -> ArmFigures:
    """Return the figures of the finished games of an arm."""
    done = [p for p in plays if p.arm == arm and p.ended is not None]

    def mean(of: Callable[[Play], float]) -> float:
        return sum(map(of, done)) / len(done) if done else 0.0

    return ArmFigures(
        games=len(done),
        successes=sum(p.won for p in done),
        steps=mean(lambda p: len(p.turns)),
        invalid=mean(lambda p: p.invalid),
        tokens=mean(lambda p: p.policy_tokens + p.imagined_tokens),
        seconds=mean(lambda p: p.seconds),
    )


def changed(found: Sequence[Overruling], steps: int) -> str:
    """Say in one sentence what the world model changed.

    Args:
        found: Where it overruled the policy, verified in forks.
        steps: How many steps were executed with it.
    """
    example = best_example(found)
    if not steps:
        return "No step was played with the world model."
    if example is None:
        return f"In these games the world model never overruled the policy, in {steps} steps."
    first, imagined = example.first.text, example.first.prediction
    what = f"In game {example.game}, step {example.step}, the policy's first idea was “{first}”; "
    said = one_line(imagined.observation or "") if imagined is not None else ""
    if example.vetoed:
        what += f"the world model imagined “{said}”, so that was vetoed and “{example.ran}” ran; "
    else:
        what += f"imagining both, the agent ranked “{example.ran}” higher and ran that; "
    what += f"in a fork of the real game “{first}” gives “{one_line(example.first_really)}”"
    return f"{what}, {_difference(example)}."


def _difference(example: Overruling) -> str:
    first, ran = example.first_left, example.ran_left
    if example.gain == 0:
        return "which made no difference to how far it still was to the goal"
    if first is None or ran is None:
        hopeless = "from where the searching expert finishes"
        return (
            f"and {hopeless} only after what ran"
            if first is None
            else f"and {hopeless}, unlike after what ran"
        )
    better = "better" if example.gain > 0 else "worse"
    return (
        f"so what ran was {better}: from there the searching expert needs {ran} more steps instead of {first}"
    )


def tally(found: Sequence[Overruling], steps: int) -> str:
    """Say how often the policy was overruled, and whether that was right."""
    effects = [o.effect for o in found]
    return (
        f"It overruled the policy's first idea at {len(found)} of {steps} steps. Forks of the games say: "
        f"better {effects.count('better')}, no difference {effects.count('same')}, "
        f"worse {effects.count('worse')} (by the steps that a searching expert would still need)."
    )


def one_line(text: str) -> str:
    """Return a text on one line, without characters that a terminal would obey."""
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else "?" for c in words)


def summary(
    plays: Sequence[Play],
    found: Sequence[Overruling],
    recorded: Recorded,
    *,
    seconds: float,
    finished: bool,
    files: Mapping[str, Path],
) -> dict[str, Any]:
    """Return everything as plain data, for ``--json``.

    Args:
        plays: The games.
        found: Where the policy was overruled.
        recorded: The recorded evaluation.
        seconds: Wall-clock time of everything, loading included.
        finished: False when it was interrupted.
        files: What was written.
    """
    steps = sum(len(p.turns) for p in plays if p.arm == "with")
    return {
        "finished": finished,
        "seconds": round(seconds, 1),
        "games": [
            {
                **p.game.model_dump(mode="json"),
                "arm": p.arm,
                "outcome": p.outcome,
                "ended": p.ended,
                "steps": len(p.turns),
                "invalid": p.invalid,
                "policy_tokens": p.policy_tokens,
                "imagined_tokens": p.imagined_tokens,
                "seconds": round(p.seconds, 1),
                "actions": [t.transition.action.text for t in p.turns],
            }
            for p in plays
        ],
        "arms": {arm: figures(plays, arm).model_dump() for arm in ARMS},
        "changed": changed(found, steps),
        "overrulings": [{**o.model_dump(mode="json"), "effect": o.effect, "gain": o.gain} for o in found],
        "evaluation": None if recorded.evaluation is None else recorded.evaluation.model_dump(mode="json"),
        "evaluation_notes": list(recorded.notes),
        "files": {name: str(path) for name, path in files.items()},
    }
