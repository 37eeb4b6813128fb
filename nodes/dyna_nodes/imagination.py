"""Asking the world model: all queries at once, and whatever goes wrong becomes part of the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.errors import GraphBubbleUp

from dyna_nodes.conversation import thought_of
from dyna_nodes.core import DynaCore, Run
from dyna_nodes.effects import Effect, Plan, within
from dyna_nodes.inner import inner_prediction
from dyna_nodes.nouns import Action, Prediction, Query
from dyna_nodes.policy import behind_the_scenes
from dyna_nodes.state import Progress


def predict(
    core: DynaCore, queries: Sequence[Query], run: Run, progress: Progress | None = None
) -> Plan[list[Prediction]]:
    """Ask the world model, all queries at once; whatever goes wrong becomes the ``error`` of a prediction.

    Equal queries are asked once. Queries beyond a tool's budget are not asked.
    """
    model = core.world_model
    if model is None or not queries:
        return [Prediction() for _ in queries]
    keys = [_key(q) for q in queries] if len(queries) > 1 else [""]
    answers: dict[Any, Prediction] = {}
    asked: dict[Any, Query] = {}
    for key, query in zip(keys, queries, strict=True):
        if key in asked or key in answers:
            continue
        error = _over_budget(core, query.action.tool, progress)
        if error is None:
            asked[key] = query
        else:
            answers[key] = Prediction(model=model.name, error=error)
    if asked:
        found = yield from _ask(core, list(asked.values()), run)
        answers |= dict(zip(asked, found, strict=True))
    return [answers[key] for key in keys]


def told_thinking(core: DynaCore, message: AIMessage) -> str:
    """Return what the world model is told of the thinking in a message: nothing, unless it asks for it."""
    return thought_of(message) if core.reads_thinking else ""


def inner_of(core: DynaCore, message: AIMessage, action: Action) -> Prediction | None:
    """Return what the thinking in a message imagines of an action; None where that is not recorded."""
    return inner_prediction(thought_of(message), action) if core.inner_simulation else None


def _key(query: Query) -> tuple[Any, ...]:
    return (id(query.history), query.action.text, tuple(a.text for a in query.siblings), query.thinking)


def _over_budget(core: DynaCore, tool: str, progress: Progress | None) -> str | None:
    budget = core.tool_settings(tool).budget
    if budget is None or progress is None:
        return None
    spent = progress["spent"].get(tool, 0)
    if spent >= budget:
        return f"the simulation budget of {tool!r} is used up ({budget} per trajectory)"
    progress["spent"][tool] = spent + 1
    return None


def _ask(core: DynaCore, queries: list[Query], run: Run) -> Plan[list[Prediction]]:
    model = core.world_model
    assert model is not None
    name = str(getattr(model, "name", type(model).__name__))

    def run_it() -> Any:
        with behind_the_scenes(run.config):
            return model.predict(queries)

    async def arun_it() -> Any:
        with behind_the_scenes(run.config):
            return await model.apredict(queries)

    try:
        answers: Any = yield within(Effect(run_it, arun_it), core.settings.world_model_timeout)
    except GraphBubbleUp:
        raise
    except Exception as error:  # any failure of a world model is reported in its predictions
        return [Prediction(model=name, error=f"the world model failed: {describe(error)}") for _ in queries]
    if not isinstance(answers, list | tuple) or len(answers) != len(queries):
        got = f"{len(answers)} answers" if isinstance(answers, list | tuple) else type(answers).__name__
        error_text = f"the world model answered {len(queries)} queries with {got}"
        return [Prediction(model=name, error=error_text) for _ in queries]
    return [
        a
        if isinstance(a, Prediction)
        else Prediction(model=name, error=f"expected a Prediction, got {type(a).__name__}")
        for a in answers
    ]


def describe(error: BaseException) -> str:
    """Return an error as one line: its type and what it says."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
