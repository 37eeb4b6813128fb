"""Surprise in the loop is what a real model's log-probabilities say."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from dyna_nodes.codec import Outcome
from dyna_nodes.core import DynaCore, Run
from dyna_nodes.effects import aperform, perform
from dyna_nodes.histories import Histories
from dyna_nodes.local.engine import Engine
from dyna_nodes.nouns import Action, Prediction, Provenance, Query, Step, Transition
from dyna_nodes.protocols import SurprisedWorldModel
from dyna_nodes.surprise import with_surprise
from dyna_nodes.testing import ScriptedChatModel
from dyna_nodes.world_models import TrainedWorldModel

STEP = Step(action=Action.command("go to fridge 1"), observation="The fridge 1 is closed.")
SEEN = [
    ("open fridge 1", "It holds a mug 1.", None),
    ("take mug 1", "You win.", 1.0),
    ("look", "x" * 3000, None),
]


async def test_it_is_minus_the_mean_log_probability(engine: Engine) -> None:
    world = TrainedWorldModel(engine)
    assert isinstance(world, SurprisedWorldModel)
    core = DynaCore(ScriptedChatModel(script=[]), world_model=world)
    known = Histories().start("session", "Find the mug.", [STEP])
    transitions = [
        Transition(
            action=Action.command(command),
            observation=observation,
            reward=reward,
            done=reward is not None,
            prediction=Prediction(observation="?"),
            scores={"exact": 0.0},
        )
        for command, observation, reward in SEEN
    ]
    imagined = transitions[0].model_copy(update={"provenance": Provenance(source="imagination")})
    scored = perform(with_surprise(core, known, [*transitions, imagined], Run.of(None)))
    queries = [Query(history=known.history, action=t.action) for t in transitions]
    outcomes = [Outcome.of(t) for t in transitions]
    first, second, long = world.surprise(queries, outcomes)
    assert None not in (first, second)
    assert long is None, "it does not fit the model"
    assert [t.scores.get("surprise") for t in scored] == [
        pytest.approx(first),
        pytest.approx(second),
        None,
        None,
    ]
    assert all(t.scores["exact"] == 0.0 for t in scored)
    unsolved = Outcome(outcomes[1].observation)
    assert world.surprise(queries[1:2], [unsolved]) != [pytest.approx(second)], "success is part of it"
    again = await aperform(with_surprise(core, known, transitions, Run.of(None)))
    assert [t.scores.get("surprise") for t in again] == [pytest.approx(first), pytest.approx(second), None]
