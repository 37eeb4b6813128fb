"""A conversation being played: which turn it is, what was answered so far, and whether it still can be won."""

from __future__ import annotations

from typing import Final, Self

from dyna_training.environments.bfcl.apis import Apis
from dyna_training.environments.bfcl.checking import failed, truths
from dyna_training.environments.bfcl.functions import DONE, owners
from dyna_training.environments.bfcl.tasks import Task
from dyna_training.environments.calls import NotACall, parse_call

OVER: Final = "The conversation is over."
USER: Final = "User: "


class Play:
    """A conversation.

    Args:
        task: What is played.

    Attributes:
        task: What is played.
        apis: The live APIs.
        turn: Number of the turn, counted from 0; the number of turns once it is over.
        won: Whether all turns are done as they should be.
        lost: Whether a turn was not.

    Raises:
        BfclMissing: The package is not installed.
    """

    __slots__ = ("_answers", "_called", "apis", "lost", "task", "turn", "won")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.apis = Apis(task.apis, task.config)
        self.turn = 0
        self.won = False
        self.lost = False
        self._answers: list[str] = []
        self._called = False

    @property
    def over(self) -> bool:
        """Whether the conversation has ended."""
        return self.won or self.lost

    def fork(self) -> Self:
        """Return an independent conversation in the same state."""
        twin = type(self).__new__(type(self))
        twin.task, twin.turn, twin.won, twin.lost = self.task, self.turn, self.won, self.lost
        twin.apis = self.apis.fork()
        twin._answers, twin._called = self._answers.copy(), self._called
        return twin

    def step(self, action: str) -> str:
        """Call a function, or end the agent's turn; returns what is seen then."""
        if self.over:
            return OVER
        try:
            call = parse_call(action)
        except NotACall as error:
            return str(error)
        if call.name == DONE:
            return self._end_turn()
        if owners().get(call.name) not in self.apis.instances:
            return f"There is no function {call.name!r} here."
        answer = self.apis.execute(call)
        self._answers.append(answer)
        self._called = True
        return answer

    def _end_turn(self) -> str:
        truth = truths(self.task.id)[self.turn]
        why = failed(truth, self.apis.instances, self._answers, called=self._called)
        if why is not None:
            self.lost = True
            return f"{OVER} In turn {self.turn + 1} of {len(self.task.turns)}, {why}."
        self.turn += 1
        self._called = False
        if self.turn < len(self.task.turns):
            return USER + self.task.turns[self.turn]
        self.won = True
        return f"{OVER} All that the user asked for is done."
