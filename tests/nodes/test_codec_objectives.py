"""DDT's objectives on the real tokenizer: the loss covers exactly the intended tokens, and nothing leaks."""

from __future__ import annotations

from typing import Any

import pytest

from dyna_nodes.codec import ChatCodec, WorldModelCodec, return_level
from dyna_nodes.codec.objectives import (
    DIFFERENCE_QUESTION,
    NEXT_STATE_QUESTION,
    OBJECTIVES,
    objective_example,
    planned,
    why_not,
)
from dyna_nodes.nouns import Action, Trajectory, Transition
from tests.nodes.rows import learned

PROMPT = "Act."
FIRST = "If I go to desk 1: You arrive at desk 1. Maybe I see a pen."
THOUGHT = f"Check: I am in the hall.\n{FIRST}\nSo I go to desk 1."
SECOND = "If I take pen 1 from desk 1: You pick up the pen 1."
CRITIQUE = "Wait, the desk may be empty."


@pytest.fixture(scope="module")
def chat() -> ChatCodec:
    transformers = pytest.importorskip("transformers")
    from dyna_nodes.local.base import resolve_base

    return ChatCodec(transformers.AutoTokenizer.from_pretrained(resolve_base("smollm2")))


@pytest.fixture(scope="module")
def trajectory() -> Trajectory:
    steps = (
        Transition(
            action=Action.command("go to desk 1"),
            thought=THOUGHT,
            observation="On the desk 1, you see a pen 1.",
            reward=0.0,
            done=False,
            labels={"return_to_go": 0.9},
            notes={"difference": "I stand at desk 1. ", "critique": CRITIQUE, "critique_after": FIRST},
        ),
        Transition(
            action=Action.command("dance"),
            observation="Nothing happens.",
            labels={"expert": 0.0},
            notes={"difference": "no changes"},
        ),
        Transition(
            action=Action.command("take pen 1 from desk 1"),
            thought=SECOND,
            observation="You pick up the pen 1.",
            reward=1.0,
            done=True,
            labels={"return_to_go": 1.0},
            notes={
                "difference": "I hold the pen.",
                "critique": "Yes, it lies there.",
                "critique_after": SECOND,
            },
        ),
    )
    return Trajectory(task="Your task is to: take a pen.", transitions=steps)


def user(text: str) -> str:
    return f"<|im_start|>user\n{text}<|im_end|>\n"


def assistant(text: str) -> str:
    return f"<|im_start|>assistant\n{text}<|im_end|>\n"


RESPONSES = (f"{THOUGHT}\n> go to desk 1", "> dance", f"{SECOND}\n> take pen 1 from desk 1")
ACTIONS = ("> go to desk 1", "> dance", "> take pen 1 from desk 1")
OBSERVATIONS = ("On the desk 1, you see a pen 1.", "Nothing happens.", "You pick up the pen 1.")


def history(turn: int, memory: str) -> str:
    """Return what the policy is shown before a turn."""
    kept = RESPONSES if memory == "thoughts" else ACTIONS
    text = "<|im_start|>system\nAct.<|im_end|>\n" + user("Your task is to: take a pen.")
    for i in range(turn):
        text += assistant(kept[i]) + user(OBSERVATIONS[i])
    return text


def asked(turn: int, memory: str, question: str) -> str:
    """Return what stands before the answer to a question about a turn."""
    return history(turn, memory) + assistant(RESPONSES[turn]) + user(question) + "<|im_start|>assistant\n"


@pytest.mark.parametrize("memory", ["thoughts", "actions"])
def test_next_state_is_the_observation_success_and_return(
    chat: ChatCodec, trajectory: Trajectory, memory: Any
) -> None:
    taught = learned(
        chat, objective_example(chat, trajectory, PROMPT, {"next_state": [0, 1, 2]}, memory=memory)
    )
    before = [asked(i, memory, NEXT_STATE_QUESTION) for i in range(3)]
    answers = [*OBSERVATIONS[:2], f"{OBSERVATIONS[2]} [SUCCESS]"]
    first, last = (str(return_level(v)) for v in (0.9, 1.0))
    assert taught == [
        (before[0], f"{answers[0]}<|im_end|>"),
        (f"{before[0]}{answers[0]}\nReturn: ", first),
        (before[1], f"{answers[1]}<|im_end|>"),  # no return is known
        (before[2], f"{answers[2]}<|im_end|>"),
        (f"{before[2]}{answers[2]}\nReturn: ", last),
    ]
    for i in range(3):
        assert user(OBSERVATIONS[i]) not in before[i], "what is to be predicted is not seen before"


@pytest.mark.parametrize("memory", ["thoughts", "actions"])
def test_difference_is_the_note_and_its_end(chat: ChatCodec, trajectory: Trajectory, memory: Any) -> None:
    taught = learned(
        chat, objective_example(chat, trajectory, PROMPT, {"difference": [0, 1, 2]}, memory=memory)
    )
    notes = ("I stand at desk 1.", "no changes", "I hold the pen.")
    assert taught == [
        (asked(i, memory, DIFFERENCE_QUESTION), f"{note}<|im_end|>") for i, note in enumerate(notes)
    ]
    assert all(user(OBSERVATIONS[i]) not in before for i, (before, _) in enumerate(taught))


@pytest.mark.parametrize("memory", ["thoughts", "actions"])
def test_critique_is_the_sentence_and_its_newline_inside_the_response(
    chat: ChatCodec, trajectory: Trajectory, memory: Any
) -> None:
    taught = learned(chat, objective_example(chat, trajectory, PROMPT, {"critique": [0, 2]}, memory=memory))
    opened = "<|im_start|>assistant\n"
    assert taught == [
        (f"{history(0, memory)}{opened}Check: I am in the hall.\n{FIRST}\n", f"{CRITIQUE}\n"),
        (f"{history(2, memory)}{opened}{SECOND}\n", "Yes, it lies there.\n"),
    ]
    assert CRITIQUE not in taught[1][0], "a critique with hindsight is no part of the conversation"


@pytest.mark.parametrize("memory", ["thoughts", "actions"])
def test_all_objectives_stand_in_one_row_and_see_nothing_of_each_other(
    chat: ChatCodec, trajectory: Trajectory, memory: Any
) -> None:
    mixed = {"next_state": [0, 2], "difference": [0, 1, 2], "critique": [0, 2]}
    together = objective_example(chat, trajectory, PROMPT, mixed, memory=memory)
    alone = [
        learned(chat, objective_example(chat, trajectory, PROMPT, {objective: [turn]}, memory=memory))
        for turn, objective in planned(mixed)
    ]
    assert learned(chat, together) == [item for items in alone for item in items]
    assert sorted(set(together.branch)) == list(range(8)), "a branch for each, in the order of `planned`"
    assert together.targets == sum(
        objective_example(chat, trajectory, PROMPT, {o: turns}, memory=memory).targets
        for o, turns in mixed.items()
    )
    trunk = [label for label, branch in zip(together.labels, together.branch, strict=True) if not branch]
    assert set(trunk) == {-100}, "what the policy did is not imitated in this stage"


def test_the_trunk_is_the_policys_conversation(chat: ChatCodec, trajectory: Trajectory) -> None:
    from dyna_nodes.codec.policy import policy_example

    for memory in ("thoughts", "actions"):
        row = objective_example(chat, trajectory, PROMPT, memory=memory)
        trunk = [i for i, branch in zip(row.ids, row.branch, strict=True) if branch == 0]
        whole = policy_example(chat, trajectory, PROMPT, memory=memory)
        assert trunk == [i for i, b in zip(whole.ids, whole.branch, strict=True) if b == 0][: len(trunk)]


def test_a_tokenizer_that_joins_newlines_with_what_stands_before(trajectory: Trajectory) -> None:
    """Qwen's tokenizer has one token for a full stop and a newline: it is read before, and learned after."""

    class Joining:
        """Characters, but for ``.`` and a newline, which are one token."""

        def get_vocab(self) -> dict[str, int]:
            return {"<|im_start|>": 1, "<|im_end|>": 2}

        def encode(self, text: str, **_: Any) -> list[int]:
            return [ord(c) for c in text.replace(".\n", "\x00")]

        def decode(self, ids: list[int], **_: Any) -> str:
            special = {1: "<|im_start|>", 2: "<|im_end|>"}
            return "".join(special.get(i, chr(i)) for i in ids).replace("\x00", ".\n")

    chat = ChatCodec(Joining())
    for memory in ("thoughts", "actions"):
        [(before, target)] = learned(
            chat, objective_example(chat, trajectory, PROMPT, {"critique": [0]}, memory=memory)
        )
        assert target == f"{CRITIQUE}\n"
        assert before.endswith(f"{FIRST}\n")


def test_the_last_line_of_its_wording_is_the_one_that_a_critique_follows(chat: ChatCodec) -> None:
    line = "If I look: A hall."
    notes = {"critique": "Yes, a hall.", "critique_after": line}
    look = Action.command("look")
    for thought, before in (
        (f"{line}\nHm.\n{line}\nSo I look.", f"{line}\nHm.\n{line}\n"),
        (f"{line}\n{line} Big.", f"{line}\n"),
        (f"Well. {line} So I look.", f"Well. {line}\n"),
    ):
        step = Transition(action=look, thought=thought, observation="A hall.", notes=notes)
        row = objective_example(chat, Trajectory(task="t", transitions=(step,)), PROMPT, {"critique": [0]})
        [(seen, target)] = learned(chat, row)
        assert seen.endswith(f"<|im_start|>assistant\n{before}")
        assert target == "Yes, a hall.\n"


def test_what_cannot_be_learned_says_why(chat: ChatCodec, trajectory: Trajectory) -> None:
    bare = Transition(action=Action.command("look"), thought="Hm.", status="unknown")
    lost = bare.model_copy(update={"notes": {"critique": "Yes, so.", "critique_after": "If I leap: I fly."}})
    assert "nobody knows" in why_not(bare, "next_state")
    assert "not noted" in why_not(bare, "difference")
    assert "not noted" in why_not(bare, "critique")
    assert "not in its thinking" in why_not(lost, "critique")
    assert all(why_not(trajectory.transitions[0], o) == "" for o in OBJECTIVES)
    with pytest.raises(ValueError, match="turn 1: no critique: its critique was not noted"):
        objective_example(chat, trajectory, PROMPT, {"critique": [0, 1]})
    everything = objective_example(chat, trajectory, PROMPT)
    assert max(everything.branch) == 8, "all that can be learned: three and three and two"
    assert objective_example(chat, trajectory, PROMPT, {}).targets == 0


def test_returns_are_those_of_the_world_model(chat: ChatCodec, trajectory: Trajectory) -> None:
    world = WorldModelCodec(chat)
    row = objective_example(chat, trajectory, PROMPT, {"next_state": [2]})
    where = max(i for i, branch in enumerate(row.branch) if branch == 1)
    suffix = row.ids[where - len(world.return_suffix) + 1 : where + 1]
    assert suffix == world.return_suffix
    assert row.labels[where] == world.level_ids[9]
