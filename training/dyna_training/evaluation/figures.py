"""From what a model said about each step to figures with intervals.

Exact match counts a step when observation *and* success flag are right ("From Word to World", arXiv
2512.18832, section 3). The micro mean is over steps, the macro mean over action types.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dyna_nodes.codec import Outcome
from dyna_nodes.codec.outcome import answer_text
from dyna_training.evaluation.episodes import Facts
from dyna_training.evaluation.examinees import StepOutcome
from dyna_training.evaluation.reward_figures import real_outcome, reward_figures
from dyna_training.evaluation.statistics import Bootstrap, Interval, bin_of, ratio

ENOUGH: Final = 100
"""Successes, and near misses, under which figures of the success flag are marked as underpowered."""
BINS: Final = 10
NOTHING: Final = "Nothing happens."

Mask = NDArray[np.bool_]
Slicing = tuple[str, Callable[[Facts], str | None]]

SLICES: Final[tuple[Slicing, ...]] = (
    ("action_type", lambda f: f.verb),
    ("knowledge", lambda f: f.knowledge),
    ("task_type", lambda f: f.task_type),
    ("behaviour", lambda f: f.policy or None),
    ("observation", lambda f: "nothing happens" if f.observation == NOTHING else "something happens"),
)
"""By what the exact match is split; None leaves a step out."""


def figures(
    facts: Sequence[Facts],
    outcomes: Sequence[StepOutcome],
    *,
    probes: tuple[Sequence[Facts], Sequence[StepOutcome]] = ((), ()),
    slices: Sequence[Slicing] = SLICES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute all figures of one model in one context.

    Args:
        facts: What is known about each step.
        outcomes: What the model said about it.
        probes: The same for near-miss probes; only the figures of the success flag take notice of them.
        slices: By what the exact match is split.
        seed: Seed of the bootstrap.

    Returns:
        Intervals as `Interval.to_json` writes them, counts and plain numbers.
    """
    boot = Bootstrap([f.game for f in facts], seed=seed)
    exact = np.array([o.exact for o in outcomes], dtype=float)
    types = [f.verb for f in facts]
    text = np.array(
        [o.observation == f.observation for f, o in zip(facts, outcomes, strict=True)], dtype=float
    )
    generated = _known([o.f1 for o in outcomes])
    scored = _known([o.surprise for o in outcomes])
    tokens = _filled([o.tokens for o in outcomes])
    found: dict[str, Any] = {
        "steps": len(facts),
        "errors": sum(o.error is not None for o in outcomes),
        "not_generated": int((~generated).sum()),
        "em": boot.mean(exact),
        "em_macro": boot.macro(exact, types),
        "em_observation": boot.mean(text, where=generated) if generated.any() else None,
        "f1": boot.mean(_filled([o.f1 for o in outcomes]), where=generated) if generated.any() else None,
        "surprise_per_token": _surprise(boot, outcomes, tokens, scored),
        "flag": flag_figures(facts, outcomes, probes, seed=seed),
        "value": value_figures(boot, facts, outcomes),
        "confidence": confidence_figures(boot, outcomes),
        "slices": {name: slice_figures(boot, facts, exact, outcomes, by) for name, by in slices},
    }
    if rewards := reward_figures(boot, facts, outcomes):
        found["rewards"] = rewards
    return to_json(found)


def slice_figures(
    boot: Bootstrap,
    facts: Sequence[Facts],
    exact: NDArray[np.float64],
    outcomes: Sequence[StepOutcome],
    by: Callable[[Facts], str | None],
) -> dict[str, Any]:
    """Return exact match, and F1 where it is known, for every part of the steps."""
    names = np.array([by(f) or "" for f in facts])
    generated = _known([o.f1 for o in outcomes])
    f1 = _filled([o.f1 for o in outcomes])
    return {
        str(name): {
            "em": boot.mean(exact, where=inside),
            "f1": boot.mean(f1, where=inside & generated) if (inside & generated).any() else None,
        }
        for name in sorted(set(names) - {""})
        for inside in [names == name]
    }


def flag_figures(
    facts: Sequence[Facts],
    outcomes: Sequence[StepOutcome],
    probes: tuple[Sequence[Facts], Sequence[StepOutcome]] = ((), ()),
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return precision and recall of the success flag, and how often a near miss is taken for a success.

    ``imagined`` is the flag of the imagined outcome, ``after`` the one that is predicted after the real
    observation. Precision is over the mixture as it is, where near misses are rare, and once more over successes
    and near misses alone, probes included, where they are not. No answer does not say "success".
    """
    near = sum(f.near_miss for f in facts)
    successes, probing = sum(f.success for f in facts), sum(f.near_miss for f in probes[0])
    found: dict[str, Any] = {
        "successes": successes,
        "near_misses": near,
        "near_miss_probes": probing,
        "enough": min(successes, near + probing) >= ENOUGH,
    }
    every = [*zip(facts, outcomes, strict=True), *zip(*probes, strict=True)]
    mixture = np.array([True] * len(facts) + [False] * len(probes[0]), dtype=bool)
    ways = {
        "imagined": [o.success if o.error is None else False for _, o in every],
        "after": [o.success_after for _, o in every],
    }
    real = np.array([f.success for f, _ in every], dtype=bool)
    almost = np.array([f.near_miss for f, _ in every], dtype=bool)
    types = np.array([f.task_type or "" for f, _ in every])
    boot = Bootstrap([f.game for f, _ in every], seed=seed)
    for way, flags in ways.items():
        known = np.array([flag is not None for flag in flags], dtype=bool)
        said = np.array([bool(flag) for flag in flags], dtype=bool)
        if (known & mixture).any():
            found[way] = {
                "predicted": int((said & mixture).sum()),
                "precision": boot.share(real, said & known & mixture),
                "recall": boot.share(said, real & known & mixture),
                "precision_hard": boot.share(real, said & known & (real | almost)),
                "near_miss_false_alarms": boot.share(said, almost & known),
                "false_alarms_by_task_type": {
                    kind: boot.share(said, almost & known & (types == kind))
                    for kind in sorted(set(types[almost & known]))
                },
            }
    return found


def value_figures(boot: Bootstrap, facts: Sequence[Facts], outcomes: Sequence[StepOutcome]) -> dict[str, Any]:
    """Return Pearson's r with the labelled return and the mean absolute error, for each way to read a return
    off.

    ``imagined`` is what a critic gets: after the imagined observation. ``after`` has seen the real one,
    ``blind`` none: what imagination adds lies between them. ``constant`` is the error of always predicting
    the mean label.
    """
    label = _filled([f.return_to_go for f in facts])
    labelled = _known([f.return_to_go for f in facts])
    if not labelled.any():
        return {}
    found: dict[str, Any] = {}
    for name, values in (
        ("imagined", [o.value for o in outcomes]),
        ("after", [o.value_after for o in outcomes]),
        ("blind", [o.value_blind for o in outcomes]),
    ):
        where = labelled & _known(values)
        if where.any():
            value = _filled(values)
            found[name] = {
                "r": boot.correlation(value, label, where=where),
                "mae": boot.mean(np.abs(value - label), where=where),
            }
    found["constant"] = {"mae": boot.mean(np.abs(label - label[labelled].mean()), where=labelled)}
    return found


def confidence_figures(boot: Bootstrap, outcomes: Sequence[StepOutcome]) -> dict[str, Any]:
    """Return the expected calibration error of the confidence, and the table it comes from."""
    where = _known([o.confidence for o in outcomes])
    if not where.any():
        return {}
    confidence = _filled([o.confidence for o in outcomes])
    exact = np.array([o.exact for o in outcomes], dtype=float)
    bins = bin_of(confidence, BINS)
    table = []
    for index in range(BINS):
        inside = where & (bins == index)
        if inside.any():
            table.append(
                {
                    "from": index / BINS,
                    "to": (index + 1) / BINS,
                    "steps": int(inside.sum()),
                    "confidence": float(confidence[inside].mean()),
                    "em": float(exact[inside].mean()),
                }
            )
    return {
        "ece": boot.calibration_error(confidence, exact, BINS, where=where),
        "mean": float(confidence[where].mean()),
        "bins": table,
    }


def differences(
    facts: Sequence[Facts], first: Sequence[StepOutcome], second: Sequence[StepOutcome], *, seed: int = 0
) -> dict[str, Any]:
    """Return the paired differences of exact match, first minus second, micro and macro."""
    boot = Bootstrap([f.game for f in facts], seed=seed)
    one = np.array([o.exact for o in first], dtype=float)
    two = np.array([o.exact for o in second], dtype=float)
    types = [f.verb for f in facts]
    return to_json({"em": boot.difference(one, two), "em_macro": boot.macro_difference(one, two, types)})


def error_kind(fact: Facts, outcome: StepOutcome) -> str:
    """Say what kind of mistake an outcome is."""
    said, real = outcome.observation or "", fact.observation
    if outcome.error is not None:
        return "no answer"
    if said == real:
        return "success missed" if fact.success else "false success"
    if real == NOTHING:
        return "effect where nothing happens"
    if said == NOTHING:
        return "nothing where something happens"
    if sorted(said.split()) == sorted(real.split()):
        return "right words, wrong order"
    return {
        "first look": "contents never seen",
        "hidden": "history does not tell",
        "determined": "forgotten",
    }.get(fact.knowledge or "", "other text")


def error_examples(
    facts: Sequence[Facts], outcomes: Sequence[StepOutcome], number: int = 20
) -> list[dict[str, Any]]:
    """Return how many mistakes there are of each kind, with examples: in turn from each kind, games
    spread."""
    wrong = [
        (error_kind(f, o), f, o)
        for f, o in zip(facts, outcomes, strict=True)
        if not o.exact and (o.f1 is not None or o.error is not None)
    ]
    wrong.sort(key=lambda w: w[0])
    kinds = {kind: list(group) for kind, group in groupby(wrong, key=lambda w: w[0])}
    quota = dict.fromkeys(kinds, 0)
    left = number
    while left > 0 and any(quota[k] < len(kinds[k]) for k in kinds):
        for kind in kinds:
            if left > 0 and quota[kind] < len(kinds[kind]):
                quota[kind] += 1
                left -= 1
    return [
        {
            "kind": kind,
            "count": len(group),
            "examples": [
                {"action": f.command, "predicted": _said(o), "real": answer_text(real_outcome(f))}
                for _, f, o in (group[i * len(group) // quota[kind]] for i in range(quota[kind]))
            ],
        }
        for kind, group in sorted(kinds.items(), key=lambda item: -len(item[1]))
    ]


def to_json(found: dict[str, Any]) -> dict[str, Any]:
    """Return nested figures with every interval as a dictionary."""
    return {
        k: v.to_json() if isinstance(v, Interval) else to_json(v) if isinstance(v, dict) else v
        for k, v in found.items()
    }


def _surprise(
    boot: Bootstrap, outcomes: Sequence[StepOutcome], tokens: NDArray[np.float64], scored: Mask
) -> Interval | None:
    if not scored.any():
        return None
    return boot.interval(ratio, _filled([o.surprise for o in outcomes]), tokens, where=scored)


def _said(outcome: StepOutcome) -> str:
    if outcome.error is not None:
        return f"({outcome.error})"
    said = Outcome(outcome.observation or "", bool(outcome.success), outcome.reward, outcome.done)
    return answer_text(said)


def _known(values: Sequence[float | None]) -> Mask:
    return np.array([v is not None for v in values], dtype=bool)


def _filled(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([0.0 if v is None else v for v in values], dtype=float)
