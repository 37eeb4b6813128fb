"""`DynaMiddleware`: the hooks."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from langchain.agents.middleware import (
    AgentMiddleware,
    ExtendedModelResponse,
    ModelRequest,
    ModelResponse,
    hook_config,
)
from langchain_core.messages import ToolMessage
from langgraph.config import get_config
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.runtime import Runtime
from langgraph.types import Command

from dyna_graph.agent import experience_log, intent_journal, refuse_homeless
from dyna_graph.middleware.asking import AgentPolicy, AsyncHandler, Given, Handler
from dyna_graph.middleware.calling import execution
from dyna_graph.middleware.ledger import DynaMiddlewareState
from dyna_graph.middleware.loop import CHECKPOINTER, AgentLoop
from dyna_nodes.codec.world_model import DISCOUNT
from dyna_nodes.core import DynaCore, Run
from dyna_nodes.effects import Effect, Plan, aperform, perform
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.journal import IntentJournal
from dyna_nodes.nouns import Provenance
from dyna_nodes.protocols import Critic, WorldModel
from dyna_nodes.settings import LoopSettings, Memory, Mode, Policy, ToolSettings

if TYPE_CHECKING:
    from dyna_graph.config import DynaConfig

Result = ToolMessage | Command[Any]


class DynaMiddleware(AgentMiddleware[Any, Any, Any]):
    """Imagines and judges every tool call of an agent before it runs, and compares what happened with it.

    It drives the same nodes as `dyna_graph.create_dyna_agent`, with the same settings and the same record; the
    agent keeps its model, its tools and its other middlewares. What it keeps in the agent's state is private.

    Args:
        world_model: Imagines what actions would do; None imagines nothing.
        critic: Judges what was imagined; None approves everything.
        candidates: How many responses the agent's model proposes per turn.
        resample: How many responses are drawn anew, from the same prompt, where every call in all candidates was
            rejected, before the policy is told why; 0 tells it at once. Needs a policy that samples; no response
            streams token by token then.
        horizon: How many steps each proposal is imagined ahead.
        memory: What the model reads of its own earlier turns; see `create_dyna_agent`.
        inner_simulation: Whether what the model's own thinking imagines is recorded and scored, too.
        mode: ``enforce`` obeys verdicts; ``advise`` runs everything and adds the hint to the result;
            ``shadow`` only records.
        max_revisions: How many turns in a row may be rejected entirely before ``on_exhausted`` decides.
        on_exhausted: ``block`` refuses the calls, ``allow`` runs them, ``escalate`` asks a human.
        on_failure: The same for calls whose critic or world model broke.
        max_blocks: After how many refused turns in a row the run ends.
        max_steps: How many executed turns a run may take; without effect in ``shadow``.
        discount: Discount per imagined step, in (0, 1].
        dry_run: No tool runs: the world model's prediction takes the place of the result, and transitions are
            marked as imagined.
        verdict_ttl: Seconds for which a verdict counts; None means for ever.
        world_model_timeout: Seconds that all predictions of one depth may take.
        surprise: Whether a world model that can tell is asked how likely it had thought what really happened.
        critic_timeout: Seconds that judging one turn may take.
        tool_settings: `ToolSettings` by name or glob of the tool.
        record: Experience log, or its folder; every executed call becomes a transition in it.
        journal: Where intents are written before each effect; None for a file beside the agent's checkpointer.
            False goes without; then a crash may repeat an effect.
        provenance: What is noted in every transition; ``configurable.provenance`` of a run adds to it.

    Example:
        ```python
        agent = create_agent(model, tools, middleware=[DynaMiddleware.from_file("dyna.yaml")])
        ```
    """

    state_schema = DynaMiddlewareState

    def __init__(
        self,
        world_model: WorldModel | None = None,
        critic: Critic | None = None,
        *,
        candidates: int = 1,
        resample: int = 0,
        horizon: int = 1,
        memory: Memory = "thoughts",
        inner_simulation: bool = False,
        mode: Mode = "enforce",
        max_revisions: int = 2,
        on_exhausted: Policy = "block",
        on_failure: Policy = "block",
        max_blocks: int = 3,
        max_steps: int = 50,
        discount: float = DISCOUNT,
        dry_run: bool = False,
        verdict_ttl: float | None = None,
        world_model_timeout: float | None = None,
        surprise: bool = True,
        critic_timeout: float | None = None,
        tool_settings: Mapping[str, ToolSettings | Mapping[str, Any]] | None = None,
        record: ExperienceLog | str | os.PathLike[str] | None = None,
        journal: IntentJournal | str | os.PathLike[str] | Literal[False] | None = None,
        provenance: Provenance | None = None,
    ) -> None:
        super().__init__()
        settings = LoopSettings(
            candidates=candidates,
            resample=resample,
            horizon=horizon,
            memory=memory,
            inner_simulation=inner_simulation,
            mode=mode,
            max_revisions=max_revisions,
            on_exhausted=on_exhausted,
            on_failure=on_failure,
            max_blocks=max_blocks,
            # An agent that is only watched keeps to its own limits.
            max_steps=sys.maxsize if mode == "shadow" else max_steps,
            discount=discount,
            dry_run=dry_run,
            verdict_ttl=verdict_ttl,
            world_model_timeout=world_model_timeout,
            surprise=surprise,
            critic_timeout=critic_timeout,
            tools={k: ToolSettings.model_validate(v) for k, v in (tool_settings or {}).items()},
        )
        self._journal = journal
        self._loop = AgentLoop(
            DynaCore(
                Given([], None, ""),
                world_model=world_model,
                critic=critic,
                settings=settings,
                record=experience_log(record),
                journal=intent_journal(journal),
                journalled=journal is not False,
                provenance=provenance,
            )
        )

    @classmethod
    def from_file(cls, file: str | os.PathLike[str], *, tools: Sequence[Any] = (), **options: Any) -> Self:
        """Make the middleware that a YAML file describes.

        Args:
            file: The file, as for `dyna_graph.DynaConfig.from_file`; model, system prompt, tools and checkpointer are
                the agent's.
            tools: The agent's tools, for world models that want to know them: *chat* reads what they are for.
            **options: Arguments of the constructor to use instead of what the file says.

        Raises:
            ConfigError: Lists everything that is wrong, each with file, line and key.
        """
        from dyna_graph.config import DynaConfig

        return cls.from_config(DynaConfig.from_file(file), tools=tools, **options)

    @classmethod
    def from_config(cls, config: DynaConfig, *, tools: Sequence[Any] = (), **options: Any) -> Self:
        """Make the middleware that a configuration describes; see `from_file`."""
        from dyna_graph.config.build import middleware_options

        return cls(**middleware_options(config, tools, options))

    def before_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Refuse to begin where a human may be asked and nobody could wait for the answer.

        Raises:
            ValueError: A policy or the critic can escalate and there is no checkpointer, or nobody knows where the
                journal of the checkpointer belongs.
        """
        core = self._loop.core
        checkpointer = get_config().get("configurable", {}).get(CHECKPOINTER)
        asks = core.settings.can_escalate or getattr(core.critic, "can_escalate", False)
        if checkpointer is None and asks:
            raise ValueError(
                "DynaMiddleware: on_exhausted, on_failure or the critic can ask a human, and that needs a "
                "checkpointer: give create_agent checkpointer=InMemorySaver() or a durable one, or choose 'block'"
            )
        refuse_homeless(self._journal, checkpointer)
        return None

    async def abefore_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Refuse to begin where a human may be asked and nobody could wait for the answer; see `before_agent`."""
        return self.before_agent(state, runtime)

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Observe what the last calls did."""
        return perform(self._loop.close(state, Run.of(None)))

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Observe what the last calls did."""
        return await aperform(self._loop.close(state, Run.of(None)))

    def wrap_model_call(self, request: ModelRequest[Any], handler: Handler) -> Any:
        """Let the agent's model propose, imagine the proposals and judge them."""
        return perform(self._proposed(request, handler, None))

    async def awrap_model_call(self, request: ModelRequest[Any], handler: AsyncHandler) -> Any:
        """Let the agent's model propose, imagine the proposals and judge them."""
        return await aperform(self._proposed(request, None, handler))

    @hook_config(can_jump_to=["model", "end"])
    def after_model(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Answer what was rejected, ask a human where one is needed, and go on, try again, or end."""
        return perform(self._loop.route(state, Run.of(None)))

    @hook_config(can_jump_to=["model", "end"])
    async def aafter_model(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Answer what was rejected, ask a human where one is needed, and go on, try again, or end."""
        return await aperform(self._loop.route(state, Run.of(None)))

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Result]) -> Any:
        """Execute a call under its verdict."""
        return perform(execution(self._loop, request, lambda r: Effect(lambda: handler(r), _never)))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[Result]]
    ) -> Any:
        """Execute a call under its verdict."""
        return await aperform(execution(self._loop, request, lambda r: Effect(_never, lambda: handler(r))))

    def after_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Observe what the last calls did, where no further turn follows them."""
        return _without_jump(perform(self._loop.close(state, Run.of(None))))

    async def aafter_agent(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Observe what the last calls did, where no further turn follows them."""
        return _without_jump(await aperform(self._loop.close(state, Run.of(None))))

    def _proposed(
        self, request: ModelRequest[Any], handler: Handler | None, ahandler: AsyncHandler | None
    ) -> Plan[ModelResponse[Any] | ExtendedModelResponse[Any]]:
        run = Run.of(None)
        policy = AgentPolicy(request, handler, ahandler, self._loop.core.settings.memory, run.config)
        response, ledger, history = yield from self._loop.propose(request, policy, run)
        if ledger is None:
            return response
        return ExtendedModelResponse(response, Command(update={"dyna": ledger, "dyna_history": history}))


def _without_jump(update: dict[str, Any] | None) -> dict[str, Any] | None:
    return update and {k: v for k, v in update.items() if k != "jump_to"}


def _never() -> Any:
    raise RuntimeError("a plan was driven from the wrong side; this is a bug in dyna-graph")
