"""Critics: simulations in, verdicts out."""

from dyna_nodes.critics.value import ValueCritic, imagined_return

__all__ = ["ValueCritic", "imagined_return"]
