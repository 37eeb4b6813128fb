"""observe asks a world model that can tell how likely it had thought what really happened."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import tool

from dyna_graph.agent import create_dyna_agent
from dyna_graph.config import DynaConfig
from dyna_graph.config.build import loop_settings
from dyna_nodes.codec import Outcome
from dyna_nodes.events import ObserveEvent
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Prediction, Query, Transition
from dyna_nodes.protocols import SurprisedWorldModel
from dyna_nodes.testing import ScriptedChatModel, ScriptedWorldModel, call, calls


@tool
def look(where: str) -> str:
    """Look somewhere."""
    if where == "nowhere":
        raise ValueError("there is no such place")
    return f"You see {where}."


@tool(response_format="content_and_artifact")
def win() -> tuple[str, dict[str, Any]]:
    """Win the game."""
    return "You won.", {"reward": 1.0, "done": True}


def seeing(query: Query) -> Any:
    where = query.action.arguments.get("where")
    return Prediction(error="too dark") if where == "cellar" else f"You see {where}."


class Surprised(ScriptedWorldModel):
    """A scripted world model that is surprised by rule; notes what it was asked."""

    def __init__(self, rule: Callable[[Query, Outcome], Any]) -> None:
        super().__init__(seeing, name="surprised")
        self.rule = rule
        self.asked: list[list[tuple[Query, Outcome]]] = []

    def surprise(self, queries: Sequence[Query], outcomes: Sequence[Outcome]) -> list[float | None]:
        self.asked.append(list(zip(queries, outcomes, strict=True)))
        return [self.rule(*one) for one in self.asked[-1]]

    async def asurprise(self, queries: Sequence[Query], outcomes: Sequence[Outcome]) -> list[float | None]:
        return self.surprise(queries, outcomes)


def letters(query: Query, outcome: Outcome) -> float:
    return len(outcome.observation) / 10


def play(drive: Any, world: Any, *turns: Any, **options: Any) -> list[Transition]:
    """Return the executed transitions as observe tells them."""
    model = ScriptedChatModel(script=[*turns, "Done."])
    agent = create_dyna_agent(model, [look, win], world_model=world, **options)
    events = drive.stream(agent, stream_mode="custom")
    return [t for e in events if isinstance(e, ObserveEvent) for t in e.transitions]


def test_the_calls_of_a_round_are_asked_about_at_once(drive: Any, tmp_path: Path) -> None:
    world = Surprised(letters)
    assert isinstance(world, SurprisedWorldModel)
    pair = calls(("look", {"where": "a"}, "1"), ("look", {"where": "bb"}, "2"))
    told = play(drive, world, call("look", where="x"), pair, record=tmp_path)
    assert [t.scores["surprise"] for t in told] == [0.1 * len(t.observation) for t in told]
    assert told[0].scores == {"exact": 1.0, "f1": 1.0, "surprise": 0.1 * len("You see x.")}
    assert list(ExperienceLog(tmp_path).read()) == told
    first, second = world.asked
    assert [(q.action.text, o) for q, o in first] == [('look({"where": "x"})', Outcome("You see x."))]
    assert [len(q.history.steps) for q, *_ in second] == [1, 1]
    assert [q.action.arguments["where"] for q, *_ in second] == ["a", "bb"]
    assert [[a.arguments["where"] for a in q.siblings] for q, *_ in second] == [["bb"], ["a"]]
    assert [q.session for q, *_ in second] == [told[0].trajectory] * 2


def test_it_is_told_what_the_step_led_to(drive: Any) -> None:
    world = Surprised(lambda query, outcome: 0.0 if outcome.success else 9.0)
    [last] = play(drive, world, call("win"))
    assert last.scores["surprise"] == 0.0
    assert world.asked[0][0][1] == Outcome("You won.", success=True, reward=1.0, done=True)


@pytest.mark.parametrize(
    ("turn", "options"),
    [
        (call("look", where="nowhere"), {}),
        (call("look", where="cellar"), {}),
        (call("look", where="a"), {"tool_settings": {"look": {"simulate": False}}}),
        (call("look", where="a"), {"dry_run": True}),
        (call("look", where="a"), {"surprise": False}),
    ],
    ids=["failed", "not predicted", "opted out", "dry run", "switched off"],
)
def test_what_was_not_predicted_or_not_executed_is_not_asked_about(
    drive: Any, turn: Any, options: dict[str, Any]
) -> None:
    world = Surprised(letters)
    [transition] = play(drive, world, turn, **options)
    assert "surprise" not in transition.scores
    assert world.asked == []


class Broken(Surprised):
    """Answers with too few numbers."""

    def surprise(self, *asked: Any) -> list[float | None]:
        return []


class Slow(Surprised):
    """Does not answer in time."""

    def surprise(self, *asked: Any) -> list[float | None]:
        time.sleep(0.5)
        return super().surprise(*asked)

    async def asurprise(self, *asked: Any) -> list[float | None]:
        await asyncio.sleep(0.5)
        return super().surprise(*asked)


def out_of_memory(*asked: Any) -> float:
    raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("world", "said"),
    [
        (Surprised(out_of_memory), "out of memory"),
        (Surprised(lambda *_: "very"), "gave 'very' for its surprise"),
        (Surprised(lambda *_: float("nan")), "gave nan for its surprise"),
        (Surprised(lambda *_: float("inf")), "gave inf for its surprise"),
        (Surprised(lambda *_: True), "gave True for its surprise"),
        (Broken(letters), "asked about 1 observations and gave 0 answers"),
        (Slow(letters), "no answer within 0.1 s"),
        (Surprised(lambda *_: None), ""),
    ],
    ids=[
        "raises",
        "says nonsense",
        "is no number",
        "is infinite",
        "says yes",
        "says too little",
        "is slow",
        "cannot tell",
    ],
)
def test_a_failure_is_logged_and_the_score_is_missing(
    drive: Any, world: Surprised, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "dyna_nodes"):
        told = play(drive, world, call("look", where="a"), world_model_timeout=0.1)
    assert [t.scores for t in told] == [{"exact": 1.0, "f1": 1.0}]
    assert told[0].observation == "You see a."
    assert said in caplog.text
    assert bool(said) == ("'surprised'" in caplog.text)


def interrupted(*asked: Any) -> float:
    raise KeyboardInterrupt


def test_an_interrupted_question_does_not_cost_the_record(drive: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        play(drive, Surprised(interrupted), call("look", where="a"), record=tmp_path)
    [recorded] = ExperienceLog(tmp_path).read()
    assert recorded.observation == "You see a."
    assert recorded.scores == {"exact": 1.0, "f1": 1.0}


def test_it_can_be_switched_off_in_yaml(tmp_path: Path) -> None:
    file = tmp_path / "dyna.yaml"
    file.write_text("model: openai:gpt-5-mini\nsimulate:\n  surprise: false\n")
    assert not loop_settings(DynaConfig.from_file(file)).surprise
    file.write_text("model: openai:gpt-5-mini\n")
    assert loop_settings(DynaConfig.from_file(file)).surprise
