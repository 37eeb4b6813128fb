"""An environment as a LangChain tool, so that agents and graphs know nothing but tools.

    [act] = environment_tools("dyna/ALFWorld-v0", split="dev_seen")
    agent = create_dyna_agent(model, [act], world_model=EnvironmentWorldModel([act]))
    agent.invoke({"messages": [task_message(act, seed=3)]}, {"configurable": {"thread_id": "1"}})

The tool is named ``act`` and takes one ``command``. Reward and end flag travel in the artifact of its
`ToolMessage`. The conversation's first message carries the `Episode`, so that a checkpoint holds all that a
restart needs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import StructuredTool
from langgraph.prebuilt import ToolRuntime
from langgraph.types import interrupt
from pydantic import BaseModel, Field

from dyna_nodes.conversation import executed, refusal, task_of
from dyna_nodes.core import session_of
from dyna_nodes.nouns import COMMAND_TOOL, new_id
from dyna_training.environments.base import ForkableEnv
from dyna_training.sessions import (
    Episode,
    Pair,
    Reality,
    Session,
    SessionLost,
    Sessions,
    commands_in,
    draw_seed,
)

EPISODE = "episode"
"""Key of the episode in ``additional_kwargs`` of the first message, and in ``configurable``."""
DESCRIPTION = "Send one command to the environment and observe what happens."


class Command(BaseModel):
    """Arguments of the tool."""

    command: str = Field(description="The command, for example: open fridge 1")


class EnvironmentTool(StructuredTool):
    """The tool ``act`` of a text environment; made by `environment_tools`.

    Its calls must run one after another: ``metadata["sequential"]`` says so to the loop, and of several calls
    in one message that a graph runs at once, only the first is executed and the others are answered with a
    hint.

    Attributes:
        sessions: The live sessions, by thread and namespace.
        environment: Gymnasium id, where there is one.
    """

    sessions: Sessions = Field(exclude=True)
    environment: str = ""


def environment_tools(
    environment: str | Callable[[], ForkableEnv],
    *,
    limit: int = 256,
    description: str = DESCRIPTION,
    **options: Any,
) -> list[EnvironmentTool]:
    """Return the tools with which an agent acts in an environment: one, named ``act``.

    Args:
        environment: A gymnasium id, such as ``dyna/ALFWorld-v0``, or a function that makes an environment.
        limit: How many live sessions are kept.
        description: What the policy is told about the tool.
        **options: Options of the environment, when it is given by its id.

    Raises:
        ValueError: Options are given beside a function.
        gymnasium.error.Error: There is no such environment.
    """
    if not isinstance(environment, str) and options:
        raise ValueError(
            f"options {sorted(options)} are for environments given by id; give them to your function"
        )
    if isinstance(environment, str):
        name, make = environment, functools.partial(make_environment, environment, **options)
        sessions = Sessions(make, limit)
    else:
        name, sessions = "", Sessions(environment, limit)
    acting = _Acting(sessions)
    tool = EnvironmentTool(
        name=COMMAND_TOOL,
        description=description,
        args_schema=Command,
        func=acting.act,
        response_format="content_and_artifact",
        metadata={"sequential": True},
        sessions=sessions,
        environment=name,
    )
    return [tool]


def make_environment(environment: str, **options: Any) -> ForkableEnv:
    """Make an environment by its id: one that an installed package announces, or any that gymnasium knows.

    Raises:
        PluginError: The package that announces it cannot be loaded.
        gymnasium.error.Error: There is no such environment.
        TypeError: It cannot be forked.
    """
    import gymnasium

    from dyna_graph.plugins import ENVIRONMENTS, load_plugin, plugin_names

    if environment in plugin_names(ENVIRONMENTS):
        made = load_plugin(ENVIRONMENTS, environment)(**options)
    else:
        made = gymnasium.make(environment, **options).unwrapped
    if not isinstance(made, ForkableEnv):
        raise TypeError(f"{environment!r} is a {type(made).__name__}, not a ForkableEnv: it has no fork()")
    return made


def task_message(
    tool: EnvironmentTool,
    *,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
    preface: str = "",
) -> HumanMessage:
    """Return the message that begins an episode: the first observation, with the episode to find it again.

    Args:
        tool: The environment's tool.
        seed: Seed of the reset; drawn when None.
        options: Options of the reset; JSON values, such as ``{"game": path}``.
        preface: Text in front of the observation.
    """
    seed = draw_seed() if seed is None else seed
    episode = Episode(environment=tool.environment, seed=seed, options=dict(options or {}))
    task = tool.sessions.open(episode).task
    text = f"{preface}\n\n{task}" if preface else task
    return HumanMessage(text, additional_kwargs={EPISODE: episode.model_dump(mode="json")}, id=new_id())


def episode_of(messages: Sequence[BaseMessage], config: Mapping[str, Any]) -> Episode | None:
    """Return the episode of a run: the latest that a message carries, else ``configurable.episode``."""
    carried = [m.additional_kwargs[EPISODE] for m in messages if EPISODE in m.additional_kwargs]
    found = carried[-1] if carried else config.get("configurable", {}).get(EPISODE)
    return None if found is None else Episode.model_validate(found)


class _Acting:
    """What happens when the tool is called."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions

    def act(
        self,
        command: str,
        config: RunnableConfig,
        # LangGraph injects into a parameter of exactly this type, not into an optional one.
        runtime: ToolRuntime[Any, Any] = None,  # type: ignore[assignment]
    ) -> tuple[str | ToolMessage, dict[str, Any] | None]:
        """Execute a command in the session of the run."""
        state: Mapping[str, Any] = {} if runtime is None else runtime.state
        messages: Sequence[BaseMessage] = state.get("messages") or ()
        call_id = str(runtime.tool_call_id) if runtime is not None else ""
        if any(_waiting_before(messages, call_id)):
            why = (
                "Not run: commands run one after another. Send it again once you have seen what came before."
            )
            return refusal(call_id, COMMAND_TOOL, why), None
        handle = handle_of(config, state)
        try:
            session = self._session(handle, config, state, messages)
        except SessionLost as lost:
            if not _human_goes_on(lost, command) or lost.session is None:
                return refusal(call_id, COMMAND_TOOL, f"Not run: {lost}."), None
            session = lost.session
            self.sessions.keep(handle, session)
        try:
            with session.lock:
                reality = None if session.done else session.step(command)
        except BaseException:
            self.sessions.drop(handle)  # nobody knows which state it is in
            raise
        if reality is None:
            return refusal(call_id, COMMAND_TOOL, "Not run: the episode has ended."), None
        return reality.observation, artifact(reality)

    def _session(
        self, handle: str, config: RunnableConfig, state: Mapping[str, Any], messages: Sequence[BaseMessage]
    ) -> Session:
        if messages:
            task, pairs = _past(state, messages)
            return self.sessions.at(handle, task, pairs, lambda: episode_of(messages, config))
        # Called outside of an agent: the live session is all that is known of the past.
        session = self.sessions.live(handle)
        if session is None:
            episode = episode_of((), config)
            if episode is None:
                raise SessionLost("no episode has begun: pass one in configurable.episode")
            session = self.sessions.open(episode)
            self.sessions.keep(handle, session)
        return session


def artifact(reality: Reality) -> dict[str, Any]:
    """Return what the artifact of the tool's message says besides the observation."""
    return {"reward": reality.reward, "done": reality.done, "success": reality.success}


def handle_of(config: RunnableConfig, state: Mapping[str, Any]) -> str:
    """Return the handle of the session of a run: thread and namespace, or without a thread what the run has
    instead.

    It is what the loop writes into `Query.session`.
    """
    handle = session_of(config)
    if handle is not None:
        return handle
    progress = state.get("progress")
    if progress is not None:
        return str(progress["trajectory"])
    first = next((m for m in state.get("messages") or () if EPISODE in m.additional_kwargs), None)
    return str(first.id) if first is not None else ""


def _past(state: Mapping[str, Any], messages: Sequence[BaseMessage]) -> tuple[str, list[Pair]]:
    """Return task and executed commands: of the loop's own history, else of the conversation."""
    history = state.get("history")
    if isinstance(history, Mapping):
        return str(history["task"]), commands_in(history.get("steps", ()))
    begins = max((i for i, m in enumerate(messages) if EPISODE in m.additional_kwargs), default=0)
    return task_of(messages[begins:]), commands_in(executed(messages[begins:]))


def _waiting_before(messages: Sequence[BaseMessage], call_id: str) -> Iterator[str]:
    """Yield the ids of commands that stand before this one in the same message and are not answered yet."""
    answered = set()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
        elif isinstance(message, AIMessage):
            ids = [str(call["id"]) for call in message.tool_calls if call["name"] == COMMAND_TOOL]
            before = ids[: ids.index(call_id)] if call_id in ids else []
            yield from (id for id in before if id not in answered)
            return


def _human_goes_on(lost: SessionLost, command: str) -> bool:
    """Ask a human whether to go on in an environment whose past is another one than the recorded.

    Raises:
        GraphInterrupt: The run waits for the answer.
        SessionLost: There is no run that could wait.
    """
    allowed = ["approve", "reject"] if lost.session is not None else ["reject"]
    request = {
        "action_requests": [
            {
                "name": COMMAND_TOOL,
                "args": {"command": command},
                "description": f"The state of the environment is lost: {lost}. "
                "Approve to go on in the state that the replay led to, as far as there is one.",
            }
        ],
        "review_configs": [{"action_name": COMMAND_TOOL, "allowed_decisions": allowed}],
    }
    try:
        answer = interrupt(request)
    except (RuntimeError, KeyError):  # not inside a graph
        raise lost from None
    decisions = answer.get("decisions") if isinstance(answer, Mapping) else answer
    if not isinstance(decisions, list) or len(decisions) != 1 or decisions[0].get("type") not in allowed:
        raise SessionLost(f"{lost}; answer with one decision, whose type is one of {', '.join(allowed)}")
    return bool(decisions[0]["type"] == "approve")
