"""Rejection sampling: which episodes are kept, and what is said of the others."""

from __future__ import annotations

from typing import Any

from dyna_nodes.nouns import Action, Provenance, Trajectory, Transition
from dyna_training.selection import BEYOND, FAILED, LONGER, select


def episode(id: str, game: str, outcome: Any, steps: int = 3, thought: str = "") -> Trajectory:
    step = Transition(action=Action.command("look"), thought=thought)
    return Trajectory(
        id=id,
        task="Find the pen.",
        outcome=outcome,
        transitions=(step,) * steps,
        provenance=Provenance(environment=f"house:{game}"),
    )


EPISODES = [
    episode("a1", "a", "success", 5),
    episode("b1", "b", "failure", 1),
    episode("a2", "a", "success", 3, "Long thinking."),
    episode("a3", "a", "success", 3, "Short."),
    episode("a4", "a", "success", 1),
    episode("b2", "b", "truncated"),
    episode("c1", "c", "unknown"),
    episode("c2", "c", "success", 9),
]


def test_best_of_keeps_the_shortest_success_of_each_task() -> None:
    selection = select(EPISODES, best_of=3)
    assert [t.id for t in selection.kept] == ["a3", "c2"]
    assert dict(selection.dropped) == {
        "a1": LONGER,
        "a2": LONGER,
        "a4": BEYOND,
        "b1": FAILED,
        "b2": FAILED,
        "c1": FAILED,
    }
    assert selection.counts == {
        "episodes": 8,
        "kept": 2,
        LONGER: 2,
        FAILED: 3,
        BEYOND: 1,
        "tasks": 3,
        "tasks without success": 1,
    }


def test_only_the_first_n_episodes_of_a_task_count() -> None:
    assert [t.id for t in select(EPISODES, best_of=1).kept] == ["a1"]
    assert [t.id for t in select(EPISODES, best_of=2).kept] == ["a2", "c2"]
    assert [t.id for t in select(EPISODES, best_of=9).kept] == ["a4", "c2"]
    assert select(EPISODES, best_of=1).tasks_without_success == 2


def test_without_best_of_all_successes_are_kept_or_all_episodes() -> None:
    assert [t.id for t in select(EPISODES).kept] == ["a1", "a2", "a3", "a4", "c2"]
    everything = select(EPISODES, successes_only=False)
    assert everything.kept == EPISODES
    assert everything.dropped == []
    assert everything.tasks_without_success == 1
    assert [t.id for t in select(EPISODES, best_of=9, successes_only=False).kept] == ["a4", "c2"]
    assert select([]).counts == {"episodes": 0, "kept": 0, "tasks": 0, "tasks without success": 0}
