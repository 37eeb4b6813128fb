"""A real model in process that simulates inside its response and remembers its actions only."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from tiny_llama import teach, tiny_tokenizer

from dyna_graph.agent import create_dyna_agent
from dyna_nodes.codec import ChatCodec, Encoded
from dyna_nodes.events import ObserveEvent
from dyna_nodes.local import LocalChatModel
from dyna_nodes.nouns import COMMAND_TOOL
from dyna_nodes.world_models import ThinkingWorldModel

THINKING = "If I look: You see a bed. Maybe I see a pen.\nSo I look."


def turn(thought: str) -> list[BaseMessage]:
    """Return a first turn as the policy is shown it when the next one begins."""
    looked = tool_call(name=COMMAND_TOOL, args={"command": "look"}, id="1")
    return [
        HumanMessage("go"),
        AIMessage(thought, tool_calls=[looked]),
        ToolMessage("You see a bed.", tool_call_id="1"),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that knows by heart what to write, and what it shall have in front of it then."""
    tokenizer = tiny_tokenizer()
    codec = ChatCodec(tokenizer)
    known = [
        ([HumanMessage("go")], f"{THINKING}\n> look"),
        (turn(""), "My thoughts are gone."),
        (turn(THINKING), "My thoughts are here."),
    ]
    examples = []
    for messages, answer in known:
        head, body = codec.encode(messages).ids, [*codec.text(answer), codec.end_id]
        examples.append(Encoded(head + body, [0] * len(head) + [1] * len(body)))
    folder = tmp_path_factory.mktemp("thinking")
    teach(examples).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def act(command: str) -> str:
    """Send a command."""
    return "You see a bed."


@pytest.mark.parametrize(
    ("memory", "answer"), [("actions", "My thoughts are gone."), ("thoughts", "My thoughts are here.")]
)
@pytest.mark.parametrize("is_async", [False, True])
def test_its_own_simulation_is_scored_and_its_thoughts_are_shown_to_it_as_told(
    folder: Path, memory: Any, answer: str, is_async: bool
) -> None:
    model = LocalChatModel(base=str(folder), dtype="float32", max_tokens=80)
    agent = create_dyna_agent(model, [act], world_model=ThinkingWorldModel(), memory=memory)
    given = {"messages": [("user", "go")]}

    async def collect() -> list[Any]:
        return [event async for event in agent.astream(given, stream_mode="custom")]

    events = asyncio.run(collect()) if is_async else list(agent.stream(given, stream_mode="custom"))
    (found,) = [t for e in events if isinstance(e, ObserveEvent) for t in e.transitions]
    assert found.thought == THINKING
    assert found.prediction is not None
    assert found.prediction.observation == "You see a bed. Maybe I see a pen."
    assert (found.scores["exact"], found.scores["certain_holds"], found.scores["holds"]) == (1.0, 1.0, 0.0)
    assert events[-1].answer == answer
