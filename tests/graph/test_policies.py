"""Policies per tool: what follows from rejection, doubt and failure is decided by the tool's settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from dyna_graph import ConfigError, DynaConfig, create_dyna_agent
from dyna_nodes.nouns import Prediction
from dyna_nodes.testing import ScriptedChatModel, ScriptedCritic, ScriptedWorldModel, call, calls
from tests.graph.judged import DONE, contents, look, no_bad, touch
from tests.graph.middleware.doors import guarded


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    DONE.clear()
    yield
    DONE.clear()


def judged(prediction: Any, settings: Any, *, where: str = "a", saver: Any = None, **options: Any) -> Any:
    message = calls(("look", {"where": where}, "1"), ("touch", {"what": "b"}, "2"))
    return create_dyna_agent(
        ScriptedChatModel(script=[message, "Done.", "Done."]),
        [look, touch],
        world_model=ScriptedWorldModel(lambda query: prediction),
        critic=options.pop("critic", ScriptedCritic(no_bad)),
        tool_settings={"look": settings},
        checkpointer=saver,
        **options,
    )


SEEN = Prediction(observation="You see a.")
GOOD = SEEN.model_copy(update={"success": True, "confidence": 0.9})


@pytest.mark.parametrize(
    ("prediction", "settings", "runs"),
    [
        (SEEN, {"irreversible": True}, False),
        (GOOD, {"irreversible": True}, True),
        (SEEN, {"irreversible": True, "needs_success": False}, True),
        (SEEN, {"needs_success": True}, False),
        (SEEN, {"irreversible": True, "on_uncertain": "allow"}, True),
        (SEEN, {"min_confidence": 0.8}, False),
        (GOOD, {"min_confidence": 0.8}, True),
        (GOOD, {"min_confidence": 0.95}, False),
    ],
)
def test_doubt(prediction: Prediction, settings: Any, runs: bool, drive: Any) -> None:
    result = drive(judged(prediction, settings))
    assert (["a", "touch b"] if runs else ["touch b"]) == DONE, "the other tool has no such policy"
    if not runs:
        assert "This call should not run" in contents(result)[0]


def test_without_a_world_model_nothing_can_be_predicted(drive: Any) -> None:
    model = ScriptedChatModel(script=[call("look", "1", where="a"), "Done."])
    drive(create_dyna_agent(model, [look], tool_settings={"look": {"irreversible": True}}))
    assert DONE == ["a"]


@pytest.mark.parametrize(("policy", "done"), [("block", ["touch b"]), ("allow", ["bad", "touch b"])])
def test_rejection(policy: str, done: list[str], drive: Any) -> None:
    drive(judged(SEEN, {"on_reject": policy}, where="bad"))
    assert sorted(DONE) == sorted(done)


@pytest.mark.parametrize(
    ("settings", "where", "reason"),
    [
        ({"on_reject": "escalate"}, "bad", "it is bad"),
        ({"on_uncertain": "escalate", "needs_success": True}, "a", "no success predicted"),
    ],
)
def test_a_human_decides(settings: Any, where: str, reason: str, drive: Any, thread: Any) -> None:
    agent = judged(SEEN, settings, where=where, saver=InMemorySaver())
    result = drive(agent, "go", thread)
    assert reason in result["__interrupt__"][0].value["action_requests"][0]["description"]
    drive(agent, Command(resume={"decisions": [{"type": "approve"}]}), thread)
    assert sorted(DONE) == sorted([where, "touch b"])


@pytest.mark.parametrize(("policy", "runs"), [("allow", True), ("block", False), (None, False)])
def test_a_critic_that_breaks(policy: str | None, runs: bool, drive: Any) -> None:
    critic = ScriptedCritic(lambda history, simulation: RuntimeError("out of order"))
    drive(judged(SEEN, {"on_failure": policy}, critic=critic))
    assert (["a"] if runs else []) == DONE


def test_the_middleware_has_them_too(drive: Any) -> None:
    script = [calls(("look", {"where": "a"}, "1"), ("touch", {"what": "b"}, "2")), "Done."]
    drive(guarded(script, tool_settings={"look": {"irreversible": True}}))
    assert DONE == ["touch b"]


def test_who_may_ask_a_human_needs_a_checkpointer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs a checkpointer"):
        judged(SEEN, {"on_reject": "escalate"})
    file = tmp_path / "dyna.yaml"
    file.write_text("model: openai:x\ntools:\n  look:\n    on_uncertain: escalate\n")
    with pytest.raises(ConfigError, match=r"dyna\.yaml:4.*'tools\.look\.on_uncertain' may ask a human"):
        DynaConfig.from_file(file).build([look], model=ScriptedChatModel(script=["Done."]))
