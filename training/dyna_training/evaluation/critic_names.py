"""What a critic is called in results: its name, the weights of a household critic, and whether it vetoes."""

from __future__ import annotations

from typing import Any, Final

from dyna_graph.config import HouseholdCriticSettings

WEIGHTS: Final = frozenset(name for name in HouseholdCriticSettings.model_fields if name.endswith("_weight"))
"""The weights among the settings of the household critic."""
_TOLD: Final = ("value_weight", "agreement_weight", "log_probability_weight")
"""Those that are always told; of the others only what is not their default."""


def described(critic: Any) -> str:
    """Return the name of a critic, from its settings.

    Args:
        critic: Settings of any critic, as `DynaConfig` has them.
    """
    parts = [critic.critic]
    for name, field in type(critic).model_fields.items():
        if name in WEIGHTS and (name in _TOLD or getattr(critic, name) != field.default):
            parts.append(f"{name.removesuffix('_weight').replace('_', '-')} {getattr(critic, name):g}")
    reject = getattr(critic, "reject", None)
    if reject is not None:
        parts.append("vetoes" if reject else "nothing vetoed")
    return ", ".join(parts)
