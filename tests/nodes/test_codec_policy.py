"""The policy's rows on the real tokenizer: what is a target, and that a turn sees what it sees at run time."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from dyna_nodes.codec import ChatCodec, parse_reply
from dyna_nodes.codec.policy import policy_example, why_not_imitated
from dyna_nodes.nouns import Action, Trajectory, Transition
from dyna_nodes.policy import Policy
from dyna_nodes.testing import ScriptedChatModel
from tests.nodes.rows import learned

PROMPT = "Act."
LONG = "Check: I am in the hall.\nIf I go to desk 1: You arrive at desk 1. Maybe I see a pen.\n\nSo I go to desk 1."


@pytest.fixture(scope="module")
def chat() -> ChatCodec:
    transformers = pytest.importorskip("transformers")
    from dyna_nodes.local.base import resolve_base

    return ChatCodec(transformers.AutoTokenizer.from_pretrained(resolve_base("smollm2")))


def step(action: Action | str, thought: str, observation: str, expert: float = 1.0) -> Transition:
    action = Action.command(action) if isinstance(action, str) else action
    return Transition(action=action, thought=thought, observation=observation, labels={"expert": expert})


@pytest.fixture(scope="module")
def trajectory() -> Trajectory:
    steps = (
        step("go to desk 1", LONG, "On the desk 1, you see a pen 1."),
        step("dance", "Why not?", "Nothing happens.", expert=0),
        step(Action(tool="take", arguments={"what": "pen 1", "from": "desk 1"}), "I see the pen.", "Taken."),
        step("look", "", "A hall."),
        step("write", "  Now I write.\n", "Done."),
    )
    return Trajectory(task="You are in a hall.\n\nYour task is to: write.", transitions=steps)


def prompt_at(chat: ChatCodec, trajectory: Trajectory, turn: int, memory: Any) -> str:
    """Return what a local model is shown before a turn, through the agent's own parts."""
    messages: list[BaseMessage] = [HumanMessage(trajectory.task)]
    for transition in trajectory.transitions[:turn]:
        wrote = f"{transition.thought}\n> {transition.action.text}"
        reply = parse_reply(wrote, "text")
        messages.append(AIMessage(reply.thought, tool_calls=reply.calls))
        messages.append(ToolMessage(transition.observation, tool_call_id=reply.calls[0]["id"]))
    policy = Policy(ScriptedChatModel(script=["unused"]), system_prompt=PROMPT, memory=memory)
    return chat.tokenizer.decode(chat.encode(policy._prompt(messages)).ids)


@pytest.mark.parametrize("memory", ["thoughts", "actions"])
def test_a_turn_sees_in_training_what_it_sees_at_run_time(
    chat: ChatCodec, trajectory: Trajectory, memory: Any
) -> None:
    example = policy_example(chat, trajectory, PROMPT, memory=memory)
    taught = learned(chat, example)
    imitated = [0, 2, 3, 4]
    assert [before for before, _ in taught] == [prompt_at(chat, trajectory, i, memory) for i in imitated]
    assert [targets for _, targets in taught] == [
        f"{LONG}\n> go to desk 1<|im_end|>",
        'I see the pen.\n> take({"from": "desk 1", "what": "pen 1"})<|im_end|>',
        "> look<|im_end|>",
        "Now I write.\n> write<|im_end|>",
    ]
    whole = prompt_at(chat, trajectory, 5, memory).removesuffix("<|im_start|>assistant\n")
    trunk = [i for i, branch in zip(example.ids, example.branch, strict=True) if branch == 0]
    assert chat.tokenizer.decode(trunk) == whole
    assert max(example.branch) == (3 if memory == "actions" else 0)


def test_ids_and_not_only_texts_are_those_of_run_time(chat: ChatCodec, trajectory: Trajectory) -> None:
    messages = [SystemMessage(PROMPT), HumanMessage(trajectory.task)]
    for transition in trajectory.transitions:
        reply = parse_reply(f"{transition.thought}\n> {transition.action.text}", "text")
        messages.append(AIMessage(reply.thought, tool_calls=reply.calls))
        messages.append(ToolMessage(transition.observation, tool_call_id=reply.calls[0]["id"]))
    assert policy_example(chat, trajectory, PROMPT).ids == chat.encode(messages, open_assistant=False).ids


def test_without_thinking_only_actions_are_left(chat: ChatCodec, trajectory: Trajectory) -> None:
    example = policy_example(chat, trajectory, PROMPT, thinking="none")
    assert example == policy_example(chat, trajectory, PROMPT, memory="actions", thinking="none")
    taught = learned(chat, example)
    assert [t for _, t in taught] == [
        "> go to desk 1<|im_end|>",
        '> take({"from": "desk 1", "what": "pen 1"})<|im_end|>',
        "> look<|im_end|>",
        "> write<|im_end|>",
    ]
    assert taught[-1][0] == prompt_at(chat, trajectory, 4, "actions")


@pytest.mark.parametrize("memory", ["thoughts", "actions"])
def test_some_turns_see_what_they_see_in_the_whole_row(
    chat: ChatCodec, trajectory: Trajectory, memory: Any
) -> None:
    whole = learned(chat, policy_example(chat, trajectory, PROMPT, memory=memory))
    parts = [
        learned(chat, policy_example(chat, trajectory, PROMPT, memory=memory, turns=turns))
        for turns in ([0, 1], [2, 3], [4])
    ]
    assert [item for part in parts for item in part] == whole
    last = policy_example(chat, trajectory, PROMPT, memory=memory, turns=[0])
    assert "you see a pen 1" not in chat.tokenizer.decode(last.ids), "the row ends with its last turn"


@pytest.mark.parametrize(
    ("transition", "why"),
    [
        (step("look", "> go\nHm.", "x"), "begins with '>'"),
        (step("look", "He said:\n>", "x"), "begins with '>'"),
        (step("look\nback", "Hm.", "x"), "has several"),
        (step("look", "Hm.", "x", expert=0), "expert 0"),
        (step("look", "5 > 4, so I look.", "x"), ""),
        (step(Action(tool="say", arguments={"text": "a\nb"}), "Hm.\r\nYes.", "x"), ""),
        (step("look", "Hm.", "x\n> y"), ""),
    ],
)
def test_what_would_be_misread_is_not_imitated(chat: ChatCodec, transition: Transition, why: str) -> None:
    found = why_not_imitated(transition)
    assert why in found
    assert bool(found) == bool(why)
    example = policy_example(chat, Trajectory(task="t", transitions=(transition,)), PROMPT, memory="actions")
    assert (example.targets == 0) == bool(why)
    assert not why_not_imitated(step("look", "> go\nHm.", "x"), "none"), "the thinking is left out"


def test_a_log_that_names_no_task_or_last_observation_still_teaches(chat: ChatCodec) -> None:
    steps = (step("drift", "", "A buoy.", expert=0), step("row", "A buoy!", ""))
    row = policy_example(chat, Trajectory(task="", transitions=steps), PROMPT, memory="actions")
    [(before, target)] = learned(chat, row)
    assert before == (
        "<|im_start|>system\nAct.<|im_end|>\n<|im_start|>assistant\n> drift<|im_end|>\n"
        "<|im_start|>user\nA buoy.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert target == "A buoy!\n> row<|im_end|>"
