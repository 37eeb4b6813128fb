"""What the demo makes of the loop's events: revisions, vetoes that are lifted, calls that cannot be read."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import invalid_tool_call
from langchain_core.tools import tool

from dyna_graph.agent import create_dyna_agent
from dyna_nodes.critics import HouseholdCritic
from dyna_nodes.nouns import Decision, Prediction
from dyna_nodes.testing import SamplingChatModel, ScriptedWorldModel, call
from dyna_training.demo.record import Recorder, Turn

DOES = {
    "a": "Nothing happens.",
    "b": "Nothing happens.",
    "c": Prediction(observation="c done", value=0.3, tokens=4),
    "d": Prediction(observation="d done", value=0.6, tokens=4),
}


@tool
def act(command: str) -> str:
    """Do something."""
    return f"{command} done"


def propose(*commands: str) -> list[AIMessage]:
    return [call("act", command=command, content=f"I try {command}.") for command in commands]


def recorded(script: list[Any], **options: Any) -> tuple[Recorder, list[Turn]]:
    model = SamplingChatModel(script=script, n=2)
    options = {
        "world_model": ScriptedWorldModel(DOES),
        "critic": HouseholdCritic(value_weight=1.0),
        **options,
    }
    agent = create_dyna_agent(model, [act], candidates=2, **options)
    recorder = Recorder()
    events = agent.stream({"messages": [("user", "Do it.")]}, stream_mode="custom")
    return recorder, [turn for event in events if (turn := recorder.feed(event)) is not None]


def test_candidates_with_what_was_imagined_and_decided() -> None:
    recorder, turns = recorded([*propose("a", "d"), *propose("c", "d"), "Done.", "Done."])
    first, second = turns
    [round_] = first.rounds
    assert [c.text for c in round_.candidates] == ["a", "d"]
    assert [c.thought for c in round_.candidates] == ["I try a.", "I try d."]
    assert [c.verdict and c.verdict.decision for c in round_.candidates] == [
        Decision.REJECT,
        Decision.APPROVE,
    ]
    assert [c.value for c in round_.candidates] == [None, 0.6]
    assert (round_.chosen, round_.ran, first.overruled) == (1, True, True)
    assert first.transition.observation == "d done"
    assert second.overruled
    assert second.transition.scores["exact"] == 1
    assert recorder.ended == "answer"
    assert recorder.turns == turns


def test_a_revision_is_a_round_that_did_not_run() -> None:
    _, [turn] = recorded([*propose("a", "b"), *propose("c", "c"), "Done.", "Done."], max_revisions=1)
    assert [r.ran for r in turn.rounds] == [False, True]
    assert turn.overruled
    assert turn.first.text == "a"
    assert turn.transition.action.text == "c"


@pytest.mark.parametrize(("commands", "chosen"), [(("a", "b"), 0), (("b", "a"), 0)])
def test_a_veto_that_is_lifted_is_one_round(commands: tuple[str, str], chosen: int) -> None:
    _, [turn] = recorded([*propose(*commands), "Done.", "Done."], max_revisions=0, on_exhausted="allow")
    [round_] = turn.rounds
    assert round_.ran
    assert round_.chosen == chosen
    assert not turn.overruled
    vetoed = round_.candidates[1].verdict
    assert vetoed is not None
    assert vetoed.decision is Decision.REJECT, "what was decided about the other is kept"


def test_the_lifted_veto_of_another_candidate_is_the_one_that_ran() -> None:
    worse = ScriptedWorldModel(
        {
            "a": Prediction(observation="Nothing happens.", value=0.0),
            "b": Prediction(observation="Nothing happens.", value=0.5),
        }
    )
    _, [turn] = recorded(
        [*propose("a", "b"), "Done.", "Done."], max_revisions=0, on_exhausted="allow", world_model=worse
    )
    assert turn.transition.action.text == "b"
    assert turn.rounds[0].chosen == 1
    assert turn.overruled


def test_a_call_that_cannot_be_read_is_shown_as_such() -> None:
    broken = invalid_tool_call(name="act", args="{", id="x", error="not JSON")
    unreadable = [AIMessage("Hm.", invalid_tool_calls=[broken])] * 2
    _, [turn] = recorded([*unreadable, *propose("c", "c"), "Done.", "Done."])
    assert [c.text for c in turn.rounds[0].candidates] == ["(no readable action)"]
    assert turn.first.thought == "Hm."
    verdict = turn.first.verdict
    assert verdict is not None
    assert verdict.decision is Decision.REJECT
    assert not turn.rounds[0].ran


def test_an_agent_that_is_blocked_leaves_its_proposals() -> None:
    recorder, turns = recorded(propose("a", "b") * 3, max_revisions=0, max_blocks=2)
    assert turns == []
    assert [r.ran for r in recorder.rest] == [False, False]


def test_without_a_world_model_nothing_is_imagined() -> None:
    _, [turn] = recorded([*propose("c", "d"), "Done.", "Done."], world_model=None, critic=None)
    assert [c.prediction for c in turn.rounds[0].candidates] == [None, None]
    assert not turn.overruled
