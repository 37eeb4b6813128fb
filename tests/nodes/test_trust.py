"""Running reliability: sums that merge in any order, and a bound that is careful."""

from __future__ import annotations

import contextvars
import json
import random
import threading

import pytest

from dyna_nodes.nouns import Action, Provenance, Transition
from dyna_nodes.trust import current, estimate, measured, merge, tally, tally_scores, wilson_lower


def test_tallies_add_up_in_any_order_and_stay_plain() -> None:
    parts = [
        tally_scores("buy" if i % 3 else "act", {"exact": float(i % 2), "f1": i / 20}) for i in range(20)
    ]
    forward: dict[str, dict[str, float]] = {}
    for part in parts:
        forward = merge(forward, part)
    random.Random(0).shuffle(parts)
    backward: dict[str, dict[str, float]] | None = None
    for part in parts:
        backward = merge(part, backward)
    assert backward is not None
    assert {t: pytest.approx(s) for t, s in forward.items()} == backward
    assert estimate(forward, "act").calls == 7
    assert json.loads(json.dumps(forward)) == forward


def test_merge_changes_neither_side() -> None:
    left, right = tally_scores("act", {"exact": 1.0}), tally_scores("act", {"exact": 0.0})
    assert merge(left, right) == {"act": {"exact": 1.0, "exact_count": 2.0}}
    assert (left, right) == (tally_scores("act", {"exact": 1.0}), tally_scores("act", {"exact": 0.0}))


def test_an_unknown_tool_is_not_trusted() -> None:
    assert estimate({}, "buy") == (0, 0.0, 0.0)
    with pytest.raises(ValueError, match="exact, f1, outcome"):
        estimate({}, "buy", "accuracy")


def test_imagined_and_unknown_transitions_count_for_nothing() -> None:
    real = Transition(action=Action.command("look"), scores={"exact": 1.0, "surprise": 3.0})
    assert tally(real) == {"act": {"exact": 1.0, "exact_count": 1.0}}
    assert tally(real.model_copy(update={"provenance": Provenance(source="imagination")})) == {}
    assert tally(real.model_copy(update={"status": "unknown"})) == {}
    assert tally(real.model_copy(update={"scores": {}})) == {}


@pytest.mark.parametrize(
    ("successes", "count", "confidence", "expected"),
    [(10, 10, 0.975, 0.7225), (5, 10, 0.975, 0.2366), (0, 10, 0.975, 0.0), (95, 100, 0.975, 0.8882)],
)
def test_wilson_agrees_with_published_values(
    successes: int, count: int, confidence: float, expected: float
) -> None:
    assert wilson_lower(successes, count, confidence) == pytest.approx(expected, abs=1e-4)


def test_the_bound_covers_the_true_rate_as_often_as_it_says() -> None:
    generator = random.Random(3)
    for rate in (0.5, 0.8, 0.9):
        runs = [sum(generator.random() < rate for _ in range(60)) for _ in range(2000)]
        covered = sum(wilson_lower(hits, 60, 0.95) <= rate for hits in runs) / len(runs)
        assert covered > 0.92


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="successes"):
        wilson_lower(3, 2)
    with pytest.raises(ValueError, match="confidence"):
        wilson_lower(1, 2, 1.0)


def test_measured_is_seen_inside_its_block_and_in_copied_contexts_only() -> None:
    figures = tally_scores("act", {"exact": 1.0})
    seen: list[object] = []
    with measured(figures):
        assert current() == figures
        thread = threading.Thread(
            target=contextvars.copy_context().run, args=(lambda: seen.append(current()),)
        )
        thread.start()
        thread.join()
    assert current() == {}
    assert seen == [figures]
