"""The live APIs of an episode: begun in a task's state, called, copied."""

from __future__ import annotations

import copy
import decimal
import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from dyna_training.environments.bfcl.functions import owners
from dyna_training.environments.bfcl.limits import refusal
from dyna_training.environments.bfcl.package import api_class, module
from dyna_training.environments.calls import Call


class Apis:
    """Instances of the package's API classes, and what they answer.

    Args:
        names: The APIs.
        config: Their initial states, by name; copied.

    Attributes:
        instances: The live instances, by the name of their API.

    Raises:
        BfclMissing: The package is not installed.
    """

    __slots__ = ("instances",)

    def __init__(self, names: Sequence[str], config: Mapping[str, Any]) -> None:
        self.instances: dict[str, Any] = {}
        for name in names:
            instance = self.instances[name] = api_class(name)()
            if hasattr(instance, "_load_scenario"):  # MathAPI has no state
                instance._load_scenario(copy.deepcopy(config.get(name, {})), long_context=False)

    def fork(self) -> Self:
        """Return an independent copy."""
        twin = type(self).__new__(type(self))
        # Half the time of copy.deepcopy, with the same result: the state is all plain values and the package's classes.
        twin.instances = pickle.loads(pickle.dumps(self.instances, pickle.HIGHEST_PROTOCOL))
        return twin

    def only(self, name: str) -> Self:
        """Return an independent copy of one API alone."""
        twin = type(self).__new__(type(self))
        twin.instances = {name: self.instances[name]}
        return twin.fork()

    def execute(self, call: Call) -> str:
        """Call a function and return its answer as BFCL writes it; errors are answers too.

        Raises:
            KeyError: None of the APIs has the function.
        """
        api = owners()[call.name]
        instance = self.instances[api]
        refused = refusal(instance, call)
        if refused is not None:
            return f"Error during execution: {refused}"
        if api == "MathAPI":
            with _own_precision():
                return _answer(instance, call)
        return _answer(instance, call)


def _answer(instance: Any, call: Call) -> str:
    try:
        result = getattr(instance, call.name)(*call.args, **call.kwargs)
        if isinstance(result, str):
            return result
        if type(result) is dict:
            try:
                return json.dumps(result)
            except (TypeError, ValueError, RecursionError):
                return str(result)
        return str(result)
    except Exception as error:  # whatever a function raises is its answer
        return f"Error during execution: {error}"


@contextmanager
def _own_precision() -> Iterator[None]:
    """Keep what MathAPI sets for the whole process, the precision of decimal and mpmath, from everybody else."""
    mp = _mpmath()
    before = mp.dps
    try:
        with decimal.localcontext():
            yield
    finally:
        mp.dps = before


def _mpmath() -> Any:
    """Return the context of mpmath that MathAPI computes with."""
    return module("eval_checker.multi_turn_eval.func_source_code.math_api").mpmath.mp
