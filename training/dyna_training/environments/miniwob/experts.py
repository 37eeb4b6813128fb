"""Experts of tasks that a few rules do: each decides from the task, the page as it is shown, and its last action.

An expert knows nothing that a player does not see, and goes on from wherever others led it. Tasks that would take
knowledge of the world, a search through mails or a steady hand have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from dyna_training.environments.miniwob.rules import EXPERTS, Rule
from dyna_training.environments.miniwob.seen import Seen

__all__ = ["EXPERTS", "Decision", "PageExpert", "expert_for"]


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision: a short reason that follows from the page, and the action."""

    thought: str
    action: str


class PageExpert:
    """Follows the rule of its task."""

    def __init__(self, rule: Rule, opening: str) -> None:
        """Start with the first observation of an episode."""
        first, _, page = opening.partition("\n")
        self._rule = rule
        self._task = first.removeprefix("Task: ")
        self._seen = Seen(page)
        self._last = ""

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed action; one that did nothing changed nothing."""
        if not observation.startswith("Nothing happens."):
            self._seen, self._last = Seen(observation), action

    def decide(self) -> Decision:
        """Return the next thought and action."""
        found = self._rule(self._task, self._seen, self._last)
        return Decision(*found) if found else Decision("I do not see what to do, so I wait.", "wait")

    def fork(self) -> Self:
        """Return an independent copy."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin


def expert_for(task: str, opening: str) -> PageExpert | None:
    """Return the expert for an episode of a task, given the first observation; None where there is none."""
    rule = EXPERTS.get(task)
    return None if rule is None else PageExpert(rule, opening)
