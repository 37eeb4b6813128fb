"""Simulations that need no insight, written by rote where the policy writes its own.

A simulation need not say everything, so that "You arrive at fridge 1." is right whenever one arrives. What a
policy's figures are worth shows beside what this costs nothing to say.
"""

from __future__ import annotations

from collections.abc import Sequence

from dyna_nodes.codec.thinking import sentences
from dyna_nodes.nouns import Prediction, Query, Trajectory
from dyna_nodes.protocols import WorldModel
from dyna_nodes.world_models import CopyWorldModel, TemplateWorldModel
from dyna_training.evaluation.baselines import RulesWorldModel


class OpeningWorldModel:
    """Predicts the first sentence of what another world model predicts: "You arrive at fridge 1."

    Args:
        model: The other one.
        name: Name in predictions.
    """

    def __init__(self, model: WorldModel, *, name: str = "opening") -> None:
        self.model = model
        self.name = name

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return [self._opening(p) for p in self.model.predict(queries)]

    async def apredict(self, queries: Sequence[Query]) -> list[Prediction]:
        """Answer each query, in order."""
        return [self._opening(p) for p in await self.model.apredict(queries)]

    def _opening(self, prediction: Prediction) -> Prediction:
        first = sentences(prediction.observation or "")[:1]
        return prediction.model_copy(update={"observation": "".join(first), "model": self.name})


def trivial(train: Sequence[Trajectory], *, rules: bool) -> dict[str, WorldModel]:
    """Return who writes by rote: *copy*, *template*, *opening* (the template's first sentence).

    Args:
        train: Episodes of training games; templates are learned from them.
        rules: Also the yardstick *rules*, which knows household games by heart: what a history allows at most.
    """
    template = TemplateWorldModel.fit(train)
    found: dict[str, WorldModel] = {
        "copy": CopyWorldModel(),
        "opening": OpeningWorldModel(template),
        "template": template,
    }
    return found | ({"rules": RulesWorldModel(template)} if rules else {})
