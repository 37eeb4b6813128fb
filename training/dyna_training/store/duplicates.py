"""What stands more than once: whole episodes, and steps with the same context, action and observation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from dyna_nodes.nouns import Trajectory, Transition, digest_of
from dyna_training.store.rewriting import Kept, LeftOut

REPEATED: Final = "repeated"
"""Label of a step whose context, action and observation stand in an episode before; 1 where they do."""
_ACCIDENTAL: Final[Any] = {
    "id": True,
    "provenance": True,
    "transitions": {
        "__all__": {
            "id": True,
            "trajectory": True,
            "time": True,
            "provenance": True,
            "verdict": {"expires_at"},
        }
    },
}


def content_digest(trajectory: Trajectory) -> bytes:
    """Return what two episodes have in common when they differ in ids, times, provenance and `REPEATED` only."""
    content = trajectory.model_dump(exclude=_ACCIDENTAL)
    for step in content["transitions"]:
        step["labels"] = {name: value for name, value in step["labels"].items() if name != REPEATED}
    return bytes.fromhex(digest_of(trajectory.provenance.environment.partition(":")[0], content)[:32])


def step_digests(trajectory: Trajectory) -> Iterator[bytes]:
    """Yield for each step what stands for its context (task, hidden state, steps before), action and observation."""
    running = hashlib.blake2b(digest_of(trajectory.task, trajectory.hidden_state).encode(), digest_size=16)
    for step in trajectory.transitions:
        running.update(digest_of(step.action.tool, dict(step.action.arguments), step.observation).encode())
        yield running.digest()


class Duplicates:
    """Finds what stands in an episode before; keeps 16 bytes of each episode, and of each step if steps count.

    Args:
        steps: Look at steps, too: an episode all of whose steps stand in kept ones goes, and in the others those
            steps get the label `REPEATED`. They stay, since later steps have them as their context.

    Attributes:
        repeated_steps: How many steps of kept episodes stand in one before.
    """

    def __init__(self, *, steps: bool = False) -> None:
        self.steps = steps
        self.repeated_steps = 0
        self._episodes: dict[bytes, str] = {}
        self._steps: set[bytes] = set()

    def decide(self, trajectory: Trajectory) -> Kept | LeftOut:
        """Return the episode, labelled where need be, or what it repeats."""
        content = content_digest(trajectory)
        first = self._episodes.setdefault(content, trajectory.id)
        if first != trajectory.id:
            return LeftOut("the same as an episode before", first)
        if not self.steps or not trajectory.transitions:
            return Kept(trajectory)
        found = list(step_digests(trajectory))
        known = [digest in self._steps for digest in found]
        if all(known):
            return LeftOut("each of its steps stands in an episode before")
        self._steps.update(found)
        self.repeated_steps += sum(known)
        labelled = tuple(_labelled(s, again) for s, again in zip(trajectory.transitions, known, strict=True))
        return Kept(trajectory.model_copy(update={"transitions": labelled}))


def _labelled(step: Transition, again: bool) -> Transition:
    """Label a step; a label of an earlier time, when other episodes were there, goes."""
    others = {name: value for name, value in step.labels.items() if name != REPEATED}
    labels = {**others, REPEATED: 1.0} if again else others
    return step if labels == step.labels else step.model_copy(update={"labels": labels})
