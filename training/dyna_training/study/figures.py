"""The study's figures with their intervals, as sums over games; everything is paired by game where it is compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from dyna_training.evaluation.statistics import Array, Bootstrap, Interval, ratio
from dyna_training.study.plays import Play, of_domain

DOMAINS: Final = ("all", "in", "out")
SEEDS_FOR_AN_ORDER: Final = 3
"""Training seeds under which an order of arms is marked as underpowered."""
Verdict = Literal["holds", "open", "fails"]
Sums = tuple[Callable[[Play], float], Callable[[Play], float]]
"""A figure of a play as a numerator and a denominator, each to be summed."""

SUCCESS: Final[Sums] = (lambda p: p.won, lambda p: 1.0)
TOKENS: Final[Sums] = (lambda p: sum(p.tokens), lambda p: p.turns)
STEPS: Final[Sums] = (lambda p: p.turns, lambda p: 1.0)
ACCURACY: Final[Sums] = (lambda p: p.right, lambda p: p.turns)
"""World-model accuracy: coverage × accuracy, the share of all turns with a simulation that came true."""
COVERAGE: Final[Sums] = (lambda p: p.simulated, lambda p: p.turns)
ACCURACY_COVERED: Final[Sums] = (lambda p: p.right, lambda p: p.simulated)
COLUMNS: Final[Mapping[str, Sums]] = {
    "success": SUCCESS,
    "tokens_per_turn": TOKENS,
    "steps": STEPS,
    "accuracy": ACCURACY,
    "coverage": COVERAGE,
    "accuracy_covered": ACCURACY_COVERED,
}


class Claim(NamedTuple):
    """What is claimed, and what the figures say to it."""

    sentence: str
    verdict: Verdict


def mean(plays: Sequence[Play], column: Sums) -> Interval:
    """Return a figure over plays; a game is drawn with all its plays."""
    top, bottom = column
    return Bootstrap([p.game for p in plays]).ratio([top(p) for p in plays], [bottom(p) for p in plays])


def best_of(plays: Sequence[Play]) -> Interval:
    """Return the share of games that at least one run of a training seed solved, averaged over seeds."""
    won: dict[tuple[str, int], bool] = {}
    for play in plays:
        key = (play.game, play.seed)
        won[key] = won.get(key, False) or play.won
    return Bootstrap([game for game, _ in won]).mean(list(won.values()))


def minus(first: Sequence[Play], second: Sequence[Play], column: Sums) -> Interval:
    """Return a figure of the first plays minus that of the second, over the games that both have, paired."""
    return _paired(first, second, column, lambda s: ratio(s[..., :2]) - ratio(s[..., 2:]))


def times(first: Sequence[Play], second: Sequence[Play], column: Sums) -> Interval:
    """Return a figure of the first plays over that of the second, over the games that both have, paired."""
    return _paired(first, second, column, lambda s: ratio(s[..., :2]) / ratio(s[..., 2:]))


def _paired(
    first: Sequence[Play], second: Sequence[Play], column: Sums, statistic: Callable[[Array], Array]
) -> Interval:
    sums = [_by_game(plays, column) for plays in (first, second)]
    games = [game for game in sums[0] if game in sums[1]]
    columns = [[side[game][i] for game in games] for side in sums for i in (0, 1)]
    return Bootstrap(games).interval(statistic, *columns)


def _by_game(plays: Sequence[Play], column: Sums) -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = {}
    for play in plays:
        top, bottom = found.get(play.game, (0.0, 0.0))
        found[play.game] = (top + column[0](play), bottom + column[1](play))
    return found


def row(plays: Sequence[Play]) -> dict[str, Any]:
    """Return all figures of an arm, by domain."""
    found: dict[str, Any] = {}
    for domain in DOMAINS:
        chosen = of_domain(plays, domain)
        if not chosen:
            continue
        figures: dict[str, Any] = {name: mean(chosen, c).to_json() for name, c in COLUMNS.items()}
        figures["best"] = best_of(chosen).to_json()
        tokens = [n for play in chosen for n in play.tokens]
        low, median, high = np.quantile(tokens, [0.1, 0.5, 0.9]) if tokens else (np.nan,) * 3
        figures["tokens_10_50_90"] = (
            [round(float(low)), round(float(median)), round(float(high))] if tokens else None
        )
        figures["by_seed"] = {
            str(seed): mean([p for p in chosen if p.seed == seed], SUCCESS).value
            for seed in sorted({p.seed for p in chosen})
        }
        found[domain] = figures
    return found


def differences(
    arms: Mapping[str, Sequence[Play]], reference: str, names: Sequence[str] = ("success", "accuracy")
) -> dict[str, Any]:
    """Return each arm minus a reference, paired by game, by domain."""
    return {
        arm: {
            domain: {
                name: minus(
                    of_domain(plays, domain), of_domain(arms[reference], domain), COLUMNS[name]
                ).to_json()
                for name in names
            }
            for domain in DOMAINS
            if of_domain(plays, domain) and of_domain(arms[reference], domain)
        }
        for arm, plays in arms.items()
        if arm != reference
    }


def not_lower(difference: Interval, margin: float) -> Claim:
    """Judge whether success is not lower by more than a margin."""
    if math.isnan(difference.low):
        return Claim("Whether success is lower is open: there are too few games for an interval.", "open")
    points = (
        f"{100 * difference.value:+.0f} ({100 * difference.low:+.0f} to {100 * difference.high:+.0f}) points"
    )
    if difference.low > -margin:
        return Claim(f"Success is not lower by more than {100 * margin:.0f} points: {points}.", "holds")
    if difference.high < -margin:
        return Claim(f"Success is lower by more than {100 * margin:.0f} points: {points}.", "fails")
    return Claim(
        f"Whether success is lower by more than {100 * margin:.0f} points is open: {points}.", "open"
    )


def order(rows: Mapping[str, Mapping[str, Any]], arms: Sequence[str], column: str) -> str:
    """Write arms in the order of a figure over all games, as measured: ``a (31 %) ≥ b (28 %)``."""
    values = [(rows[arm]["all"][column]["value"], arm) for arm in arms if arm in rows]
    known = sorted(((v, arm) for v, arm in values if v is not None), key=lambda pair: -pair[0])
    return " ≥ ".join(f"{arm} ({value:.1%})" for value, arm in known)
