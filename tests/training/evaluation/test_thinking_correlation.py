"""Accuracy against success: within task type, against numpy, and refused where it is not defined."""

from __future__ import annotations

import numpy as np
import pytest

from dyna_nodes.codec.thinking import simulation_line
from dyna_nodes.nouns import Provenance
from dyna_training.environments.alfworld.generator import generate
from dyna_training.evaluation.thinking import GameScore, correlation, thinking_figures
from dyna_training.rollouts import play


def scores(x: list[float], y: list[float], types: list[str]) -> list[GameScore]:
    return [GameScore(f"game {i}", t, a, b) for i, (a, b, t) in enumerate(zip(x, y, types, strict=True))]


def drawn(seed: int, games: int = 60) -> tuple[list[float], list[float], list[str]]:
    """Games of three types; both accuracy and success are higher in some types, and go together a little."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, games)
    ease = rng.normal(size=games)
    x = 0.2 * kinds + 0.1 * rng.normal(size=games) + 0.05 * ease
    y = (rng.random(games) < 0.2 + 0.3 * kinds + 0.1 * ease).astype(float)
    return x.tolist(), y.tolist(), [f"type {k}" for k in kinds]


def test_r_is_that_of_numpy_raw_and_centred_by_type() -> None:
    x, y, types = drawn(0)
    found = correlation(scores(x, y, types))
    assert found.raw is not None
    assert found.r is not None
    assert found.raw.value == pytest.approx(np.corrcoef(x, y)[0, 1])
    names = np.array(types)
    centred = [
        np.array([v - np.array(values)[names == n].mean() for v, n in zip(values, types, strict=True)])
        for values in (x, y)
    ]
    assert found.r.value == pytest.approx(np.corrcoef(*centred)[0, 1])
    # The same by regression: residuals after dummies of the types.
    dummies = np.stack([(names == n).astype(float) for n in sorted(set(types))], axis=1)
    left = [np.array(v) - dummies @ np.linalg.lstsq(dummies, np.array(v), rcond=None)[0] for v in (x, y)]
    assert found.r.value == pytest.approx(np.corrcoef(*left)[0, 1])
    assert found.raw.value > found.r.value + 0.05  # the types alone make them go together
    assert (found.games, found.task_types, found.alone) == (60, 3, 0)
    assert found.won == sum(y)
    assert found.lost == 60 - sum(y)
    assert not found.underpowered


def test_the_interval_is_that_of_a_bootstrap_that_centres_anew_every_time() -> None:
    x, y, types = drawn(1)
    found = correlation(scores(x, y, types)).r
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    rng = np.random.default_rng(5)
    names, drawn_r = np.array(types), []
    for _ in range(2000):
        i = rng.integers(0, 60, 60)
        a, b, t = np.array(x)[i], np.array(y)[i], names[i]
        for n in set(types):
            a[t == n] -= a[t == n].mean()
            b[t == n] -= b[t == n].mean()
        drawn_r.append(np.corrcoef(a, b)[0, 1])
    low, high = np.quantile(drawn_r, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.04)
    assert found.high == pytest.approx(high, abs=0.04)
    assert found.low < found.value < found.high


def test_difficulty_of_the_type_alone_is_no_correlation_within_type() -> None:
    # Within each type accuracy and success have nothing to do with each other; across types all.
    x = [0.1, 0.2, 0.1, 0.2, 0.8, 0.9, 0.8, 0.9]
    y = [0.0, 0.0, 0.25, 0.25, 1.0, 1.0, 0.75, 0.75]
    found = correlation(scores(x, y, ["hard"] * 4 + ["easy"] * 4))
    assert found.raw is not None
    assert found.raw.value is not None
    assert found.raw.value > 0.9
    assert found.r is not None
    assert found.r.value == pytest.approx(0, abs=1e-9)
    assert found.underpowered


@pytest.mark.parametrize(
    ("x", "y", "types", "raw", "within"),
    [
        ([], [], [], "too few games: 0", "too few games: 0"),
        ([0.1, 0.9], [0, 1], ["a", "a"], "too few games: 2, and 1", "too few games: 2, and 1"),
        ([0.1, 0.9, 0.5], [1, 1, 1], ["a"] * 3, "success is the same in every game", "success is the same"),
        ([0.5, 0.5, 0.5], [1, 0, 1], ["a"] * 3, "accuracy is the same in every", "accuracy is the same"),
        ([0.1, 0.9, 0.5, 0.4], [1, 0, 1, 0], ["a", "a", "b", "c"], "", "too few games: 4, and 3 taken off"),
        (
            [0.1, 0.2, 0.7, 0.9],
            [0, 0, 1, 1],
            ["a", "a", "b", "b"],
            "",
            "success is the same in all games of the same task type",
        ),
    ],
)
def test_r_is_refused_where_it_is_not_defined(
    x: list[float], y: list[float], types: list[str], raw: str, within: str
) -> None:
    found = correlation(scores(x, y, types))
    assert (found.raw is None) == bool(raw)
    assert found.raw_why_not.startswith(raw)
    assert found.r is None
    assert found.why_not.startswith(within)


def test_games_without_a_simulation_and_types_of_one_game_are_counted() -> None:
    given = [*scores([0.1, 0.9, 0.4], [0, 1, 1], ["a", "a", "a"]), GameScore("x", "b", None, 1.0)]
    found = correlation([*given, GameScore("y", "c", 0.3, 0.0)])
    assert (found.games, found.without_accuracy, found.alone, found.task_types) == (4, 1, 1, 2)
    assert found.r is not None


def test_won_games_in_which_more_came_true_make_a_positive_r() -> None:
    told = []
    for seed in range(6):
        played = play(generate(seed), "expert", seed=0)
        won = seed % 3 > 0
        steps = [
            s.model_copy(
                update={
                    "thought": simulation_line(
                        s.action.text, s.observation if won or s.index % 2 else "You fall asleep."
                    )
                }
            )
            for s in played.transitions
        ]
        told.append(
            played.model_copy(
                update={
                    "transitions": tuple(steps),
                    "outcome": "success" if won else "failure",
                    "task": "A game.",
                    "provenance": Provenance(environment=f"dyna/Game-v0:{seed}"),
                }
            )
        )
    found = thinking_figures(told)
    assert found.correlation is not None
    assert found.correlation.r is not None
    assert found.correlation.r.value is not None
    assert found.correlation.r.value > 0.9
    assert found.correlation.games == 6
    assert found.correlation.task_types == 1
    assert found.success is not None
    assert found.success.value == pytest.approx(4 / 6)
    unplayed = thinking_figures([t.model_copy(update={"outcome": "unknown"}) for t in told])
    assert unplayed.correlation is None
    assert unplayed.success is None
