import hashlib
import json
import random
from pathlib import Path

import pytest

from dyna_training.environments.alfworld import Game, State
from dyna_training.environments.alfworld.game import compile_game
from dyna_training.environments.alfworld.generator import generate
from dyna_training.environments.alfworld.plays import invalid_command

NOTHING = "Nothing happens."
TRANSCRIPTS = json.loads(Path(__file__).with_name("original_transcripts.json").read_text(encoding="utf-8"))


def play(state: State, *commands: str) -> list[str]:
    return [state.step(command)[0] for command in commands]


def snapshot(state: State) -> tuple[object, ...]:
    return tuple(getattr(state, name) for name in State.__slots__)


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript["id"])
def test_the_same_as_the_original_played(transcript: dict[str, object]) -> None:
    """Recorded from textworld 1.7.0 and alfworld 0.4.2; the whole check is `equality`."""
    game = compile_game(transcript["file"], game_id=str(transcript["id"]))
    state = State(game)
    told = [(state.introduction(), state.won, state.admissible())]
    for command in transcript["commands"]:  # type: ignore[attr-defined]
        observation, won = state.step(command)
        told.append((observation, won, state.admissible()))
    assert [observation for observation, _, _ in told] == transcript["observations"]
    assert [won for _, won, _ in told] == transcript["won"]
    digests = [hashlib.sha256("\n".join(listed).encode()).hexdigest()[:12] for _, _, listed in told]
    assert digests == transcript["admissible"]
    assert True in transcript["won"]  # type: ignore[operator]


def test_only_the_first_look_lists_the_room(small: Game) -> None:
    state = State(small)
    assert state.introduction() == (
        "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, "
        "you see a desk 1, a drawer 2, a drawer 1, a fridge 1, a shelf 1, and a sinkbasin 1.\n\n"
        "Your task is to: put a clean mug in drawer."
    )
    assert play(state, "look") == [
        "You are in the middle of a room. Looking quickly around you, you see nothing."
    ]


def test_things_are_done_and_told(small: Game) -> None:
    state = State(small)
    assert play(
        state,
        "go to desk 1",
        "inventory",
        "take mug 2 from desk 1",
        "inventory",
        "examine mug 2",
        "look",
        "go to sinkbasin 1",
        "clean mug 2 with sinkbasin 1",
        "go to drawer 2",
        "open drawer 2",
        "close drawer 2",
        "open drawer 2",
    ) == [
        "You arrive at desk 1. On the desk 1, you see a knife 1, and a mug 2.",
        "You are not carrying anything.",
        "You pick up the mug 2 from the desk 1.",
        "You are carrying: a mug 2.",
        "This is a normal mug 2. In it, you see a pen 1.",
        "You are facing the desk 1, and shelf 1. Next to it, you see nothing.",
        "You arrive at sinkbasin 1. On the sinkbasin 1, you see a sink 1.",
        "You clean the mug 2 using the sinkbasin 1.",
        "You arrive at drawer 2. The drawer 2 is closed.",
        "You open the drawer 2. The drawer 2 is open. In it, you see a desklamp 1, and a mug 1.",
        "You close the drawer 2.",
        "You open the drawer 2. The drawer 2 is open. In it, you see a desklamp 1, and a mug 1.",
    ]
    assert state.step("move mug 2 to drawer 2") == ("You move the mug 2 to the drawer 2.", True)
    assert state.step("take mug 2 from drawer 2") == ("You pick up the mug 2 from the drawer 2.", False)


def test_a_place_with_two_receptacles_is_one_place(small: Game) -> None:
    state = State(small)
    state.step("go to desk 1")
    assert "go to shelf 1" not in state.admissible()
    assert play(state, "go to shelf 1", "go to desk 1", "examine shelf 1") == [
        NOTHING,
        NOTHING,
        "On the shelf 1, you see nothing.",
    ]


def test_the_floor_holds_what_moved_between_neighbours(small: Game) -> None:
    state = State(small)
    told = play(state, "go to desk 1", "take mug 2 from desk 1", "move mug 2 to shelf 1", "look")
    assert told[-1] == "You are facing the desk 1, and shelf 1. Next to it, you see a mug 2."
    play(state, "take mug 2 from shelf 1", "move mug 2 to desk 1")
    assert play(state, "look")[0].endswith("you see a mug 2.")


def test_a_thing_in_two_receptacles_leaves_one_of_them(small: Game) -> None:
    state = State(small)
    play(state, "go to desk 1", "take knife 1 from desk 1", "go to drawer 1")
    assert "knife 1" in play(state, "open drawer 1")[0]


def test_what_is_cold_for_good_cannot_be_cooled(small: Game) -> None:
    state = State(small)
    play(state, "go to fridge 1", "open fridge 1", "take lettuce 1 from fridge 1")
    assert "cool lettuce 1 with fridge 1" not in state.admissible()
    assert play(state, "cool lettuce 1 with fridge 1", "examine lettuce 1") == [
        NOTHING,
        "This is a cold lettuce 1.",
    ]


def test_a_lamp_is_reached_in_a_closed_drawer_and_never_goes_off(small: Game) -> None:
    state = State(small)
    told = play(state, "go to drawer 2", "use desklamp 1", "use desklamp 1")
    assert told[0] == "You arrive at drawer 2. The drawer 2 is closed."
    assert told[1:] == ["You turn on the desklamp 1."] * 2


def test_slicing_needs_a_held_knife_at_the_place(small: Game) -> None:
    state = State(small)
    assert play(state, "go to fridge 1", "slice lettuce 1 with knife 1")[1] == NOTHING
    play(state, "go to desk 1", "take knife 1 from desk 1", "go to fridge 1")
    # The original lets one slice what is in a closed fridge.
    assert "slice lettuce 1 with knife 1" in state.admissible()
    assert play(state, "slice lettuce 1 with knife 1") == ["You sliced the lettuce 1 with the knife 1."]


@pytest.mark.parametrize("seed", range(4))
def test_exactly_the_admissible_commands_do_something(seed: int) -> None:
    game, generator = generate(seed), random.Random(seed)
    state = State(game)
    for _ in range(60):
        admissible = state.admissible()
        assert admissible == sorted(set(admissible))
        for command in admissible:
            assert state.fork().step(command)[0] != NOTHING, command
        for _ in range(10):
            command = invalid_command(game, generator)
            if command.strip() not in admissible:
                before = snapshot(state)
                assert state.step(command)[0] == NOTHING, command
                assert snapshot(state) == before
        state.step(generator.choice(admissible))


@pytest.mark.parametrize("seed", range(4))
def test_forks_are_equal_and_independent(seed: int) -> None:
    generator, state = random.Random(seed), State(generate(seed))
    for _ in range(40):
        twin, before = state.fork(), snapshot(state)
        assert snapshot(twin) == before
        for _ in range(15):
            twin.step(generator.choice(twin.admissible()))
        assert snapshot(state) == before
        command = generator.choice(state.admissible())
        again = state.fork()
        assert state.step(command) == again.step(command)
        assert snapshot(state) == snapshot(again)


def test_the_same_commands_tell_the_same_story(small: Game) -> None:
    generator, state = random.Random(0), State(small)
    commands, story = [], []
    for _ in range(200):
        commands.append(generator.choice(state.admissible()))
        story.append(state.step(commands[-1]))
    again = State(small)
    assert [again.step(command) for command in commands] == story
