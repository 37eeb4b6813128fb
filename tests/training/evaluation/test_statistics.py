"""Intervals by game, against cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dyna_training.evaluation.statistics import Bootstrap, bin_of


def test_the_mean_of_steps_and_the_number_of_games() -> None:
    found = Bootstrap(["a", "a", "b", "c"]).mean([1, 0, 1, 1])
    assert found.value == 0.75
    assert (found.steps, found.games) == (4, 3)
    assert found.low <= found.value <= found.high


def test_games_that_are_all_alike_have_an_interval_of_no_width() -> None:
    found = Bootstrap(["a", "a", "b", "b", "c", "c"]).mean([1, 0, 1, 0, 1, 0])
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_steps_of_one_game_are_drawn_together() -> None:
    values = np.repeat([0.0, 1.0] * 5, 100)
    by_game = Bootstrap(np.repeat(range(10), 100).tolist()).mean(values)
    by_step = Bootstrap(list(range(1000))).mean(values)
    # The standard error is sqrt(.25 / 10) over games and sqrt(.25 / 1000) over steps.
    assert by_game.high - by_game.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 10), rel=0.15)
    assert by_step.high - by_step.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 1000), rel=0.15)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    games = np.repeat(range(40), 5).tolist()
    covered = 0
    for seed in range(300):
        chances = rng.beta(3, 2, size=40)  # mean .6; games differ
        steps = rng.random(200) < np.repeat(chances, 5)
        found = Bootstrap(games, resamples=400, seed=seed).mean(steps)
        covered += found.low <= 0.6 <= found.high
    assert 0.90 <= covered / 300 <= 0.98


def test_one_game_alone_has_no_interval_and_nothing_has_no_value() -> None:
    boot = Bootstrap(["a", "a"])
    alone = boot.mean([1, 0])
    assert alone.value == 0.5
    assert math.isnan(alone.low)
    nothing = boot.mean([1, 0], where=[False, False])
    assert nothing.to_json() == {"value": None, "low": None, "high": None, "steps": 0, "games": 0}
    assert math.isnan(Bootstrap([]).mean([]).value)


def test_the_macro_mean_counts_every_type_the_same() -> None:
    boot = Bootstrap(["a", "b", "c", "d"])
    types = ["go", "go", "go", "take"]
    assert boot.mean([1, 1, 1, 0]).value == 0.75
    macro = boot.macro([1, 1, 1, 0], types)
    assert macro.value == 0.5
    # A resample without game d knows no "take": its mean is over the types that are there.
    assert macro.high == 1.0
    assert boot.macro([1, 1, 1, 0], types, where=[True, True, True, False]).value == 1.0


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(1)
    games = [str(i // 4) for i in range(200)]
    easy = np.repeat(rng.random(50), 4)
    first, second = easy + 0.1 + 0.01 * rng.random(200), easy
    boot = Bootstrap(games)
    paired = boot.difference(first, second)
    assert paired.value == pytest.approx(first.mean() - second.mean())
    alone = boot.mean(first)
    assert paired.high - paired.low < 0.1 * (alone.high - alone.low)
    assert paired.low > 0
    assert boot.macro_difference([1.0] * 200, [0.0] * 200, games).value == 1.0


def test_precision_is_a_share_of_what_was_said() -> None:
    boot = Bootstrap(["a", "b", "c", "d"])
    real, said = [True, True, False, False], [True, False, True, False]
    precision = boot.share(real, said)
    assert (precision.value, precision.steps) == (0.5, 2)
    assert boot.share([True] * 4, [False] * 4).to_json()["value"] is None


def test_the_correlation_is_pearsons() -> None:
    rng = np.random.default_rng(2)
    x = rng.random(60)
    y = x + 0.3 * rng.random(60)
    boot = Bootstrap([i // 3 for i in range(60)])
    found = boot.correlation(x, y)
    assert found.value == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found.low < found.value < found.high
    assert boot.correlation(x, -2 * x).value == pytest.approx(-1)
    assert math.isnan(boot.correlation(x, [0.3] * 60).value)
    part = np.arange(60) < 30
    assert boot.correlation(x, y, where=part).value == pytest.approx(np.corrcoef(x[part], y[part])[0, 1])


def test_the_calibration_error_by_hand() -> None:
    boot = Bootstrap(["a", "b", "c", "d"])
    # Bin .9: two steps, confidence .95, one right: .45. Bin .1: two steps, confidence .15, one right: .35.
    found = boot.calibration_error([0.95, 0.95, 0.15, 0.15], [1, 0, 1, 0])
    assert found.value == pytest.approx((2 * 0.45 + 2 * 0.35) / 4)
    assert boot.calibration_error([1.0, 1.0, 0.0, 0.0], [1, 1, 0, 0]).value == 0


def test_bins_hold_their_lower_end_and_the_last_one_both() -> None:
    assert bin_of([0.0, 0.1, 0.99, 1.0], 10).tolist() == [0, 1, 9, 9]


def test_the_same_seed_draws_the_same() -> None:
    values, games = np.arange(30.0), [i // 2 for i in range(30)]
    assert Bootstrap(games, seed=3).mean(values) == Bootstrap(games, seed=3).mean(values)
    assert Bootstrap(games, seed=3).mean(values) != Bootstrap(games, seed=4).mean(values)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="3 steps do not fit 2 clusters"):
        Bootstrap(["a", "b"]).mean([1, 2, 3])
    with pytest.raises(ValueError, match="level"):
        Bootstrap(["a"], level=1)
