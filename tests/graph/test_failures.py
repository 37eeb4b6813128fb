"""Critics and world models that raise, hang, or answer nonsense or too little."""

from __future__ import annotations

import time
from typing import Any

import pytest

from dyna_nodes.critics import OutcomeCritic
from dyna_nodes.nouns import Verdict
from dyna_nodes.testing import (
    ScriptedChatModel,
    ScriptedCritic,
    ScriptedWorldModel,
    call,
)
from tests.graph.judged import DONE, agent_with, contents, look, no_bad, seeing


@pytest.fixture(autouse=True)
def _clean() -> None:
    DONE.clear()


FAILURES: dict[str, Any] = {
    "raises": RuntimeError("cable pulled"),
    "answers nothing": None,
    "answers something else": 42,
}


@pytest.mark.parametrize("failure", list(FAILURES.values()), ids=list(FAILURES))
@pytest.mark.parametrize("on_failure", ["block", "allow"])
def test_a_broken_critic_is_handled_by_policy(drive: Any, make: Any, failure: Any, on_failure: Any) -> None:
    agent = agent_with(
        [call("look", where="a"), "Done."], lambda h, s: failure, make=make, on_failure=on_failure
    )
    events = drive.stream(agent, stream_mode="custom")
    (verdict,) = events[1].verdicts.values()
    assert verdict.failed
    assert ("a" in DONE) == (on_failure == "allow")


def test_a_critic_with_too_few_verdicts_has_failed(drive: Any, make: Any) -> None:
    class Short(ScriptedCritic):
        def judge(self, history: Any, simulations: Any) -> list[Verdict]:
            return []

    agent = make(ScriptedChatModel(script=[call("look", where="a"), "Done."]), [look], critic=Short(no_bad))
    result = drive(agent)
    assert "answered 1 simulations with 0 verdicts" in contents(result)[0]
    assert DONE == []


def test_a_slow_critic_has_failed(drive: Any, make: Any) -> None:
    class Slow(ScriptedCritic):
        def judge(self, history: Any, simulations: Any) -> Any:
            time.sleep(1)
            return super().judge(history, simulations)

        async def ajudge(self, history: Any, simulations: Any) -> Any:
            import asyncio

            await asyncio.sleep(1)
            return super().judge(history, simulations)

    agent = make(
        ScriptedChatModel(script=[call("look", where="a"), "Done."]),
        [look],
        critic=Slow(no_bad),
        critic_timeout=0.05,
    )
    assert "no answer within 0.05 s" in contents(drive(agent))[0]
    assert DONE == []


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (ScriptedWorldModel(lambda q: RuntimeError("weights are gone")), "weights are gone"),
        (ScriptedWorldModel(lambda q: 3.14), "expected a Prediction, got float"),
        (ScriptedWorldModel({}), "no prediction"),
    ],
    ids=["raises", "nonsense", "declines"],
)
@pytest.mark.parametrize("on_failure", ["block", "allow"])
def test_a_broken_world_model_that_the_critic_needs_is_handled_by_policy(
    drive: Any, make: Any, model: Any, expected: str, on_failure: Any
) -> None:
    agent = make(
        ScriptedChatModel(script=[call("look", where="a"), "Done."]),
        [look],
        world_model=model,
        critic=OutcomeCritic(),
        on_failure=on_failure,
    )
    events = drive.stream(agent, stream_mode="custom")
    assert expected in (events[0].simulations[0].prediction.error or "")
    (verdict,) = events[1].verdicts.values()
    assert verdict.failed
    assert ("a" in DONE) == (on_failure == "allow")


def test_a_slow_world_model_has_failed(drive: Any, make: Any) -> None:
    class Slow(ScriptedWorldModel):
        def predict(self, queries: Any) -> Any:
            time.sleep(1)
            return super().predict(queries)

        async def apredict(self, queries: Any) -> Any:
            import asyncio

            await asyncio.sleep(1)
            return super().predict(queries)

    agent = make(
        ScriptedChatModel(script=[call("look", where="a"), "Done."]),
        [look],
        world_model=Slow(seeing),
        world_model_timeout=0.05,
    )
    events = drive.stream(agent, stream_mode="custom")
    assert "no answer within 0.05 s" in events[0].simulations[0].prediction.error
    assert DONE == ["a"], "without a critic nobody needs the prediction"


def test_a_world_model_with_too_few_answers_has_failed(drive: Any, make: Any) -> None:
    class Short(ScriptedWorldModel):
        def predict(self, queries: Any) -> Any:
            return []

    events = drive.stream(
        make(ScriptedChatModel(script=[call("look", where="a"), "Done."]), [look], world_model=Short(seeing)),
        stream_mode="custom",
    )
    assert events[0].simulations[0].prediction.error == "the world model answered 1 queries with 0 answers"
