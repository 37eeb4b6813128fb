"""Chat logs: what is kept, what is reported and why, and that no turn is lost on the way."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dyna_nodes.nouns import Trajectory
from dyna_training.traces.chat_logs import read_chat_log
from dyna_training.traces.conversation import Reading
from dyna_training.traces.problems import Fate, Imported, Reason, Reported
from dyna_training.traces.thinking import find_action, split_thinking
from tests.training.traces.logs import assistant, call, jsonl, tool, user

GOOD = [
    {"role": "system", "content": "You run the harbour."},
    user("Open the gate."),
    assistant("The gate is shut. If I press the button it will open.", call("1", "press", button="gate")),
    tool("1", "The gate opens."),
    assistant("It is open.", content="The gate is open."),
]


def read(path: Path, format: str = "openai", reading: Reading | None = None) -> list[Imported]:
    found = list(read_chat_log(path, format, reading or Reading()))
    for imported in found:
        imported.check()
    return found


def one(path: Path, **options: Any) -> tuple[Trajectory, list[Reported]]:
    found = read(path, **options)
    [trajectory] = [i.trajectory for i in found if i.trajectory is not None]
    return trajectory, [line for i in found for line in i.reported]


def reasons(lines: list[Reported]) -> list[tuple[str, int | None, str]]:
    return [(line.reason, line.turn, line.fate) for line in lines]


def test_a_conversation_becomes_a_trajectory(tmp_path: Path) -> None:
    trajectory, lines = one(jsonl(tmp_path / "a.jsonl", {"messages": GOOD, "success": True, "model": "r"}))
    [step] = trajectory.transitions
    assert trajectory.task == "Open the gate."
    assert trajectory.outcome == "success"
    assert trajectory.configuration["system"] == "You run the harbour."
    assert step.thought == "The gate is shut. If I press the button it will open."
    assert step.action.text == 'press({"button": "gate"})'
    assert (step.observation, step.status, step.trajectory) == ("The gate opens.", "ok", trajectory.id)
    assert trajectory.provenance.policy == "r"
    assert reasons(lines) == [(Reason.NO_ACTION, 2, Fate.LEFT_OUT)]


@pytest.mark.parametrize(
    "message",
    [
        {"reasoning_content": "I think."},
        {"reasoning": "I think."},
        {"content": "<think>I think.</think>"},
        {"content": "I think.</think>"},
        {"content": [{"type": "thinking", "thinking": "I think."}, {"type": "text", "text": ""}]},
        {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "I think."}]}]},
        {"additional_kwargs": {"reasoning_content": "I think."}},
    ],
)
def test_thinking_is_found_wherever_it_stands(tmp_path: Path, message: dict[str, Any]) -> None:
    turn = {"role": "assistant", "content": "", "tool_calls": [call("1", "press")], **message}
    trajectory, lines = one(jsonl(tmp_path / "a.jsonl", {"messages": [user("Go."), turn, tool("1", "ok")]}))
    assert [t.thought for t in trajectory.transitions] == ["I think."]
    assert not lines


def broken(name: str) -> tuple[list[dict[str, Any]], Reason, Fate]:
    think, press, ok = "I think.", call("1", "press"), tool("1", "ok")
    cases: dict[str, tuple[list[dict[str, Any]], Reason, Fate]] = {
        "without thinking": ([assistant("", press), ok], Reason.NO_THINKING, Fate.READ),
        "unknown tool": ([assistant(think, call("1", "fly")), ok], Reason.UNKNOWN_TOOL, Fate.READ),
        "failed": ([assistant(think, press), tool("1", "no", status="error")], Reason.FAILED, Fate.READ),
        "failed by text": ([assistant(think, press), tool("1", "Error: jammed")], Reason.FAILED, Fate.READ),
        "bad arguments": (
            [assistant(think, {"id": "1", "function": {"name": "press", "arguments": "{bu"}}), ok],
            Reason.NOT_PARSED,
            Fate.LEFT_OUT,
        ),
        "never answered": ([assistant(think, press), user("Well?")], Reason.UNANSWERED, Fate.LEFT_OUT),
        "cut off": (
            [assistant(think, press) | {"content": "<think>and so I", "finish_reason": "length"}, ok],
            Reason.UNCLOSED,
            Fate.READ,
        ),
        "no action": ([assistant(think, content="I would rather not.")], Reason.NO_ACTION, Fate.LEFT_OUT),
        "unreadable": ([{"role": "assistant", "content": 7}], Reason.FORMAT, Fate.LEFT_OUT),
    }
    return cases[name]


@pytest.mark.parametrize(
    "name",
    [
        "without thinking",
        "unknown tool",
        "failed",
        "failed by text",
        "bad arguments",
        "never answered",
        "cut off",
        "no action",
        "unreadable",
    ],
)
def test_a_bad_turn_is_reported_and_the_others_are_kept(tmp_path: Path, name: str) -> None:
    messages, reason, fate = broken(name)
    rest = [assistant("Again.", call("2", "press")), tool("2", "It clicks.")]
    record = {"messages": [user("Go."), *messages, *rest], "tools": [{"function": {"name": "press"}}]}
    trajectory, lines = one(jsonl(tmp_path / "a.jsonl", record))
    assert reasons(lines) == [(reason, 1, fate)]
    assert [t.thought for t in trajectory.transitions if t.labels.get("expert", 1)] == ["Again."]
    read_only = [t for t in trajectory.transitions if not t.labels.get("expert", 1)]
    assert len(read_only) == (fate is Fate.READ)
    assert all(t.thought == "" for t in read_only)
    assert all(t.status == ("error" if reason is Reason.FAILED else "ok") for t in read_only)


def test_roles_out_of_order_are_reported(tmp_path: Path) -> None:
    messages = [
        tool("0", "from nowhere"),
        assistant("First.", call("1", "press")),
        tool("1", "ok"),
        tool("9", "for nobody"),
        {"role": "system", "content": "late"},
        {"role": "narrator", "content": "who?"},
        assistant("Second.", call("2", "press")),
        tool("2", "ok"),
    ]
    trajectory, lines = one(jsonl(tmp_path / "a.jsonl", {"messages": messages}))
    assert sorted(reasons(lines), key=str) == sorted(
        [
            (Reason.FORMAT, None, Fate.LEFT_OUT),
            (Reason.ORDER, None, Fate.LEFT_OUT),
            (Reason.ORDER, 1, Fate.LEFT_OUT),
            (Reason.ORDER, 1, Fate.LEFT_OUT),
            (Reason.ORDER, 1, Fate.READ),
        ],
        key=str,
    )
    assert [t.thought for t in trajectory.transitions] == ["", "Second."]


def test_actions_in_plain_text_and_observations_from_the_user(tmp_path: Path) -> None:
    messages = [
        user("Find the rope."),
        {"role": "assistant", "content": "<think>West is new.</think>I go west.\n> go west"},
        user("A shed. A rope lies here."),
        {"role": "assistant", "content": "<think>There it is.\n> a quote</think>\n> take rope"},
        {"role": "assistant", "content": "<think>Hm.</think>\n> look"},
        user("You hold a rope."),
        {"role": "assistant", "content": "<think>Two.</think>\n> go west\n> go east"},
        user("What?"),
    ]
    trajectory, lines = one(jsonl(tmp_path / "a.jsonl", messages))
    assert [t.action.text for t in trajectory.transitions] == ["go west", "look"]
    assert trajectory.transitions[0].thought == "West is new.\n\nI go west."
    assert reasons(lines) == [(Reason.ORDER, 2, Fate.LEFT_OUT), (Reason.NOT_PARSED, 4, Fate.LEFT_OUT)]
    assert trajectory.transitions[-1].observation == "You hold a rope.\n\nWhat?"
    own = [{**m, "content": m["content"].replace("> go west", "DO: go west")} for m in messages[:3]]
    reading = Reading(pattern=re.compile(r"^DO: (.+)$", re.MULTILINE))
    trajectory, lines = one(jsonl(tmp_path / "b.jsonl", own), reading=reading)
    assert [t.action.text for t in trajectory.transitions] == ["go west"]


def test_of_parallel_calls_the_first_is_imitated(tmp_path: Path) -> None:
    turn = assistant("Both.", call("1", "press", n=1), call("2", "press", n=2))
    record = {"messages": [user("Go."), turn, tool("2", "two"), tool("1", "one")]}
    trajectory, lines = one(jsonl(tmp_path / "a.jsonl", record))
    assert [(t.thought, t.observation) for t in trajectory.transitions] == [("Both.", "one"), ("", "two")]
    assert [t.labels for t in trajectory.transitions] == [{}, {"expert": 0.0}]
    assert reasons(lines) == [(Reason.PARALLEL, 1, Fate.NOTED)]


def test_the_last_call_of_a_log_may_be_unanswered(tmp_path: Path) -> None:
    record = {"request": {"messages": GOOD[:2]}, "response": {"choices": [{"message": GOOD[2]}]}}
    trajectory, lines = one(jsonl(tmp_path / "a.jsonl", record))
    assert [(t.status, t.observation) for t in trajectory.transitions] == [("unknown", "")]
    assert not lines


def test_a_run_logged_request_by_request_is_imported_once(tmp_path: Path) -> None:
    bare = [{k: v for k, v in m.items() if k != "reasoning_content"} for m in GOOD]
    first = {"messages": GOOD[:3]}
    whole = {"messages": bare}
    other = {"messages": [*GOOD[:2], assistant("Otherwise.", call("1", "press", button="gate"))]}
    found = read(jsonl(tmp_path / "a.jsonl", first, whole, other))
    thoughts = [[t.thought for t in i.trajectory.transitions] for i in found if i.trajectory]
    assert sorted(thoughts) == [["Otherwise."], [GOOD[2]["reasoning_content"]]]
    lines = [line for i in found for line in i.reported]
    assert (Reason.REPEATED, 1) in [(line.reason, line.record) for line in lines]
    assert sum(i.turns for i in found) == 4


def broken_files() -> Iterator[tuple[str, bytes, Reason]]:
    line = json.dumps({"messages": GOOD}).encode()
    yield "empty.jsonl", b"\n", Reason.EMPTY
    yield "cut.jsonl", line + b"\n" + line[:-30], Reason.TRUNCATED
    yield "bad.jsonl", line + b"\n{oops}\n", Reason.FORMAT
    yield "latin.jsonl", line + b"\n" + '{"messages": "café"}'.encode("latin-1") + b"\n", Reason.ENCODING
    yield "cut.json", b"[" + line + b", " + line[:-30], Reason.TRUNCATED
    yield "latin.json", '["café"]'.encode("latin-1"), Reason.ENCODING
    yield "cut_object.json", line[:-1], Reason.TRUNCATED
    yield "none.jsonl", line + b'\n{"messages": []}\n', Reason.EMPTY
    yield "other.jsonl", line + b'\n{"prompt": "x"}\n', Reason.FORMAT


@pytest.mark.parametrize(("name", "content", "reason"), list(broken_files()), ids=lambda v: str(v)[:20])
def test_damage_is_reported_and_the_whole_records_are_kept(
    tmp_path: Path, name: str, content: bytes, reason: Reason
) -> None:
    (tmp_path / name).write_bytes(content)
    found = read(tmp_path / name)
    lines = [line for i in found for line in i.reported if line.reason is not Reason.NO_ACTION]
    assert [line.reason for line in lines] == [reason]
    whole = content.startswith((b'{"messages": [{', b"[{")) and name != "cut_object.json"
    assert sum(i.kept for i in found) == int(whole)


def constructor(kind: str, **fields: Any) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind], "kwargs": fields}


CALLS = [{"name": "press", "args": {"button": "gate"}, "id": "1", "type": "tool_call"}]
FORMS: dict[str, list[dict[str, Any]]] = {
    "constructors": [
        constructor("HumanMessage", content="Open the gate."),
        constructor(
            "AIMessage", content="", tool_calls=CALLS, additional_kwargs={"reasoning_content": "Press."}
        ),
        constructor("ToolMessage", content="It opens.", tool_call_id="1"),
    ],
    "type and data": [
        {"type": "human", "data": {"content": "Open the gate."}},
        {"type": "ai", "data": {"content": "<think>Press.</think>", "tool_calls": CALLS}},
        {"type": "tool", "data": {"content": "It opens.", "tool_call_id": "1"}},
    ],
    "flat": [
        {"type": "human", "content": "Open the gate."},
        {"type": "ai", "content": [{"type": "thinking", "thinking": "Press."}], "tool_calls": CALLS},
        {"type": "tool", "content": "It opens.", "tool_call_id": "1"},
    ],
    "roles": [
        user("Open the gate."),
        assistant("Press.", call("1", "press", button="gate")),
        tool("1", "It opens."),
    ],
}


@pytest.mark.parametrize("form", list(FORMS))
@pytest.mark.parametrize("nested", [False, True])
def test_langsmith_runs_in_every_serialised_form(tmp_path: Path, form: str, nested: bool) -> None:
    messages = FORMS[form]
    graph = {"run_type": "chain", "inputs": {"messages": messages[:1]}, "outputs": {"messages": messages}}
    model = {
        "run_type": "llm",
        "inputs": {"messages": [messages[:1]] if nested else messages[:1]},
        "outputs": {"generations": [[{"message": messages[1]}]]} if nested else {"output": messages[1]},
        "extra": {"invocation_params": {"model": "r", "tools": [{"function": {"name": "press"}}]}},
    }
    path = tmp_path / "runs.json"
    path.write_text(json.dumps({"runs": [model, graph, {"run_type": "tool", "inputs": {"input": "x"}}]}))
    trajectory, lines = one(path, format="langsmith")
    assert trajectory.task == "Open the gate."
    assert [(t.thought, t.action.text, t.observation) for t in trajectory.transitions] == [
        ("Press.", 'press({"button": "gate"})', "It opens.")
    ]
    assert trajectory.provenance.policy == "r"
    assert sorted(line.reason for line in lines) == [Reason.FORMAT, Reason.REPEATED]


def test_replies_are_taken_apart() -> None:
    assert split_thinking("<think>a</think>b") == ("a", "b", True)
    assert split_thinking("a</think>b") == ("a", "b", True)
    assert split_thinking("b<think>a") == ("a", "b", False)
    assert find_action('<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>').action is not None
    assert find_action("<tool_call>{oops}</tool_call>").problem
    assert find_action("nothing here") == (None, "nothing here", "")


JUNK: list[Any] = [None, 7, "x", "", [], {}, [7], {"a": 1}, [[]], True, [None, {"role": "assistant"}]]


def mutated(value: Any, draw: random.Random) -> Any:
    """Return a copy in which one node is junk."""
    if isinstance(value, list | dict) and value and draw.random() < 0.8:
        key = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
        copy = value.copy()
        copy[key] = mutated(value[key], draw)
        return copy
    return draw.choice(JUNK)


@pytest.mark.parametrize("format", ["openai", "langsmith"])
def test_no_junk_stops_an_import_or_loses_a_turn(tmp_path: Path, format: str) -> None:
    draw = random.Random(0)
    openai = {"messages": GOOD, "tools": [{"function": {"name": "press"}}], "metadata": {"reward": 1}}
    runs = [{"inputs": {"messages": f[:1]}, "outputs": {"messages": f[1:]}} for f in FORMS.values()]
    sources = [openai, {"request": openai, "response": {"choices": [{"message": GOOD[2]}]}}, *runs]
    records = [mutated(draw.choice(sources), draw) for _ in range(600)]
    found = read(jsonl(tmp_path / "a.jsonl", *records), format)  # it checks the counts
    assert sum(i.kept for i in found) >= 5
    assert sum(len(i.reported) for i in found) > 100
