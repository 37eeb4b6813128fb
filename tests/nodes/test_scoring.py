"""Scores of predictions against reality."""

from __future__ import annotations

import pytest

from dyna_nodes.nouns import Prediction
from dyna_nodes.scoring import exact_match, outcome_match, score, solved, token_f1


def test_exact_match_ignores_surrounding_space_only() -> None:
    assert exact_match(" You open the fridge. \n", "You open the fridge.") == 1.0
    assert exact_match("you open the fridge.", "You open the fridge.") == 0.0


@pytest.mark.parametrize(
    ("predicted", "actual", "expected"),
    [
        ("You open the fridge 1.", "you OPEN the fridge 1", 1.0),
        ("a mug 1, a mug 2", "a mug 1", 2 * 3 / 9),
        ("Nothing happens.", "You see a mug", 0.0),
        ("", "", 1.0),
        ("...", "You see", 0.0),
        ("a a a a", "a", 2 * 1 / 5),
    ],
)
def test_f1_is_over_the_multiset_of_words(predicted: str, actual: str, expected: float) -> None:
    assert token_f1(predicted, actual) == pytest.approx(expected)


def test_solved_needs_the_end_and_a_reward() -> None:
    assert solved(1.0, True) is True
    assert solved(1.0, False) is False
    assert solved(0.0, True) is False
    assert solved(None, True) is False
    assert solved(None, None) is None


@pytest.mark.parametrize(
    ("prediction", "reward", "done", "expected"),
    [
        (Prediction(success=True), 1.0, True, 1.0),
        (Prediction(success=True), 0.0, False, 0.0),
        (Prediction(success=False, reward=-1.0), -0.1, False, 1.0),
        (Prediction(success=False, reward=0.0), -0.1, False, 0.0),
        (Prediction(reward=2.0), 0.5, None, 1.0),
        (Prediction(success=True), None, None, None),
        (Prediction(observation="x"), 1.0, True, None),
    ],
)
def test_the_outcome_is_success_flag_and_sign_of_the_reward(
    prediction: Prediction, reward: float | None, done: bool | None, expected: float | None
) -> None:
    assert outcome_match(prediction, reward, done) == expected


def test_a_call_that_raised_has_not_succeeded() -> None:
    assert outcome_match(Prediction(success=True), status="error") == 0.0
    assert outcome_match(Prediction(success=False), status="error") == 1.0


def test_score_has_what_can_be_computed_and_nothing_else() -> None:
    prediction = Prediction(observation="You open it.", success=False)
    assert score(prediction, "You open it.", 0.0, False, surprise=0.25) == {
        "exact": 1.0,
        "f1": 1.0,
        "outcome": 1.0,
        "surprise": 0.25,
    }
    assert score(prediction, "You open it.") == {"exact": 1.0, "f1": 1.0}
    assert score(Prediction(difference="the fridge is open"), "You open it.") == {}
    assert score(Prediction(error="timed out"), "You open it.", 1.0, True, surprise=2.0) == {"surprise": 2.0}
    assert score(prediction, "", status="unknown") == {}
