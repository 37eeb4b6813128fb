"""The connector to StableToolBench, against a server on loopback that speaks its protocol, well or badly."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from dyna_training.environments.base import GameFileError
from dyna_training.environments.connectors import ConnectorError, StableToolBenchEnv
from dyna_training.environments.connectors.queries import standard
from dyna_training.tools import environment_tools, task_message
from tests.graph.loopback import openai_server, send
from tests.training.environments.conformance import NONSENSE

ANSWER = 'Finish({"final_answer": "He plays for Miami.", "return_type": "give_answer"})'
SEARCH = 'transfermarkt_search_for_theclique({"name": "messi"})'


def api(name: str, *required: str, **optional: Any) -> dict[str, Any]:
    def parameter(name: str, default: Any) -> dict[str, Any]:
        return {
            "name": name,
            "type": "NUMBER" if default == 5 else "STRING",
            "description": "d",
            "default": default,
        }

    return {
        "category_name": "Data", "tool_name": "TheClique", "api_name": name, "api_description": f"About {name}",
        "required_parameters": [parameter(n, "messi") for n in required],
        "optional_parameters": [parameter(n, d) for n, d in optional.items()],
        "method": "GET",
    }  # fmt: skip


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A file as StableToolBench's solvable_queries have them."""
    entries = [
        {"api_list": [api("Transfermarkt search", "name"), api("List, of: things", "id", size=5)], "query_id": 588,
         "query": "Who is Messi’s club?", "relevant APIs": [["TheClique", "Transfermarkt search"]]},
        {"api_list": [api("2 letters")], "query_id": 608, "query": "Letters?"},
    ]  # fmt: skip
    file = tmp_path / "G1_instruction.json"
    file.write_text(json.dumps(entries))
    return file


class Server:
    """What the server has been asked, and how it behaves."""

    url = ""
    asked: list[dict[str, Any]]
    trouble = ""

    def reply(self, handler: BaseHTTPRequestHandler) -> None:
        with contextlib.suppress(ConnectionError):  # whoever was too impatient has hung up
            self._reply(handler)

    def _reply(self, handler: BaseHTTPRequestHandler) -> None:
        if self.trouble == "slow":
            time.sleep(1.0)
        if self.trouble == "drip":
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            for _ in range(20):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.1)
            return
        bodies = {
            "garbage": b"<html>busy</html>",
            "list": b"[1, 2]",
            "other": b'{"detail": "no"}',
            "empty": b"",
            "half": b'{"error": "", "respon',
        }
        said = f"Inter Miami, asked {json.dumps(self.asked[-1]['tool_input'])}"
        answer = {"error": "", "response": {"Clubs": said + "é" * (5000 if self.trouble == "long" else 0)}}
        body = bodies.get(self.trouble, json.dumps(answer).encode())
        send(
            handler,
            b"Internal Server Error" if self.trouble == "500" else body,
            status=500 if self.trouble == "500" else 200,
            length=1000 if self.trouble == "half" else None,
        )


@pytest.fixture
def server() -> Iterator[Server]:
    there = Server()
    with openai_server(there.reply) as (url, asked):
        there.url, there.asked = url.replace("/v1", "/virtual"), asked
        yield there


@pytest.fixture
def env(server: Server, questions: Path) -> StableToolBenchEnv:
    return StableToolBenchEnv(url=server.url, queries=[questions], key="secret", timeout=5.0)


def test_a_call_goes_over_the_wire_as_the_server_wants_it(env: StableToolBenchEnv, server: Server) -> None:
    observation, info = env.reset(options={"game": "G1_instruction/588"})
    assert (
        observation.splitlines()[0] == "transfermarkt_search_for_theclique(name): About Transfermarkt search"
    )
    assert observation.endswith("User: Who is Messi's club?")
    assert (info["task_type"], info["game_id"]) == ("G1_instruction", "G1_instruction/588")
    assert server.asked == []
    first = env.step(SEARCH)
    assert json.loads(first[0]) == {
        "error": "",
        "response": {"Clubs": 'Inter Miami, asked {"name": "messi"}'},
    }
    assert first[1:4] == (0.0, False, False)
    assert server.asked == [
        {
            "category": "Data",
            "tool_name": "theclique",
            "api_name": "transfermarkt_search",
            "tool_input": {"name": "messi"},
            "strip": "",
            "toolbench_key": "secret",
        }
    ]
    assert env.step("transfermarkt_search_for_theclique('messi')")[0] == first[0]


def test_the_judge_is_the_reward(server: Server, questions: Path) -> None:
    heard = []

    def judge(question: str, answer: str) -> float:
        heard.append((question, answer))
        return float("Miami" in answer)

    env = StableToolBenchEnv(url=server.url, queries=[questions], games=["G1_instruction/588"], judge=judge)
    env.reset()
    assert env.step('Finish({"return_type": "give_answer"})')[1:3] == (0.0, False)
    _, reward, terminated, truncated, info = env.step(ANSWER)
    assert (reward, terminated, truncated, info["won"]) == (1.0, True, False, True)
    assert heard == [("Who is Messi’s club?", "He plays for Miami.")]
    assert env.step(SEARCH)[:3] == ("The episode is over.", 0.0, True)
    env.reset()
    assert env.step('Finish({"return_type": "give_up_and_restart"})')[1:3] == (0.0, True)


def test_without_a_judge_there_is_no_reward(env: StableToolBenchEnv) -> None:
    env.reset(options={"game": "G1_instruction/588"})
    _, reward, terminated, _, info = env.step(ANSWER)
    assert (reward, terminated, info["won"]) == (0.0, True, False)


def test_functions_have_the_names_and_schemas_of_the_documentation(env: StableToolBenchEnv) -> None:
    found = {function.name: function for function in env.functions()}
    assert list(found) == [
        "transfermarkt_search_for_theclique",
        "list_of_things_for_theclique",
        "get_2_letters_for_theclique",
        "Finish",
    ]
    schema = found["list_of_things_for_theclique"].parameters
    assert schema["required"] == ["is_id"]
    assert schema["properties"]["size"] == {"type": "integer", "description": "d", "example_value": 5}
    assert [standard(name) for name in ("  A--b (c)!", "7 up", "x__y", "")] == [
        "a_b_c",
        "get_7_up",
        "x_y",
        "",
    ]


def test_an_agents_tools_are_the_functions(server: Server, questions: Path) -> None:
    def make() -> StableToolBenchEnv:
        return StableToolBenchEnv(url=server.url, queries=[questions], games=["G1_instruction/588"], key="")

    tools = {tool.name: tool for tool in environment_tools(make, functions=True)}
    episode = task_message(tools["Finish"], seed=1).additional_kwargs["episode"]
    config: Any = {"configurable": {"thread_id": "1", "episode": episode}}
    assert "Inter Miami" in tools["transfermarkt_search_for_theclique"].invoke({"name": "messi"}, config)


def test_nonsense_is_answered_without_the_server(server: Server, questions: Path) -> None:
    env = StableToolBenchEnv(url=server.url, queries=[questions], max_steps=100, key="")
    env.reset(options={"game": "G1_instruction/588"})
    for action in (*NONSENSE, "messi({})", "Finish({})", "Finish(return_type='x')"):
        observation, reward, terminated, _, _ = env.step(action)
        assert observation.strip()
        assert env.observation_space.contains(observation)
        assert (reward, terminated) == (0.0, False)
    assert server.asked == []


def test_forks_go_their_own_way(env: StableToolBenchEnv) -> None:
    with pytest.raises(RuntimeError, match="reset"):
        env.fork()
    env.reset(options={"game": "G1_instruction/588"})
    env.step(SEARCH)
    twin = env.fork()
    assert twin.hidden_state() == env.hidden_state() == f"called: {SEARCH}"
    twin.step(ANSWER)
    assert twin.admissible() == []
    assert SEARCH in env.admissible()
    assert env.step(SEARCH)[2] is False


def test_long_answers_are_cut_as_the_benchmark_cuts_them(env: StableToolBenchEnv, server: Server) -> None:
    server.trouble = "long"
    env.reset(options={"game": "G1_instruction/588"})
    assert len(env.step(SEARCH)[0]) == 1024 + 3


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("500", "answered 'transfermarkt_search' with status 500: Internal Server Error"),
        ("garbage", "with no JSON: b'<html>busy</html>'"),
        ("empty", "with no JSON: b''"),
        ("half", "with no JSON|broke off"),
        ("list", "without the keys error and response"),
        ("other", "without the keys error and response: .*detail"),
        ("slow", r"did not answer within 0\.3 seconds"),
        ("drip", r"did not answer within 0\.3 seconds"),
    ],
)
def test_a_server_that_misbehaves_is_named_and_the_step_can_be_repeated(
    server: Server, questions: Path, trouble: str, message: str
) -> None:
    env = StableToolBenchEnv(url=server.url, queries=[questions], key="", timeout=0.3)
    env.reset(options={"game": "G1_instruction/588"})
    server.trouble = trouble
    began = time.monotonic()
    with pytest.raises(ConnectorError, match=message) as error:
        env.step(SEARCH)
    assert server.url in str(error.value)
    assert time.monotonic() - began < 2.0
    server.trouble = ""
    assert env.hidden_state() == "called: nothing"
    assert "Inter Miami" in env.step(SEARCH)[0]


def test_a_server_that_is_down(questions: Path) -> None:
    with openai_server(lambda handler: None) as (url, _):
        pass
    env = StableToolBenchEnv(url=url, queries=[questions], key="", timeout=5.0)
    env.reset(options={"game": "G1_instruction/588"})
    with pytest.raises(ConnectorError, match=r"cannot be reached .*; start it with `python main\.py`"):
        env.step(SEARCH)


def test_questions_that_there_are_not(questions: Path, tmp_path: Path) -> None:
    with pytest.raises(GameFileError, match=r"no question 'G1_instruction/1' in .*G1_instruction\.json"):
        StableToolBenchEnv(queries=[questions], games=["G1_instruction/1"])
    with pytest.raises(GameFileError, match="no question 'x'"):
        StableToolBenchEnv(queries=[questions]).reset(options={"game": "x"})
    for content in ("{not json", "[1]", '[{"query": "x"}]', "{}x"):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(GameFileError, match=r"bad\.json is no file of questions"):
            StableToolBenchEnv(queries=[tmp_path / "bad.json"])
    with pytest.raises(ValueError, match="No game to play"):
        StableToolBenchEnv().reset()
    with pytest.raises(ValueError, match="http address"):
        StableToolBenchEnv(url="localhost:8080")
    with pytest.raises(ValueError, match="max_steps"):
        StableToolBenchEnv(max_steps=0)
