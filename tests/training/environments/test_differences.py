"""What an action changed, in words: one case per verb, and every step of whole games."""

from __future__ import annotations

import pytest

from dyna_nodes.codec.thinking import sentences
from dyna_training.environments.alfworld.differences import difference
from dyna_training.environments.alfworld.generator import generate
from dyna_training.environments.alfworld.knowledge import KnownWorld
from dyna_training.environments.alfworld.refusals import refusal
from dyna_training.environments.alfworld.text import NOTHING_HAPPENS
from dyna_training.rollouts import play

FIRST = (
    "You are in the middle of a room. Looking quickly around you, you see a desk 1, a drawer 1, and a fridge 1.\n\n"
    "Your task is to: put a cool mug in desk."
)
STEPS = [
    ("go to drawer 1", "You arrive at drawer 1. The drawer 1 is closed."),
    (
        "open drawer 1",
        "You open the drawer 1. The drawer 1 is open. In it, you see a apple 1, and a mug 1.",
    ),
    ("take mug 1 from drawer 1", "You pick up the mug 1 from the drawer 1."),
    ("close drawer 1", "You close the drawer 1."),
    ("examine drawer 1", "The drawer 1 is closed."),
    ("go to drawer 2", NOTHING_HAPPENS),
    ("go to fridge 1", "You arrive at fridge 1. The fridge 1 is closed."),
    ("cool mug 1 with fridge 1", "You cool the mug 1 using the fridge 1."),
    ("cool mug 1 with fridge 1", "You cool the mug 1 using the fridge 1."),
    ("inventory", "You are carrying: a mug 1."),
    ("go to desk 1", "You arrive at desk 1. On the desk 1, you see nothing."),
    ("move mug 1 to desk 1", "You move the mug 1 to the desk 1."),
]
SAID = [
    "You are now at drawer 1. You see that drawer 1 is closed.",
    "Drawer 1 is now open. You see a apple 1, and a mug 1 in it.",
    "You now hold the mug 1; it is no longer in drawer 1.",
    "Drawer 1 is now closed.",
    "No changes.",
    "No changes.",
    "You are now at fridge 1. You see that fridge 1 is closed.",
    "The mug 1 is now cool.",
    "No changes.",
    "No changes.",
    "You are now at desk 1. You see nothing on it.",
    "The mug 1 is now on desk 1; you no longer hold it. The task is done.",
]


def test_every_verb_has_its_words() -> None:
    world = KnownWorld(FIRST)
    found = []
    for action, observation in STEPS:
        found.append(difference(world, action, observation, solved=(action, observation) == STEPS[-1]))
        world.observe(action, observation)
    assert found == SAID


def test_what_was_cool_is_hot_and_no_longer_cool() -> None:
    world = KnownWorld(FIRST)
    for action, observation in STEPS[:9]:
        world.observe(action, observation)
    seen = "You heat the mug 1 using the microwave 1."
    assert (
        difference(world, "heat mug 1 with microwave 1", seen) == "The mug 1 is now hot and no longer cool."
    )


def test_a_text_that_no_game_says_changes_nothing() -> None:
    assert difference(KnownWorld(FIRST), "take mug 1 from desk 1", "The mug is stuck.") == "No changes."


@pytest.mark.parametrize("behaviour", ["noisy", "random"])
def test_no_step_of_a_game_has_more_than_three_sentences_or_changes_without_effect(behaviour: str) -> None:
    changed = 0
    for seed in range(6):
        trajectory = play(generate(seed), behaviour, seed=seed)  # type: ignore[arg-type]
        world = KnownWorld(trajectory.task)
        for step in trajectory.transitions:
            said = difference(world, step.action.text, step.observation, solved=bool(step.done))
            assert 1 <= len(sentences(said)) <= 3
            if step.observation == NOTHING_HAPPENS:
                assert said == "No changes."
                assert refusal(world, step.action.text)
            verb = step.action.text.split()[0]
            if verb in ("go", "open", "take", "move", "close") and step.observation != NOTHING_HAPPENS:
                assert said != "No changes."
                changed += 1
            world.observe(step.action.text, step.observation)
    assert changed > 20


@pytest.mark.parametrize(
    ("action", "why"),
    [
        ("go to desk 9", "there is no desk 9 here"),
        ("go to fridge 1", "I am at fridge 1 already"),
        ("open fridge 2", "there is no fridge 2 here"),
        ("open desk 1", "I am not at desk 1"),
        ("close fridge 1", "fridge 1 is not open"),
        ("take apple 1 from fridge 1", "I hold the mug 1 already"),
        ("take apple 1", "no place is named"),
        ("move apple 1 to fridge 1", "I do not hold the apple 1"),
        ("move mug 1 to fridge 1", "fridge 1 is closed"),
        ("heat mug 1 with fridge 1", "fridge 1 cannot heat things"),
        ("clean mug 1 with desk 1", "I am not at desk 1"),
        ("use mug 1", "the mug 1 cannot be turned on"),
        ("use desklamp 1", "there is no desklamp 1 here"),
        ("slice mug 1 with knife 1", "the mug 1 cannot be sliced"),
        ("slice apple 1 with knife 1", "I do not hold the knife 1"),
        ("examine desk 1", "I am not at desk 1"),
        ("examine vase 1", "there is no vase 1 at hand"),
        ("dance", "dance is no command here"),
        ("", "that is no command here"),
    ],
)
def test_a_refusal_names_the_reason(action: str, why: str) -> None:
    world = KnownWorld(FIRST)
    for command, observation in STEPS[:7]:
        world.observe(command, observation)
    assert refusal(world, action) == why
