"""Which episodes satisfy conditions."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from dyna_nodes.nouns import Trajectory
from dyna_training.store.rewriting import Kept, LeftOut
from dyna_training.store.traits import action_type, traits_of


class Conditions(BaseModel):
    """What an episode has to satisfy; of several values of one condition, any will do, and empty is no condition.

    Attributes:
        outcomes: How it ended.
        min_steps: Its least number of steps.
        max_steps: Its largest number of steps.
        action_types: One of its steps has one of these types: verbs of commands, names of other tools.
        tools: One of its steps calls one of these tools.
        behaviours: Who played it.
        task_types: What its task is, as the environment's catalogue names them.
        environments: Gymnasium ids.
        splits: Split of its game, as recorded.
        without: Names of games that it must not be of.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcomes: frozenset[str] = frozenset()
    min_steps: int = Field(0, ge=0)
    max_steps: int | None = Field(None, ge=0)
    action_types: frozenset[str] = frozenset()
    tools: frozenset[str] = frozenset()
    behaviours: frozenset[str] = frozenset()
    task_types: frozenset[str] = frozenset()
    environments: frozenset[str] = frozenset()
    splits: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()

    def decide(self, trajectory: Trajectory) -> Kept | LeftOut:
        """Return the episode, or the first condition that it does not satisfy."""
        steps, traits = trajectory.transitions, traits_of(trajectory)
        wanted: list[tuple[str, frozenset[str], Iterable[str]]] = [
            ("outcome", self.outcomes, [trajectory.outcome]),
            ("environment", self.environments, [traits.environment]),
            ("split", self.splits, [traits.split]),
            ("behaviour", self.behaviours, [traits.behaviour]),
            ("task type", self.task_types, [traits.task_type]),
            ("tool", self.tools, (s.action.tool for s in steps)),
            ("action type", self.action_types, (action_type(s.action) for s in steps)),
        ]
        if traits.name in self.without:
            return LeftOut("its game is in the other set")
        if len(steps) < self.min_steps:
            return LeftOut("too short", f"{len(steps)} steps")
        if self.max_steps is not None and len(steps) > self.max_steps:
            return LeftOut("too long", f"{len(steps)} steps")
        for name, values, found in wanted:
            has = set(found)
            if values and values.isdisjoint(has):
                # With one value it is the reason itself, so that a summary shows what there is instead.
                one = next(iter(has)) if len(has) == 1 else ""
                return LeftOut(f"{name} is {one or 'unknown' if len(has) == 1 else 'none of these'}")
        return Kept(trajectory)
