"""Figures of an agent evaluation: by arm, paired, at equal tokens, and the verdict on the claim.

A play is one game by one arm with the adapters of one training seed. Arms are paired by play and intervals are
bootstrapped over games, so that three training seeds on one game count as one game.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dyna_training.evaluation.agent import ARMS, CONTROLS, AgentEvaluation, ArmName, GameOutcome, ranking
from dyna_training.evaluation.critic_names import described
from dyna_training.evaluation.examinees import file_digest
from dyna_training.evaluation.statistics import Bootstrap, Interval, ratio

COLUMNS: Final = (
    "success",
    "steps",
    "invalid",
    "overruled",
    "resampled",
    "policy_tokens",
    "model_tokens",
    "seconds",
)
EQUAL_TOKENS: Final[tuple[ArmName, ...]] = ("log-probability", "majority", "rules")
"""Controls that can spend the trained arm's tokens: on more candidates."""
EQUAL: Final = ", equal tokens"
GAMES: Final = 140
SEEDS: Final = 3
"""Under this many games and training seeds an evaluation is marked as underpowered."""

Plays = Sequence[GameOutcome]


def summarise(
    outcomes: Plays,
    settings: AgentEvaluation,
    command: str = "",
    *,
    known: Collection[str] | None = None,
    adapters: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return all figures as JSON values, the verdicts first.

    Intervals are percentile bootstraps over games; a figure is ``[value, low, high]``.

    Args:
        outcomes: All plays.
        settings: What they were played with.
        command: The command line, for the record.
        known: Games whose walkthrough is that of a training game; None where that is not asked.
        adapters: What `adapters_of` says of each training seed.
    """
    rows = by_row(outcomes, settings.candidates)
    arms = {name: _arm(plays) for name, plays in rows.items()}
    results: dict[str, Any] = {
        "verdicts": verdicts(rows, settings.resample),
        "command": command,
        "games": len({o.game for o in outcomes}),
        "split": settings.split,
        "candidates": settings.candidates,
        "resample": settings.resample,
        "temperature": settings.temperature,
        "horizon": settings.horizon,
        "max_steps": settings.max_steps,
        "critic": described(ranking(settings)),
        "training_seeds": sorted({o.training_seed for o in outcomes}),
        "adapters": [dict(a) for a in adapters],
        "hardware": hardware(settings),
        "arms": arms,
        "task_types": _task_types(rows),
        "trained_minus": {},
        "budget": None,
        "walkthroughs": None,
    }
    if "trained" in rows:
        others = {name: plays for name, plays in rows.items() if name != "trained"}
        results["trained_minus"] = {name: paired(rows["trained"], plays) for name, plays in others.items()}
        results["budget"] = _budget(rows)
    if known is not None:
        results["walkthroughs"] = _walkthroughs(rows, known)
    return results


def by_row(outcomes: Plays, candidates: int) -> dict[str, list[GameOutcome]]:
    """Return the plays of every row of the tables: the arms in their order, then the controls with more candidates.

    Args:
        outcomes: All plays.
        candidates: k of the evaluation; controls with more are rows of their own.
    """
    rows: dict[str, list[GameOutcome]] = {arm: [] for arm in ARMS} | {a + EQUAL: [] for a in EQUAL_TOKENS}
    for outcome in outcomes:
        more = outcome.arm in EQUAL_TOKENS and outcome.candidates > candidates
        rows[outcome.arm + EQUAL * more].append(outcome)
    return {name: plays for name, plays in rows.items() if plays}


def verdicts(rows: Mapping[str, Plays], resample: int = 0) -> list[dict[str, Any]]:
    """Say of every comparison whether the claim holds that the trained world model beats the best control.

    The first is among the same number of candidates. In the second, the controls that can had at least the trained
    arm's tokens too; it is there when such plays are. The best control is chosen on the games that it is compared
    on, which favours the control.

    Args:
        rows: The plays.
        resample: How many were drawn anew where an arm rejected all k.

    Returns:
        One dictionary per comparison: ``at``, ``control``, success of both, ``difference`` (trained minus control),
        ``games``, ``claim`` (``holds``, ``open`` or ``fails``), ``missing`` controls, ``underpowered``, ``sentence``.
    """
    if "trained" not in rows:
        return []
    same = f"the same k, with {resample} drawn anew where an arm rejects all" if resample else "the same k"
    found = [_verdict(rows, same, CONTROLS)]
    equal = [arm + EQUAL for arm in EQUAL_TOKENS]
    if any(name in rows for name in equal):
        found.append(_verdict(rows, "equal tokens", [*CONTROLS, *equal]))
    return [v for v in found if v]


def best_control(rows: Mapping[str, Plays], controls: Sequence[str] = CONTROLS) -> str | None:
    """Return the control with the highest success rate, the strictest comparison there is."""
    here = [name for name in controls if rows.get(name)]
    return max(here, key=lambda name: _share(rows[name])) if here else None


def paired(first: Plays, second: Plays) -> dict[str, Any]:
    """Compare two arms on the plays that both have; empty when there are none."""
    one, two = _common(first, second)
    if not one:
        return {}
    boot = Bootstrap([o.game for o in one])
    return {
        "games": len({o.game for o in one}),
        "plays": len(one),
        "success": _figure(boot.difference([o.success for o in one], [o.success for o in two])),
        "steps": _figure(boot.difference([o.steps for o in one], [o.steps for o in two])),
        "won_only_with": sum(a.success and not b.success for a, b in zip(one, two, strict=True)),
        "won_only_without": sum(b.success and not a.success for a, b in zip(one, two, strict=True)),
    }


def adapters_of(settings: AgentEvaluation) -> dict[str, Any]:
    """Return names and digests of the adapters, for the record.

    Raises:
        OSError: The weights cannot be read.
    """
    found: dict[str, Any] = {"training_seed": settings.training_seed}
    for role in ("policy", "world_model"):
        folder: Path | None = getattr(settings, role)
        found[role] = None if folder is None else {"name": folder.name, "digest": weights_digest(folder)}
    return found


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 of an adapter's weights.

    Raises:
        OSError: They cannot be read.
    """
    return file_digest(folder.expanduser() / "adapter_model.safetensors")


def hardware(settings: AgentEvaluation) -> str:
    """Return what it ran on, in words."""
    import torch

    if settings.device.startswith("cuda"):
        return str(torch.cuda.get_device_name())
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads, {settings.dtype}"


def tokens(outcome: GameOutcome) -> int:
    """Return what a play cost: tokens generated by policy and world model."""
    return outcome.policy_tokens + outcome.model_tokens


def points(figure: Sequence[float | None]) -> str:
    """Return a difference as ``+12 (+3 to +21)``, in points."""
    value, low, high = figure
    if value is None:
        return "–"
    inside = "" if low is None or high is None else f" ({low * 100:+.0f} to {high * 100:+.0f})"
    return f"{value * 100:+.0f}{inside}"


def _verdict(rows: Mapping[str, Plays], at: str, controls: Sequence[str]) -> dict[str, Any]:
    control = best_control(rows, controls)
    difference = paired(rows["trained"], rows[control]) if control is not None else {}
    if control is None or not difference:
        return {}
    missing = [name for name in controls if name not in rows]
    one, two = _common(rows["trained"], rows[control])
    seeds = len({o.training_seed for o in one})
    _, low, high = difference["success"]
    claim = "open"
    if high is not None and high < 0:
        claim = "fails"  # more controls cannot help it
    elif low is not None and low > 0 and not missing:
        claim = "holds"
    found = {
        "at": at,
        "control": control,
        "trained_success": _share(one),
        "control_success": _share(two),
        "difference": difference["success"],
        "games": difference["games"],
        "training_seeds": seeds,
        "claim": claim,
        "missing": missing,
        "underpowered": difference["games"] < GAMES or seeds < SEEDS,
    }
    return found | {"sentence": _sentence(found)}


def _sentence(found: Mapping[str, Any]) -> str:
    _, low, high = found["difference"]
    why = {
        "holds": "the interval lies above zero",
        "fails": "the interval lies below zero",
        "open": "not all controls were played"
        if low is not None and low > 0
        else "the interval includes zero",
    }[found["claim"]]
    if low is None or high is None:
        why = "too few games for an interval"
    text = (
        f"At {found['at']}, the claim “better than the best control” "
        f"{'is open' if found['claim'] == 'open' else found['claim']}: {why}. "
        f"Trained {found['trained_success']:.0%}, best control “{found['control']}” {found['control_success']:.0%}, "
        f"difference {points(found['difference'])} points."
    )
    if found["missing"]:
        text += f" Not played: {'; '.join(found['missing'])}."
    if found["underpowered"]:
        text += (
            f" Underpowered: {found['games']} games and {found['training_seeds']} training "
            f"seed{'s' * (found['training_seeds'] != 1)} instead of {GAMES} and {SEEDS}."
        )
    return text


def _arm(plays: Plays) -> dict[str, Any]:
    boot = Bootstrap([o.game for o in plays])
    spent = [float(tokens(o)) for o in plays]
    figures: dict[str, Any] = {c: _figure(boot.mean([float(getattr(o, c)) for o in plays])) for c in COLUMNS}
    return figures | {
        "tokens": _figure(boot.mean(spent)),
        "tokens_per_step": _figure(boot.interval(ratio, spent, [o.steps for o in plays])),
        "candidates": sorted({o.candidates for o in plays} - {0}),
        "games": len({o.game for o in plays}),
        "plays": len(plays),
        "solved_at": sorted(tokens(o) for o in plays if o.success),
    }


def _task_types(rows: Mapping[str, Plays]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in sorted({o.task_type for plays in rows.values() for o in plays}):
        mine = {name: [o for o in plays if o.task_type == kind] for name, plays in rows.items()}
        number = len({o.game for plays in mine.values() for o in plays})
        found[kind] = {"games": number} | {name: _share(plays) for name, plays in mine.items() if plays}
    return found


def _budget(rows: Mapping[str, Plays]) -> dict[str, Any]:
    """Compare at equal budget: a game counts as solved when that took no more tokens than the trained arm's mean."""
    limit = round(sum(map(tokens, rows["trained"])) / len(rows["trained"]))

    def cut(plays: Plays) -> list[GameOutcome]:
        return [o.model_copy(update={"success": o.success and tokens(o) <= limit}) for o in plays]

    within = {name: cut(plays) for name, plays in rows.items()}
    return {
        "tokens": limit,
        "success": {name: _success(plays) for name, plays in within.items()},
        "trained_minus": {
            name: paired(within["trained"], plays).get("success")
            for name, plays in within.items()
            if name != "trained"
        },
    }


def _walkthroughs(rows: Mapping[str, Plays], known: Collection[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    control = best_control(rows)
    for part, inside in (("in train", True), ("not in train", False)):
        mine = {name: [o for o in plays if (o.game in known) == inside] for name, plays in rows.items()}
        mine = {name: plays for name, plays in mine.items() if plays}
        found[part] = {
            "games": len({o.game for plays in mine.values() for o in plays}),
            "success": {name: _success(plays) for name, plays in mine.items()},
            "control": control,
            "trained_minus_control": paired(mine.get("trained", []), mine.get(control or "", [])).get(
                "success"
            ),
        }
    return found


def _common(first: Plays, second: Plays) -> tuple[list[GameOutcome], list[GameOutcome]]:
    """Return the plays of both whose game and training seed both have, in the same order."""
    one = {(o.game, o.training_seed): o for o in first}
    two = {(o.game, o.training_seed): o for o in second}
    both = sorted(one.keys() & two.keys())
    return [one[key] for key in both], [two[key] for key in both]


def _success(plays: Plays) -> list[float | None]:
    return _figure(Bootstrap([o.game for o in plays]).mean([o.success for o in plays]))


def _share(plays: Plays) -> float:
    return sum(o.success for o in plays) / len(plays)


def _figure(interval: Interval) -> list[float | None]:
    found = interval.to_json()
    return [found["value"], found["low"], found["high"]]
