"""The form in which a policy's thinking simulates: what is written is read back, and held against reality."""

import pytest

from dyna_nodes.codec.thinking import (
    certain_holds,
    holds,
    hypothesis_holds,
    parts,
    simulation_line,
    simulation_of,
    simulations,
)

THINKING = """Check: the mug 1 is in my hand, as I thought.
Options: go to fridge 1; go to microwave 1.
If I go to microwave 1: You arrive at microwave 1. The microwave 1 is closed.
Wait, the microwave is not what I need.
If I go to fridge 1: You arrive at fridge 1. Maybe I see an egg.

Only the fridge cools.
So I go to fridge 1."""


def test_every_line_has_its_kind_and_place() -> None:
    found = parts(THINKING)
    assert [p.kind for p in found] == [
        "verification",
        "candidates",
        "simulation",
        "critique",
        "simulation",
        "remark",
        "decision",
    ]
    assert all(THINKING[p.start : p.end] == p.text for p in found)


def test_what_is_written_is_read_back() -> None:
    line = simulation_line("go to fridge 1", "You arrive at fridge 1.\nIt is closed.")
    [simulation] = simulations(f"Hm.\n{line}")
    assert (simulation.action, simulation.outcome) == (
        "go to fridge 1",
        "You arrive at fridge 1. It is closed.",
    )


def test_a_tool_call_with_colons_in_its_arguments_is_one_action() -> None:
    action = 'pay({"order": 7, "note": "x: y"})'
    assert simulation_of(simulation_line(action, "Paid: 3 euros."), action) is not None


def test_the_last_simulation_of_an_action_counts() -> None:
    thinking = "\n".join(simulation_line("look", outcome) for outcome in ("A room.", "A hall."))
    assert simulation_of(thinking, "look").outcome == "A hall."  # type: ignore[union-attr]
    assert simulation_of(thinking, "wait") is None


@pytest.mark.parametrize(
    "line", ["If I go: ", "If I go to the shelf, I see a mug.", "Maybe. If I go: A room.", ""]
)
def test_what_is_not_of_the_form_is_no_simulation(line: str) -> None:
    assert simulations(line) == []


def test_certain_and_supposed_are_told_apart() -> None:
    simulation = simulation_of(THINKING, "go to fridge 1")
    assert simulation is not None
    assert simulation.certain == "You arrive at fridge 1."
    assert simulation.hypotheses == ("an egg",)
    closed = "You arrive at fridge 1. The fridge 1 is closed."
    assert certain_holds(simulation, closed)
    assert not holds(simulation, closed)
    assert holds(simulation, "You arrive at fridge 1. In it, you see an egg 2, and a mug 1.")
    assert not certain_holds(simulation, "Nothing happens.")


def test_a_hypothesis_is_about_whole_words() -> None:
    assert hypothesis_holds("a mug", "you see a mug 1")
    assert not hypothesis_holds("a pen", "you see a pencil 1")
    assert hypothesis_holds("the carrot", "You open the fridge, revealing a raw carrot.")
    assert not hypothesis_holds("the carrot", "You open the fridge.")
    assert not hypothesis_holds("the ", "You open the fridge.")
