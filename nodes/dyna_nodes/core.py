"""The core that all doors share: what the loop is made of, and what every node needs to know about a run."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig, ensure_config
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as make_tool
from langgraph.config import get_stream_writer

from dyna_nodes.conversation import answered, executed, new_turn, task_of
from dyna_nodes.effects import Effect, Plan, aperform, perform
from dyna_nodes.experience import ExperienceLog, LoggedReliability
from dyna_nodes.guard import Identities
from dyna_nodes.histories import Histories, Known
from dyna_nodes.journal import IntentJournal, ajournal_beside, journal_beside
from dyna_nodes.nouns import Provenance, new_id
from dyna_nodes.policy import Policy
from dyna_nodes.protocols import Critic, Proposer, SurprisedWorldModel, WorldModel
from dyna_nodes.settings import LoopSettings, ToolSettings
from dyna_nodes.shelf import Shelf
from dyna_nodes.state import STATE_FORMAT, Progress, readable
from dyna_nodes.trust import Tally


def session_of(config: RunnableConfig | None = None) -> str | None:
    """Return the handle of the session that a tool or node runs in: thread and namespace.

    World models get the same handle in `Query.session`, so that a tool of an environment and the
    *environment* world model speak of the same episode.

    Args:
        config: The config that the tool or node was given; the ambient one when None.

    Returns:
        None without a thread, that is without ``configurable.thread_id``.
    """
    configurable = (config if config is not None else ensure_config()).get("configurable", {})
    thread = configurable.get("thread_id")
    if thread is None:
        return None
    namespace = _namespace(str(configurable.get("checkpoint_ns") or ""))
    return f"{thread}|{namespace}" if namespace else str(thread)


def _namespace(checkpoint_ns: str) -> str:
    """Return the namespace of the graph that a task runs in: without the task itself and without task ids."""
    return "|".join(part.partition(":")[0] for part in checkpoint_ns.split("|")[:-1])


class Run(NamedTuple):
    """What a node knows about the run it is part of.

    Attributes:
        config: The node's config.
        thread: LangGraph thread id, empty without one.
        ns: Namespace of the graph in the thread, without task ids.
        write: Takes the events of the stream ``custom``.
    """

    config: RunnableConfig
    thread: str
    ns: str
    write: Callable[[Any], None]

    @classmethod
    def of(cls, config: RunnableConfig | None) -> Run:
        """Return the run that ``config`` belongs to."""
        config = config if config is not None else ensure_config()
        configurable = config.get("configurable", {})
        try:
            write: Callable[[Any], None] = get_stream_writer()
        except (RuntimeError, KeyError):  # called outside of a graph, as in a test of one node
            write = _nowhere
        thread = configurable.get("thread_id")
        return cls(
            config,
            "" if thread is None else str(thread),
            _namespace(str(configurable.get("checkpoint_ns") or "")),
            write,
        )

    def tell(self, event: Callable[[], Any]) -> None:
        """Write an event, if anybody listens to the stream ``custom``; else it is not even made."""
        if not _is_deaf(self.write):
            self.write(event())

    def session(self, trajectory: str) -> str:
        """Return the handle of the session; the trajectory's id where there is no thread."""
        if not self.thread:
            return trajectory
        return f"{self.thread}|{self.ns}" if self.ns else self.thread


def _nowhere(event: Any) -> None:
    """Drop an event that nobody listens to."""


def _is_deaf(write: Callable[[Any], None]) -> bool:
    """Tell whether a writer drops everything, as LangGraph's does when nobody streams ``custom``."""
    code = getattr(write, "__code__", None)
    return code is not None and code.co_code in _NOTHING


_NOTHING = {_nowhere.__code__.co_code, (lambda event: None).__code__.co_code}
"""The code of functions that do nothing, with and without a docstring."""


class Turn(NamedTuple):
    """Where the loop stands.

    Attributes:
        progress: The counters.
        known: The history that world model and critic are told.
        begins: Whether a user has just spoken.
    """

    progress: Progress
    known: Known
    begins: bool


class DynaCore:
    """What the four nodes share.

    Args:
        model: The policy: any chat model, or something else that proposes.
        tools: Tools, or functions to make tools of.
        world_model: Imagines what actions would do; None imagines nothing.
        critic: Judges; None approves everything.
        system_prompt: What stands before every conversation.
        settings: How the loop decides.
        record: Where transitions go; None records nothing.
        checkpointer: The checkpointer of the graph, where it has one: then intents are journalled and a human
            can be asked.
        journal: Where intents are written; None for beside the checkpointer.
        journalled: False writes no intents; then a crash may repeat an effect.
        provenance: What is noted in every transition; ``configurable.provenance`` of a run adds to it.

    Raises:
        ValueError: Two tools have the same name, or a setting needs something that is missing; the message
            says what.
    """

    def __init__(
        self,
        model: BaseChatModel | Proposer,
        tools: Sequence[BaseTool | Callable[..., Any]] = (),
        *,
        world_model: WorldModel | None = None,
        critic: Critic | None = None,
        system_prompt: str | SystemMessage | None = None,
        settings: LoopSettings | None = None,
        record: ExperienceLog | None = None,
        checkpointer: Any = None,
        journal: IntentJournal | None = None,
        journalled: bool = True,
        provenance: Provenance | None = None,
    ) -> None:
        from dyna_nodes.act import make_tool_node

        self.settings = settings or LoopSettings()
        self.tools: dict[str, BaseTool] = {}
        for tool in (t if isinstance(t, BaseTool) else make_tool(t) for t in tools):
            if tool.name in self.tools:
                raise ValueError(f"two tools are called {tool.name!r}; give one of them another name")
            self.tools[tool.name] = tool
        self.policy: Proposer = (
            Policy(model, list(self.tools.values()), system_prompt, memory=self.settings.memory)
            if isinstance(model, BaseChatModel)
            else model
        )
        self.world_model = world_model
        self.surprised = (
            world_model if self.settings.surprise and isinstance(world_model, SurprisedWorldModel) else None
        )
        self.reads_thinking = bool(getattr(world_model, "reads_thinking", False))
        self.inner_simulation = self.settings.inner_simulation and not self.reads_thinking
        self.critic = critic
        self.record = record
        self.checkpointer = checkpointer or None
        self.provenance = _with_versions(provenance or Provenance(policy=self.policy.name), world_model)
        self.identities = Identities()
        self.histories = Histories()
        self.shelf = Shelf()
        self.tool_node = make_tool_node(self)
        name = None if world_model is None else str(getattr(world_model, "name", type(world_model).__name__))
        self._earned = None if record is None else LoggedReliability(record, model=name)
        self._journal = journal
        self._journalled = journalled
        self._tool_settings = {name: _settings_of(tool, self.settings) for name, tool in self.tools.items()}

    def for_run(self, policy: Proposer, tools: Iterable[BaseTool], checkpointer: Any) -> Self:
        """Return a core for an agent that this one did not build: with its policy, its tools and its checkpointer.

        Settings, world model, critic and record are the same, and so is all that is remembered.
        """
        core = copy.copy(self)
        core.policy, core.checkpointer = policy, checkpointer or None
        if not self.provenance.policy:
            core.provenance = self.provenance.model_copy(update={"policy": policy.name})
        core.tools = {tool.name: tool for tool in tools}
        core._tool_settings = {name: _settings_of(tool, self.settings) for name, tool in core.tools.items()}
        return core

    @property
    def durable(self) -> bool:
        """Whether the graph has a checkpointer: a human can be asked, and intents are journalled."""
        return self.checkpointer is not None

    def tool_settings(self, name: str) -> ToolSettings:
        """Return the settings of a tool."""
        return self._tool_settings.get(name) or self.settings.tool(name)

    def journal(self) -> Plan[IntentJournal | None]:
        """Return the intent journal; None where there is nothing to resume from."""
        if not self.durable:
            return None
        if self._journal is None and self.durable and self._journalled:
            self._journal = yield Effect(
                lambda: journal_beside(self.checkpointer), lambda: ajournal_beside(self.checkpointer)
            )
        return self._journal

    def turn(self, state: Mapping[str, Any], run: Run) -> Turn:
        """Find out where the loop stands, and begin anew where a user has spoken."""
        progress: Progress | None = state.get("progress")
        readable(progress)
        messages = state["messages"]
        if progress is None:
            progress = _progress(new_id(), messages)
            known = self.histories.start(
                run.session(progress["trajectory"]), task_of(messages), executed(messages)
            )
            return Turn(progress, known, True)
        session = run.session(progress["trajectory"])
        spoken = new_turn(messages, heard=progress.get("resampled"))
        if not spoken:
            return Turn(progress, self.histories.get(session, state["history"]), False)
        if progress["done"]:
            progress = _progress(new_id(), messages)
            return Turn(
                progress, self.histories.start(run.session(progress["trajectory"]), task_of(spoken)), True
            )
        history = self.histories.get(session, state["history"]).history
        task = "\n\n".join(t for t in (history.task, task_of(spoken)) if t)
        progress = {
            **_progress(progress["trajectory"], messages),
            "index": progress["index"],
            "spent": progress["spent"],
        }
        return Turn(progress, self.histories.start(session, task, history.steps), True)

    def known(self, state: Mapping[str, Any], run: Run) -> Known:
        """Return the history of a state in which `simulate` has run."""
        readable(state["progress"])
        return self.histories.get(run.session(state["progress"]["trajectory"]), state["history"])

    def track_record(self, reliability: Tally | None) -> Tally:
        """Return how the world model's predictions have held: in all runs that the record knows, else in this one."""
        return reliability or {} if self._earned is None else self._earned()

    def provenance_of(self, run: Run) -> Provenance:
        """Return what is noted in the transitions of a run."""
        more = run.config.get("configurable", {}).get("provenance")
        if not run.thread and not more:
            return self.provenance
        if not more:
            return self.provenance.model_copy(update={"thread": run.thread})
        updates = {"thread": run.thread, **more}
        return Provenance.model_validate({**self.provenance.model_dump(), **updates})


def _settings_of(tool: BaseTool, settings: LoopSettings) -> ToolSettings:
    """Return the settings of a tool; one whose metadata say ``sequential``, as an environment's do, always
    is."""
    found = settings.tool(tool.name)
    return found.model_copy(update={"sequential": True}) if (tool.metadata or {}).get("sequential") else found


def _with_versions(provenance: Provenance, world_model: WorldModel | None) -> Provenance:
    """Note the versions of what produces the transitions, where the caller has not."""
    versions = {"dyna-graph": _version()}
    if world_model is not None:
        versions["world_model"] = str(getattr(world_model, "name", type(world_model).__name__))
    return provenance.model_copy(update={"versions": {**versions, **provenance.versions}})


@cache
def _version() -> str:
    try:
        return version("dyna-graph")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "unknown"


def _progress(trajectory: str, messages: Sequence[BaseMessage]) -> Progress:
    return {
        "format": STATE_FORMAT,
        "trajectory": trajectory,
        "index": 0,
        "steps": 0,
        "revisions": 0,
        "blocks": 0,
        "ran": False,
        "spent": {},
        "gaps": len(answered(messages)) > len(messages),
        "done": False,
    }


class DynaNode(Runnable[Any, Any]):
    """Base of the four nodes: one plan, driven from sync or async code."""

    default_name = ""

    def __init__(self, core: DynaCore) -> None:
        self.core = core
        self.name = self.default_name

    def plan(self, state: Any, run: Run) -> Plan[Any]:
        """Return what the node does."""
        raise NotImplementedError

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the node on a state and return its update."""
        return perform(self.plan(input, Run.of(config)))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run the node on a state and return its update."""
        return await aperform(self.plan(input, Run.of(config)))


def transition_id(trajectory: str, call_id: str, attempt: int) -> str:
    """Return the id of a transition; the same again when a node is run again after a crash."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{trajectory}/{call_id}/{attempt}").hex
