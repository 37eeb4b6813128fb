"""World models: queries in, predictions out."""

from dyna_nodes.world_models.baselines import CopyWorldModel, ShuffledWorldModel, TemplateWorldModel
from dyna_nodes.world_models.chat import ChatWorldModel
from dyna_nodes.world_models.thinking import ThinkingWorldModel
from dyna_nodes.world_models.trained import TrainedWorldModel

__all__ = [
    "ChatWorldModel",
    "CopyWorldModel",
    "ShuffledWorldModel",
    "TemplateWorldModel",
    "ThinkingWorldModel",
    "TrainedWorldModel",
]
