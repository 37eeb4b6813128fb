"""Both doors lead to one core: the same script leaves the same transitions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from dyna_nodes.nouns import Decision, Prediction, Query, Verdict
from dyna_nodes.testing import ScriptedCritic, ScriptedWorldModel, call, calls
from tests.graph.judged import DONE, contents, look, seeing, touch
from tests.graph.middleware.doors import guarded, own_graph, recorded


@tool(response_format="content_and_artifact")
def step(way: str) -> tuple[str, dict[str, Any]]:
    """Walk a step in a small world; the third step wins."""
    DONE.append(way)
    won = len(DONE) == 3
    return f"You went {way}.", {"reward": float(won), "done": won}


@tool
def broken(x: int) -> str:
    """Raise always."""
    raise ValueError(f"broken {x}")


def changing(history: Any, simulation: Any) -> Verdict:
    action = simulation.action
    if action.arguments.get("where") != "cellar":
        return Verdict(decision=Decision.APPROVE, score=1.0)
    other = action.model_copy(update={"arguments": {"where": "attic"}})
    return Verdict(decision=Decision.MODIFY, reason="too dark", action=other)


def better(history: Any, simulation: Any) -> Verdict:
    return Verdict(decision=Decision.APPROVE, score=float(simulation.action.arguments["where"] == "second"))


def scored(query: Query) -> Prediction:
    return Prediction(
        observation=f"You see {query.action.arguments.get('where')}.", reward=0.5, confidence=0.75
    )


def doing(*parts: tuple[str, str]) -> AIMessage:
    return calls(
        *((name, {"where" if name == "look" else "what": what}, f"{name}-{what}") for name, what in parts)
    )


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "one call": lambda: {"script": [call("look", "1", where="a"), "Done."]},
    "no call": lambda: {"script": ["Done."]},
    "parallel calls": lambda: {"script": [doing(("look", "a"), ("touch", "b"), ("look", "c")), "Done."]},
    "rejected siblings": lambda: {
        "script": [doing(("look", "bad"), ("look", "a"), ("touch", "bad2"), ("look", "b")), "Done."]
    },
    "revisions": lambda: {
        "script": [
            call("look", "1", where="bad"),
            call("look", "2", where="bad"),
            call("look", "3", where="a"),
            "Done.",
        ]
    },
    "revisions run out": lambda: {
        "script": [call("look", str(i), where="bad") for i in range(20)],
        "max_revisions": 1,
        "max_blocks": 2,
    },
    "allowed when revisions run out": lambda: {
        "script": [call("look", "1", where="bad"), "Done."],
        "max_revisions": 0,
        "on_exhausted": "allow",
    },
    "a changed call": lambda: {
        "script": [doing(("look", "cellar"), ("look", "a")), "Done."],
        "critic": ScriptedCritic(changing),
    },
    "advise": lambda: {"script": [doing(("look", "bad"), ("look", "a")), "Done."], "mode": "advise"},
    "shadow": lambda: {"script": [doing(("look", "bad"), ("look", "a")), "Done."], "mode": "shadow"},
    "dry run": lambda: {"script": [doing(("look", "a"), ("look", "b")), "Done."], "dry_run": True},
    "several candidates": lambda: {
        "script": [call("look", "1", where="first"), call("look", "2", where="second"), "Done.", "Done."],
        "candidates": 2,
        "critic": ScriptedCritic(better),
    },
    "looking ahead": lambda: {
        "script": lambda m: "Done." if len(m) > 4 else call("look", where=f"place {len(m)}"),
        "horizon": 2,
        "world_model": ScriptedWorldModel(scored),
    },
    "unknown tools": lambda: {"script": [doing(("look", "a"), ("nothing", "x")), "Done."]},
    "unreadable calls": lambda: {
        "script": [
            AIMessage(
                "",
                tool_calls=[{"name": "look", "args": {"where": "a"}, "id": "1", "type": "tool_call"}],
                invalid_tool_calls=[
                    {"name": "look", "args": "{", "id": "2", "error": None, "type": "invalid_tool_call"}
                ],
            ),
            "Done.",
        ]
    },
    "empty messages": lambda: {"script": ["", "", call("look", "1", where="a"), "Done."]},
    "ids that are missing or twice": lambda: {
        "script": [
            calls(("look", {"where": "a"}, "same"), ("look", {"where": "b"}, "same")),
            call("look", "same", where="c"),
            "Done.",
        ]
    },
    "a critic that breaks": lambda: {
        "script": [call("look", "1", where="a"), "Done."],
        "critic": ScriptedCritic(lambda h, s: RuntimeError("out of order")),
        "max_revisions": 0,
        "max_blocks": 1,
    },
    "a world model that breaks": lambda: {
        "script": [call("look", "1", where="a"), "Done."],
        "world_model": ScriptedWorldModel(lambda q: RuntimeError("out of order")),
    },
    "a critic that ends the run": lambda: {
        "script": [doing(("look", "a"), ("look", "b"))],
        "critic": ScriptedCritic(lambda h, s: Verdict(decision=Decision.END, reason="enough")),
    },
    "one after another": lambda: {
        "script": [
            calls(("step", {"way": "a"}, "1"), ("step", {"way": "b"}, "2"), content="Two steps."),
            calls(("step", {"way": "c"}, "3"), ("step", {"way": "d"}, "4"), content="Two more."),
        ],
        "tools": [step],
        "tool_settings": {"step": {"sequential": True}},
        "world_model": ScriptedWorldModel(lambda q: f"You went {q.action.arguments['way']}."),
        "critic": None,
    },
    "one after another, one of them rejected": lambda: {
        "script": [
            calls(
                ("look", {"where": "bad"}, "1"), ("look", {"where": "a"}, "2"), ("look", {"where": "b"}, "3")
            ),
            "Done.",
        ],
        "tool_settings": {"look": {"sequential": True}},
    },
    "steps are limited": lambda: {"script": lambda m: call("look", where=f"{len(m)}"), "max_steps": 2},
    "a budget": lambda: {
        "script": [call("look", "1", where="a"), call("look", "2", where="b"), "Done."],
        "tool_settings": {"look": {"budget": 1}},
    },
    "opted out": lambda: {
        "script": [doing(("look", "bad"), ("touch", "bad")), "Done."],
        "tool_settings": {"t*": {"simulate": False}},
    },
    "no world model": lambda: {
        "script": [doing(("look", "bad"), ("look", "a")), "Done."],
        "world_model": None,
    },
}


@pytest.mark.parametrize("case", CASES)
def test_both_doors_leave_the_same_transitions(case: str, drive: Any, tmp_path: Path) -> None:
    ran, found, said = [], [], []
    for door in (own_graph, guarded):
        options = CASES[case]()
        agent = door(
            options.pop("script"),
            options.pop("tools", (look, touch)),
            record=tmp_path / door.__name__,
            **options,
        )
        result = drive(agent, "go")
        ran.append(list(DONE))
        found.append(recorded(tmp_path / door.__name__))
        said.append(sorted(contents(result)))
        DONE.clear()
    assert found[0] == found[1]
    assert sorted(ran[0]) == sorted(ran[1])
    assert case == "one after another" or said[0] == said[1]


def test_a_task_after_the_first_goes_on_in_the_same_trajectory(
    drive: Any, tmp_path: Path, thread: Any
) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    found = []
    for door in (own_graph, guarded):
        script = [call("look", "1", where="a"), "Done.", call("look", "2", where="b"), "Done again."]
        agent = door(script, record=tmp_path / door.__name__, checkpointer=InMemorySaver())
        drive(agent, "go", thread)
        drive(agent, "and now b", thread)
        found.append(recorded(tmp_path / door.__name__))
    assert found[0] == found[1]
    assert [t["index"] for t in found[0]] == [0, 1]
    assert found[0][1]["task"] == "go\n\nand now b"


def test_a_tool_that_raises_is_recorded_and_raises(drive: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="broken 1"):
        drive(guarded([call("broken", "1", x=1)], [broken], record=tmp_path))
    (transition,) = recorded(tmp_path)
    assert (transition["status"], transition["observation"]) == ("error", "ValueError: broken 1")


def test_idempotent_tools_are_retried(drive: Any, tmp_path: Path) -> None:
    tries: list[int] = []

    @tool
    def fetch(x: int) -> str:
        """Fail twice."""
        tries.append(x)
        if len(tries) < 3:
            raise ConnectionError("try again")
        return "fetched"

    settings = {"fetch": {"idempotent": True, "retries": 2}}
    result = drive(guarded([call("fetch", "1", x=1), "Done."], [fetch], tool_settings=settings))
    assert contents(result) == ["fetched"]
    tries.clear()
    with pytest.raises(ConnectionError):
        drive(guarded([call("fetch", "1", x=1), "Done."], [fetch]))
    assert tries == [1]


def test_what_others_see_of_the_state_stays_as_it_was(drive: Any) -> None:
    result = drive(guarded([call("look", "1", where="a"), "Done."], world_model=ScriptedWorldModel(seeing)))
    assert set(result) == {"messages"}
