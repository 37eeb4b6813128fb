"""Rejection sampling: which recorded episodes a policy imitates.

Dyna-Think (arXiv 2506.00320, section 3) keeps successes only, best of three per task. Of several successes the
shortest is kept here: it has the fewest detours, and a student pays for every token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from dyna_nodes.nouns import Trajectory

FAILED = "did not end in success"
LONGER = "a shorter success of its task was kept"
BEYOND = "beyond the first best_of episodes of its task"


class Selection(NamedTuple):
    """What was kept of the episodes, and why the others were not.

    Attributes:
        kept: The episodes to imitate, in the order in which they were read.
        dropped: Id of each other episode, with the reason.
        tasks: How many tasks there were.
        tasks_without_success: How many of them have no success among the episodes that count.
    """

    kept: list[Trajectory]
    dropped: list[tuple[str, str]]
    tasks: int
    tasks_without_success: int

    @property
    def counts(self) -> dict[str, int]:
        """Episodes read, kept and dropped by reason; tasks, and tasks without a success."""
        return {
            "episodes": len(self.kept) + len(self.dropped),
            "kept": len(self.kept),
            **Counter(reason for _, reason in self.dropped),
            "tasks": self.tasks,
            "tasks without success": self.tasks_without_success,
        }


def task_of(trajectory: Trajectory) -> tuple[str, str]:
    """Return what two episodes of one task have in common: the environment with its game, and the task's text."""
    return trajectory.provenance.environment, trajectory.task


def select(
    trajectories: Iterable[Trajectory], best_of: int | None = None, successes_only: bool = True
) -> Selection:
    """Choose the episodes to imitate.

    Args:
        trajectories: Recorded episodes.
        best_of: Per task, look at its first ``best_of`` episodes and keep the shortest success among them, in steps
            and then in characters of thinking. None keeps several of a task.
        successes_only: Leave out what did not end in success; ``best_of`` always does.
    """
    episodes = list(trajectories)
    best: dict[tuple[str, str], Trajectory] = {}
    seen: Counter[tuple[str, str]] = Counter()
    reasons: dict[str, str] = {}
    solved = set()
    for trajectory in episodes:
        task = task_of(trajectory)
        seen[task] += 1
        if best_of is not None and seen[task] > best_of:
            reasons[trajectory.id] = BEYOND
        elif trajectory.outcome != "success":
            if successes_only or best_of is not None:
                reasons[trajectory.id] = FAILED
        else:
            solved.add(task)
            if best_of is not None and task in best:
                shorter, longer = sorted((best[task], trajectory), key=_length)
                reasons[longer.id] = LONGER
                best[task] = shorter
            else:
                best[task] = trajectory
    return Selection(
        kept=[t for t in episodes if t.id not in reasons],
        dropped=[(t.id, reasons[t.id]) for t in episodes if t.id in reasons],
        tasks=len(seen),
        tasks_without_success=len(seen) - len(solved),
    )


def _length(trajectory: Trajectory) -> tuple[int, int]:
    return len(trajectory.transitions), sum(len(t.thought) for t in trajectory.transitions)
