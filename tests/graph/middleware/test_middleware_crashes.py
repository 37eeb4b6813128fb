"""An agent of LangChain with the middleware is killed and goes on: nothing is repeated silently, nothing is lost."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command

from dyna_nodes.experience import ExperienceLog
from tests.graph.crashing import lines

KILLED = -signal.SIGKILL
Process = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def process(request: pytest.FixtureRequest, tmp_path: Path, server: Any) -> Process:
    """Run the crashing agent in a process of its own; returns what it says, or its exit status."""
    import crashing

    def run(where: str, text: str = "") -> Any:
        child = server.Process(
            target=crashing.main, args=(tmp_path, where, request.param, text, "middleware")
        )
        child.start()
        child.join(60)
        if child.exitcode == KILLED:
            return KILLED
        assert child.exitcode == 0
        return json.loads((tmp_path / "result").read_text())

    return run


def resume(folder: Path, decision: dict[str, Any]) -> dict[str, Any]:
    """Go on in this process, as an approval screen would, with one decision for every pause."""
    import crashing

    with crashing.saver_in(folder) as saver:
        agent = crashing.make_agent(folder, "never", saver, "middleware")
        pauses = [i.id for t in agent.get_state(crashing.CONFIG).tasks for i in t.interrupts]
        answers = {pause: {"decisions": [decision]} for pause in pauses}
        return agent.invoke(Command(resume=answers), crashing.CONFIG, durability="sync")  # type: ignore[no-any-return]


def observations(folder: Path) -> list[tuple[str, str]]:
    return [(t.observation, t.status) for t in ExperienceLog(folder / "experience").read()]


@pytest.mark.parametrize("where", ["before", "after"])
def test_killed_in_a_tool(process: Process, tmp_path: Path, where: str) -> None:
    assert process(f"{where} b", "a b c") == KILLED
    before = lines(tmp_path, "effects")
    assert before == (["a"] if where == "before" else ["a", "b"])
    result = process("never")
    assert lines(tmp_path, "effects") == before, "nothing acts before the unknown is decided"
    unknown, waiting = (pause["action_requests"][0] for pause in result["pauses"])
    assert (unknown["name"], unknown["args"]) == ("write", {"word": "b"})
    assert "how it ended is not known" in unknown["description"]
    assert "it waits, because how an earlier call ended is not known" in waiting["description"]
    final = resume(tmp_path, {"type": "approve"})
    assert [m.content for m in final["messages"] if m.type == "tool"] == ["wrote a", "wrote b", "wrote c"]
    assert sorted(lines(tmp_path, "effects")) == sorted([*before, "b", "c"]), (
        "a finished sibling is not run again"
    )
    assert len(lines(tmp_path, "policy")) == 2, "the policy is not asked again for what it had decided"
    assert sorted(observations(tmp_path)) == [("wrote a", "ok"), ("wrote b", "ok"), ("wrote c", "ok")]


@pytest.mark.parametrize(
    ("decision", "left"),
    [
        ({"type": "respond", "message": "b stands there"}, ("b stands there", "ok")),
        ({"type": "reject"}, ("", "unknown")),
    ],
)
def test_a_human_says_what_happened_or_leaves_it_open(
    process: Process, tmp_path: Path, decision: Any, left: tuple[str, str]
) -> None:
    assert process("after b", "a b") == KILLED
    process("never")
    resume(tmp_path, decision)
    assert lines(tmp_path, "effects") == ["a", "b"]
    assert observations(tmp_path) == [("wrote a", "ok"), left]


@pytest.mark.parametrize("where", ["finish", "record", "policy"])
def test_killed_where_everything_is_known(process: Process, tmp_path: Path, where: str) -> None:
    assert process(where, "a b") == KILLED
    assert process("never") == {"tools": ["wrote a", "wrote b"], "pauses": []}
    assert lines(tmp_path, "effects") == ["a", "b"]
    assert observations(tmp_path) == [("wrote a", "ok"), ("wrote b", "ok")]
