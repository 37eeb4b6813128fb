"""The value critic and the imagined return."""

from __future__ import annotations

import pytest

from dyna_nodes.critics import ValueCritic, imagined_return
from dyna_nodes.nouns import Action, Decision, History, ImaginedStep, Prediction, Simulation
from dyna_nodes.protocols import Critic

HISTORY = History(task="put a mug in the sink")


def step(**prediction: object) -> ImaginedStep:
    return ImaginedStep(action=Action.command("go"), prediction=Prediction.model_validate(prediction))


def simulation(*steps: ImaginedStep, index: int = 0) -> Simulation:
    return Simulation(candidate=index, call_id=str(index), steps=steps)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([step(value=0.6)], 0.6),
        ([step(value=0.9), step(value=0.6)], 0.3),
        ([step(value=0.2), step(success=True, value=0.4)], 0.5),
        ([step(reward=-0.2), step(success=True, reward=0.4, done=True, value=0.9)], 0.0),
        ([step(reward=1.0, value=0.9), step(reward=2.0), step(reward=4.0)], 3.0),
        ([step(reward=-1.0), step(reward=0.5, value=0.8)], -0.6),
        ([step(done=True, success=False), step(value=1.0)], 0.0),
        ([step(value=0.7), step(error="timed out")], 0.7),
        ([step(success=False)], 0.0),
        ([step(observation="x")], None),
        ([step(error="timed out")], None),
    ],
)
def test_the_imagined_return_is_discounted(steps: list[ImaginedStep], expected: float | None) -> None:
    found = imagined_return(steps, discount=0.5)
    assert found == (None if expected is None else pytest.approx(expected))


def test_all_are_approved_and_the_best_has_the_highest_score() -> None:
    critic = ValueCritic()
    assert isinstance(critic, Critic)
    verdicts = critic.judge(HISTORY, [simulation(step(value=v)) for v in (0.01, 0.03, 0.02)])
    assert [v.decision for v in verdicts] == [Decision.APPROVE] * 3
    assert [v.score for v in verdicts] == [0.01, 0.03, 0.02]


def test_a_minimum_rejects_with_a_hint_but_spares_the_best() -> None:
    sims = [simulation(step(value=v)) for v in (0.1, 0.3)]
    verdicts = ValueCritic(minimum=0.5).judge(HISTORY, sims)
    assert [v.decision for v in verdicts] == [Decision.REJECT, Decision.APPROVE]
    assert "0.10" in verdicts[0].hint
    strict = ValueCritic(minimum=0.5, spare_best=False).judge(HISTORY, sims)
    assert [v.decision for v in strict] == [Decision.REJECT] * 2


async def test_no_prediction_or_no_value_is_a_failure_not_a_judgement() -> None:
    sims = [
        simulation(step(error="timed out")),
        simulation(step(observation="x", model="chat")),
        simulation(step(value=0.2)),
    ]
    verdicts = await ValueCritic().ajudge(HISTORY, sims)
    assert [v.failed for v in verdicts] == [True, True, False]
    assert "timed out" in verdicts[0].reason
    assert "chat predicts neither value" in verdicts[1].reason


def test_the_simulations_own_value_counts_unless_a_discount_is_set() -> None:
    one = simulation(step(value=0.9), step(value=0.8)).model_copy(update={"value": 0.3})
    assert ValueCritic().judge(HISTORY, [one])[0].score == 0.3
    assert ValueCritic(discount=0.5).judge(HISTORY, [one])[0].score == pytest.approx(0.4)


def test_a_discount_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="discount"):
        ValueCritic(discount=1.5)
