"""What a policy reads of its own earlier turns; what users and the record see of them stays whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from dyna_graph import DynaConfig
from dyna_graph.agent import create_dyna_agent
from dyna_nodes.conversation import actions_only
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.nouns import Decision, Verdict
from dyna_nodes.testing import (
    SamplingChatModel,
    ScriptedChatModel,
    ScriptedCritic,
    ScriptedWorldModel,
    call,
)


def look(where: str) -> str:
    """Look somewhere."""
    return f"You see {where}."


def shown(prompt: list[BaseMessage]) -> list[str]:
    """Write a prompt as lines: who speaks, what they say, and what they call."""
    return [
        f"{m.type}:{m.content}"
        + "".join(f" > {c['args']['where']}" for c in (m.tool_calls if isinstance(m, AIMessage) else ()))
        for m in prompt
    ]


def three_turns() -> list[Any]:
    return [call("look", where=w, content=f"Thinking of {w}.") for w in "ab"] + ["Done."]


@pytest.mark.parametrize(
    ("memory", "first", "second"),
    [
        ("thoughts", "ai:Thinking of a. > a", "ai:Thinking of b. > b"),
        ("actions", "ai: > a", "ai: > b"),
    ],
)
def test_the_policy_is_shown_its_earlier_turns_as_told(
    drive: Any, tmp_path: Path, memory: Any, first: str, second: str
) -> None:
    model = ScriptedChatModel(script=three_turns())
    agent = create_dyna_agent(model, [look], memory=memory, record=tmp_path, system_prompt="Be brief.")
    result = drive(agent)
    assert shown(model.prompts[-1]) == [
        "system:Be brief.",
        "human:go",
        first,
        "tool:You see a.",
        second,
        "tool:You see b.",
    ]
    assert [m.content for m in result["messages"] if m.type == "ai"] == [
        "Thinking of a.",
        "Thinking of b.",
        "Done.",
    ]
    assert [t.thought for t in ExperienceLog(tmp_path).read()] == ["Thinking of a.", "Thinking of b."]


def test_thoughts_is_the_default() -> None:
    model = ScriptedChatModel(script=three_turns())
    create_dyna_agent(model, [look]).invoke({"messages": [("user", "go")]})
    assert "ai:Thinking of a. > a" in shown(model.prompts[-1])


def test_rejected_calls_and_their_hints_stay_visible(drive: Any) -> None:
    script = [call("look", where="a", content="I want a."), call("look", where="b", content="So b."), "Done."]
    model = ScriptedChatModel(script=script)
    critic = ScriptedCritic(
        lambda h, s: (
            Verdict(decision=Decision.REJECT, hint="Not a.")
            if "a" in s.action.arguments.values()
            else "approve"
        )
    )
    result = drive(create_dyna_agent(model, [look], memory="actions", critic=critic))
    assert shown(model.prompts[1]) == ["human:go", "ai: > a", "tool:Not a."]
    assert shown(model.prompts[2])[-2:] == ["ai: > b", "tool:You see b."]
    assert result["messages"][1].content == "I want a."


@pytest.mark.parametrize("kind", [ScriptedChatModel, SamplingChatModel])
def test_candidates_and_imagined_turns_have_the_same_memory(
    drive: Any, kind: type[ScriptedChatModel]
) -> None:
    """Each way in which a policy is asked: one candidate, several, and going on in the imagined world."""
    model = kind(script=lambda messages: call("look", where=str(len(messages)), content="Thinking."))
    agent = create_dyna_agent(
        model,
        [look],
        world_model=ScriptedWorldModel(lambda query: "Imagined."),
        candidates=2,
        horizon=2,
        max_steps=2,
        memory="actions",
    )
    drive(agent)
    assert max(len(p) for p in model.prompts) > 4
    assert "ai: > 1" in shown(model.prompts[-1])
    assert not any("Thinking" in line for prompt in model.prompts for line in shown(prompt))


def thinking_blocks() -> AIMessage:
    message = call("look", where="a", id="1")
    content = [
        {"type": "thinking", "thinking": "Secret.", "signature": "s"},
        {"type": "text", "text": "Aloud."},
        {"type": "tool_use", "id": "1", "name": "look", "input": {"where": "a"}},
    ]
    return message.model_copy(update={"content": content})


def reasoning_content() -> AIMessage:
    message = call("look", where="a", id="1", content="Aloud.")
    return message.model_copy(update={"additional_kwargs": {"reasoning_content": "Secret.", "kept": 1}})


@pytest.mark.parametrize("message", [thinking_blocks(), reasoning_content()])
def test_thinking_goes_wherever_a_provider_puts_it(message: AIMessage) -> None:
    before = message.model_dump()
    (found,) = actions_only([message])
    assert "Secret" not in repr(found)
    assert "Aloud" not in repr(found)
    assert isinstance(found, AIMessage)
    assert (found.tool_calls, found.id) == (message.tool_calls, message.id)
    assert found.additional_kwargs.get("kept") == message.additional_kwargs.get("kept")
    assert message.model_dump() == before, "the conversation itself stays whole"


def test_messages_without_a_readable_call_are_shown_whole() -> None:
    invalid = AIMessage(
        "Hm.",
        invalid_tool_calls=[
            {"name": "look", "args": "{", "id": "x", "error": "no", "type": "invalid_tool_call"}
        ],
    )
    messages = [HumanMessage("go"), invalid, ToolMessage("?", tool_call_id="x"), AIMessage("The answer.")]
    assert actions_only(messages) == messages


def test_a_later_user_turn_still_shows_the_earlier_answer(drive: Any) -> None:
    model = ScriptedChatModel(script=["Two."])
    before = [HumanMessage("First."), AIMessage("One."), HumanMessage("Second.")]
    drive(create_dyna_agent(model, [look], memory="actions"), {"messages": before})
    assert shown(model.prompts[0]) == ["human:First.", "ai:One.", "human:Second."]


def test_yaml_sets_the_memory(drive: Any) -> None:
    model = ScriptedChatModel(script=three_turns())
    config = DynaConfig.from_dict({"model": "local:smollm2", "memory": "actions"})
    drive(config.build([look], model=model))
    assert shown(model.prompts[-1])[1::2] == ["ai: > a", "ai: > b"]
    assert config.to_dict() == {"model": "local:smollm2", "memory": "actions"}


def test_an_unknown_memory_is_refused() -> None:
    model: BaseChatModel = ScriptedChatModel(script=[])
    with pytest.raises(ValueError, match="memory"):
        create_dyna_agent(model, [look], memory="everything")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="memory"):
        DynaConfig.from_dict({"model": "local:smollm2", "memory": "everything"})
