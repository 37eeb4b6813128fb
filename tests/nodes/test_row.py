"""Rows: trunk and branches; and that the world model's rows are those that its adapters were trained on."""

from __future__ import annotations

from typing import Any

import pytest

from dyna_nodes.codec import ChatCodec, WorldModelCodec
from dyna_nodes.codec.row import Row, expect, read, write
from dyna_nodes.nouns import Action, Counterfactual, Trajectory, Transition, digest_of

RECORDED = {
    "everything": "91a857a719dea188e0608e2533b26c5ebba877e7c5ca6d0afca90c0dd5cdcc0f",
    "plain": "ec37cfe8c07d558716821fad635c230375543cc0222088c7cf42fa7e3c3c96dd",
}
"""Digests of rows as they were when the shipped world model was trained (SmolLM2's tokenizer)."""


def test_a_row_has_a_trunk_and_branches() -> None:
    row = Row()
    row.read([1, 2])
    row.write([3])
    assert row.hang(read([10]), write([11, 12]), expect(13), read([14]), expect(15)) == 1
    row.write([4])
    assert row.hang(read([20, 21]), expect(22)) == 2
    row.read([5])
    example = row.example()
    assert example.ids == [1, 2, 3, 10, 11, 12, 14, 4, 20, 21, 5]
    assert example.labels == [-100, 3, 4, 11, 12, 13, 15, -100, -100, 22, -100]
    assert example.positions == [0, 1, 2, 3, 4, 5, 6, 3, 4, 5, 4]
    assert example.branch == [0, 0, 0, 1, 1, 1, 1, 0, 2, 2, 0]
    assert example.targets == 7


@pytest.mark.parametrize("segments", [(), (read([]),), (write([1]),), (read([]), expect(1), read([2]))])
def test_a_branch_begins_with_what_is_read(segments: tuple[Any, ...]) -> None:
    row = Row()
    row.read([1])
    with pytest.raises(ValueError, match="begins with at least one token that is read"):
        row.hang(*segments)


def test_every_target_has_a_token_of_its_own_that_predicts_it() -> None:
    row = Row()
    with pytest.raises(ValueError, match="nothing before it"):
        row.write([1])
    row.read([1])
    with pytest.raises(ValueError, match="nothing before it"):
        row.hang(read([2]), expect(3), expect(4))


def test_the_world_models_rows_are_those_that_it_was_trained_on() -> None:
    transformers = pytest.importorskip("transformers")
    from dyna_nodes.local.base import resolve_base

    world = WorldModelCodec(ChatCodec(transformers.AutoTokenizer.from_pretrained(resolve_base("smollm2"))))
    take: dict[str, Any] = {
        "action": Action.command("take pen 1 from desk 1"),
        "observation": "You pick up the pen 1.",
        "reward": 1.0,
        "done": True,
        "labels": {"return_to_go": 1.0, "expert": 1.0},
    }
    other = Counterfactual(**{**take, "labels": {"return_to_go": 1.0}})
    steps = (
        Transition(
            action=Action.command("go to desk 1"),
            thought="I need a pen.",
            observation="On the desk 1, you see a pen 1.",
            labels={"return_to_go": 0.5, "expert": 1.0},
        ),
        Transition(
            action=Action.command("dance"),
            observation="Nothing happens.",
            labels={"return_to_go": 0.2, "expert": 0.0},
            counterfactuals=(other, other),
        ),
        Transition(thought="I see the pen.", **take),
    )
    trajectory = Trajectory(
        task="You see a desk 1.\n\nYour task is to: take a pen.",
        hidden_state="desk 1: pen 1",
        transitions=steps,
    )
    everything = world.example(
        trajectory,
        context="privileged",
        returns=[0, 2],
        blind_returns=[1],
        counterfactuals=[(1, 0)],
        blind_counterfactuals=[(1, 0), (1, 1)],
    )
    assert digest_of([list(part) for part in everything]) == RECORDED["everything"]
    assert digest_of([list(part) for part in world.example(trajectory)]) == RECORDED["plain"]
