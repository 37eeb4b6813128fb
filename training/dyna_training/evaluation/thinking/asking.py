"""Asking policies for a response in recorded states, and keeping what they answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from pydantic import BaseModel, ConfigDict

from dyna_nodes.codec.policy import thought_text
from dyna_nodes.conversation import action_of, actions_only, thought_of
from dyna_nodes.nouns import Action, Trajectory, Transition, digest_of
from dyna_nodes.settings import Memory
from dyna_training.evaluation.examinees import file_digest
from dyna_training.evaluation.thinking.cache import LineCache
from dyna_training.evaluation.thinking.states import Forks

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

NO_ACTION: Final = Action.command("")
"""Stands where a policy proposed nothing; it is never executed."""


class Response(BaseModel):
    """What a policy answered in a state.

    Attributes:
        thought: Its thinking.
        action: The first action that it proposed; None where it proposed none that can be read.
        tokens: Generated tokens; None where the model does not say.
        problem: Why there is no action.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    thought: str = ""
    action: Action | None = None
    tokens: int | None = None
    problem: str = ""


def conversation(state: Trajectory, prompt: str, memory: Memory) -> list[BaseMessage]:
    """Return what a policy is shown in a state, as it was trained: teacher-forced, with the recorded history.

    Args:
        state: The trajectory up to the state.
        prompt: The system prompt.
        memory: Whether the recorded thoughts stand there; they are those of whoever played.
    """
    messages: list[BaseMessage] = [SystemMessage(prompt), HumanMessage(state.task)]
    for index, step in enumerate(state.transitions):
        call = tool_call(name=step.action.tool, args=dict(step.action.arguments), id=f"call_{index}")
        messages += [
            AIMessage(thought_text(step), tool_calls=[call]),
            ToolMessage(step.observation, tool_call_id=f"call_{index}"),
        ]
    return actions_only(messages) if memory == "actions" else messages


class AskedPolicy:
    """A chat model that is asked for its next turn.

    Args:
        label: Name in the results.
        model: The model.
        identity: What its answers depend on, for the cache; see `identity_of`.
        prompt: The system prompt.
        memory: What it sees of earlier turns.
    """

    def __init__(self, label: str, model: BaseChatModel, identity: str, prompt: str, memory: Memory) -> None:
        from dyna_training.rollouts import ENVIRONMENT
        from dyna_training.tools import environment_tools

        self.label = label
        self.prompt = prompt
        self.memory = memory
        self.identity = identity
        self._bound: Any = model.bind_tools(environment_tools(ENVIRONMENT))

    def key(self, state: Trajectory) -> str:
        """Return a digest of everything that the answer depends on."""
        thoughts = [t.thought for t in state.transitions] if self.memory == "thoughts" else []
        return digest_of("response", self.identity, self.prompt, state.history().digest, thoughts)

    def respond(self, states: Sequence[Trajectory]) -> list[Response]:
        """Answer in several states, as one batch."""
        asked = [conversation(state, self.prompt, self.memory) for state in states]
        return [_response(answer) for answer in self._bound.batch(asked, return_exceptions=True)]


def _response(answer: AIMessage | Exception) -> Response:
    if isinstance(answer, ValueError):  # the conversation is longer than the model reads
        return Response(problem=f"refused by the model: {answer}")
    if isinstance(answer, Exception):
        raise answer
    calls, unreadable = answer.tool_calls, answer.invalid_tool_calls
    usage = answer.usage_metadata
    return Response(
        thought=thought_of(answer),
        action=action_of(calls[0]) if calls else None,
        tokens=None if usage is None else usage["output_tokens"],
        problem="" if calls else f"unreadable: {unreadable[0]['error']}" if unreadable else "no action",
    )


def responses(
    policy: AskedPolicy,
    states: Sequence[Trajectory],
    cache: LineCache,
    *,
    batch: int = 16,
    on_state: Callable[[int], None] = lambda number: None,
) -> list[Response]:
    """Return a policy's response in each state; what was answered before is not asked again.

    Args:
        policy: Who is asked.
        states: Where.
        cache: What is known already, and where new answers go.
        batch: States that are asked about together.
        on_state: Called with the number of states answered since the last call.
    """
    keys = [policy.key(state) for state in states]
    missing = [index for index, key in enumerate(keys) if cache.get(key) is None]
    on_state(len(states) - len(missing))
    # Long conversations together, so that short ones do not wait for them.
    missing.sort(key=lambda index: len(states[index].transitions))
    for start in range(0, len(missing), batch):
        part = missing[start : start + batch]
        for index, answer in zip(part, policy.respond([states[i] for i in part]), strict=True):
            cache.put(keys[index], answer.model_dump(mode="json"), policy=policy.label)
        on_state(len(part))
    return [Response.model_validate(cache.get(key)) for key in keys]


def answered(state: Trajectory, response: Response, forks: Forks) -> Trajectory:
    """Return a state with the response as one more turn, and what its action really does there.

    Without an action the turn has `NO_ACTION` and no observation.

    Raises:
        StateError: The state cannot be reached again.
    """
    index = len(state.transitions)
    turn = Transition(
        id=digest_of(state.id, "response")[:32],
        trajectory=state.id,
        index=index,
        thought=response.thought,
        action=response.action or NO_ACTION,
        time=0.0,
    )
    if response.action is not None:
        real = forks.outcome(state, response.action)
        turn = turn.model_copy(update=real._asdict())
    return state.model_copy(update={"transitions": (*state.transitions, turn)})


def identity_of(name: str, model: BaseChatModel) -> str:
    """Return a digest of what a model's answers depend on: of a local one, its weights; else its name.

    Args:
        name: The model's name.
        model: The model.

    Raises:
        LocalModelError: The base or the adapter cannot be used.
    """
    from dyna_nodes.local import LocalChatModel

    if not isinstance(model, LocalChatModel):
        options = model.model_dump(mode="json", include={"temperature", "max_tokens", "seed"})
        return digest_of("named", name, options)
    base = model.load().fingerprint
    folder = None if model.adapter is None else Path(model.adapter)
    weights = ("adapter_config.json", "adapter_model.safetensors")
    adapter = [] if folder is None else [file_digest(folder / file) for file in weights]
    sampling = (model.temperature, model.top_p, model.seed, model.max_tokens, model.stop, model.tool_format)
    return digest_of("local", base, adapter, model.dtype, model.device, model.merge, sampling)
