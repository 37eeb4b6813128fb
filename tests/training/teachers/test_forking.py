"""The teacher of environments that are no households: its thinking says what forks show, and DIT can shorten it."""

from __future__ import annotations

import random
import types
from pathlib import Path
from typing import Any

import pytest

from dyna_nodes.codec.thinking import holds, parts, simulation_of, simulations
from dyna_nodes.nouns import Trajectory
from dyna_training.annotate.grounded import GroundedAnnotator
from dyna_training.collect import CollectSettings, collect
from dyna_training.environments.catalogue import SOKOBAN, TAXI, TEXTWORLD, catalogue
from dyna_training.environments.taxi import TaxiEnv
from dyna_training.evaluation.thinking import thinking_figures
from dyna_training.rollouts import play
from dyna_training.teachers import forking, grounded
from dyna_training.traces.abbreviator import Turn
from dyna_training.traces.structural import StructuralAbbreviator


@pytest.fixture(scope="module", params=[SOKOBAN, TAXI, TEXTWORLD])
def taught(request: pytest.FixtureRequest) -> list[Trajectory]:
    if request.param == TEXTWORLD:
        pytest.importorskip("textworld")
    games = catalogue(request.param).draw("train", 3)
    return [
        play(game, "teacher-future", seed=seed, environment=request.param) for seed, game in enumerate(games)
    ]


def test_it_wins_and_every_executed_action_is_simulated_as_it_goes(taught: list[Trajectory]) -> None:
    assert [t.outcome for t in taught] == ["success"] * len(taught)
    steps = [step for t in taught for step in t.transitions]
    found = [simulation_of(step.thought, step.action.text) for step in steps]
    assert all(s is not None and holds(s, step.observation) for s, step in zip(found, steps, strict=True))
    assert sum(len(simulations(step.thought)) for step in steps) > 1.5 * len(steps), (
        "others are imagined, too"
    )
    figures = thinking_figures(taught)
    assert figures.overall.strict.product.value == 1


def test_what_dit_keeps_is_a_part_and_says_the_same(taught: list[Trajectory]) -> None:
    for step in (step for t in taught for step in t.transitions):
        [shortened] = StructuralAbbreviator().abbreviate([Turn("", (), step.thought, step.action)])
        assert not shortened.error
        [text] = shortened.candidates
        assert set(text.split("\n")) < set(step.thought.split("\n"))
        assert simulation_of(text, step.action.text) is not None
        assert parts(text)[-1].kind == "decision"


def test_its_steps_can_be_annotated(taught: list[Trajectory]) -> None:
    for trajectory in taught:
        everything = range(len(trajectory.transitions))
        critiques = GroundedAnnotator("critique").annotate(trajectory, everything)
        assert all(a.notes["critique"].startswith("Yes, ") for a in critiques)
        differences = GroundedAnnotator("difference").annotate(trajectory, everything)
        assert differences[-1].notes["difference"].endswith("The task is done.")


def test_a_collection_records_its_distribution(tmp_path: Path) -> None:
    settings = CollectSettings(
        environment=TAXI, split="train", out=tmp_path, games=1, behaviours=("teacher-future",)
    )
    told = collect(settings)["teacher"]
    assert told["digest"] == forking.distribution_digest() != grounded.distribution_digest()


def test_an_action_that_reads_as_a_simulation_is_taken_without_one() -> None:
    """Of ``search[size 3: blue]`` nobody could tell where the action ends."""
    rng = random.Random(0)
    teacher = forking.ForkingTeacher(rng)

    class Shop(TaxiEnv):
        def admissible(self) -> list[str]:
            return ["search[size 3: blue]"]

        def fork(self) -> Any:
            return self

        def step(self, action: str) -> Any:
            return "Price: $12.99. It is 4.5 m long.", 0.0, False, False, {}

    class Buyer:
        def decide(self) -> Any:
            return types.SimpleNamespace(action="buy", thought="I buy.")

    choice = teacher.choose(Shop(), Buyer())  # type: ignore[arg-type]
    assert "search[size 3: blue]" in choice.thought
    assert [s.action for s in simulations(choice.thought)] == ["buy"]
    assert simulations(choice.thought)[0].outcome == "Price: $12.99. It is 4.5 m long."
    teacher.observe("buy", "Price: $12.99. It is 4.5 m long.")
    assert "Check: Price: $12.99, as I thought." in teacher.choose(Shop(), Buyer()).thought  # type: ignore[arg-type]
