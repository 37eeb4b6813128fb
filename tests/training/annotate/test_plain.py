"""Critiques where nothing is known of the environment but its answers."""

from __future__ import annotations

import pytest

from dyna_nodes.codec.thinking import simulation_line, simulations
from dyna_training.annotate.plain import plain_critique

BAR = "-= Bar =-\nYou are in a bar. There is a raw carrot on the floor."


@pytest.mark.parametrize(
    ("imagined", "observed", "critique"),
    [
        ("You pick up the coin.", "You pick up the coin. The end.", "Yes, you pick up the coin."),
        ("You pick up the coin.", "You can't.", "Wait, you can't."),
        ("Maybe I see the carrot.", BAR, "Yes, I see the carrot."),
        ("Maybe I see the coin.", BAR, "Wait, I do not see the coin: -= Bar =- You are in a bar."),
        ("You open it. Maybe I see the egg.", "You open it.", "Wait, I do not see the egg: you open it."),
        ("You open the bin. Maybe I see the egg.", "You can't.", "Wait, you can't."),
        ("Maybe I see the coin.", "", "Wait, I do not see the coin: nothing happens."),
    ],
)  # fmt: skip
def test_it_says_what_happened_and_of_a_hope_whether_it_came_true(
    imagined: str, observed: str, critique: str
) -> None:
    [simulation] = simulations(simulation_line("go north", imagined))
    assert plain_critique(simulation, observed) == critique
