"""World-model accuracy inside thinking: turns of real households with thinking written by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from langchain_core.messages import BaseMessage

from dyna_nodes.codec.thinking import sentences, simulation_line
from dyna_nodes.nouns import Query, Trajectory, Transition
from dyna_nodes.testing import ScriptedChatModel
from dyna_training.annotate.annotator import Annotation, AnnotatorError
from dyna_training.annotate.chat import ChatAnnotator
from dyna_training.environments.alfworld.generator import generate
from dyna_training.evaluation.episodes import facts
from dyna_training.evaluation.thinking import (
    AnnotatorJudge,
    claim,
    judged_turns,
    thinking_figures,
    trivial,
)
from dyna_training.rollouts import play

FACING = "You arrive at fridge 1. The fridge 1 is open. In it, you see a mug 1, and a plate 2."


@pytest.fixture(scope="module")
def episodes() -> list[Trajectory]:
    """Four households, each played by an expert that sometimes does something else."""
    return [play(generate(seed), "noisy", seed=seed) for seed in range(4)]


def thinking(trajectory: Trajectory, thought: Callable[[Transition], str]) -> Trajectory:
    steps = [step.model_copy(update={"thought": thought(step)}) for step in trajectory.transitions]
    return trajectory.model_copy(update={"transitions": tuple(steps)})


def right(step: Transition) -> str:
    command = step.action.text
    return f"Options: {command}; look.\n{simulation_line(command, step.observation)}\nSo I {command}."


def wrong(step: Transition) -> str:
    return simulation_line(step.action.text, "You arrive at moon 1. On the moon 1, you see a cheese 1.")


def nothing(step: Transition) -> str:
    return f"Check: as I thought.\nSo I {step.action.text}."


def another(step: Transition) -> str:
    return simulation_line("dance", "Nothing happens.")


def test_thinking_that_is_always_right_never_right_or_not_there(episodes: list[Trajectory]) -> None:
    turns = sum(len(t.transitions) for t in episodes)
    for thought, coverage, accuracy in ((right, 1, 1), (wrong, 1, 0), (nothing, 0, None), (another, 0, None)):
        found = thinking_figures([thinking(t, thought) for t in episodes])
        strict = found.overall.strict
        assert (strict.coverage.value, strict.accuracy.value) == (coverage, accuracy)
        assert strict.product.value == (accuracy or 0)
        assert (found.turns, strict.product.steps, found.games) == (turns, turns, 4)
        assert strict.accuracy.steps == (0 if accuracy is None else turns)
        assert found.judged_by == {"grounded": turns}
        assert (found.overall.exact.accuracy.value == 1) == (thought is right)


def test_coverage_times_accuracy_is_the_share_of_turns_with_a_right_simulation(
    episodes: list[Trajectory],
) -> None:
    def mixed(step: Transition) -> str:
        return (right, wrong, nothing)[step.index % 3](step)

    told = [thinking(t, mixed) for t in episodes]
    strict = thinking_figures(told).overall.strict
    counts = [sum(s.index % 3 == i for t in told for s in t.transitions) for i in range(3)]
    assert strict.coverage.value == pytest.approx((counts[0] + counts[1]) / sum(counts))
    assert strict.accuracy.value == pytest.approx(counts[0] / (counts[0] + counts[1]))
    assert strict.product.value == pytest.approx(counts[0] / sum(counts))
    assert strict.product.value == pytest.approx(strict.coverage.value * strict.accuracy.value)
    assert strict.product.low is not None
    assert strict.product.low <= strict.product.value


def test_hypotheses_count_as_claims_in_the_strict_reading_alone() -> None:
    said = {
        "You arrive at fridge 1.": (True, True, False),
        "You arrive at fridge 1. Maybe I see a mug.": (True, True, False),
        "You arrive at fridge 1. Maybe I see a mug. Maybe I see an egg.": (False, True, False),
        "Maybe I see a plate.": (True, None, False),
        "Maybe I see an egg.": (False, None, False),
        "You arrive at fridge 1. The fridge 1 is closed.": (False, False, False),
        FACING: (True, True, True),
        f"{FACING} [SUCCESS]": (
            True,
            True,
            True,
        ),  # a mark, as in an answer about the next state, is not observed
        "Maybe I see a mug. [SUCCESS]": (True, None, False),
        "Maybe I see .": (False, None, False),
    }
    for outcome, (correct, certain, exact) in said.items():
        found = claim(outcome, FACING)
        assert (found.correct, found.certain_correct, found.exact) == (correct, certain, exact), outcome
    both = claim("You arrive at fridge 1. Maybe I see a mug. Maybe I see an egg.", FACING)
    assert (both.certain, both.false, both.supposed, both.supposed_true) == (1, 0, 2, 1)


def test_informed_is_who_says_all_that_the_history_determines(episodes: list[Trajectory]) -> None:
    def brief(step: Transition) -> str:
        return simulation_line(step.action.text, sentences(step.observation)[0])

    def supposing(step: Transition) -> str:
        return simulation_line(step.action.text, "Maybe I see a.")

    every = [fact for t in episodes for fact in facts(t)]
    must = [f.knowledge == "determined" and len(sentences(f.observation)) > 1 for f in every]
    assert any(must)
    found = thinking_figures([thinking(t, brief) for t in episodes]).overall
    assert found.strict.product.value == 1
    assert found.informed.product.value == pytest.approx(1 - sum(must) / len(every))
    assert thinking_figures([thinking(t, right) for t in episodes]).overall.informed.product.value == 1
    silent = thinking_figures([thinking(t, supposing) for t in episodes]).overall
    assert silent.informed.product.value == 0
    assert silent.certain.coverage.value == 0


def test_foreseeing_that_nothing_happens_is_told_apart(episodes: list[Trajectory]) -> None:
    told = [thinking(t, lambda s: simulation_line(s.action.text, "Nothing happens.")) for t in episodes]
    found = thinking_figures(told).by["effect"]
    nothing_happens = sum(s.observation == "Nothing happens." for t in told for s in t.transitions)
    assert nothing_happens > 0
    assert found["nothing happens"].strict.accuracy.value == 1
    assert found["nothing happens"].strict.accuracy.steps == nothing_happens
    assert found["something happens"].strict.accuracy.value == 0


def test_a_simulation_that_says_nothing_covers_nothing(episodes: list[Trajectory]) -> None:
    found = thinking_figures([thinking(t, lambda s: simulation_line(s.action.text, "...")) for t in episodes])
    assert found.overall.strict.coverage.value == 0


def test_invented_contents_are_hallucinated_where_the_history_leaves_them_open(
    episodes: list[Trajectory],
) -> None:
    told = [thinking(t, wrong) for t in episodes]
    known = [fact.knowledge for t in told for fact in facts(t)]
    open_turns = sum(k != "determined" for k in known)
    assert 0 < open_turns < len(known)
    found = thinking_figures(told)
    assert found.hallucination is not None
    assert found.hallucination.facts.value == pytest.approx(open_turns / len(known))
    assert found.hallucination.turns.value == pytest.approx(open_turns / len(known))
    assert found.hallucination.open_turns.value == 1
    assert {n: r.strict.product.steps for n, r in found.by["knowledge"].items()} == {
        name: known.count(name) for name in set(known)
    }
    honest = thinking_figures([thinking(t, right) for t in episodes]).hallucination
    assert honest is not None
    assert honest.facts.value == 0
    assert honest.hypotheses.value is None


def test_figures_by_action_type_and_task_type_add_up(episodes: list[Trajectory]) -> None:
    def only_going(step: Transition) -> str:
        return (right if step.action.text.startswith("go ") else wrong)(step)

    found = thinking_figures([thinking(t, only_going) for t in episodes])
    assert {name: r.strict.accuracy.value for name, r in found.by["action"].items()} == {
        name: float(name == "go") for name in found.by["action"]
    }
    assert len(found.by["action"]) > 2
    assert sum(r.strict.product.steps for r in found.by["task_type"].values()) == found.turns
    assert all(m.action.split()[0] != "go" for m in found.mistakes)
    assert found.mistakes[0].imagined == "You arrive at moon 1. On the moon 1, you see a cheese 1."


def test_what_is_said_by_rote_stands_beside_it(episodes: list[Trajectory]) -> None:
    train = [play(generate(seed), "expert", seed=seed) for seed in range(10, 16)]
    models = trivial(train, rules=True)
    told = [thinking(t, lambda s: right(s) if s.index % 2 else nothing(s)) for t in episodes]
    found = {t.name: t for t in thinking_figures(told, baselines=models).trivial}
    assert list(found) == ["copy", "opening", "template", "rules"]
    steps = [s for t in told for s in t.transitions]
    queries = [Query(history=t.history(s.index), action=s.action) for t in told for s in t.transitions]
    said = [p.observation or "" for p in models["opening"].predict(queries)]
    assert "You arrive at " in said[0]
    true = [text in step.observation for text, step in zip(said, steps, strict=True)]
    opening = found["opening"]
    assert opening.all_turns.value == pytest.approx(sum(true) / len(true))
    assert opening.all_turns.value > 0.5
    assert opening.informed.value < opening.all_turns.value
    odd = [hit for hit, step in zip(true, steps, strict=True) if step.index % 2]
    assert opening.covered_turns.value == pytest.approx(sum(odd) / len(odd))
    assert opening.lead_covered.value == pytest.approx(1 - sum(odd) / len(odd))
    half = sum(s.index % 2 for s in steps) / len(steps)
    assert opening.lead.value == pytest.approx(half - sum(true) / len(true))
    assert found["copy"].all_turns.value < found["template"].all_turns.value < opening.all_turns.value
    determined = sum(fact.knowledge == "determined" for t in told for fact in facts(t)) / len(steps)
    assert found["rules"].exact.value >= determined


class Reader:
    """An annotator that reads "I expect …" and breaks where it is told to."""

    name = "reader"

    def __init__(self, breaks_on: str = "") -> None:
        self.breaks_on = breaks_on
        self.asked = 0

    def annotate(self, trajectory: Trajectory, indices: Sequence[int]) -> list[Annotation]:
        if trajectory.id == self.breaks_on:
            raise AnnotatorError("nobody answers: connection refused")
        self.asked += len(indices)
        return [self._annotation(trajectory.transitions[i]) for i in indices]

    def _annotation(self, step: Transition) -> Annotation:
        said = step.thought.partition("I expect ")[2]
        if not said:
            return Annotation(step.index, labels={"simulation_present": 0.0}, problem="no simulation")
        if said == "?":
            return Annotation(step.index, problem="out of format: ?")
        right = float(said in step.observation)
        return Annotation(
            step.index,
            labels={"simulation_present": 1.0, "simulation_correct": right, "simulation_confidence": 4.0},
        )


def test_free_thinking_goes_to_the_annotator_and_ours_does_not(episodes: list[Trajectory]) -> None:
    def mixed(step: Transition) -> str:
        free = [f"Hm. I expect {step.observation}", "I expect rain", "Wait, hm.", "I expect ?", ""]
        return right(step) if step.index == 0 else free[step.index % 5]

    told = [thinking(t, mixed) for t in episodes]
    reader = Reader(breaks_on=told[3].id)
    found = thinking_figures(told, AnnotatorJudge(reader))
    steps = [s for t in told[:3] for s in t.transitions]
    empty_or_ours = sum(s.index == 0 or s.index % 5 == 4 for t in told for s in t.transitions)
    failed = sum(s.index % 5 == 3 for s in steps)
    assert found.judged_by["grounded"] == empty_or_ours
    assert found.unjudged["out of format"] == failed
    assert found.unjudged["nobody answers"] == sum(
        s.index > 0 and s.index % 5 != 4 for s in told[3].transitions
    )
    assert reader.asked == sum(s.index > 0 and s.index % 5 != 4 for s in steps)
    hits = sum(s.index % 5 == 0 for s in steps) + 1  # and the first turn of the trajectory that broke
    covered = hits + sum(s.index % 5 == 1 for s in steps)
    assert found.overall.strict.accuracy.value == pytest.approx(hits / covered)
    assert found.overall.certain.coverage.value == pytest.approx(4 / found.turns)


def test_a_chat_model_extracts_and_judges_free_thinking(episodes: list[Trajectory]) -> None:
    def reply(messages: list[BaseMessage]) -> str:
        """Extract from thinking that hopes, and judge by whether the hope is in what was observed."""
        if "extract what it imagined" in str(messages[0].content):
            hopes = "I hope" in str(messages[1].content)
            imagined = [{"action": "it", "intended_effect": "works"}] * hopes
            return json.dumps({"has_world_model_simulation": hopes, "actions": imagined})
        right = "Nothing happens" not in str(messages[1].content).partition("<<<after ")[2]
        return json.dumps({"is_simulation_correct": right, "confidence": 5, "reason": "It reads so."})

    told = [
        thinking(t, lambda s: f"I hope that {s.action.text} works." if s.index % 2 else "Hm.")
        for t in episodes
    ]
    judge = AnnotatorJudge(ChatAnnotator(ScriptedChatModel(script=reply), "judgement", name="scripted"))
    found = thinking_figures(told, judge)
    steps = [s for t in told for s in t.transitions]
    odd = [s.observation != "Nothing happens." for s in steps if s.index % 2]
    assert found.overall.strict.coverage.value == pytest.approx(len(odd) / len(steps))
    assert found.overall.strict.accuracy.value == pytest.approx(sum(odd) / len(odd))
    assert 0 < sum(odd) < len(odd)
    assert found.judged_by == {"scripted": len(steps)}
    assert found.hallucination is None
    assert thinking_figures(told).unread == len(steps)


def test_no_turn_that_can_be_judged_is_an_error_that_says_why(episodes: list[Trajectory]) -> None:
    with pytest.raises(ValueError, match="no turn whose thinking can be judged"):
        thinking_figures([])
    told = [thinking(episodes[0], lambda s: "I expect ?")]
    with pytest.raises(ValueError, match=r"failed on all .*: out of format"):
        thinking_figures(told, AnnotatorJudge(Reader()))


def test_some_turns_only(episodes: list[Trajectory]) -> None:
    told = [thinking(t, right) for t in episodes]
    found = judged_turns(told, turns={t.id: [len(t.transitions) - 1] for t in told})
    assert [(t.trajectory, t.index) for t in found] == [(t.id, len(t.transitions) - 1) for t in told]
