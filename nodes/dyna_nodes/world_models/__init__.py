"""World models: queries in, predictions out."""

from dyna_nodes.world_models.trained import TrainedWorldModel

__all__ = ["TrainedWorldModel"]
