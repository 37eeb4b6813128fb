"""A world model, a judge or a policy behind a server that is down, slow, or answers nonsense."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphRecursionError
from langgraph.types import Command

from dyna_graph.models import resolve_model
from dyna_nodes.critics import JudgeCritic, OutcomeCritic
from dyna_nodes.nouns import Action, History, ImaginedStep, Prediction, Simulation
from dyna_nodes.testing import ScriptedChatModel, ScriptedWorldModel, call
from dyna_nodes.world_models.chat import ChatWorldModel
from tests.graph.judged import answered_at_the_end
from tests.graph.loopback import Reply, completion, openai_server, send

pytest.importorskip("langchain_openai")

PAID: list[int] = []
GOOD = "<observation>paid</observation><success>yes</success>"


@pytest.fixture(autouse=True)
def _clean() -> None:
    PAID.clear()


@tool
def pay(amount: int) -> str:
    """Pay."""
    PAID.append(amount)
    return "paid"


def saying(content: Any, **fields: Any) -> Reply:
    return lambda handler: send(handler, completion({"content": content}, **fields))


def sending(body: bytes, **options: Any) -> Reply:
    return lambda handler: send(handler, body, **options)


def bare(handler: Any) -> None:
    """Answer without a line of HTTP."""
    handler.wfile.write(b"\x00\xff" * 40)


BROKEN: dict[str, Reply] = {
    "a page of HTML": sending(b"<html>502 Bad Gateway</html>"),
    "half of the JSON": sending(completion({"content": GOOD})[:60]),
    "nothing": sending(b""),
    "another JSON": sending(b"[1, 2]"),
    "an error with status 200": sending(b'{"error": {"message": "out of memory", "code": 500}}'),
    "status 500": sending(b'{"error": {"message": "boom"}}', status=500),
    "an unknown model": sending(b'{"error": {"message": "no such model"}}', status=404),
    "too many requests": sending(b"{}", status=429),
    "a connection that breaks": sending(completion({"content": GOOD}), length=100_000),
    "bytes": bare,
    "no choices": saying(GOOD, choices=[]),
    "null instead of choices": saying(GOOD, choices=None),
    "null instead of text": saying(None),
    "a number instead of text": saying(7),
    "prose": saying("Sure! I would say that it will probably be paid."),
    "a verdict": saying('{"decision": "approve", "score": 1.0}'),
    "a megabyte": saying("x" * 1_000_000),
}


def guarded(make: Any, url: str, **options: Any) -> Any:
    """An agent that pays once, if the world model behind ``url`` says that it succeeds."""
    world = ChatWorldModel(resolve_model(f"vllm:m@{url}", max_retries=0))
    policy = ScriptedChatModel(script=[call("pay", amount=1), "Done."])
    return make(policy, [pay], world_model=world, critic=OutcomeCritic(), **options)


def answers(result: dict[str, Any]) -> list[str]:
    return [m.content for m in result["messages"] if m.type == "tool"]


def test_a_server_that_works(drive: Any, make: Any) -> None:
    with openai_server(saying(GOOD)) as (url, asked):
        assert answers(drive(guarded(make, url))) == ["paid"]
    assert [request["model"] for request in asked] == ["m"]


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
def test_without_a_prediction_nothing_runs(drive: Any, make: Any, reply: Reply) -> None:
    with openai_server(reply) as (url, asked):
        (text,) = answers(drive(guarded(make, url)))
    assert len(asked) == 1
    assert PAID == []
    assert text.startswith("This call could not be judged: no prediction: ")


def test_the_policy_for_failures_may_allow_it(drive: Any, make: Any) -> None:
    with openai_server(BROKEN["half of the JSON"]) as (url, _):
        assert answers(drive(guarded(make, url, on_failure="allow"))) == ["paid"]


def test_the_policy_for_failures_may_ask_a_human(drive: Any, make: Any, thread: Any) -> None:
    with openai_server(BROKEN["status 500"]) as (url, _):
        agent = guarded(make, url, on_failure="escalate", checkpointer=InMemorySaver())
        (pause,) = drive(agent, "go", thread)["__interrupt__"]
        assert PAID == []
        assert "boom" in pause.value["action_requests"][0]["description"]
        result = drive(agent, Command(resume={"decisions": [{"type": "reject"}]}), thread)
    assert PAID == []
    assert answered_at_the_end(result)


def test_a_server_that_is_down(drive: Any, make: Any) -> None:
    with (
        socket.socket() as taken
    ):  # bound and never listening: nobody answers, and nobody else takes the port
        taken.bind(("127.0.0.1", 0))
        (text,) = answers(drive(guarded(make, f"http://127.0.0.1:{taken.getsockname()[1]}/v1")))
    assert PAID == []
    assert "Connection error" in text


def test_a_server_that_is_slow(drive: Any, make: Any) -> None:
    release = threading.Event()

    def late(handler: Any) -> None:
        release.wait(5)
        saying(GOOD)(handler)

    with openai_server(late) as (url, _):
        (text,) = answers(drive(guarded(make, url, world_model_timeout=0.2)))
        release.set()
    assert PAID == []
    assert "no answer within 0.2 s" in text


@pytest.mark.parametrize("name", ["half of the JSON", "prose", "null instead of text", "status 500"])
def test_a_judge_that_gives_no_verdict(drive: Any, make: Any, name: str) -> None:
    with openai_server(BROKEN[name]) as (url, _):
        agent = make(
            ScriptedChatModel(script=[call("pay", amount=1), "Done."]),
            [pay],
            world_model=ScriptedWorldModel(lambda query: "paid"),
            critic=JudgeCritic(resolve_model(f"vllm:m@{url}", max_retries=0)),
        )
        (text,) = answers(drive(agent))
    assert PAID == []
    assert "the judge gave no verdict" in text


ODD: dict[str, tuple[str | None, str | None, str]] = {
    "cut arguments": ("pay", '{"amount": ', "could not be read"),
    "a list of arguments": ("pay", "[1]", "could not be read"),
    "a text of arguments": ("pay", '"1"', "could not be read"),
    "half a surrogate pair": ("pay", '{"amount": "\\ud800"}', "surrogate"),
    "half a surrogate pair as a name": ("pay", '{"\\ud800": 1}', "surrogate"),
    "endless nesting": ("pay", '{"amount": ' + "[" * 900 + "]" * 900 + "}", "levels deep"),
    "an endless number": ("pay", '{"amount": 1' + "0" * 400 + "}", "64 bits"),
    "the wrong type": ("pay", '{"amount": "much"}', "Error invoking tool 'pay'"),
    "no arguments": ("pay", "{}", "Error invoking tool 'pay'"),
    "another tool": ("fly", '{"amount": 1}', "There is no tool 'fly'"),
    "another case": ("Pay", '{"amount": 1}', "There is no tool 'Pay'"),
    "no name": ("", '{"amount": 1}', "There is no tool ''"),
}


@pytest.mark.parametrize(("name", "arguments", "told"), ODD.values(), ids=ODD)
def test_a_call_that_makes_no_sense_is_answered_and_does_not_run(
    drive: Any, make: Any, thread: Any, tmp_path: Any, name: str, arguments: str, told: str
) -> None:
    def policy(handler: Any) -> None:
        first = len(asked) == 1
        calls = [{"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}]
        message = {"content": "", "tool_calls": calls} if first else {"content": "Sorry."}
        send(handler, completion(message))

    with openai_server(policy) as (url, asked):
        agent = make(
            resolve_model(f"vllm:m@{url}", max_retries=0),
            [pay],
            world_model=ScriptedWorldModel(lambda query: "paid"),
            checkpointer=InMemorySaver(),
            record=tmp_path,
        )
        result = drive(agent, "go", thread)
    assert PAID == []
    assert answered_at_the_end(result)
    assert any(told in str(message.content) for message in result["messages"])
    assert json.dumps(asked[1]), "the next request could be written"


def test_a_judge_is_held_to_a_verdicts_schema_and_agents_with_tools_to_none() -> None:
    from langchain.agents import create_agent

    verdict = {"decision": "approve", "score": 1, "reason": "", "hint": ""}
    step = ImaginedStep(action=Action(tool="pay"), prediction=Prediction(observation="paid"))
    simulation = Simulation(candidate=0, call_id="1", steps=(step,))
    with openai_server(saying(json.dumps(verdict))) as (url, asked):
        model = resolve_model(f"vllm:m@{url}")
        assert [v.decision for v in JudgeCritic(model).judge(History(task=""), [simulation])] == ["approve"]
        assert asked.pop()["response_format"]["json_schema"]["name"] == "Verdict"
        schema = {"title": "Total", "description": "It.", "type": "object", "properties": {}}
        agent = create_agent(model, [pay], response_format=schema)
        with contextlib.suppress(GraphRecursionError):
            agent.invoke({"messages": [("user", "go")]}, {"recursion_limit": 5})
        assert "response_format" not in asked[0], (
            "vLLM would hold calls to it, too, and none could be written"
        )
        assert [t["function"]["name"] for t in asked[0]["tools"]] == ["pay", "Total"]
