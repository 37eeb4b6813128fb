"""Annotation by chat models that are scripted: good answers, bad ones, none; and by a real small one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda

from dyna_nodes.codec.objectives import why_not
from dyna_nodes.nouns import Action, Trajectory, Transition
from dyna_training.annotate.annotating import annotate, annotate_trajectory
from dyna_training.annotate.annotator import AnnotatorError
from dyna_training.annotate.asking import loose_object
from dyna_training.annotate.chat import ChatAnnotator
from dyna_training.annotate.folder import AnnotateSettings
from dyna_training.annotate.places import anchor, numbered, units

CALLS = {
    "Say what the action changed": "difference",
    "extract what it imagined": "extract",
    "judge whether an agent": "judge",
    "find the place": "inject",
}


class Scripted(BaseChatModel):
    """Answers each of the four calls by its entry: a value, an exception, or a function of question and attempt."""

    answers: dict[str, Any]
    asked: list[str] = []  # noqa: RUF012  # pydantic copies it

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        call = next(name for words, name in CALLS.items() if words in str(messages[0].content))
        self.asked.append(call)
        answer = self.answers[call]
        if callable(answer):
            answer = answer(str(messages[1].content), (len(messages) - 2) // 2)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, AIMessage):
            return ChatResult(generations=[ChatGeneration(message=answer)])
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


class Structured(Scripted):
    """A scripted model with structured output, which answers by a call; `fails` makes that raise."""

    fails: bool = False

    def with_structured_output(self, schema: Any, **kwargs: Any) -> Runnable[Any, Any]:
        def answer(messages: list[BaseMessage]) -> dict[str, Any]:
            if self.fails:
                raise RuntimeError("400: tools are not supported")
            text = str(self.invoke(messages).content)
            call = {"name": schema.__name__, "args": json.loads(text), "id": "1"}
            return {"raw": AIMessage("", tool_calls=[call]), "parsed": None, "parsing_error": None}

        return RunnableLambda(answer)


def run(*thoughts: str, observations: Sequence[str] = ()) -> Trajectory:
    seen = observations or [f"You see room {n}." for n in range(len(thoughts))]
    steps = [
        Transition(index=n, thought=thought, action=Action.command(f"go {n}"), observation=text)
        for n, (thought, text) in enumerate(zip(thoughts, seen, strict=True))
    ]
    return Trajectory(id="run", task="Find the mug.", transitions=tuple(steps))


def problems(trajectory: Trajectory, objective: str) -> dict[str, str]:
    found: dict[str, str] = trajectory.configuration["annotation"][objective]["problems"]
    return found


def difference(model: BaseChatModel, trajectory: Trajectory | None = None) -> tuple[dict[str, str], str]:
    """Return notes and problem of the first turn."""
    made = annotate_trajectory(
        trajectory or run("Hm."), ChatAnnotator(model, "difference", attempts=2), "difference"
    )
    return dict(made.transitions[0].notes), problems(made, "difference").get("0", "")


# Answers in every shape


@pytest.mark.parametrize(
    "answer",
    [
        {"difference": "The agent is in room 0."},
        'Sure!\n```json\n{"difference": "The agent is in room 0.",}\n```\nDone.',
        "<think>{\"difference\": \"wrong\"}</think>{'difference': 'The agent is in room 0.'}",
        '{"difference": "The agent\nis in room 0."}',
        'First {"difference": "wrong"}, better: {"difference": "The agent is in room 0."}',
    ],
)
def test_an_answer_is_read_in_any_shape(answer: Any) -> None:
    assert difference(Scripted(answers={"difference": answer})) == (
        {"difference": "The agent is in room 0."},
        "",
    )


def test_structured_output_is_used_where_the_model_has_it() -> None:
    model = Structured(answers={"difference": {"difference": "You moved."}})
    assert difference(model) == ({"difference": "You moved."}, "")
    broken = Structured(answers={"difference": {"difference": 3}})
    assert "difference: Input should be a valid string" in difference(broken)[1]


def test_structured_output_that_raises_is_asked_for_as_text() -> None:
    model = Structured(answers={"difference": {"difference": "The agent is in room 0."}}, fails=True)
    assert difference(model) == ({"difference": "The agent is in room 0."}, "")
    assert model.asked == ["difference"]


def test_a_bad_answer_is_asked_for_again_with_what_was_wrong() -> None:
    model = Scripted(
        answers={"difference": lambda _, attempt: {"difference": "You moved."} if attempt else "You moved."}
    )
    assert difference(model) == ({"difference": "You moved."}, "")
    assert model.asked == ["difference", "difference"]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("I moved to room 0.", "the answer cannot be read: no JSON object with 'difference' in \"I moved"),
        ({"difference": ""}, "the answer breaks a rule: difference: String should have at least 1 character"),
        ({"difference": "A. B is. C is. D is."}, "4 sentences, more than 3"),
        ({"difference": "You are in room 0 because you went."}, "it explains or guesses ('because')"),
        ({"difference": ["a"]}, "difference: Input should be a valid string"),
        (
            AIMessage('{"difference": "x', response_metadata={"finish_reason": "length"}),
            "cut off at the token limit",
        ),
    ],
)
def test_an_answer_out_of_format_is_reported_with_its_reason(answer: Any, says: str) -> None:
    model = Scripted(answers={"difference": answer})
    notes, problem = difference(model)
    assert notes == {}
    assert problem.startswith("difference, ")
    assert says in problem
    assert model.asked == ["difference"] * 2


def test_equal_observations_are_no_change_and_nothing_else() -> None:
    same = run("a", "b", observations=["Nothing happens.", "Nothing happens."])
    for answer, notes in [("There are no changes", {"difference": "No changes."}), ("The door opens.", {})]:
        model = Scripted(answers={"difference": {"difference": answer}})
        made = annotate_trajectory(same, ChatAnnotator(model, "difference"), "difference")
        assert made.transitions[1].notes == notes
        assert ("1" in problems(made, "difference")) == (not notes)


# The three calls of a critique

GOOD: dict[str, Any] = {
    "extract": {
        "has_world_model_simulation": True,
        "plan": "look in room 0",
        "actions": [{"action": "go 0", "intended_effect": "I see the mug"}],
    },
    "judge": {
        "is_simulation_correct": False,
        "confidence": 4,
        "reason": "There is no mug.",
        "in_context_hint": "Wait, room 0 holds no mug.",
    },
    "inject": {"id": 1},
}
THOUGHT = "I need a mug. If I go there, I will see it. So I go."


def critique(trajectory: Trajectory | None = None, objective: str = "critique", **changes: Any) -> Trajectory:
    annotator = ChatAnnotator(Scripted(answers={**GOOD, **changes}), objective, attempts=2)  # type: ignore[arg-type]
    return annotate_trajectory(trajectory or run(THOUGHT), annotator, objective)  # type: ignore[arg-type]


def test_a_critique_has_its_hint_its_place_and_its_labels() -> None:
    step = critique().transitions[0]
    assert step.notes == {
        "critique": "Wait, room 0 holds no mug.",
        "critique_after": "If I go there, I will see it.",
    }
    assert why_not(step, "critique") == ""  # training finds the place, inside of the line
    assert step.labels == {
        "simulation_present": 1.0,
        "simulation_correct": 0.0,
        "simulation_confidence": 4.0,
    }


def test_what_each_call_is_shown() -> None:
    shown: dict[str, str] = {}

    def show(call: str) -> Callable[[str, int], Any]:
        def answer(question: str, _: int) -> Any:
            if call == "extract" and "go 0\n" in question:
                return {"has_world_model_simulation": False}
            shown[call] = question
            return GOOD[call]

        return answer

    critique(run("Hm.", THOUGHT), extract=show("extract"), judge=show("judge"), inject=show("inject"))
    assert "You see room 1." in shown["judge"]
    assert "I see the mug" in shown["judge"]
    assert THOUGHT not in shown["judge"]  # it is judged by what was extracted
    assert "You see room 1." not in shown["extract"] + shown["inject"]  # no hindsight there
    assert "[[id=1]] If I go there, I will see it. [[id=2]] So I go." in shown["inject"]


def test_thinking_without_simulation_is_no_problem_and_has_no_critique() -> None:
    made = critique(extract={"has_world_model_simulation": False, "actions": []})
    assert made.transitions[0].notes == {}
    assert made.transitions[0].labels == {"simulation_present": 0.0}
    assert problems(made, "critique") == {}


def test_a_judgement_is_labels_only_and_asks_for_no_hint() -> None:
    verdict = {"is_simulation_correct": "true", "confidence": "5", "reason": "It is so."}
    step = critique(objective="judgement", judge=verdict, inject=AssertionError("not asked")).transitions[0]
    assert step.notes == {}
    assert step.labels == {
        "simulation_present": 1.0,
        "simulation_correct": 1.0,
        "simulation_confidence": 5.0,
    }


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"extract": "no"}, "extract, the answer cannot be read"),
        (
            {"extract": {"has_world_model_simulation": True, "actions": []}},
            "no action has an intended_effect",
        ),
        ({"judge": {**GOOD["judge"], "confidence": 7}}, "judge, the answer breaks a rule: confidence"),
        (
            {"judge": {**GOOD["judge"], "in_context_hint": "Yes, right."}},
            "in_context_hint begins with 'Wait, '",
        ),
        ({"judge": {**GOOD["judge"], "in_context_hint": "Wait, "}}, "in_context_hint begins with 'Wait, '"),
        ({"judge": RuntimeError("503")}, "judge, the model raised: RuntimeError: 503"),
        ({"inject": {"id": 3}}, "inject, the answer breaks a rule: there is no sentence 3, only 0 to 2"),
        ({"inject": "after the second"}, "inject, the answer cannot be read"),
    ],
)
def test_a_failure_in_any_call_is_reported_and_leaves_nothing_half_done(
    changes: dict[str, Any], says: str
) -> None:
    made = critique(**changes)
    assert says in problems(made, "critique")["0"]
    assert made.transitions[0].notes == {}
    assert made.transitions[0].labels == {}


def test_one_turn_that_raises_does_not_stop_the_others() -> None:
    def extract(question: str, _: int) -> Any:
        return RuntimeError("500") if "go 1\n" in question else GOOD["extract"]

    made = critique(run(THOUGHT, THOUGHT, THOUGHT), extract=extract)
    assert list(problems(made, "critique").items()) == [("1", "extract, the model raised: RuntimeError: 500")]
    assert [bool(step.notes) for step in made.transitions] == [True, False, True]


def test_a_model_that_only_raises_annotates_nothing() -> None:
    with pytest.raises(AnnotatorError, match="raised at all of 1 turns: ConnectionError: refused"):
        critique(extract=ConnectionError("refused"))
    with pytest.raises(AnnotatorError, match="raised at all of 2 turns: ConnectionError: refused"):
        critique(run(THOUGHT, THOUGHT), inject=ConnectionError("refused"))


# Places


def test_places_are_sentences_and_whole_lines_of_the_shared_form() -> None:
    thought = "A mug. Where is it?\nIf I go to fridge 1: It is closed. Maybe I see a mug.\nHm. So I go."
    found = units(thought)
    texts = [thought[u.start : u.end] for u in found]
    assert texts == [
        "A mug.",
        "Where is it?",
        "If I go to fridge 1: It is closed. Maybe I see a mug.",
        "Hm.",
        "So I go.",
    ]
    marked = numbered(thought, found)
    assert marked.splitlines()[1].startswith("[[id=2]] If I go to fridge 1: It is closed. Maybe")
    assert re.sub(r"\[\[id=\d+\]\] ", "", marked) == thought


def test_a_repeated_sentence_is_told_apart_by_what_stands_before_it() -> None:
    thought = "Hm. It opens. Go on. It opens. So I go."
    found = units(thought)
    assert [anchor(thought, found, n) for n in (1, 3, 4)] == [
        "Hm. It opens.",
        "It opens.",
        "So I go.",
    ]
    assert all(
        thought.rindex(text := anchor(thought, found, n)) + len(text) == u.end for n, u in enumerate(found)
    )


def test_loose_objects() -> None:
    assert loose_object("{'a': True, 'b': [1,],}", "a") == {"a": True, "b": [1]}
    assert loose_object('{"x": 1} {"a": {"a": 2}} {', "a") == {"a": {"a": 2}}
    for text in ("", "{", "{'a': __import__('os')}", '{"b": 1}', "{" * 500):
        with pytest.raises(ValueError, match="no JSON object with 'a'"):
            loose_object(text, "a")


# A real model


def test_a_small_model_that_answers_nonsense_is_reported_turn_by_turn(tmp_path: Path) -> None:
    from dyna_nodes.experience import write_trajectory
    from dyna_nodes.local import LocalChatModel

    write_trajectory(tmp_path / "data" / "runs.jsonl", run(THOUGHT, THOUGHT))
    settings = AnnotateSettings(
        data=(tmp_path / "data",), out=tmp_path / "out", objective="critique", by="local:smollm2"
    )
    annotator = ChatAnnotator(LocalChatModel(max_tokens=16), "critique", attempts=2)
    manifest = annotate(settings, annotator=annotator)
    counts = manifest["counts"]
    assert (counts["trajectories"], counts["turns"]) == (1, 2)
    assert counts["annotated"] + counts["problems"] == 2
    assert all(p["reason"].split(",")[0] in {*CALLS.values()} for p in manifest["problems"])
