"""Configuration in YAML: ``DynaConfig.from_file("dyna.yaml").build(tools=…)``."""

from dyna_graph.config.config import SCHEMA_FILE, DynaConfig, schema_line, schema_text
from dyna_graph.config.critics import CriticSettings, JudgeCriticSettings, ValueCriticSettings
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
    "JudgeCriticSettings",
    "LimitSettings",
    "ModelSettings",
    "Problem",
    "RecordSettings",
    "SimulateSettings",
    "ToolSettings",
    "ValueCriticSettings",
    "WorldModelSettings",
    "schema_line",
    "schema_text",
]
