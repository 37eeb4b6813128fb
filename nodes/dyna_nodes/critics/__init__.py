"""Critics: simulations in, verdicts out."""

from dyna_nodes.critics.base import PlainCritic, failure
from dyna_nodes.critics.compose import FirstMatch, Rule, Together, Weighted
from dyna_nodes.critics.judge import JudgeCritic
from dyna_nodes.critics.mechanisms import Finding, Mechanism, MechanismCritic
from dyna_nodes.critics.outcome import OutcomeCritic
from dyna_nodes.critics.presets import HouseholdCritic, RuleCritic
from dyna_nodes.critics.trust import TrustGate
from dyna_nodes.critics.value import ValueCritic, imagined_return

__all__ = [
    "Finding",
    "FirstMatch",
    "HouseholdCritic",
    "JudgeCritic",
    "Mechanism",
    "MechanismCritic",
    "OutcomeCritic",
    "PlainCritic",
    "Rule",
    "RuleCritic",
    "Together",
    "TrustGate",
    "ValueCritic",
    "Weighted",
    "failure",
    "imagined_return",
]
