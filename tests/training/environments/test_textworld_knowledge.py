"""What a player of TextWorld's games knows: what was read, and nothing that only a fork shows."""

from __future__ import annotations

import pytest

from dyna_training.environments.textworld.knowledge import KnownGame, says_it_works

OPENING = (
    "Find the coin.\n\n-= Pantry =-\nYou are in a pantry. You see a closed chest. You can make out a locked safe.\n\n"
    "There is an exit to the east. There is a closed type A gate leading south."
)
BAR = "-= Bar =-\nYou are in a bar. There is an exit to the west. There is a coin on the floor."


@pytest.fixture
def game() -> KnownGame:
    return KnownGame(OPENING)


@pytest.mark.parametrize(
    ("action", "outcomes"),
    [
        ("go east", (BAR, "-= Attic =-\nYou are in an attic.", "-= Pantry =-\nYou are in a pantry.")),
        ("open chest", ("You open the chest.", "You open the chest, revealing a coin.")),
        ("examine chest", ("It is shut.", "There is a closed chest in the corner.")),
        ("inventory", ("You are carrying nothing.", "You are carrying: a key.")),
        ("cook egg with stove", ("You fried the egg.", "You burned the egg!")),
        ("prepare meal", ("Something still needs to be cut.", "Adding the meal to your inventory.")),
    ],
)
def test_of_what_is_new_it_says_the_same_whatever_comes(
    game: KnownGame, action: str, outcomes: tuple[str, ...]
) -> None:
    hope = "Maybe I see the coin." if action.startswith(("go", "open")) else ""
    assert {game.foreseen(action, outcome, "coin") for outcome in outcomes} == {hope}
    assert {game.foreseen(action, outcome) for outcome in outcomes} == {""}


def test_ways_lead_back_and_rooms_stay_as_they_were_read(game: KnownGame) -> None:
    game.observe("go east", BAR)
    assert game.foreseen("look", BAR) == " ".join(BAR.split())
    pantry = OPENING.partition("\n\n")[2]
    assert game.foreseen("go west", pantry, "coin") == " ".join(pantry.split())
    changed = pantry.replace("a closed chest", "an open chest. It is empty")
    assert game.foreseen("go west", changed) == " ".join(
        pantry.replace("You see a closed chest. ", "").split()
    )
    game.observe("go west", pantry)
    assert game.foreseen("go east", BAR, "coin") == " ".join(BAR.split())
    assert game.foreseen("go south", "-= Cellar =-\nYou are in a cellar.", "coin") == "Maybe I see the coin."


def test_a_room_that_is_reached_another_way_is_not_behind_every_exit(game: KnownGame) -> None:
    """From the bar one cannot know that its other exit leads to the pantry as well."""
    game.observe("go east", BAR)
    pantry = OPENING.partition("\n\n")[2]
    assert game.foreseen("go north", pantry, "coin") == "Maybe I see the coin."


def test_a_way_that_was_barred_is_still_unknown(game: KnownGame) -> None:
    game.observe("go south", "You have to open the type A gate first.")
    assert game.foreseen("go south", BAR) == ""


def test_what_a_possible_command_is_for_is_known(game: KnownGame) -> None:
    taken = (
        "You take the coin from the shelf.\n\nYour score has just gone up by one point.\n\n*** The End ***"
    )
    assert game.foreseen("take coin from shelf", taken) == "You take the coin from the shelf."
    assert game.foreseen("open type A gate", "You open type A gate.", "coin") == "You open type A gate."


def test_what_was_open_once_is_known(game: KnownGame) -> None:
    revealing = "You open the chest, revealing a coin."
    game.observe("open chest", revealing)
    game.observe("close chest", "You close the chest.")
    assert game.foreseen("open chest", revealing, "coin") == revealing
    game.observe("open safe", "You have to unlock the safe first.")
    assert (
        game.foreseen("open safe", "You open the safe, revealing a ring.", "ring") == "Maybe I see the ring."
    )


def test_answers_are_remembered_word_for_word(game: KnownGame) -> None:
    game.observe("examine coin", "A shiny coin. It is heads up.")
    assert game.foreseen("examine coin", "A shiny coin. It is tails up.") == "A shiny coin."
    game.observe("inventory", "You are carrying nothing.")
    assert game.foreseen("inventory", "You are carrying nothing.") == "You are carrying nothing."
    game.observe("take coin", "You pick up the coin from the ground.")
    assert game.foreseen("inventory", "You are carrying: a coin.") == ""


def test_whoever_read_the_recipe_knows_when_the_meal_can_be_prepared(game: KnownGame) -> None:
    game.observe("examine cookbook", "You open the cookbook and start reading:\n\nIngredients:\ncarrot")
    assert game.recipe
    ready = "Adding the meal to your inventory."
    assert game.foreseen("prepare meal", ready) == ready
    assert game.foreseen("prepare meal", "Something still needs to be cooked.") == ""


def test_what_cooking_does_is_known_where_it_was_read_how_raw_a_food_is(game: KnownGame) -> None:
    burned = "You burned the egg!"
    game.observe(
        "look",
        "-= Pantry =-\nYou see an egg, a raw big egg, a raw potato and a fried sliced onion.",
    )
    assert game.foreseen("cook egg with oven", burned) == ""
    assert game.foreseen("cook potato with oven", "You roasted the potato.") == "You roasted the potato."
    assert game.foreseen("cook onion with oven", "You burned the onion!") == "You burned the onion!"
    game.observe("cook egg with oven", "You roasted the egg.")
    assert game.foreseen("cook egg with oven", burned) == burned


@pytest.mark.parametrize(
    ("action", "refusal"),
    [
        ("take coin", "You can't see any such thing."),
        ("open type A gate", "You have to unlock the type A gate first."),
        ("eat coin", "You lost the game."),
    ],
)
def test_a_refusal_is_no_effect(game: KnownGame, action: str, refusal: str) -> None:
    assert game.foreseen(action, refusal) == ""
    assert not says_it_works(action, refusal)


def test_a_thing_at_a_wall_is_no_door(game: KnownGame) -> None:
    game.observe("look", "-= Pantry =-\nYou see a chest by the east wall.")
    for outcome in ("You open the chest.", "You open the chest, revealing a coin."):
        assert game.foreseen("open chest", outcome, "coin") == "Maybe I see the coin."


def test_a_fork_goes_its_own_way(game: KnownGame) -> None:
    twin = game.fork()
    twin.observe("go east", BAR)
    twin.observe("examine coin", "A shiny coin.")
    assert game.foreseen("go east", BAR) == game.foreseen("examine coin", "A shiny coin.") == ""
    assert game.foreseen("look", OPENING) == " ".join(OPENING.partition("\n\n")[2].split())


def test_saying_that_it_works_is_told_from_saying_what_is_seen() -> None:
    assert says_it_works("take coin", "You pick up the coin from the ground.")
    assert says_it_works("open chest", "You open the chest.")
    assert not says_it_works("open chest", "You open the chest, revealing a coin.")
    assert not says_it_works("take coin", "Your score has just gone up by one point.")
    assert not says_it_works("go east", "You are in a bar.")
