"""BFCL's judgement of a turn: the package's own checks of states and answers, against the ground truth's.

The ground truth of a task is executed once; what its turns led to is kept and compared with.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from dyna_training.environments.bfcl.apis import Apis
from dyna_training.environments.bfcl.package import module
from dyna_training.environments.bfcl.tasks import task
from dyna_training.environments.calls import parse_call

CHECKER: Final = "eval_checker.multi_turn_eval.multi_turn_checker"


class Truth(NamedTuple):
    """What the ground truth of a turn leads to.

    Attributes:
        answers: What its calls are answered.
        instances: The APIs after them, by name; not to be called.
    """

    answers: tuple[str, ...]
    instances: Mapping[str, Any]


@functools.cache
def truths(name: str) -> tuple[Truth, ...]:
    """Return what the ground truth leads to, turn by turn.

    Args:
        name: Name of the task.
    """
    found = task(name)
    apis, turns = Apis(found.apis, found.config), []
    for calls in found.calls:
        answers = tuple(apis.execute(parse_call(call)) for call in calls)
        turns.append(Truth(answers, apis.fork().instances))
    return tuple(turns)


def failed(truth: Truth, instances: Mapping[str, Any], answers: Sequence[str], *, called: bool) -> str | None:
    """Judge a turn as BFCL does.

    Args:
        truth: What the ground truth of this turn leads to.
        instances: The APIs as they are.
        answers: All answers so far, those of earlier turns too.
        called: Whether any function was called in this turn.

    Returns:
        Why the turn has failed; None where it has not. A turn without ground truth cannot fail.
    """
    if not truth.answers:
        return None
    if not called:
        return "nothing was called"
    checker = module(CHECKER)
    try:
        for api, instance in truth.instances.items():
            if not checker.state_checker({api: instances[api]}, {api: instance})["valid"]:
                return f"the state of {api} is not what the user asked for"
    except RecursionError:  # a folder that holds itself
        return "the state of GorillaFileSystem is not what the user asked for"
    if not checker.response_checker(list(answers), list(truth.answers), 0)["valid"]:
        return "what the user asked for was never looked up"
    return None
