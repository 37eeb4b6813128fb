"""Parts of a hook as named runs of their own, so that a trace shows the loop where LangChain shows one node."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from langchain_core.callbacks import BaseCallbackManager
from langchain_core.runnables.config import patch_config

from dyna_nodes.core import Run
from dyna_nodes.effects import Effect, Plan

T = TypeVar("T")


def as_run(name: str, run: Run, inputs: Any, plan: Callable[[Run], Plan[T]]) -> Plan[T]:
    """Drive a plan as a run below the present one; where nobody traces, just drive it.

    Args:
        name: Name of the new run.
        run: The present run.
        inputs: What a tracer is shown as its input.
        plan: Makes the plan; what it asks with the run that it is given stands below the new one.

    Returns:
        What the plan returns, which a tracer is shown as the output.
    """
    callbacks = run.config.get("callbacks")
    if not isinstance(callbacks, BaseCallbackManager) or not callbacks.handlers:
        return (yield from plan(run))
    manager: Any = callbacks  # of sync or of async code
    began = yield _told(lambda: manager.on_chain_start(None, inputs, name=name))
    below = run._replace(config=patch_config(run.config, callbacks=began.get_child()))
    try:
        result = yield from plan(below)
    except GeneratorExit:  # nobody drives the plan any more, so that nothing can be told
        raise
    except BaseException as error:
        problem = error
        yield _told(lambda: began.on_chain_error(problem))
        raise
    yield _told(lambda: began.on_chain_end(result))
    return result


def _told(tell: Callable[[], Any]) -> Effect:
    """Return the effect of telling callbacks something, whose manager may be sync or async."""

    async def told() -> Any:
        answer = tell()
        return await answer if inspect.isawaitable(answer) else answer

    return Effect(tell, told)
