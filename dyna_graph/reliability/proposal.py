"""Writes what was measured as YAML: which tools to put under `enforce`, behind which gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dyna_graph.config import DynaConfig
from dyna_graph.config.critics import AnyCritic, TrustSettings
from dyna_graph.config.source import write_yaml
from dyna_graph.reliability.report import ToolTrust, TrustReport
from dyna_nodes.critics.outcome import matches


def propose(report: TrustReport, config: DynaConfig | None = None) -> str:
    """Return the keys of a ``dyna.yaml`` that enforce the proposed tools; comments only when there are none.

    The named tools get a critic behind a trust gate, which goes on measuring: a tool that no longer comes up to
    the bound is treated as untrusted again. Tools that are not named run as they do without a critic.

    Args:
        report: What was measured.
        config: The present configuration, whose critics are kept; without one, `outcome` judges by predicted
            success where that was measured, else `judge` reads the predictions.
    """
    tools = [tool for tool in report.tools if tool.proposed]
    if not tools:
        return "# No tool can be put under enforce yet.\n" + _reasons(report, "#   ")
    critics = _kept(config, tools, report.gate) if config is not None else _new(tools, report.gate)
    if not critics:
        names = ", ".join(tool.tool for tool in tools)
        return f"# No critic of the configuration judges {names}; add one, then ask again.\n"
    lines = [f"# Measured from {report.folder}, world model {report.model or 'unnamed'}."]
    if report.gate.untrusted == "escalate":
        lines.append("# Where trust is lost a human is asked, which needs a checkpointer.")
    left = [tool for tool in report.tools if not tool.proposed]
    if left:
        lines.append("# Not proven yet, no critic judges them:")
    text = write_yaml({"mode": "enforce", "critic": critics})
    return "\n".join(lines) + "\n" + _reasons(report, "#   ") + text


def _reasons(report: TrustReport, indent: str) -> str:
    return "".join(f"{indent}{tool.tool}: {tool.why}\n" for tool in report.tools if not tool.proposed)


def _gate(gate: TrustSettings) -> dict[str, Any]:
    """Return the gate with its numbers spelt out, so that whoever pastes it sees them."""
    keys = ["metric", "lower_bound", "minimum_count", "untrusted"]
    if gate.confidence != TrustSettings().confidence:
        keys.append("confidence")
    return {key: getattr(gate, key) for key in keys}


def _new(tools: Sequence[ToolTrust], gate: TrustSettings) -> list[dict[str, Any]]:
    kind = "outcome" if gate.metric == "outcome" else "judge"
    return [{"critic": kind, "tools": [tool.tool for tool in tools], "trust": _gate(gate)}]


def _kept(config: DynaConfig, tools: Sequence[ToolTrust], gate: TrustSettings) -> list[dict[str, Any]]:
    """Return the critics of a configuration, each with those of the tools that it judges."""
    written = config.to_dict(references=True).get("critic", [])
    forms = written if isinstance(written, list) else [written]
    result: list[dict[str, Any]] = []
    taken: set[str] = set()
    for settings, form in zip(config.critic, forms, strict=True):
        mine = [t.tool for t in tools if t.tool not in taken and _judges(settings, t.tool)]
        taken.update(mine)
        if mine:
            long = {"critic": form} if isinstance(form, str) else dict(form)
            result.append({**long, "tools": mine, "trust": _gate(gate)})
    return result


def _judges(critic: AnyCritic, tool: str) -> bool:
    return matches(tool, critic.tools)
