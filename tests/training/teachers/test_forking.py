"""The teachers of environments that are no households: their thinking says what forks show, or what of it could be
known, and DIT can shorten it."""

from __future__ import annotations

import itertools
import random
import re
import types
from pathlib import Path
from typing import Any

import pytest

from dyna_nodes.codec.thinking import holds, parts, sentences, simulation_line, simulation_of, simulations
from dyna_nodes.nouns import Action, Provenance, Trajectory, Transition
from dyna_training.annotate.grounded import GroundedAnnotator
from dyna_training.collect import CollectSettings, collect
from dyna_training.environments.catalogue import SOKOBAN, TAXI, TEXTWORLD, catalogue
from dyna_training.environments.taxi import TaxiEnv
from dyna_training.evaluation.thinking import thinking_figures
from dyna_training.rollouts import play
from dyna_training.teachers import forking, grounded
from dyna_training.teachers.facts import fact_figures, turn_facts
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


@pytest.fixture(scope="module", params=["teacher", "teacher-noisy"])
def knowing(request: pytest.FixtureRequest) -> list[Trajectory]:
    pytest.importorskip("textworld")
    games = catalogue(TEXTWORLD).draw("train", 12)
    return [play(game, request.param, seed=seed, environment=TEXTWORLD) for seed, game in enumerate(games)]


def test_who_knows_the_history_supposes_the_rest(knowing: list[Trajectory], taught: list[Trajectory]) -> None:
    figures = fact_figures([turn for t in knowing for turn in turn_facts(t)])
    assert figures["stated"] > 10
    assert figures["unknown"]["value"] == 0
    assert figures["certain"]["value"] == 1
    steps = [step for t in knowing for step in t.transitions if step.labels["expert"]]
    found = [simulation_of(step.thought, step.action.text) for step in steps]
    assert sum(s is not None for s in found) > 0.5 * len(steps)
    supposed = [s for s in found if s is not None and s.hypotheses]
    assert len(supposed) > 3
    assert not any(s.certain for s in supposed), "of what is new it says nothing else"
    if taught[0].provenance.environment.startswith(TEXTWORLD):
        future = fact_figures([turn for t in taught for turn in turn_facts(t)])
        assert future["unknown"]["value"] > 0.4
        assert future["unseen"]["value"] is None, "nobody can tell"


@pytest.mark.parametrize("environment", [SOKOBAN, TAXI])
def test_a_board_that_is_seen_whole_leaves_nothing_open(environment: str) -> None:
    [game] = catalogue(environment).draw("train", 1)
    steps = play(game, "teacher", seed=0, environment=environment).transitions
    found = [simulation_of(step.thought, step.action.text) for step in steps]
    assert all(s is not None and s.certain and not s.hypotheses for s in found)
    assert all(s is not None and holds(s, step.observation) for s, step in zip(found, steps, strict=True))


WORKS = re.compile(
    r"You (take|pick up|drop|put|open|close|lock|unlock|eat|slice|chop|dice|fried|roasted|grilled|burned) [^,]+[.!]"
    r"|Adding the meal to your inventory\."
)


def test_all_that_is_certain_was_read_before_or_says_that_it_works(knowing: list[Trajectory]) -> None:
    """By another rule than the one that the teacher goes by."""
    cooked = 0
    for trajectory in knowing:
        read = trajectory.task
        for step in trajectory.transitions:
            for simulation in simulations(step.thought):
                verb, _, food = simulation.action.partition(" ")
                for sentence in sentences(simulation.certain):
                    known = sentence in " ".join(read.split())
                    assert known or WORKS.fullmatch(sentence), f"{simulation.action}: {sentence}"
                if verb == "cook" and simulation.certain:
                    food = food.partition(" with ")[0]
                    states = re.findall(rf"(raw|fried|roasted|grilled|burned)[ \w]* {food}", read)
                    assert states, f"{simulation.action}: {simulation.certain}"
                    cooked += 1
            read += f"\n{step.observation}"
    assert cooked, "some were told"


def test_facts_that_nobody_could_know_are_found() -> None:
    opening = "-= Kitchen =-\nYou see a closed fridge and an egg.\n\nThere is an exit to the east."
    lies = {
        "take potato": "You can't see any such thing.",
        "cook egg with oven": "You burned the egg!",
        "eat egg": "You lost the game.",
        "inventory": "You are carrying: a golden crown.",
        "open fridge": "You open the fridge, revealing a dragon.",
        "open safe": "You open the safe.",
        "prepare meal": "Adding the meal to your inventory.",
        "go east": "-= Hall =- You are in a hall.",
    }
    steps = tuple(
        Transition(
            index=i,
            thought=simulation_line(action, lie),
            action=Action.command(action),
            observation="Something.",
        )
        for i, (action, lie) in enumerate(lies.items())
    )
    place = Provenance(source="collect", environment=f"{TEXTWORLD}:custom/1")
    found = list(turn_facts(Trajectory(task=opening, transitions=steps, provenance=place)))
    assert [t.unknown for t in found] == [1] * len(lies)
    assert [t.stated for t in found] == [t.unknown for t in found]


def test_mistakes_have_no_thinking_and_are_noticed(knowing: list[Trajectory]) -> None:
    noisy = knowing[0].provenance.policy == "teacher-noisy"
    mistakes = [step for t in knowing for step in t.transitions if not step.labels["expert"]]
    assert bool(mistakes) == noisy
    assert not any(step.thought for step in mistakes)
    for trajectory in knowing:
        for before, after in itertools.pairwise(trajectory.transitions):
            if after.thought and not before.thought and before.observation:
                assert after.thought.startswith("Check: ")
                assert "as I thought" not in after.thought.partition("\n")[0]


def test_hopes_are_verified_as_hopes(knowing: list[Trajectory]) -> None:
    checks = {
        after.thought.partition("\n")[0]
        for t in knowing
        for before, after in itertools.pairwise(t.transitions)
        if (s := simulation_of(before.thought, before.action.text)) and s.hypotheses and after.thought
    }
    assert any(check.endswith(", as I hoped.") for check in checks)
    assert not any("as I thought" in check for check in checks)


def test_who_cannot_tell_what_could_be_known_says_so() -> None:
    class Told:
        def decide(self) -> Any:
            return types.SimpleNamespace(action="pickup", thought="I pick up.")

    env = TaxiEnv(games=catalogue(TAXI).draw("train", 1))
    env.reset(seed=0)
    teacher = forking.ForkingTeacher("teacher", random.Random(0))
    with pytest.raises(TypeError, match="Told cannot tell what nobody could know; take teacher-future"):
        teacher.choose(env, Told())  # type: ignore[arg-type]


def test_an_action_that_reads_as_a_simulation_is_taken_without_one() -> None:
    """Of ``search[size 3: blue]`` nobody could tell where the action ends."""
    rng = random.Random(0)
    teacher = forking.ForkingTeacher("teacher-future", rng)

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
