"""Predictions out of a policy's thinking, and how they are scored."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.messages import AIMessage

from dyna_nodes.codec.thinking import simulation_of
from dyna_nodes.conversation import thought_of
from dyna_nodes.inner import inner_prediction, score_inner
from dyna_nodes.nouns import Action, History, Prediction, Query, Simulation, Transition
from dyna_nodes.protocols import WorldModel
from dyna_nodes.world_models import ThinkingWorldModel

GO = Action.command("go to fridge 1")
LINE = "If I go to fridge 1: You arrive at fridge 1. Maybe I see an egg."
THINKING = f"""Check: fine.
Options: go to fridge 1; go to microwave 1.
If I go to microwave 1: You arrive at microwave 1.
{LINE}
So I go to fridge 1."""
OUTCOME = "You arrive at fridge 1. Maybe I see an egg."


def test_the_simulation_of_the_action_is_the_prediction() -> None:
    assert inner_prediction(THINKING, GO) == Prediction(observation=OUTCOME, model="thinking")


def test_of_several_simulations_the_last_counts() -> None:
    again = f"{THINKING}\nWait, the fridge is closed.\nIf I go to fridge 1: The fridge 1 is closed."
    assert inner_prediction(again, GO).observation == "The fridge 1 is closed."


def test_success_counts_where_it_is_stated() -> None:
    found = inner_prediction("If I go to fridge 1: You arrive at fridge 1. [SUCCESS]", GO)
    assert (found.observation, found.success) == ("You arrive at fridge 1.", True)
    assert inner_prediction(THINKING, GO).success is None


@pytest.mark.parametrize(
    "thinking",
    [
        f"<think>{LINE}</think>",
        f"<think>\n{THINKING}\n</think>\nI go.",
        f"Hm.\n{LINE}</thinking>",
    ],
)
def test_tags_around_the_thinking_do_not_matter(thinking: str) -> None:
    assert inner_prediction(thinking, GO).observation == OUTCOME


@pytest.mark.parametrize(
    ("thinking", "error"),
    [
        ("", "the policy wrote no thinking before 'go to fridge 1'"),
        ("I go.", "the policy's thinking simulates nothing: no line 'If I go to fridge 1: …' in it"),
        ("If I look: A bed.", "the policy's thinking simulates 'look', but not the called 'go to fridge 1'"),
        (
            "\n".join(f"If I look{i}: A bed." for i in (1, 2, 2, 3, 4)),
            "the policy's thinking simulates 'look1', 'look2', 'look3', …, but not the called 'go to fridge 1'",
        ),
        ("If I go to fridge 10: A fridge.", "simulates 'go to fridge 10', but not the called"),
        ("If I go to fridge 1:", "simulates nothing"),
    ],
)
def test_a_call_that_is_not_simulated_has_an_error_that_says_so(thinking: str, error: str) -> None:
    found = inner_prediction(thinking, GO)
    assert found.observation is None
    assert error in str(found.error)


def test_tool_calls_are_the_same_however_their_json_is_written() -> None:
    action = Action(tool="find", arguments={"a": 1, "b": "x: y"})
    for written in (action.text, 'find({"b":"x: y","a":1})'):
        assert inner_prediction(f"If I {written}: Two hits.", action).observation == "Two hits."
    assert simulation_of('If I find({"a": 2}): No hit.', action.text) is None


def test_the_world_model_asks_for_the_thinking_and_answers_from_it() -> None:
    model = ThinkingWorldModel()
    assert isinstance(model, WorldModel)
    queries = [
        Query(history=History(task="T"), action=GO, thinking=THINKING),
        Query(history=History(task="T"), action=Action.command("look"), thinking=THINKING),
    ]
    first, second = model.predict(queries)
    assert (first.observation, second.error is not None) == (OUTCOME, True)
    assert asyncio.run(model.apredict(queries)) == [first, second]


# Scores


def scored(outcome: str, observation: str, **real: object) -> dict[str, float]:
    return score_inner(Prediction(observation=outcome), GO, observation, **real)  # type: ignore[arg-type]


def test_what_was_certain_is_scored_by_its_words_and_everything_by_whether_it_came_true() -> None:
    real = "You arrive at fridge 1. In it, you see an egg 1."
    found = scored(OUTCOME, real)
    assert (found["exact"], found["certain_holds"], found["holds"]) == (0.0, 1.0, 1.0)
    assert 0 < found["f1"] < 1
    assert scored(OUTCOME, "You arrive at fridge 1.") == {
        "exact": 1.0,
        "f1": 1.0,
        "certain_holds": 1.0,
        "holds": 0.0,
    }
    assert scored(OUTCOME, "Nothing happens.")["certain_holds"] == 0.0


def test_nothing_certain_has_nothing_to_match() -> None:
    assert scored("Maybe I see an egg.", "You see an egg 1.") == {"holds": 1.0, "certain_holds": 1.0}


def test_stated_success_is_held_against_the_outcome() -> None:
    stated = inner_prediction("If I go to fridge 1: You arrive. [SUCCESS]", GO)
    assert score_inner(stated, GO, "You arrive.", 1.0, True)["outcome"] == 1.0
    assert score_inner(stated, GO, "You arrive.", 0.0, False)["outcome"] == 0.0
    assert score_inner(stated, GO, "You arrive.", 1.0, True)["exact"] == 1.0, (
        "the flag is no part of the text"
    )


def test_what_failed_or_is_unknown_is_not_scored() -> None:
    assert score_inner(inner_prediction("", GO), GO, "You arrive.") == {}
    assert scored(OUTCOME, "", status="unknown") == {}


# Thinking, wherever a provider puts it


@pytest.mark.parametrize(
    "message",
    [
        AIMessage(THINKING),
        AIMessage("", additional_kwargs={"reasoning_content": THINKING}),
        AIMessage("I go.", additional_kwargs={"reasoning_content": THINKING, "refusal": None}),
        AIMessage("", additional_kwargs={"reasoning": {"id": "rs", "summary": [{"text": THINKING}]}}),
        AIMessage([{"type": "thinking", "thinking": THINKING, "signature": "s"}]),
        AIMessage([{"type": "reasoning", "reasoning": THINKING}, {"type": "text", "text": "I go."}]),
        AIMessage([{"type": "reasoning", "summary": [{"type": "summary_text", "text": THINKING}]}]),
        AIMessage([{"type": "reasoning_content", "reasoning_content": {"text": THINKING, "signature": "s"}}]),
        AIMessage(
            [{"type": "text", "text": THINKING}, {"type": "tool_use", "id": "1", "name": "act", "input": {}}]
        ),
    ],
)
def test_thinking_is_found_wherever_a_provider_puts_it(message: AIMessage) -> None:
    thought = thought_of(message)
    assert thought.count(THINKING) == 1
    assert "signature" not in thought
    assert inner_prediction(thought, GO).observation == OUTCOME


def test_thinking_that_a_provider_gives_twice_counts_once() -> None:
    blocks = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "I go."}]
    assert thought_of(AIMessage(blocks, additional_kwargs={"reasoning_content": "Hm."})) == "Hm.\nI go."  # type: ignore[arg-type]


def test_other_keys_are_no_thinking() -> None:
    assert (
        thought_of(AIMessage("I go.", additional_kwargs={"refusal": "no", "dyna": {"kind": "x"}})) == "I go."
    )


def test_nouns_with_an_inner_simulation_read_back_and_old_ones_still_do() -> None:
    inner = inner_prediction(THINKING, GO)
    transition = Transition(action=GO, inner=inner, scores={"inner_holds": 1.0})
    assert Transition.model_validate_json(transition.model_dump_json(exclude_defaults=True)) == transition
    assert Transition.model_validate({"action": {"tool": "look"}}).inner is None
    assert Simulation.model_validate({"candidate": 0, "call_id": "1", "steps": []}).inner is None
