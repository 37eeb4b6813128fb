"""Binding a verdict to an execution: what a tool is, and the check at the last moment before it runs."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from pydantic import BaseModel, ConfigDict

from dyna_nodes.nouns import Action, canonical_json, digest_of


class Refused(Exception):
    """A tool was about to run without a verdict for exactly this call."""


class Identities:
    """Digests that tell tools apart: by name, description, arguments and the function behind them.

    They are equal in another process that builds the same tools, so that a verdict outlives a restart, and
    differ when a tool has been replaced by another one of the same name.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[BaseTool, str, frozenset[str]]] = {}

    def of(self, tool: BaseTool) -> str:
        """Return the identity of ``tool``."""
        return self._look(tool)[1]

    def injected(self, tool: BaseTool) -> frozenset[str]:
        """Return the names of the arguments that the graph fills in and the policy never sees."""
        return self._look(tool)[2]

    def remember(self, tool: BaseTool, identity: str, injected: Iterable[str]) -> None:
        """Take what another process knew of a tool for what stands in for it here."""
        self._known[id(tool)] = (tool, identity, frozenset(injected))

    def _look(self, tool: BaseTool) -> tuple[BaseTool, str, frozenset[str]]:
        known = self._known.get(id(tool))
        if known is None or known[0] is not tool:
            known = (tool, _identity(tool), _injected(tool))
            self._known[id(tool)] = known
        return known


def _identity(tool: BaseTool) -> str:
    function = getattr(tool, "func", None) or getattr(tool, "coroutine", None) or type(tool)
    function = inspect.unwrap(function) if callable(function) else function
    where = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', repr(type(function)))}"
    return digest_of(tool.name, tool.description, canonical_json(_arguments(tool)), where)


def _arguments(tool: BaseTool) -> Any:
    schema = tool.tool_call_schema
    return (
        schema.model_json_schema() if isinstance(schema, type) and issubclass(schema, BaseModel) else schema
    )


def _injected(tool: BaseTool) -> frozenset[str]:
    shown, full = tool.tool_call_schema, tool.get_input_schema()
    function = getattr(tool, "func", None) or getattr(tool, "coroutine", None)
    parameters = [] if function is None else inspect.signature(function).parameters.values()
    names = {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    if isinstance(shown, Mapping):  # a JSON schema, as tools of MCP servers have
        return frozenset(names - set(shown.get("properties", ())))
    if not (isinstance(shown, type) and issubclass(shown, BaseModel) and issubclass(full, BaseModel)):
        return frozenset()
    return frozenset((names | set(full.model_fields)) - set(shown.model_fields))


def bound_digest(action: Action, history_digest: str, identity: str) -> str:
    """Return what a verdict is bound to: `dyna_nodes.nouns.binding` with the history hashed already."""
    return digest_of(action.digest, history_digest, identity)


class Permit:
    """Leave to execute exactly one call, once per attempt.

    Args:
        digest: What the verdict is bound to.
        history: Digest of the history now.
        expires_at: Unix time after which the verdict does not count; None for never.
        identities: Identities of the tools.
        repeatable: Whether the tool may run more than once under it.
        binding: False lets everything pass, and only counts: where verdicts are not obeyed either.
    """

    def __init__(
        self,
        digest: str,
        history: str,
        expires_at: float | None,
        identities: Identities,
        *,
        repeatable: bool = False,
        binding: bool = True,
    ) -> None:
        self.repeatable = repeatable
        self.binding = binding
        self.digest = digest
        self.history = history
        self.expires_at = expires_at
        self.identities = identities
        self.refused = ""
        """Why the call was refused, once it was."""
        self.uses = 0
        """How often the tool has run under it."""

    def use(self, tool: BaseTool, arguments: Mapping[str, Any]) -> None:
        """Check a call right before it runs, and count it.

        Raises:
            Refused: See `check`; or the tool has run already and must not be called twice.
        """
        self.check(tool, arguments)
        if self.uses and self.binding and not self.repeatable:
            self.refused = "it has been executed already, and the tool is not declared idempotent"
            raise Refused(self.refused)
        self.uses += 1

    def check(self, tool: BaseTool, arguments: Mapping[str, Any]) -> None:
        """Check a call right before it runs.

        Raises:
            Refused: The verdict is about another call, tool or history, or it has expired.
        """
        if not self.binding:
            return
        if self.expires_at is not None and time.time() > self.expires_at:
            self.refused = "its verdict has expired"
            raise Refused(self.refused)
        hidden = self.identities.injected(tool)
        shown = {k: v for k, v in arguments.items() if k not in hidden} if hidden else dict(arguments)
        action = Action(tool=tool.name, arguments=shown)
        if bound_digest(action, self.history, self.identities.of(tool)) != self.digest:
            self.refused = (
                "there is no verdict for exactly this call: tool, arguments or history have changed"
            )
            raise Refused(self.refused)


class GuardedTool(BaseTool):
    """Stands in for a tool and checks the permit inside the call, after everything that could change it."""

    inner: BaseTool
    permit: Permit

    model_config = ConfigDict(arbitrary_types_allowed=True)

    @classmethod
    def around(cls, tool: BaseTool, permit: Permit) -> GuardedTool:
        """Return the guarded stand-in of ``tool``."""
        # Every call gets one, and building a tool the regular way takes longer than the rest of the guard.
        guarded = cls.__new__(cls)
        shown = {name: getattr(tool, name) for name in _SHOWN}
        object.__setattr__(guarded, "__dict__", {**shown, "inner": tool, "permit": permit})
        object.__setattr__(guarded, "__pydantic_fields_set__", {*_SHOWN, "inner", "permit"})
        object.__setattr__(guarded, "__pydantic_extra__", None)
        object.__setattr__(guarded, "__pydantic_private__", None)
        return guarded

    @property
    def tool_call_schema(self) -> Any:
        """What the tool tells a model about its arguments."""
        return self.inner.tool_call_schema

    @property
    def args(self) -> dict[str, Any]:
        """The tool's arguments."""
        return self.inner.args

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Check, then call the tool."""
        self.permit.use(self.inner, _arguments_of(input))
        return self.inner.invoke(input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Check, then call the tool."""
        self.permit.use(self.inner, _arguments_of(input))
        return await self.inner.ainvoke(input, config, **kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: this way around the check is closed."""
        raise Refused("a guarded tool is called with invoke or ainvoke")


_SHOWN = tuple(BaseTool.model_fields)


def _arguments_of(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping) and value.get("type") == "tool_call":
        arguments = value.get("args")
        return arguments if isinstance(arguments, Mapping) else {}
    return value if isinstance(value, Mapping) else {"input": value}
