"""The state of the loop: plain dicts, and of predictions and verdicts only those of the current step."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NotRequired

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage
from langchain_core.messages.tool import ToolCall
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from dyna_nodes.trust import Tally, merge

Ending = Literal["answer", "done", "return_direct", "end", "blocked", "max_steps"]
"""Why a run ended: a final answer, the environment's end flag, a tool whose result is the answer, a critic's
``end``, too many refused turns, or the limit of steps."""


STATE_FORMAT = "dyna-state/1"
"""Format of these channels in a checkpoint; changes with every change that older code cannot read."""


class StateError(ValueError):
    """A checkpoint was written by another version, whose channels mean something else."""


def readable(progress: Mapping[str, Any] | None) -> None:
    """Check that this version can go on with what a checkpoint holds.

    Raises:
        StateError: Another version wrote it.
    """
    found = STATE_FORMAT if progress is None else progress.get("format")
    if found != STATE_FORMAT:
        raise StateError(
            f"this thread's checkpoint has the format {found!r}, and this version of dyna-graph reads "
            f"{STATE_FORMAT!r}; nothing was executed. Finish the thread with the version that wrote it, or begin "
            "a new thread with its messages"
        )


class Judged(TypedDict):
    """A call of the current message and what was decided about it.

    Attributes:
        call: The call that runs, which a ``modify`` verdict or a human may have changed.
        verdict: The verdict, as a plain dict.
        runs: Whether the call runs.
        answer: What answers the call when it does not run; None until that is known.
        note: What is told in front of the result when the call runs: advice, or what was changed and by whom.
        simulation: The simulation it was judged on, as a plain dict; None when there is none.
        human: What a human must decide before anything goes on: ``verdict`` or ``recover``; None when
            nothing.
        reason: Why a human is asked.
        attempt: The number of the attempt that runs, from 1.
        answered_by: ``human`` for what a human rejected, ``respond`` for what a human answered in the tool's
            place.
    """

    call: ToolCall
    verdict: dict[str, Any]
    runs: bool
    answer: str | None
    note: str | None
    simulation: dict[str, Any] | None
    human: Literal["verdict", "recover"] | None
    reason: str
    attempt: int
    answered_by: Literal["human", "respond"] | None


class Outcome(TypedDict):
    """What came of one executed call.

    Attributes:
        call_id: Id of the call.
        status: ``ok``, ``error``, ``unknown`` (started, but how it ended is not known), ``deferred`` (not
            started, because another call is unknown), ``repeated`` (known to have been done before),
            ``refused`` (no verdict for exactly this call), ``answered`` (by something else in the tool's place),
            ``imagined`` (in a dry run).
        messages: The messages that the call contributes, its `ToolMessage` among them.
        detail: What is known when the status is not ``ok``.
        attempt: Number of the attempt, from 1.
        seconds: How long it took.
        recorded: Whether the transition is in the experience log already.
    """

    call_id: str
    status: Literal["ok", "error", "unknown", "deferred", "repeated", "refused", "answered", "imagined"]
    messages: list[BaseMessage]
    detail: str
    attempt: int
    seconds: float
    recorded: bool


class Proposed(TypedDict):
    """A candidate. It is wrapped so that LangGraph's stream ``messages`` does not take it for one that was
    chosen."""

    message: AIMessage


class Progress(TypedDict):
    """Counters of a run.

    Attributes:
        format: What this and the other channels mean; see `STATE_FORMAT`.
        trajectory: Id of the trajectory.
        index: Index of the next transition in it.
        steps: Executed turns since the user spoke.
        revisions: Entirely rejected turns in a row.
        blocks: Refused turns in a row.
        ran: Whether a call of the current message has run or is approved.
        spent: Imagined calls by tool that has a budget.
        gaps: Whether the conversation has calls that were never answered, as after an abandoned run.
        done: Whether the environment's episode has ended.
        resampled: While candidates are drawn for the second time: id of the message that they follow.
    """

    format: str
    trajectory: str
    index: int
    steps: int
    revisions: int
    blocks: int
    ran: bool
    spent: dict[str, int]
    gaps: bool
    done: bool
    resampled: NotRequired[str | None]


def resampling(progress: Progress, messages: Sequence[BaseMessage]) -> bool:
    """Tell whether candidates that follow a conversation are drawn for the second time."""
    return bool(messages) and messages[-1].id is not None and progress.get("resampled") == messages[-1].id


def settled(progress: Progress) -> Progress:
    """Return a copy in which no second draw is under way."""
    progress = progress.copy()
    progress.pop("resampled", None)
    return progress


class Ended(TypedDict):
    """How a run ended: the kind, and why in words."""

    kind: Ending
    reason: str


class DynaInput(TypedDict):
    """What goes in."""

    messages: Annotated[list[AnyMessage], add_messages]


class DynaOutput(TypedDict):
    """What comes out."""

    messages: Annotated[list[AnyMessage], add_messages]
    ended: NotRequired[Ended | None]


class DynaState(TypedDict):
    """The channels that the four nodes need; a larger graph may have more.

    Attributes:
        messages: The conversation; every call in it is answered once, in order.
        candidates: What the policy proposed this turn; only the chosen one enters ``messages``.
        simulations: The imagined futures of this turn, as plain dicts.
        verdicts: Calls of the current message by id.
        queue: Calls of the current message that are yet to be imagined and judged; of sequential tools only.
        outcomes: What came of the calls that ran this turn.
        history: What world model and critic are told, a `History` as a plain dict.
        reliability: Running match of predictions and reality per tool.
        progress: Counters.
        ended: How the run ended; None while it goes on.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    candidates: NotRequired[list[Proposed]]
    simulations: NotRequired[list[dict[str, Any]]]
    verdicts: NotRequired[dict[str, Judged]]
    queue: NotRequired[list[ToolCall]]
    outcomes: NotRequired[Annotated[list[Outcome], operator.add]]
    history: NotRequired[dict[str, Any]]
    reliability: NotRequired[Annotated[Tally, merge]]
    progress: NotRequired[Progress]
    ended: NotRequired[Ended | None]
