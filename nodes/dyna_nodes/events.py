"""What the nodes tell while they run, on LangGraph's stream ``custom``.

```python
for event in agent.stream(inputs, stream_mode="custom"):
    match event:
        case ObserveEvent():
            print(event.transitions)
```
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from dyna_nodes.nouns import Action, Noun, Simulation, Transition, Verdict


class Proposal(Noun):
    """One candidate: what the policy thought, and the calls it proposed, by id."""

    thought: str = ""
    calls: Mapping[str, Action] = {}


class DynaEvent(Noun):
    """Base of the events.

    Attributes:
        session: Thread and namespace of the run.
        trajectory: Id of the trajectory.
        index: Index of the transition that the step leads to.
    """

    session: str = ""
    trajectory: str = ""
    index: int = 0

    @classmethod
    def made(cls, **values: Any) -> Self:
        """Return an event of values that are nouns already; events are too frequent to be validated."""
        return cls.model_construct(**values)


class SimulateEvent(DynaEvent):
    """The policy proposed and the world model imagined; without candidates, the policy gave its final answer.

    Attributes:
        candidates: The proposals.
        simulations: One per proposed call that was imagined.
        answer: The final answer, where there is one.
        seconds: How long it took.
    """

    type: Literal["dyna.simulate"] = "dyna.simulate"
    candidates: tuple[Proposal, ...] = ()
    simulations: tuple[Simulation, ...] = ()
    answer: str | None = None
    seconds: float = 0.0


class CritiqueEvent(DynaEvent):
    """Verdicts were given.

    Attributes:
        chosen: Index of the chosen candidate.
        verdicts: Verdicts of its calls by id.
        others: Verdicts of the calls of the candidates that were not chosen, by id.
        runs: Ids of the calls that run now.
        escalated: Ids of the calls that wait for a human.
        resampled: Whether all candidates are dropped, and others drawn in their place.
        seconds: How long it took.
    """

    type: Literal["dyna.critique"] = "dyna.critique"
    chosen: int = 0
    verdicts: Mapping[str, Verdict] = {}
    others: Mapping[str, Verdict] = {}
    runs: tuple[str, ...] = ()
    escalated: tuple[str, ...] = ()
    resampled: bool = False
    seconds: float = 0.0


class ActEvent(DynaEvent):
    """A call was executed, or not.

    Attributes:
        call_id: Id of the call.
        action: What ran.
        status: As in `Outcome`, and ``suspended`` when the tool itself asked a human.
        detail: What is known when the status is not ``ok``.
        attempt: Number of the attempt, from 1.
        seconds: How long it took.
    """

    type: Literal["dyna.act"] = "dyna.act"
    call_id: str
    action: Action
    status: Literal["ok", "error", "unknown", "deferred", "repeated", "refused", "imagined", "suspended"]
    detail: str = ""
    attempt: int = 1
    seconds: float = 0.0


class ObserveEvent(DynaEvent):
    """Reality answered.

    Attributes:
        transitions: The executed calls, each with prediction, reality and scores.
        ended: How the run ended; None while it goes on.
    """

    type: Literal["dyna.observe"] = "dyna.observe"
    transitions: tuple[Transition, ...] = ()
    ended: str | None = None
