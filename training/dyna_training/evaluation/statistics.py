"""Figures with intervals: percentile bootstrap over whole games, everything else a function of sums.

Steps of one game resemble each other, so games are drawn, never steps. Every statistic here is a function of
sums of columns over steps (a mean is a sum of values over a sum of ones, a correlation a function of six
sums), so that all resamples are one matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Statistic = Callable[[Array], Array]
"""From sums ``[..., K]`` of K columns to values ``[...]``."""

RESAMPLES: Final = 2000
LEVEL: Final = 0.95


class Interval(NamedTuple):
    """A figure with its bootstrap interval.

    Attributes:
        value: The figure itself; NaN where there is nothing to compute it from.
        low: Lower end; NaN with fewer than two clusters.
        high: Upper end.
        steps: Number of steps it is computed from.
        games: Number of games among them.
    """

    value: float
    low: float
    high: float
    steps: int
    games: int

    def to_json(self) -> dict[str, float | int | None]:
        """Return a dictionary in which NaN is None, since JSON has no NaN."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in self._asdict().items()}


class Bootstrap:
    """Resamples games.

    Args:
        clusters: For each step the game that it belongs to.
        resamples: How many times games are drawn.
        seed: Seeds the drawing; the same clusters and seed give the same draws.
        level: Coverage of the intervals.
    """

    def __init__(
        self,
        clusters: Sequence[Hashable],
        *,
        resamples: int = RESAMPLES,
        seed: int = 0,
        level: float = LEVEL,
    ) -> None:
        if resamples < 1 or not 0 < level < 1:
            raise ValueError(f"expected resamples >= 1 and 0 < level < 1, got {resamples} and {level}")
        order = {name: index for index, name in enumerate(dict.fromkeys(clusters))}
        self._codes = np.array([order[name] for name in clusters], dtype=np.intp)
        self._number = len(order)
        self._tail = (1 - level) / 2
        rng = np.random.default_rng(seed)
        shares = np.full(self._number, 1 / self._number) if order else None
        drawn = (
            np.zeros((resamples, 0)) if shares is None else rng.multinomial(self._number, shares, resamples)
        )
        self._weights: Array = drawn.astype(np.float64)

    def interval(self, statistic: Statistic, *columns: ArrayLike, where: ArrayLike | None = None) -> Interval:
        """Compute a statistic and its interval.

        Args:
            statistic: A function of the columns' sums.
            columns: K columns, each with one number per step.
            where: Which steps count; all when None.
        """
        data = np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=-1)
        if len(data) != len(self._codes):
            raise ValueError(f"columns of {len(data)} steps do not fit {len(self._codes)} clusters")
        mask = np.ones(len(data), dtype=bool) if where is None else np.asarray(where, dtype=bool)
        codes = self._codes[mask]
        sums = np.zeros((self._number, data.shape[1]))
        np.add.at(sums, codes, data[mask])
        count, clusters = int(mask.sum()), len(np.unique(codes))
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(statistic(sums.sum(0)))
            low = high = math.nan
            if clusters > 1:
                draws = statistic(self._weights @ sums)
                draws = draws[np.isfinite(draws)]
                if len(draws):
                    low, high = (float(q) for q in np.quantile(draws, [self._tail, 1 - self._tail]))
        return Interval(value, low, high, count, clusters)

    def mean(self, values: ArrayLike, where: ArrayLike | None = None) -> Interval:
        """Return the micro mean: every step counts the same."""
        return self.interval(ratio, values, np.ones(len(np.asarray(values))), where=where)

    def ratio(
        self, numerators: ArrayLike, denominators: ArrayLike, where: ArrayLike | None = None
    ) -> Interval:
        """Return one sum over another, such as of facts per turn: steps count by their denominator."""
        return self.interval(ratio, numerators, denominators, where=where)

    def share(self, hits: ArrayLike, among: ArrayLike) -> Interval:
        """Return the share of ``among`` that are also ``hits``: a precision, a recall."""
        among = np.asarray(among, dtype=bool)
        return self.mean(np.asarray(hits, dtype=bool) & among, where=among)

    def macro(self, values: ArrayLike, types: Sequence[Hashable], where: ArrayLike | None = None) -> Interval:
        """Return the macro mean: every type counts the same."""
        return self.interval(macro, *by_type(values, types), where=where)

    def difference(self, first: ArrayLike, second: ArrayLike, where: ArrayLike | None = None) -> Interval:
        """Return the paired difference of two micro means, first minus second."""
        return self.mean(
            np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64), where=where
        )

    def macro_difference(self, first: ArrayLike, second: ArrayLike, types: Sequence[Hashable]) -> Interval:
        """Return the paired difference of two macro means, first minus second."""
        difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
        return self.macro(difference, types)

    def correlation(self, x: ArrayLike, y: ArrayLike, where: ArrayLike | None = None) -> Interval:
        """Return Pearson's r."""
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        return self.interval(pearson, np.ones(len(x)), x, y, x * x, y * y, x * y, where=where)

    def calibration_error(
        self, confidence: ArrayLike, correct: ArrayLike, bins: int = 10, where: ArrayLike | None = None
    ) -> Interval:
        """Return the expected calibration error over bins of equal width."""
        confidence, correct = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
        inside = one_hot(bin_of(confidence, bins), bins)
        columns = [*(inside * (confidence - correct)[:, None]).T, np.ones(len(confidence))]
        return self.interval(calibration_error, *columns, where=where)


def ratio(sums: Array) -> Array:
    """Return the first sum over the second."""
    return np.asarray(sums[..., 0] / sums[..., 1])


def macro(sums: Array) -> Array:
    """Return the mean of T ratios, from T numerators and then T denominators; empty types are left out."""
    types = sums.shape[-1] // 2
    numerators, denominators = sums[..., :types], sums[..., types:]
    present = denominators > 0
    ratios = np.where(present, numerators / np.where(present, denominators, 1), 0)
    return np.asarray(ratios.sum(-1) / present.sum(-1))


def pearson(sums: Array) -> Array:
    """Return Pearson's r from the sums of 1, x, y, x², y² and xy."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    spread = (n * xx - x * x) * (n * yy - y * y)
    # Rounding leaves a tiny spread, of either sign, where a column is constant.
    nothing = spread <= 1e-12 * np.maximum(1, np.abs(n * xx * n * yy))
    return np.asarray(np.where(nothing, np.nan, (n * xy - x * y) / np.sqrt(np.where(nothing, 1, spread))))


def calibration_error(sums: Array) -> Array:
    """Return the mean of |confidence − accuracy|, from the sums of the differences per bin and the count."""
    return np.asarray(np.abs(sums[..., :-1]).sum(-1) / sums[..., -1])


def bin_of(values: ArrayLike, bins: int) -> NDArray[np.intp]:
    """Return the index of the bin, of ``bins`` of equal width over [0, 1], that each value lies in."""
    scaled = np.nan_to_num(np.asarray(values, dtype=np.float64)) * bins
    return np.clip(scaled.astype(np.intp), 0, bins - 1)


def one_hot(codes: NDArray[np.intp], number: int) -> Array:
    """Return [n, number] with a one in the column of each code."""
    return np.eye(number)[codes]


def by_type(values: ArrayLike, types: Sequence[Hashable]) -> list[Any]:
    """Return the columns that `macro` wants: for each type the values of its steps, then the ones."""
    order = {name: index for index, name in enumerate(dict.fromkeys(types))}
    inside = one_hot(np.array([order[name] for name in types], dtype=np.intp), len(order))
    return [*(inside * np.asarray(values, dtype=np.float64)[:, None]).T, *inside.T]
