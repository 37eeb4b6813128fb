"""The grounded teacher: what it writes is in the shared form, follows from the history, and leads to its action."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path

import pytest

from dyna_nodes.codec.thinking import certain_holds, holds, parts, simulation_of, simulations
from dyna_nodes.nouns import Trajectory
from dyna_training.behaviours import TeacherName
from dyna_training.collect import CollectSettings, collect
from dyna_training.environments.alfworld.generator import generate
from dyna_training.environments.alfworld.knowledge import KnownWorld
from dyna_training.environments.alfworld.text import NOTHING_HAPPENS
from dyna_training.rollouts import play
from dyna_training.teachers.grounded import distribution, distribution_digest

GAMES = range(300, 312)


@functools.cache
def episodes(name: TeacherName) -> tuple[Trajectory, ...]:
    return tuple(play(generate(seed), name, seed=5) for seed in GAMES)


@pytest.mark.parametrize("name", ["teacher", "teacher-future", "teacher-noisy"])
def test_every_thought_verifies_names_imagines_and_decides(name: TeacherName) -> None:
    for trajectory in episodes(name):
        assert trajectory.outcome == "success"
        for step in trajectory.transitions:
            if not step.labels["expert"]:
                continue
            kinds = [part.kind for part in parts(step.thought)]
            assert kinds.count("candidates") == 1
            assert kinds[-2:] == ["remark", "decision"]
            assert (kinds[0] == "verification") == (step.index > 0)
            assert parts(step.thought)[-1].text == f"So I {step.action.text}."
            assert simulation_of(step.thought, step.action.text) is not None


def test_what_the_history_determines_is_what_happens() -> None:
    turns = [t for trajectory in episodes("teacher") for t in trajectory.transitions]
    judged = [(simulation_of(t.thought, t.action.text), t.observation) for t in turns]
    false = [(s, seen) for s, seen in judged if s is not None and not certain_holds(s, seen)]
    # Only that two places stand together, or that a thing is cold, may surprise a teacher that knows the history.
    assert all(seen == NOTHING_HAPPENS for _, seen in false)
    assert len(false) <= 0.05 * len(turns)


def test_no_thought_names_a_thing_that_was_not_seen() -> None:
    for trajectory in episodes("teacher"):
        seen = trajectory.task
        for step in trajectory.transitions:
            for simulation in simulations(step.thought):
                if simulation.outcome == NOTHING_HAPPENS:
                    continue
                names = {f"{a} {b}" for a, b in _names(simulation.outcome)}
                assert all(name in seen for name in names), (names, simulation)
            seen += "\n" + step.observation


def _names(text: str) -> list[tuple[str, str]]:
    words = text.replace(",", " ").replace(".", " ").split()
    return [(a, b) for a, b in itertools.pairwise(words) if b.isdigit()]


def test_the_future_arm_is_always_right_and_knows_what_nobody_saw() -> None:
    unseen = 0
    for trajectory in episodes("teacher-future"):
        seen = trajectory.task
        for step in trajectory.transitions:
            simulation = simulation_of(step.thought, step.action.text)
            assert simulation is not None
            assert holds(simulation, step.observation)
            unseen += any(f"{a} {b}" not in seen for a, b in _names(simulation.outcome))
            seen += "\n" + step.observation
    assert unseen > len(GAMES)


def test_impossible_candidates_are_seen_to_be_impossible() -> None:
    imagined = wrong = 0
    for trajectory in episodes("teacher"):
        world = KnownWorld(trajectory.task)
        for step in trajectory.transitions:
            for simulation in simulations(step.thought):
                if simulation.outcome == NOTHING_HAPPENS:
                    imagined += 1
                    wrong += world.predict(simulation.action) != NOTHING_HAPPENS
            world.observe(step.action.text, step.observation)
    assert imagined > len(GAMES)
    assert wrong == 0


def test_mistakes_of_the_noisy_teacher_are_read_and_then_verified() -> None:
    after_mistake = []
    for trajectory in episodes("teacher-noisy"):
        for before, step in itertools.pairwise(trajectory.transitions):
            assert bool(before.thought) == bool(before.labels["expert"])
            if not before.labels["expert"] and before.observation == NOTHING_HAPPENS and step.thought:
                after_mistake.append(parts(step.thought)[0].text)
    assert len(after_mistake) > 3
    assert all(line.startswith("Check: nothing happened, ") for line in after_mistake)


def test_the_same_seed_writes_the_same_and_another_one_other_detours() -> None:
    first, again, other = (play(generate(301), "teacher", seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert [t.action for t in first.transitions] == [t.action for t in other.transitions]
    assert [t.thought for t in first.transitions] != [t.thought for t in other.transitions]


def test_a_collection_records_the_distribution(tmp_path: Path) -> None:
    settings = CollectSettings(  # type: ignore[call-arg]  # the others have defaults
        split="generated", games=1, behaviours=("teacher",), out=tmp_path
    )
    manifest = collect(settings)
    assert manifest["teacher"]["digest"] == distribution_digest()
    written = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert written["teacher"]["detours"] == json.loads(json.dumps(distribution()["detours"]))


def test_the_distribution_is_the_one_that_was_fixed() -> None:
    # Published ratios of long to short thinking name this digest; change it only together with them.
    assert distribution_digest() == "f11cb86fcc27adf4"
