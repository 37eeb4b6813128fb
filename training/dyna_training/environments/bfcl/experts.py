"""The oracle: it plays the ground truth."""

from __future__ import annotations

from typing import NamedTuple, Self

from dyna_training.environments.bfcl.functions import DONE, ENDING, owners, parameters_of
from dyna_training.environments.bfcl.tasks import Task
from dyna_training.environments.calls import NotACall, canonical, parse_call


class Decision(NamedTuple):
    """What the oracle does next.

    Attributes:
        thought: The reason, in a line.
        action: The call.
    """

    thought: str
    action: str


class GroundTruth:
    """Makes the calls of the ground truth, turn by turn, and ends the turn after the last.

    Calls of others in between are passed over; what they changed, it does not mend.

    Args:
        task: What is played.
    """

    def __init__(self, task: Task) -> None:
        self._turns = tuple(tuple(map(_in_our_form, calls)) for calls in task.calls)
        self._turn = 0
        self._made = 0

    def decide(self) -> Decision:
        """Return the next call."""
        calls = self._turns[self._turn] if self._turn < len(self._turns) else ()
        if self._made < len(calls):
            call = calls[self._made]
            return Decision(f"The user asked for something that takes {call.partition('(')[0]}.", call)
        return Decision("All that the user asked for is done; I end my turn.", ENDING)

    def observe(self, action: str, observation: str) -> None:
        """Take note of what was called, whoever did."""
        try:
            call = _in_our_form(action)
        except NotACall:
            return
        if call.partition("(")[0] == DONE:
            self._turn += 1
            self._made = 0
        elif call == self.decide().action:
            self._made += 1

    def fork(self) -> Self:
        """Return an independent copy."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin


def _in_our_form(text: str) -> str:
    """Return a call in the project's form.

    Raises:
        NotACall: It is none.
    """
    call = parse_call(text)
    return canonical(call, parameters_of(call.name) if call.name in owners() else ())
