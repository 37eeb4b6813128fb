"""`create_dyna_agent`: the four nodes as one compiled graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.store.base import BaseStore
from langgraph.types import Checkpointer

from dyna_graph import models
from dyna_nodes.act import ActNode
from dyna_nodes.codec.world_model import DISCOUNT
from dyna_nodes.core import DynaCore
from dyna_nodes.critique import CritiqueNode
from dyna_nodes.experience import ExperienceLog
from dyna_nodes.journal import IntentJournal, has_place_beside
from dyna_nodes.nouns import Provenance
from dyna_nodes.observe import ObserveNode
from dyna_nodes.protocols import Critic, WorldModel
from dyna_nodes.settings import LoopSettings, Memory, Mode, Policy, ToolSettings
from dyna_nodes.simulate import SimulateNode
from dyna_nodes.state import DynaInput, DynaOutput, DynaState

RECURSION_LIMIT = 9_999
"""Supersteps per run; the loop has limits of its own, so this one only has to be out of their way."""


class DynaGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A compiled graph whose checkpoints are written before the next node starts.

    LangGraph's default writes them while the next node runs already; killed in a tool, such a run has lost
    the checkpoint that holds the call. An explicit ``durability=…`` of a caller still counts.
    """

    def _defaults(self, config: RunnableConfig, **options: Any) -> Any:
        *rest, durability = super()._defaults(config, **options)
        checkpointer = self._resolve_checkpointer(config)
        if checkpointer is not None and options.get("durability") is None:
            durability = "sync"
        return (*rest, durability)

    @classmethod
    def of(cls, graph: CompiledStateGraph[Any, Any, Any, Any]) -> Self:
        """Return ``graph`` as a graph of this kind."""
        return cls(**{k: v for k, v in graph.__dict__.items() if k != "__orig_class__"})


def create_dyna_agent(
    model: str | BaseChatModel,
    tools: Sequence[BaseTool | Callable[..., Any]] | None = None,
    *,
    world_model: WorldModel | None = None,
    critic: Critic | None = None,
    system_prompt: str | SystemMessage | None = None,
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
    state_schema: type[Any] | None = None,
    context_schema: type[Any] | None = None,
    checkpointer: Checkpointer = None,
    store: BaseStore | None = None,
    interrupt_before: list[str] | None = None,
    interrupt_after: list[str] | None = None,
    debug: bool = False,
    name: str | None = None,
    cache: Any = None,
    resolve_model: Callable[[str], BaseChatModel] = models.resolve_model,
) -> DynaGraph:
    """Create an agent that imagines its actions before it executes them.

    The graph takes and returns ``{"messages": […]}``, as that of `langchain.agents.create_agent` does, and
    works with ``invoke``, ``stream`` and their async twins. The stream ``custom`` carries
    `dyna_nodes.events`.

    Args:
        model: The policy: any chat model, or its name (`dyna_graph.models.resolve_model`).
        tools: Tools, or functions to make tools of.
        world_model: Imagines what actions would do; None imagines nothing. With
            `dyna_nodes.world_models.ThinkingWorldModel` it is the policy that imagines, inside its response.
        critic: Judges what was imagined; None approves everything.
        system_prompt: What stands before every conversation.
        candidates: How many responses the policy proposes per turn.
        resample: How many responses are drawn anew, from the same prompt, where every call in all candidates was
            rejected, before the policy is told why; 0 tells it at once. Needs a policy that samples; no response
            streams token by token then.
        horizon: How many steps each proposal is imagined ahead.
        memory: What the policy reads of its own earlier turns: ``thoughts`` shows them whole; ``actions`` shows
            the calls without the text beside them, as in training with that memory. ``messages`` and the record
            keep everything.
        inner_simulation: Whether what the policy's own thinking imagines of a call is recorded and scored, too,
            beside the prediction that the critic judges.
        mode: ``enforce`` obeys verdicts; ``advise`` runs everything and adds the hint to the result;
            ``shadow`` only records.
        max_revisions: How many turns in a row may be rejected entirely before ``on_exhausted`` decides.
        on_exhausted: ``block`` refuses the calls, ``allow`` runs them, ``escalate`` asks a human.
        on_failure: The same for calls whose critic or world model broke.
        max_blocks: After how many refused turns in a row the run ends.
        max_steps: How many executed turns a run may take.
        discount: Discount per imagined step, in (0, 1].
        dry_run: No tool runs: the world model's prediction takes the place of the result, and transitions are
            marked as imagined.
        verdict_ttl: Seconds for which a verdict counts; None means for ever.
        world_model_timeout: Seconds that all predictions of one depth may take, or all surprises of one round.
        surprise: Whether a world model that can tell (`SurprisedWorldModel`) is asked how likely it had thought
            what really happened; recorded as ``scores["surprise"]``.
        critic_timeout: Seconds that judging one turn may take.
        tool_settings: `ToolSettings` by name or glob of the tool.
        record: Experience log, or its folder; every executed call becomes a transition in it.
        journal: Where intents are written before each effect: a journal, the path of an SQLite file, or None
            for a file beside the checkpointer's. False goes without; then a crash may repeat an effect.
        provenance: What is noted in every transition; a run adds to it with ``configurable.provenance``.
        state_schema: Further keys of the state, as a TypedDict with ``messages``.
        context_schema: Schema of the run's context.
        checkpointer: Where checkpoints are written; needed to ask a human and to resume. True, for an agent
            that is part of a graph with a checkpointer.
        store: The store that tools may use.
        interrupt_before: Nodes to pause before.
        interrupt_after: Nodes to pause after.
        debug: Print what happens.
        name: Name of the graph.
        cache: Cache of the graph.
        resolve_model: Turns a model's name into the model.

    Returns:
        The compiled graph: ``simulate``, ``critique``, ``act``, ``observe``.

    Raises:
        ValueError: A setting is out of range, two tools have one name, a policy or critic can escalate but
            there is no checkpointer, or nobody knows where the journal of the checkpointer belongs.

    Example:
        ```python
        agent = create_dyna_agent(
            "openai:gpt-5-mini", [delete_file], critic=OutcomeCritic(),
            world_model=ChatWorldModel("openai:gpt-5-mini", success_of="call"),
        )
        agent.invoke({"messages": [("user", "Remove the temporary files.")]})
        ```
    """
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
        max_steps=max_steps,
        discount=discount,
        dry_run=dry_run,
        verdict_ttl=verdict_ttl,
        world_model_timeout=world_model_timeout,
        surprise=surprise,
        critic_timeout=critic_timeout,
        tools={k: ToolSettings.model_validate(v) for k, v in (tool_settings or {}).items()},
    )
    if checkpointer is None and (settings.can_escalate or getattr(critic, "can_escalate", False)):
        raise ValueError(
            "on_exhausted, on_failure or the critic can ask a human, and that needs a checkpointer: pass "
            "checkpointer=InMemorySaver() or a durable one, or checkpointer=True for an agent inside a graph "
            "that has one; or choose 'block'"
        )
    refuse_homeless(journal, checkpointer)
    core = DynaCore(
        resolve_model(model) if isinstance(model, str) else model,
        tools or (),
        world_model=world_model,
        critic=critic,
        system_prompt=system_prompt,
        settings=settings,
        record=experience_log(record),
        checkpointer=checkpointer,
        journal=intent_journal(journal),
        journalled=journal is not False,
        provenance=provenance,
    )
    graph = StateGraph(
        state_schema or DynaState,
        context_schema=context_schema,
        input_schema=state_schema or DynaInput,
        output_schema=state_schema or DynaOutput,
    )
    graph.add_node("simulate", SimulateNode(core), input_schema=DynaState, destinations=("critique", END))
    graph.add_node(
        "critique",
        CritiqueNode(core),
        input_schema=DynaState,
        destinations=("act", "simulate", "critique", END),
    )
    graph.add_node("act", ActNode(core), input_schema=DynaState)
    graph.add_node(
        "observe", ObserveNode(core), input_schema=DynaState, destinations=("simulate", "critique", END)
    )
    graph.add_edge(START, "simulate")
    graph.add_edge("act", "observe")
    compiled = graph.compile(
        checkpointer=checkpointer,
        store=store,
        cache=cache,
        interrupt_before=interrupt_before,
        interrupt_after=interrupt_after,
        debug=debug,
        name=name or "dyna",
    )
    return DynaGraph.of(compiled).with_config({"recursion_limit": RECURSION_LIMIT})


def experience_log(record: ExperienceLog | str | os.PathLike[str] | None) -> ExperienceLog | None:
    """Return an experience log that is given as itself or by its folder."""
    return record if record is None or isinstance(record, ExperienceLog) else ExperienceLog(Path(record))


def intent_journal(
    journal: IntentJournal | str | os.PathLike[str] | Literal[False] | None,
) -> IntentJournal | None:
    """Return a journal that is given as itself or by its file; None for the one beside the checkpointer, or none."""
    return IntentJournal(journal) if isinstance(journal, str | os.PathLike) else journal or None


def refuse_homeless(journal: object, checkpointer: Checkpointer) -> None:
    """Refuse a checkpointer beside which there is no place for the intent journal, where none is given.

    Raises:
        ValueError: Nobody knows where the journal belongs.
    """
    if journal is None and checkpointer and not has_place_beside(checkpointer):
        raise ValueError(
            f"nobody knows where the intent journal of checkpointer={checkpointer!r} belongs: pass "
            "journal='path.sqlite' on a disk that every process running this agent sees, or journal=False to go "
            "without"
        )
