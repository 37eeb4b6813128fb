"""Looking further ahead: the policy goes on in the imagined world."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.tool import ToolCall
from langgraph.errors import GraphBubbleUp

from dyna_nodes.conversation import Candidate, action_of, answered, ids_in, well_formed
from dyna_nodes.core import DynaCore, Run, Turn
from dyna_nodes.effects import Plan
from dyna_nodes.imagination import predict, told_thinking
from dyna_nodes.nouns import History, ImaginedStep, Prediction, Query

logger = logging.getLogger("dyna_nodes")


class Path(NamedTuple):
    """The imagined future of one candidate: the conversation and history that lead to its next action."""

    candidate: int
    messages: list[BaseMessage]
    history: History
    imagined: int


def look_ahead(
    core: DynaCore,
    turn: Turn,
    candidates: Sequence[Candidate],
    messages: Sequence[BaseMessage],
    targets: Sequence[tuple[int, ToolCall, Query]],
    own: Sequence[ImaginedStep],
    run: Run,
) -> Plan[dict[int, list[ImaginedStep]]]:
    """Let the policy go on in the imagined world, ``horizon`` − 1 actions deep, and imagine those too.

    Returns:
        Further imagined steps by candidate. A future ends where the world model fails, where the episode is
        imagined to end, or where the policy proposes no call of a known tool.
    """
    paths = [p for i, c in enumerate(candidates) if (p := _first_path(turn, i, c, messages, targets, own))]
    futures: dict[int, list[ImaginedStep]] = {}
    session = run.session(turn.progress["trajectory"])
    for _ in range(core.settings.horizon - 1):
        if not paths:
            break
        try:
            replies: list[AIMessage] = yield core.policy.go_on(
                [answered(p.messages) for p in paths], run.config
            )
        except GraphBubbleUp:
            raise
        except (
            Exception
        ) as error:  # the policy may fail on imagined text; what was imagined so far still counts
            logger.warning("the policy failed while looking ahead, so the horizon is cut short: %r", error)
            break
        steps: list[tuple[Path, AIMessage, ToolCall, Query]] = []
        for path, reply in zip(paths, replies, strict=True):
            message = well_formed(reply, ids_in(path.messages)).message
            known = [c for c in message.tool_calls if c["name"] in core.tools][:1]
            for call in known:
                query = Query(
                    history=path.history,
                    action=action_of(call),
                    session=session,
                    imagined=path.imagined,
                    thinking=told_thinking(core, reply),
                )
                steps.append((path, message.model_copy(update={"tool_calls": known}), call, query))
        predictions = yield from predict(core, [query for *_, query in steps], run, turn.progress)
        paths = []
        for (path, message, call, query), prediction in zip(steps, predictions, strict=True):
            futures.setdefault(path.candidate, []).append(
                ImaginedStep(action=query.action, prediction=prediction)
            )
            if _goes_on(prediction):
                paths.append(
                    Path(
                        path.candidate,
                        [*path.messages, message, _imagined_answer(call, prediction)],
                        path.history.then(query.action, prediction.observation or ""),
                        path.imagined + 1,
                    )
                )
    return futures


def _first_path(
    turn: Turn,
    index: int,
    candidate: Candidate,
    messages: Sequence[BaseMessage],
    targets: Sequence[tuple[int, ToolCall, Query]],
    own: Sequence[ImaginedStep],
) -> Path | None:
    mine = [(call, step) for (i, call, _), step in zip(targets, own, strict=True) if i == index]
    if len(mine) < len(candidate.message.tool_calls) or not all(_goes_on(s.prediction) for _, s in mine):
        return None
    history = turn.known.history
    for _, step in mine:
        history = history.then(step.action, step.prediction.observation or "")
    answers = [_imagined_answer(call, step.prediction) for call, step in mine]
    return Path(index, [*messages, candidate.message, *answers], history, len(mine))


def _goes_on(prediction: Prediction) -> bool:
    return prediction.error is None and not prediction.done and not prediction.success


def _imagined_answer(call: ToolCall, prediction: Prediction) -> ToolMessage:
    return ToolMessage(prediction.observation or "", tool_call_id=str(call["id"]), name=call["name"])
