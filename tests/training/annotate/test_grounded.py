"""Grounded notes: each agrees with the record, on games that were really played, and with simulations gone wrong."""

from __future__ import annotations

import functools
import random

import pytest

from dyna_nodes.codec.objectives import why_not
from dyna_nodes.codec.thinking import holds, sentences, simulation_line, simulation_of
from dyna_nodes.nouns import Action, Trajectory, Transition
from dyna_training.annotate.annotating import annotate_trajectory
from dyna_training.annotate.annotator import AnnotationObjective
from dyna_training.annotate.grounded import GroundedAnnotator
from dyna_training.environments.alfworld.generator import generate
from dyna_training.rollouts import play

FIRST = (
    "You are in the middle of a room. Looking quickly around you, you see a desk 1, a drawer 1, and a shelf 1.\n\n"
    "Your task is to: put a mug in desk."
)


def run(*turns: tuple[str, str, str]) -> Trajectory:
    """Return a run of turns (action, imagined outcome, observation)."""
    steps = [
        Transition(
            index=i,
            thought=f"{simulation_line(action, outcome)}\nSo I {action}." if outcome else "I just try.",
            action=Action.command(action),
            observation=observation,
        )
        for i, (action, outcome, observation) in enumerate(turns)
    ]
    return Trajectory(task=FIRST, transitions=tuple(steps))


def annotated(trajectory: Trajectory, objective: AnnotationObjective) -> list[Transition]:
    return list(annotate_trajectory(trajectory, GroundedAnnotator(objective), objective).transitions)


@functools.cache
def with_wrong_simulations() -> tuple[Trajectory, ...]:
    """Return episodes in which half of the simulations are those of other steps."""
    rng = random.Random(3)
    found = []
    for seed in range(4):
        trajectory = play(generate(700 + seed), "teacher-noisy", seed=seed)
        outcomes = [t.observation for t in trajectory.transitions] + ["Nothing happens."]
        steps = [
            t.model_copy(update={"thought": simulation_line(t.action.text, rng.choice(outcomes))})
            if rng.random() < 0.5
            else t
            for t in trajectory.transitions
        ]
        found.append(trajectory.model_copy(update={"transitions": tuple(steps)}))
    return tuple(found)


@pytest.mark.parametrize(
    ("action", "outcome", "observation", "said"),
    [
        (
            "go to shelf 9",
            "You arrive at shelf 9. Maybe I see a mug.",
            "Nothing happens.",
            "Wait, there is no shelf 9 here, so nothing happens.",
        ),
        (
            "go to shelf 9",
            "Nothing happens.",
            "Nothing happens.",
            "Yes, there is no shelf 9 here, so nothing happens.",
        ),
        (
            "go to desk 1",
            "You arrive at desk 1. Maybe I see a mug.",
            "You arrive at desk 1. On the desk 1, you see a mug 2, and a pen 1.",
            "Yes, I am at desk 1 and see a mug 2.",
        ),
        (
            "go to desk 1",
            "You arrive at desk 1. Maybe I see a mug.",
            "You arrive at desk 1. On the desk 1, you see a book 1, a cd 1, a pen 2, and a pen 1.",
            "Wait, there is no mug on desk 1, I see a book 1, a cd 1, a pen 2 and more.",
        ),
        (
            "go to drawer 1",
            "You arrive at drawer 1. Maybe I see a mug.",
            "You arrive at drawer 1. The drawer 1 is closed.",
            "Wait, drawer 1 is closed, so I do not see what is in it.",
        ),
        (
            "go to shelf 1",
            "Nothing happens.",
            "You arrive at shelf 1. On the shelf 1, you see nothing.",
            "Wait, I am at shelf 1.",
        ),
    ],
)
def test_a_critique_says_what_is_right_or_wrong(
    action: str, outcome: str, observation: str, said: str
) -> None:
    [step] = annotated(run((action, outcome, observation)), "critique")
    assert step.notes["critique"] == said
    assert step.notes["critique_after"] == f"If I {action}: {outcome}"
    assert step.labels["simulation_correct"] == float(said.startswith("Yes, "))
    assert step.labels["simulation_confidence"] == 5


def test_a_turn_without_a_simulation_of_what_was_done_is_labelled_and_not_guessed() -> None:
    seen = "You arrive at desk 1. On the desk 1, you see nothing."
    [step] = annotated(run(("go to desk 1", "", seen)), "critique")
    assert step.labels == {"simulation_present": 0.0}
    assert not step.notes


def test_every_critique_agrees_with_the_record_and_can_be_trained_on() -> None:
    right = wrong = 0
    for trajectory in with_wrong_simulations():
        for step in annotated(trajectory, "critique"):
            if not step.labels.get("simulation_present"):
                continue
            simulation = simulation_of(step.thought, step.action.text)
            assert simulation is not None
            correct = holds(simulation, step.observation)
            assert step.notes["critique"].startswith("Yes, " if correct else "Wait, ")
            assert len(sentences(step.notes["critique"])) == 1
            assert why_not(step, "critique") == ""
            right, wrong = right + correct, wrong + (not correct)
    assert right > 10
    assert wrong > 10


def test_differences_are_written_for_every_turn_and_a_judgement_has_labels_only() -> None:
    trajectory = with_wrong_simulations()[0]
    expert = [t for t in trajectory.transitions if t.labels["expert"]]
    assert len([t for t in annotated(trajectory, "difference") if why_not(t, "difference") == ""]) == len(
        expert
    )
    assert annotated(trajectory, "difference")[-1].notes["difference"].endswith("The task is done.")
    judged = annotated(trajectory, "judgement")
    assert not any(t.notes for t in judged)
    assert any("simulation_correct" in t.labels for t in judged)


@pytest.mark.parametrize("task", ["", "Write a poem.", "Your task is to: put a mug in desk."])
def test_of_another_environment_a_note_repeats_what_was_observed(task: str) -> None:
    trajectory = run(
        ("go east", "You see a key.", "-= Hall =-. You see a key. A door is here."),
        ("take key", "You hold a key.", "You see a key. It is too hot."),
        ("wait", "", "You see a key. It is too hot."),
    ).model_copy(update={"task": task})
    critiques = [
        a.notes.get("critique") for a in GroundedAnnotator("critique").annotate(trajectory, [0, 1, 2])
    ]
    assert critiques == ["Yes, you see a key.", "Wait, you see a key.", None]
    price = run(("click[a]", "Price: $12.99.", "Price: $12.99 [Buy Now]. Rating: 4.5 stars. I am a.txt."))
    price = price.model_copy(update={"task": task})
    [note] = GroundedAnnotator("difference").annotate(price, [0])
    assert note.notes["difference"] == "Price: $12.99 [Buy Now]. Rating: 4.5 stars. I am a.txt."
    differences = [
        a.notes["difference"] for a in GroundedAnnotator("difference").annotate(trajectory, [0, 1, 2])
    ]
    assert differences == [
        "-= Hall =-. You see a key. A door is here.",
        "It is too hot.",
        "No changes.",
    ]
