"""How the accuracy of simulations goes with success: Pearson's r over games, within task type.

Some types of task are harder to do and harder to imagine, which alone makes accuracy and success go together. So
both are centred by task type, and r is that of what is left; the raw r stands beside it. Where r is not defined,
or two games would make it ±1, there is none, and a reason instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from dyna_training.evaluation.statistics import Array, Bootstrap, Interval, one_hot

ENOUGH: Final = 10
"""Successful games, and failed ones, under which r is marked as underpowered."""
_TINY: Final = 1e-9


class Figure(BaseModel):
    """A figure with its 95 % bootstrap interval over games.

    Attributes:
        value: The figure; None where there is nothing to compute it from.
        low: Lower end; None with fewer than two games.
        high: Upper end.
        steps: Of how many turns it is (of how many games, for a correlation).
        games: Of how many games.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None = None
    low: float | None = None
    high: float | None = None
    steps: int = 0
    games: int = 0

    @classmethod
    def of(cls, interval: Interval) -> Figure:
        """Return an interval as a figure; NaN is None."""
        return cls.model_validate(interval.to_json())


class GameScore(NamedTuple):
    """A game with how well its outcomes were imagined and how often it was won.

    Attributes:
        game: The game.
        task_type: What is held constant.
        accuracy: Share of right simulations; None where there is nothing to compute it from.
        success: Share of its episodes that were won.
    """

    game: str
    task_type: str
    accuracy: float | None
    success: float


class Correlation(BaseModel):
    """Pearson's r between accuracy and success, over games.

    Attributes:
        r: Within task type: of both centred by task type; None where it is not defined.
        why_not: Why there is no `r`.
        raw: Over all games as they are; None where it is not defined.
        raw_why_not: Why there is no `raw`.
        games: Games it is computed from.
        task_types: Task types among them.
        alone: Games that are the only one of their task type; they say nothing within type.
        without_accuracy: Games that were left out since nothing was imagined in them.
        won: Games won at least half of the time.
        lost: The others.
        underpowered: Fewer than `ENOUGH` of one of these two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    r: Figure | None = None
    why_not: str = ""
    raw: Figure | None = None
    raw_why_not: str = ""
    games: int = Field(ge=0)
    task_types: int = 0
    alone: int = 0
    without_accuracy: int = 0
    won: int = 0
    lost: int = 0
    underpowered: bool = True


def correlation(scores: Sequence[GameScore], *, seed: int = 0) -> Correlation:
    """Correlate accuracy with success over games.

    Args:
        scores: One per game.
        seed: Seed of the bootstrap, which draws games.
    """
    known = [s for s in scores if s.accuracy is not None]
    x = np.array([s.accuracy for s in known], dtype=np.float64)
    y = np.array([s.success for s in known], dtype=np.float64)
    types = [s.task_type for s in known]
    sizes = {name: types.count(name) for name in types}
    won = sum(s.success >= 0.5 for s in known)
    raw_why_not = _why_not(x, y, len(known) - 1, "in every game")
    why_not = raw_why_not or _why_not(
        _centred(x, types), _centred(y, types), len(known) - len(sizes), "in all games of the same task type"
    )
    boot = Bootstrap([s.game for s in known], seed=seed)
    return Correlation(
        r=None if why_not else Figure.of(_within(boot, x, y, types, sizes)),
        why_not=why_not,
        raw=None if raw_why_not else Figure.of(boot.correlation(x, y)),
        raw_why_not=raw_why_not,
        games=len(known),
        task_types=len(sizes),
        alone=sum(size == 1 for size in sizes.values()),
        without_accuracy=len(scores) - len(known),
        won=won,
        lost=len(known) - won,
        underpowered=min(won, len(known) - won) < ENOUGH,
    )


def _centred(values: Array, types: Sequence[str]) -> Array:
    names = np.array(types)
    means: Mapping[str, float] = {name: float(values[names == name].mean()) for name in set(types)}
    return np.asarray(values - np.array([means[name] for name in types]))


def _why_not(x: Array, y: Array, freedom: int, where: str) -> str:
    """Return why a correlation is not defined; empty where it is.

    Args:
        x: Accuracies.
        y: Successes.
        freedom: Games less the means that are taken off; with one, r can only be ±1.
        where: Over what something would be constant.
    """
    if freedom < 2:
        return f"too few games: {len(x)}, and {len(x) - freedom} taken off for means"
    if np.ptp(y) < _TINY:
        return f"success is the same {where}"
    if np.ptp(x) < _TINY:
        return f"accuracy is the same {where}"
    return ""


def _within(boot: Bootstrap, x: Array, y: Array, types: Sequence[str], sizes: Mapping[str, int]) -> Interval:
    order = {name: index for index, name in enumerate(sizes)}
    inside = one_hot(np.array([order[name] for name in types], dtype=np.intp), len(order))
    columns = [
        column for value in (np.ones(len(x)), x, y, x * x, y * y, x * y) for column in _split(inside, value)
    ]
    return boot.interval(pearson_within, *columns)


def _split(inside: Array, values: Array) -> list[Array]:
    return list((inside * values[:, None]).T)


def pearson_within(sums: Array) -> Array:
    """Return Pearson's r of values centred by type.

    Args:
        sums: ``[..., 6 T]``: for each of 1, x, y, x², y² and xy its sums over the games of each of T types.
    """
    n, x, y, xx, yy, xy = np.moveaxis(sums.reshape(*sums.shape[:-1], 6, -1), -2, 0)
    size = np.where(n > 0, n, 1)  # a type that was not drawn has sums of 0
    spread_x, spread_y = ((v2 - v * v / size).sum(-1) for v, v2 in ((x, xx), (y, yy)))
    together = (xy - x * y / size).sum(-1)
    # Rounding leaves a tiny spread, of either sign, where everything is constant within its type.
    nothing = (spread_x <= _TINY) | (spread_y <= _TINY)
    spread = np.where(nothing, 1, spread_x * spread_y)
    return np.asarray(np.where(nothing, np.nan, together / np.sqrt(spread)))
