"""Configuration in YAML: ``DynaConfig.from_file("dyna.yaml").build(tools=…)``."""

from dyna_graph.config.config import SCHEMA_FILE, DynaConfig, schema_line, schema_text
from dyna_graph.config.critics import (
    CriticSettings,
    HouseholdCriticSettings,
    JudgeCriticSettings,
    OutcomeCriticSettings,
    RulesCriticSettings,
    TogetherCriticSettings,
    TrustSettings,
    ValueCriticSettings,
)
from dyna_graph.config.settings import (
    CritiqueSettings,
    LimitSettings,
    ModelSettings,
    RecordSettings,
    SimulateSettings,
    ToolSettings,
    WorldModelSettings,
)
from dyna_graph.errors import ConfigError, Problem

__all__ = [
    "SCHEMA_FILE",
    "ConfigError",
    "CriticSettings",
    "CritiqueSettings",
    "DynaConfig",
    "HouseholdCriticSettings",
    "JudgeCriticSettings",
    "LimitSettings",
    "ModelSettings",
    "OutcomeCriticSettings",
    "Problem",
    "RecordSettings",
    "RulesCriticSettings",
    "SimulateSettings",
    "TogetherCriticSettings",
    "ToolSettings",
    "TrustSettings",
    "ValueCriticSettings",
    "WorldModelSettings",
    "schema_line",
    "schema_text",
]
