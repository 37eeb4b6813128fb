"""The parts of observe and critique: what a tool reports, which candidate is best, and what settings mean."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import ToolMessage

from dyna_nodes.answers import with_note
from dyna_nodes.core import session_of
from dyna_nodes.judging import Judgement, best
from dyna_nodes.nouns import Action, Decision, ImaginedStep, Prediction, Simulation, Verdict
from dyna_nodes.observe import labels_of, reward_and_end
from dyna_nodes.settings import LoopSettings, ToolSettings, loop_settings


@pytest.mark.parametrize(
    ("artifact", "expected"),
    [
        (None, (None, None)),
        ({"reward": 1, "done": True}, (1.0, True)),
        ({"reward": 0.5}, (0.5, None)),
        ({"done": 0}, (None, False)),
        ({"reward": "much", "done": "yes"}, (None, None)),
        (["reward"], (None, None)),
    ],
)
def test_reward_and_end_flag_of_a_tool(artifact: Any, expected: Any) -> None:
    assert reward_and_end(ToolMessage("x", tool_call_id="1", artifact=artifact)) == expected


@pytest.mark.parametrize(
    ("artifact", "labels"),
    [
        (None, {}),
        ({"done": True}, {}),
        ({"done": True, "truncated": False}, {}),
        ({"done": True, "truncated": "yes"}, {}),
        ({"done": True, "truncated": True}, {"truncated": 1.0}),
    ],
)
def test_a_tool_tells_that_the_episode_was_cut_off(artifact: Any, labels: Any) -> None:
    assert labels_of(ToolMessage("x", tool_call_id="1", artifact=artifact)) == labels


def test_notes_stand_in_front_of_results() -> None:
    message = ToolMessage("x", tool_call_id="1")
    assert with_note(message, None) is message
    assert with_note(message, "Note.").content == "Note.\n\nx"
    blocks = ToolMessage([{"type": "text", "text": "x"}], tool_call_id="1")
    assert with_note(blocks, "Note.").content == [
        {"type": "text", "text": "Note."},
        {"type": "text", "text": "x"},
    ]


def judgement(decision: str, score: float | None = None, value: float | None = None) -> Judgement:
    step = ImaginedStep(action=Action.command("go"), prediction=Prediction())
    simulation = Simulation(candidate=0, call_id="1", steps=(step,), value=value)
    return Judgement(Verdict(decision=Decision(decision), score=score), simulation)


@pytest.mark.parametrize(
    ("candidates", "index"),
    [
        ([["approve"], ["reject"]], 0),
        ([["reject"], ["approve"]], 1),
        ([["reject"], ["escalate"]], 1),
        ([["approve", "reject"], ["approve", "approve"]], 1),
        ([["approve"], ["modify"]], 0),
    ],
)
def test_what_may_run_comes_first(candidates: list[list[str]], index: int) -> None:
    assert best([[judgement(d) for d in c] for c in candidates]) == index


def test_then_the_score_then_the_value_then_the_order() -> None:
    assert best([[judgement("approve", 0.2)], [judgement("approve", 0.7)]]) == 1
    assert best([[judgement("approve", value=0.2)], [judgement("approve", value=0.7)]]) == 1
    assert best([[judgement("approve", 0.5)], [judgement("approve", 0.5)]]) == 0
    assert best([[judgement("approve")], [judgement("approve", -3.0)]]) == 1
    assert best([[judgement("reject", 0.9)], [judgement("approve", 0.1)]]) == 1


def test_settings_of_a_tool_by_name_then_by_glob() -> None:
    settings = loop_settings(tools={"*_file": {"irreversible": True}, "read_file": {"timeout": 3}})
    assert settings.tool("read_file") == ToolSettings(timeout=3)
    assert settings.tool("delete_file").irreversible
    assert settings.tool("look") == ToolSettings()
    assert LoopSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("configurable", "session"),
    [
        ({}, None),
        ({"thread_id": 7}, "7"),
        ({"thread_id": "t", "checkpoint_ns": "simulate:1234"}, "t"),
        ({"thread_id": "t", "checkpoint_ns": "agent:1|act:2"}, "t|agent"),
        ({"thread_id": "t", "checkpoint_ns": "agent:9|simulate:3"}, "t|agent"),
    ],
)
def test_sessions_are_keyed_by_thread_and_namespace(configurable: Any, session: str | None) -> None:
    assert session_of({"configurable": configurable}) == session
