"""LangGraph's node for tools, for one call at a time."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.prebuilt import ToolNode, tool_node
from langgraph.prebuilt.tool_node import ToolRuntime
from langgraph.runtime import Runtime

is_invalid_resume: Callable[[BaseException], bool] = getattr(
    tool_node, "is_invalid_resume", lambda error: False
)
"""Tells whether an error says that a human's answer did not fit what an interrupt asks for; then it waits on."""
_FIELDS = [f.name for f in fields(ToolRuntime) if f.name in {f.name for f in fields(Runtime)}]


class CallNode(ToolNode):
    """`ToolNode` without its pool of threads and tasks.

    act gets one call per `Send`, and parallel sends run in threads or tasks of their own already, so starting
    a pool for each call would only cost time, a quarter of a millisecond. Several calls, and a `ToolNode`
    whose insides are not the known ones, go LangGraph's own way.
    """

    def _func(self, input: Any, config: RunnableConfig, runtime: Runtime[Any]) -> Any:
        if not _is_one_call(input):
            return super()._func(input, config, runtime)
        calls, kind = self._parse_input(input)
        given = self._given(calls[0], input, config, runtime)
        return self._combine_tool_outputs([self._run_one(calls[0], kind, given)], kind)

    async def _afunc(self, input: Any, config: RunnableConfig, runtime: Runtime[Any]) -> Any:
        if not _is_one_call(input):
            return await super()._afunc(input, config, runtime)
        calls, kind = self._parse_input(input)
        given = self._given(calls[0], input, config, runtime)
        return self._combine_tool_outputs([await self._arun_one(calls[0], kind, given)], kind)

    def _given(self, call: Any, input: Any, config: RunnableConfig, runtime: Runtime[Any]) -> Any:
        state: Any = self._extract_state(input, config)
        return ToolRuntime(
            **{name: getattr(runtime, name) for name in _FIELDS},
            state=state,
            tool_call_id=call["id"],
            config=config,
            tools=list(self.tools_by_name.values()),
        )


def _is_one_call(input: Any) -> bool:
    return _KNOWN and isinstance(input, list) and len(input) == 1 and isinstance(input[0], dict)


def _takes(name: str, *expected: str) -> bool:
    method = getattr(ToolNode, name, None)
    return method is not None and tuple(inspect.signature(method).parameters) == ("self", *expected)


_KNOWN = all(
    (
        _takes("_func", "input", "config", "runtime"),
        _takes("_afunc", "input", "config", "runtime"),
        _takes("_parse_input", "input"),
        _takes("_extract_state", "input", "config"),
        _takes("_run_one", "call", "input_type", "tool_runtime"),
        _takes("_arun_one", "call", "input_type", "tool_runtime"),
        _takes("_combine_tool_outputs", "outputs", "input_type"),
    )
)
