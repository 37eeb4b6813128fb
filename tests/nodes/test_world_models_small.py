"""The prompted world model and the judge on a real small model, which often answers nonsense."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from dyna_nodes.critics import JudgeCritic
from dyna_nodes.local import LocalChatModel
from dyna_nodes.nouns import (
    Action,
    Decision,
    History,
    ImaginedStep,
    Query,
    Simulation,
    Trajectory,
    Transition,
)
from dyna_nodes.world_models import ChatWorldModel

HISTORY = (
    History(task="You are in a kitchen. Your task is to: cool a mug.")
    .then(Action.command("open drawer 1"), "You open the drawer 1. In it, you see nothing.")
    .then(Action.command("open drawer 2"), "You open the drawer 2. In it, you see nothing.")
)
EXAMPLE = Trajectory(
    task="You are in a bedroom. Your task is to: look at a pen under the desklamp.",
    transitions=(
        Transition(
            action=Action.command("open drawer 1"),
            observation="You open the drawer 1. In it, you see a pen 1.",
        ),
        Transition(
            action=Action.command("open drawer 2"),
            observation="You open the drawer 2. In it, you see nothing.",
        ),
    ),
)


@pytest.fixture(scope="module")
def small() -> LocalChatModel:
    return LocalChatModel(max_tokens=48)


async def test_with_an_example_even_a_small_model_answers_in_form(small: LocalChatModel) -> None:
    model = ChatWorldModel(small, examples=[EXAMPLE])
    queries = [Query(history=HISTORY, action=Action.command(f"open drawer {i}")) for i in (3, 4)]
    predictions = await model.apredict(queries)
    assert [p.error for p in predictions] == [None, None]
    assert all(p.observation and p.observation.startswith("You open the drawer") for p in predictions)
    assert all(p.success is False and p.tokens > 5 for p in predictions)


def test_whatever_it_says_is_a_verdict_or_a_failure(small: LocalChatModel) -> None:
    simulations = []
    for index, command in enumerate(("open fridge 1", "look")):
        [prediction] = ChatWorldModel(small).predict([Query(history=HISTORY, action=Action.command(command))])
        assert (prediction.observation is None) == (prediction.error is not None)
        step = ImaginedStep(action=Action.command(command), prediction=prediction)
        simulations.append(Simulation(candidate=index, call_id=str(index), steps=(step,)))
    for verdict in JudgeCritic(small).judge(HISTORY, simulations):
        assert verdict.reason
        assert not verdict.failed or verdict.decision is Decision.REJECT
