"""World models that need more than a language model."""

from dyna_training.world_models.environment import EnvironmentWorldModel

__all__ = ["EnvironmentWorldModel"]
