"""LangChain's own gate for human approval, told what the world model predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from langchain.agents.middleware import InterruptOnConfig
from langchain_core.messages.tool import ToolCall
from langgraph.prebuilt.tool_node import ToolCallRequest

from dyna_nodes.escalation import describe_call
from dyna_nodes.state import Judged

Allowed = Literal["approve", "edit", "reject", "respond"]


def gated(allowed_decisions: Sequence[Allowed] = ("approve", "edit", "reject")) -> InterruptOnConfig:
    """Return how `HumanInTheLoopMiddleware` asks about a tool beside `DynaMiddleware`, in whichever order they stand.

    The human sees what is predicted, and is not asked about calls that the critic has vetoed.

    Example:
        ```python
        gate = HumanInTheLoopMiddleware(interrupt_on={"refund": gated()})
        agent = create_agent(model, tools, middleware=[gate, DynaMiddleware.from_file("dyna.yaml")], ...)
        ```
    """
    return InterruptOnConfig(
        allowed_decisions=list(allowed_decisions), description=predicted, when=not_vetoed
    )


def predicted(tool_call: ToolCall, state: Any, runtime: Any) -> str:
    """Describe a call with the outcome that the world model predicts, for ``description`` of an `InterruptOnConfig`."""
    judged = _judged(state, tool_call)
    simulation = None if judged is None else judged["simulation"]
    prediction = simulation["steps"][0]["prediction"] if simulation else None
    reason = "" if judged is None else judged["reason"]
    return describe_call(tool_call, reason, prediction)


def not_vetoed(request: ToolCallRequest) -> bool:
    """Tell whether a call may still run, for ``when`` of an `InterruptOnConfig`."""
    judged = _judged(request.state, request.tool_call)
    return judged is None or judged["runs"] or judged["human"] is not None


def _judged(state: Any, call: ToolCall) -> Judged | None:
    verdicts: dict[str, Judged] = (state.get("dyna") or {}).get("verdicts") or {}
    return verdicts.get(str(call["id"]))
