"""Simulations that need no insight, written by rote where the policy writes its own.

A simulation need not say everything, so that "You arrive at fridge 1." is right whenever one arrives. What a
policy's figures are worth shows beside what this costs nothing to say.
"""

from __future__ import annotations

from collections.abc import Sequence

from dyna_nodes.codec.thinking import sentences
from dyna_nodes.nouns import Trajectory
from dyna_nodes.protocols import WorldModel
from dyna_nodes.world_models import CopyWorldModel, TemplateWorldModel
from dyna_training.evaluation.baselines import RulesWorldModel


def trivial(train: Sequence[Trajectory], *, rules: bool) -> dict[str, WorldModel]:
    """Return who writes by rote: *copy* (the last observation), *template*, *opening* (its first sentence).

    Args:
        train: Episodes of training games; templates are learned from them.
        rules: Also the yardstick *rules*, which knows household games by heart: what a history allows at most.
    """
    template = TemplateWorldModel.fit(train)
    found: dict[str, WorldModel] = {
        "copy": CopyWorldModel(),
        "opening": TemplateWorldModel.fit([_opening(t) for t in train], name="opening"),
        "template": template,
    }
    return found | ({"rules": RulesWorldModel(template)} if rules else {})


def _opening(trajectory: Trajectory) -> Trajectory:
    """Return a trajectory with the first sentence of each observation."""
    steps = [
        step.model_copy(update={"observation": "".join(sentences(step.observation)[:1])})
        for step in trajectory.transitions
    ]
    return trajectory.model_copy(update={"transitions": tuple(steps)})
