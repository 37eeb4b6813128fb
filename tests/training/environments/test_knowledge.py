import random

import pytest

from dyna_training.environments.alfworld import Game, KnownWorld, State
from dyna_training.environments.alfworld.generator import generate
from dyna_training.environments.alfworld.plays import invalid_command
from dyna_training.environments.alfworld.task import Task, split_command
from dyna_training.environments.alfworld.tracking import inserted


def follow(state: State, known: KnownWorld, *commands: str) -> None:
    for command in commands:
        known.observe(command, state.step(command)[0])


@pytest.mark.parametrize("seed", range(12))
def test_what_is_determined_is_predicted_exactly(seed: int) -> None:
    """On every step all admissible and some invalid commands are predicted and compared with forks."""
    generator, state = random.Random(seed), State(generate(seed))
    known = KnownWorld(state.introduction())
    determined = 0
    for step in range(80):
        admissible = state.admissible()
        probes = [*admissible, *(invalid_command(state.game, generator) for _ in range(10))]
        for command in probes:
            predicted = known.predict(command)
            assert (predicted is None) == (known.unknown(command) is not None)
            assert known.is_determined(command) == (predicted is not None)
            if predicted is not None:
                determined += 1
                assert predicted == state.fork().step(command)[0], (step, command)
        by_verb: dict[str, list[str]] = {}
        for command in probes:
            by_verb.setdefault(command.strip().partition(" ")[0], []).append(command)
        follow(state, known, generator.choice(by_verb[generator.choice(sorted(by_verb))]))
    assert determined > 300


def test_first_looks_are_not_determined(small: Game) -> None:
    state = State(small)
    known = KnownWorld(state.introduction())
    assert known.unknown("go to fridge 1") == "first look"
    follow(state, known, "go to fridge 1")
    assert known.unknown("open fridge 1") == "first look"
    assert known.unknown("take lettuce 1 from fridge 1") is None
    assert known.predict("take lettuce 1 from fridge 1") == "Nothing happens."
    follow(state, known, "open fridge 1", "close fridge 1")
    assert known.predict("open fridge 1") == (
        "You open the fridge 1. The fridge 1 is open. In it, you see a lettuce 1."
    )


def test_whether_receptacles_stand_together_is_learned(small: Game) -> None:
    state = State(small)
    known = KnownWorld(state.introduction())
    follow(state, known, "go to desk 1", "go to fridge 1")
    assert (
        known.predict("go to desk 1")
        == "You arrive at desk 1. On the desk 1, you see a knife 1, and a mug 2."
    )
    follow(state, known, "go to shelf 1")
    assert known.unknown("go to desk 1") == "hidden"
    follow(state, known, "go to desk 1")
    assert known.is_here("desk 1")
    assert known.together("shelf 1", "desk 1") is True
    assert known.together("desk 1", "fridge 1") is False
    assert known.together("desk 1", "sinkbasin 1") is None
    follow(state, known, "look")
    assert known.together("desk 1", "sinkbasin 1") is False


def test_what_came_once_comes_again_until_something_changes(small: Game) -> None:
    state = State(small)
    known = KnownWorld(state.introduction())
    follow(state, known, "go to desk 1", "take mug 2 from desk 1")
    assert known.unknown("examine mug 2") == "first look"
    follow(state, known, "examine mug 2")
    assert known.predict("examine mug 2") == "This is a normal mug 2. In it, you see a pen 1."
    follow(state, known, "go to sinkbasin 1")
    assert known.predict("examine mug 2") == "This is a normal mug 2. In it, you see a pen 1."


def test_rubbish_teaches_nothing_and_breaks_nothing(small: Game) -> None:
    state = State(small)
    known = KnownWorld(state.introduction())
    follow(state, known, "go to desk 1")
    for action, observation in (
        ("", ""),
        ("go", "What?"),
        ("take mug 2", "I do not understand."),
        ("open the gate", "Nothing happens."),
        ("dance", "You dance; a mug 7 falls."),
    ):
        known.observe(action, observation)
    assert known.here == "desk 1"
    assert known.contents["desk 1"] == ("knife 1", "mug 2")
    assert known.holding is None


def test_forks_are_independent(small: Game) -> None:
    state = State(small)
    known = KnownWorld(state.introduction())
    follow(state, known, "go to desk 1")
    twin = known.fork()
    follow(state.fork(), twin, "take mug 2 from desk 1", "go to fridge 1", "open fridge 1")
    assert (known.holding, known.here, known.contents) == (None, "desk 1", {"desk 1": ("knife 1", "mug 2")})
    assert (twin.holding, twin.here) == ("mug 2", "fridge 1")


def test_things_are_listed_in_the_order_of_the_games() -> None:
    assert inserted(("apple 2", "mug 3", "mug 1"), "mug 2") == ("apple 2", "mug 3", "mug 2", "mug 1")
    assert inserted((), "pen 1") == ("pen 1",)
    assert inserted(("pen 1",), "pen 1") == ("pen 1",)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("put some pen on desk.", ("pick_and_place_simple", "pen", "desk")),
        ("put a pen in desk.", ("pick_and_place_simple", "pen", "desk")),
        ("look at cd under the desklamp.", ("look_at_obj_in_light", "cd", "desklamp")),
        ("examine the cd with the desklamp.", ("look_at_obj_in_light", "cd", "desklamp")),
        ("clean some mug and put it in shelf.", ("pick_clean_then_place_in_recep", "mug", "shelf")),
        ("put a hot mug in shelf.", ("pick_heat_then_place_in_recep", "mug", "shelf")),
        (
            "Your task is to: cool some mug and put it in shelf.",
            ("pick_cool_then_place_in_recep", "mug", "shelf"),
        ),
        ("find two cd and put them in safe.", ("pick_two_obj_and_place", "cd", "safe")),
        ("put two cd in safe.", ("pick_two_obj_and_place", "cd", "safe")),
    ],
)
def test_every_task_sentence_is_understood(sentence: str, expected: tuple[str, str, str]) -> None:
    task = Task.parse(sentence)
    assert (task.task_type, task.object, task.target) == expected


def test_another_sentence_is_refused() -> None:
    with pytest.raises(ValueError, match="not an ALFWorld task"):
        Task.parse("make dinner")


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ("go to desk 1", ("go", "desk 1", "")),
        ("go desk 1", ("go", "", "")),
        ("take mug 1 from desk 2", ("take", "mug 1", "desk 2")),
        (" heat mug 1 with microwave 1 ", ("heat", "mug 1", "microwave 1")),
        ("move mug 1", ("move", "mug 1", "")),
        ("", ("", "", "")),
    ],
)
def test_commands_are_split(command: str, parts: tuple[str, str, str]) -> None:
    assert split_command(command) == parts
