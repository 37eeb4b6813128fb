"""Baselines and the shuffled control."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from dyna_nodes.nouns import Action, History, Prediction, Query, Step, Trajectory, Transition
from dyna_nodes.protocols import WorldModel
from dyna_nodes.world_models import CopyWorldModel, ShuffledWorldModel, TemplateWorldModel


def query(command: str, *steps: tuple[str, str], task: str = "A kitchen.", imagined: int = 0) -> Query:
    history = History(task=task, steps=tuple(Step(action=Action.command(c), observation=o) for c, o in steps))
    return Query(history=history, action=Action.command(command), imagined=imagined)


def trajectory(*steps: tuple[str, str]) -> Trajectory:
    transitions = [Transition(action=Action.command(c), observation=o) for c, o in steps]
    return Trajectory(task="A kitchen.", transitions=tuple(transitions))


class Echo:
    """A world model that says which action it was asked about."""

    name = "echo"

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        return [Prediction(observation=q.action.text, model=self.name) for q in queries]

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        return self.predict(queries)


def test_copy_says_the_last_observation_again() -> None:
    model = CopyWorldModel()
    assert isinstance(model, WorldModel)
    found = model.predict([query("look"), query("look", ("go to fridge 1", "It is closed."))])
    assert [p.observation for p in found] == ["A kitchen.", "It is closed."]


def test_templates_are_learned_per_kind_of_command_and_filled_in() -> None:
    data = [
        trajectory(
            ("open fridge 1", "You open the fridge 1. In it, you see a mug 1."),
            ("open drawer 2", "You open the drawer 2. In it, you see nothing."),
            ("open drawer 12", "You open the drawer 12. In it, you see nothing."),
            ("take mug 1 from fridge 1", "You pick up the mug 1 from the fridge 1."),
            ("dance", "Nothing happens."),
            ("fly", "Nothing happens."),
        )
    ]
    model = TemplateWorldModel.fit(data)
    assert model.templates["open {0}"] == "You open the {0}. In it, you see nothing."
    asked = ["open cabinet 3", "take pan 2 from shelf 1", "swim"]
    assert [p.observation for p in model.predict([query(c) for c in asked])] == [
        "You open the cabinet 3. In it, you see nothing.",
        "You pick up the pan 2 from the shelf 1.",
        "Nothing happens.",
    ]
    assert TemplateWorldModel.fit([]).predict([query("x")])[0].observation == "Nothing happens."


async def test_memory_repeats_what_the_same_command_showed() -> None:
    model = TemplateWorldModel({"go to {0}": "You arrive at {0}."}, memory=True)
    seen = ("go to shelf 1", "On the shelf 1, you see a mug 1.")
    first, second = await model.apredict([query("go to shelf 1", seen), query("go to shelf 2", seen)])
    assert first.observation == seen[1]
    assert second.observation == "You arrive at shelf 2."


def test_shuffling_permutes_within_a_step_and_does_not_depend_on_the_batch() -> None:
    model = ShuffledWorldModel(Echo(), seed=1)
    assert isinstance(model, WorldModel)
    one = [query(c) for c in "abcd"]
    other = [query(c, task="Elsewhere.") for c in "abcd"]
    alone = [p.observation for p in model.predict(one)]
    assert sorted(str(o) for o in alone) == list("abcd")
    together = [p.observation for p in model.predict([*other, *reversed(one)])]
    assert together[4:] == alone[::-1]
    assert {str(o) for o in together[:4]} == set("abcd")
    again = [p.observation for p in model.predict([query("a"), *one])]
    assert again == [alone[0], *alone]


def test_no_action_keeps_its_own_prediction_and_every_such_permutation_is_equally_likely() -> None:
    counts = Counter(
        tuple(
            str(p.observation) for p in ShuffledWorldModel(Echo(), seed=s).predict([query(c) for c in "abcd"])
        )
        for s in range(1800)
    )
    assert len(counts) == 9, "of the 24 permutations of four, nine move everything"
    assert not any(own == given for dealt in counts for own, given in zip("abcd", dealt, strict=True))
    assert min(counts.values()) > 130


def test_candidates_that_propose_the_same_share_one_prediction_and_it_is_not_their_own() -> None:
    for seed in range(20):
        dealt = [
            p.observation for p in ShuffledWorldModel(Echo(), seed=seed).predict([query(c) for c in "abab"])
        ]
        assert dealt == ["b", "a", "b", "a"]


def test_a_single_proposal_keeps_its_own_prediction() -> None:
    dealt = ShuffledWorldModel(Echo()).predict([query("a"), query("a")])
    assert [p.observation for p in dealt] == ["a", "a"]


def test_deeper_steps_are_permuted_among_the_candidates() -> None:
    deep = [query("x", (c, "imagined"), imagined=1, task="A kitchen.") for c in "ab"]

    class Last(Echo):
        def predict(self, queries: Sequence[Query]) -> list[Prediction]:
            return [Prediction(observation=q.history.steps[-1].action.text) for q in queries]

    found = {
        tuple(p.observation for p in ShuffledWorldModel(Last(), seed=s).predict(deep)) for s in range(20)
    }
    assert found == {("b", "a")}


async def test_the_async_twin_is_the_same() -> None:
    model = ShuffledWorldModel(Echo(), seed=3)
    asked = [query(c) for c in "abcde"]
    assert await model.apredict(asked) == model.predict(asked)
    assert [p.observation for p in model.predict(asked)] != pytest.approx(list("abcde"))
