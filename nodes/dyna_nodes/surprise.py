"""Surprise: how unlikely the world model had thought what really happened."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

from langgraph.errors import GraphBubbleUp

from dyna_nodes.codec import Outcome
from dyna_nodes.core import DynaCore, Run
from dyna_nodes.effects import Effect, Plan, within
from dyna_nodes.histories import Known
from dyna_nodes.nouns import Query, Transition
from dyna_nodes.policy import behind_the_scenes

logger = logging.getLogger("dyna_nodes")


def with_surprise(
    core: DynaCore, known: Known, transitions: Sequence[Transition], run: Run
) -> Plan[list[Transition]]:
    """Ask the world model how surprising the executed calls of a round were, all at once.

    Asked about are calls that succeeded and for which there was a prediction. Whatever goes wrong is logged, and
    the score is missing then.

    Args:
        core: What the nodes share; its ``surprised`` is None where nobody is to be asked.
        known: The history before the calls.
        transitions: The calls.
        run: The run.

    Returns:
        The transitions, those that were asked about with ``scores["surprise"]``: −log p per token of the real
        observation, in nats.
    """
    asked = [index for index, transition in enumerate(transitions) if _is_to_be_scored(transition)]
    if core.surprised is None or not asked:
        return list(transitions)
    actions = [transition.action for transition in transitions]
    queries = [
        Query(
            history=known.history,
            action=actions[index],
            session=run.session(transitions[index].trajectory),
            siblings=(*actions[:index], *actions[index + 1 :]),
        )
        for index in asked
    ]
    found = yield from _ask(core, queries, [transitions[index] for index in asked], run)
    result = list(transitions)
    for index, value in zip(asked, found, strict=True):
        if value is not None:
            scores = {**transitions[index].scores, "surprise": value}
            result[index] = transitions[index].model_copy(update={"scores": scores})
    return result


def _is_to_be_scored(transition: Transition) -> bool:
    prediction = transition.prediction
    return (
        prediction is not None
        and prediction.error is None
        and transition.status == "ok"
        and transition.provenance.source != "imagination"
    )


def _ask(
    core: DynaCore, queries: list[Query], transitions: list[Transition], run: Run
) -> Plan[list[float | None]]:
    model = core.surprised
    assert model is not None
    outcomes = [Outcome.of(transition) for transition in transitions]

    def run_it() -> Any:
        with behind_the_scenes(run.config):
            return model.surprise(queries, outcomes)

    async def arun_it() -> Any:
        with behind_the_scenes(run.config):
            return await model.asurprise(queries, outcomes)

    try:
        answers: Any = yield within(Effect(run_it, arun_it), core.settings.world_model_timeout)
    except GraphBubbleUp:
        raise
    except Exception:  # what has happened has happened: it is recorded, with this score missing
        logger.warning("the world model %r failed to tell its surprise", model.name, exc_info=True)
        return [None] * len(queries)
    if not isinstance(answers, list | tuple) or len(answers) != len(queries):
        got = f"{len(answers)} answers" if isinstance(answers, list | tuple) else type(answers).__name__
        logger.warning(
            "the world model %r was asked about %d observations and gave %s", model.name, len(queries), got
        )
        return [None] * len(queries)
    return [_number(answer, model.name) for answer in answers]


def _number(answer: Any, name: str) -> float | None:
    if answer is None:
        return None
    if isinstance(answer, int | float) and not isinstance(answer, bool) and math.isfinite(answer):
        return float(answer)
    logger.warning("the world model %r gave %r for its surprise, not a finite number of nats", name, answer)
    return None
