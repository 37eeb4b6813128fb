"""What happens when an environment's tool is called: the session of the run is found or rebuilt, and stepped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.prebuilt import ToolRuntime
from langgraph.types import interrupt

from dyna_nodes.conversation import executed, refusal, task_of
from dyna_nodes.core import session_of
from dyna_nodes.nouns import COMMAND_TOOL, Action
from dyna_training.sessions import Episode, Pair, Reality, Session, SessionLost, Sessions, commands_in

EPISODE = "episode"
"""Key of the episode in ``additional_kwargs`` of the first message, and in ``configurable``."""
Answer = tuple[str | ToolMessage, dict[str, Any] | None]
"""Content and artifact of a tool's message."""


def episode_of(messages: Sequence[BaseMessage], config: Mapping[str, Any]) -> Episode | None:
    """Return the episode of a run: the latest that a message carries, else ``configurable.episode``."""
    carried = [m.additional_kwargs[EPISODE] for m in messages if EPISODE in m.additional_kwargs]
    found = carried[-1] if carried else config.get("configurable", {}).get(EPISODE)
    return None if found is None else Episode.model_validate(found)


class Acting:
    """What happens when a tool is called.

    Args:
        sessions: The live sessions.
        functions: Names of the functions that are tools.
    """

    def __init__(self, sessions: Sessions, functions: frozenset[str]) -> None:
        self.sessions = sessions
        self.functions = functions

    def act(
        self,
        command: str,
        config: RunnableConfig,
        # LangGraph injects into a parameter of exactly this type, not into an optional one.
        runtime: ToolRuntime[Any, Any] = None,  # type: ignore[assignment]
    ) -> Answer:
        """Execute a command in the session of the run."""
        return self._execute(Action.command(command), config, runtime)

    def calling(self, name: str) -> Callable[..., Answer]:
        """Return what executes calls of a function in the session of the run."""

        def call(
            config: RunnableConfig,
            runtime: ToolRuntime[Any, Any] = None,  # type: ignore[assignment]
            **arguments: Any,
        ) -> Answer:
            return self._execute(Action(tool=name, arguments=arguments), config, runtime)

        return call

    def _execute(
        self, action: Action, config: RunnableConfig, runtime: ToolRuntime[Any, Any] | None
    ) -> Answer:
        state: Mapping[str, Any] = {} if runtime is None else runtime.state
        messages: Sequence[BaseMessage] = state.get("messages") or ()
        call_id = str(runtime.tool_call_id) if runtime is not None else ""
        if any(_waiting_before(messages, call_id, self.functions | {COMMAND_TOOL})):
            why = (
                "Not run: commands run one after another. Send it again once you have seen what came before."
            )
            return refusal(call_id, action.tool, why), None
        handle = handle_of(config, state)
        try:
            session = self._session(handle, config, state, messages)
        except SessionLost as lost:
            if not self._goes_on(handle, lost, action) or lost.session is None:
                return refusal(call_id, action.tool, f"Not run: {lost}."), None
            session = lost.session
        try:
            with session.lock:
                reality = None if session.done else session.step(action.text)
        except BaseException:
            self.sessions.drop(handle)  # nobody knows which state it is in
            raise
        if reality is None:
            return refusal(call_id, action.tool, "Not run: the episode has ended."), None
        return reality.observation, artifact(reality)

    def _goes_on(self, handle: str, lost: SessionLost, action: Action) -> bool:
        """Return whether a human goes on in a session whose past is another one; it is then live, and else closed."""
        goes_on = False
        try:
            goes_on = _human_goes_on(lost, action)
        finally:
            if lost.session is not None:
                if goes_on:
                    self.sessions.keep(handle, lost.session)
                else:
                    lost.session.close()
        return goes_on

    def _session(
        self, handle: str, config: RunnableConfig, state: Mapping[str, Any], messages: Sequence[BaseMessage]
    ) -> Session:
        if messages:
            task, pairs = _past(state, messages, self.functions)
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
    said = {"reward": reality.reward, "done": reality.done, "success": reality.success}
    return {**said, "truncated": True} if reality.truncated else said


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


def _past(
    state: Mapping[str, Any], messages: Sequence[BaseMessage], functions: frozenset[str]
) -> tuple[str, list[Pair]]:
    """Return task and executed commands: of the loop's own history, else of the conversation."""
    history = state.get("history")
    if isinstance(history, Mapping):
        return str(history["task"]), commands_in(history.get("steps", ()), functions)
    begins = max((i for i, m in enumerate(messages) if EPISODE in m.additional_kwargs), default=0)
    return task_of(messages[begins:]), commands_in(executed(messages[begins:]), functions)


def _waiting_before(messages: Sequence[BaseMessage], call_id: str, tools: frozenset[str]) -> Iterator[str]:
    """Yield the ids of commands that stand before this one in the same message and are not answered yet."""
    answered = set()
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
        elif isinstance(message, AIMessage):
            ids = [str(call["id"]) for call in message.tool_calls if call["name"] in tools]
            before = ids[: ids.index(call_id)] if call_id in ids else []
            yield from (id for id in before if id not in answered)
            return


def _human_goes_on(lost: SessionLost, action: Action) -> bool:
    """Ask a human whether to go on in an environment whose past is another one than the recorded.

    Raises:
        GraphInterrupt: The run waits for the answer.
        SessionLost: There is no run that could wait.
    """
    allowed = ["approve", "reject"] if lost.session is not None else ["reject"]
    request = {
        "action_requests": [
            {
                "name": action.tool,
                "args": dict(action.arguments),
                "description": f"The state of the environment is lost: {lost}. "
                "Approve to go on in the state that the replay led to, as far as there is one.",
            }
        ],
        "review_configs": [{"action_name": action.tool, "allowed_decisions": allowed}],
    }
    try:
        answer = interrupt(request)
    except (RuntimeError, KeyError):  # not inside a graph
        raise lost from None
    decisions = answer.get("decisions") if isinstance(answer, Mapping) else answer
    if not isinstance(decisions, list) or len(decisions) != 1 or decisions[0].get("type") not in allowed:
        raise SessionLost(f"{lost}; answer with one decision, whose type is one of {', '.join(allowed)}")
    return bool(decisions[0]["type"] == "approve")
