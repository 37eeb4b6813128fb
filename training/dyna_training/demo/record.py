"""What happened in a game, gathered from the events of the loop: for the screen, the replay and the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from dyna_nodes.critics.mechanisms import NO_EFFECT
from dyna_nodes.events import ActEvent, CritiqueEvent, ObserveEvent, Proposal, SimulateEvent
from dyna_nodes.nouns import Action, Noun, Prediction, Provenance, Trajectory, Transition, Verdict

Arm = Literal["without", "with"]
"""A game is played twice: without a world model, and with it."""
ARMS: tuple[Arm, ...] = ("without", "with")
ENVIRONMENT = "dyna/ALFWorld-v0"


class DemoGame(Noun):
    """A game that is played.

    Attributes:
        number: From 1.
        id: Id of the game.
        file: The game file.
        seed: Seed of the generator; None for an official game.
        split: ``generated``, or the split of an official game.
        task: The task sentence.
        task_type: One of the six types.
        steps: How many steps the game's own walkthrough takes; it knows where everything is.
    """

    number: int
    id: str
    file: str
    seed: int | None = None
    split: str
    task: str
    task_type: str
    steps: int


class Candidate(Noun):
    """A proposed call, what was imagined of it, and what was decided.

    Attributes:
        message: Index of the candidate message that proposed it.
        thought: What the policy wrote before it.
        action: The call; None when it could not be read.
        prediction: What the world model imagined; None where there is no world model.
        value: Imagined, discounted return.
        verdict: What was decided; None before that.
    """

    message: int
    thought: str = ""
    action: Action | None = None
    prediction: Prediction | None = None
    value: float | None = None
    verdict: Verdict | None = None

    @property
    def text(self) -> str:
        """The action in words."""
        return "(no readable action)" if self.action is None else self.action.text


class Round(Noun):
    """One time through simulate and critique.

    Attributes:
        candidates: What was proposed; the first is what the policy would have done by itself.
        chosen: Index of the best of ``candidates``.
        ran: Whether it was executed; else all were rejected, and others were drawn or the policy was told why.
    """

    candidates: tuple[Candidate, ...]
    chosen: int = 0
    ran: bool = False


class Turn(Noun):
    """An executed step.

    Attributes:
        rounds: The proposals that led to it; the last one ran.
        transition: What ran, what was imagined of it, and what really happened.
        seconds: From the first proposal to reality; turns of games that are played at once share the machine.
    """

    rounds: tuple[Round, ...]
    transition: Transition
    seconds: float = 0.0

    @property
    def first(self) -> Candidate:
        """What the policy proposed first."""
        return self.rounds[0].candidates[0]

    @property
    def overruled(self) -> bool:
        """Whether something else ran than what the policy proposed first."""
        return bool(self.rounds) and self.first.action != self.transition.action

    @property
    def no_effect(self) -> bool:
        """Whether nothing happened."""
        return self.transition.observation.strip() in NO_EFFECT


class Play(Noun):
    """One game in one arm.

    Attributes:
        arm: Without or with the world model.
        game: The game.
        introduction: The first observation.
        turns: The executed steps.
        rest: Proposals after the last step, which were all rejected.
        outcome: ``success``, ``failure`` (the agent gave up or was stopped), ``truncated`` (too many steps),
            or ``unknown`` (interrupted).
        ended: Why it ended, as the loop calls it; None when it was interrupted.
        policy_tokens: Tokens that the policy wrote.
        seconds: Wall-clock time; games that are played at once share the machine.
    """

    arm: Arm
    game: DemoGame
    introduction: str
    turns: tuple[Turn, ...] = ()
    rest: tuple[Round, ...] = ()
    outcome: Literal["success", "failure", "truncated", "unknown"] = "unknown"
    ended: str | None = None
    policy_tokens: int = 0
    seconds: float = 0.0

    @property
    def won(self) -> bool:
        """Whether the task was solved."""
        return self.outcome == "success"

    @property
    def invalid(self) -> int:
        """How many actions did nothing."""
        return sum(turn.no_effect for turn in self.turns)

    @property
    def imagined_tokens(self) -> int:
        """Tokens that the world model wrote."""
        rounds = [r for turn in self.turns for r in turn.rounds] + list(self.rest)
        predictions = [c.prediction for r in rounds for c in r.candidates if c.prediction is not None]
        return sum(p.tokens for p in predictions)

    def trajectory(self, configuration: Mapping[str, Any], provenance: Provenance) -> Trajectory:
        """Return what happened as the noun that training reads."""
        transitions = tuple(turn.transition for turn in self.turns)
        given: dict[str, Any] = {"id": transitions[0].trajectory} if transitions else {}
        return Trajectory(
            task=self.introduction,
            transitions=transitions,
            outcome=self.outcome,
            configuration=configuration,
            provenance=provenance,
            **given,
        )


class Recorder:
    """Gathers the events of one play; `turns` and `rest` are always what is known so far."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.rest: list[Round] = []
        self.ended: str | None = None
        self._proposed: SimulateEvent | None = None
        self._verdicts: dict[str, Verdict] = {}
        self._seconds = 0.0

    def feed(self, event: object) -> Turn | None:
        """Take in an event of the stream ``custom``; return the turn that it completes."""
        if isinstance(event, SimulateEvent):
            self._seconds += event.seconds
            if event.answer is not None:
                self.ended = "answer"
            self._proposed, self._verdicts = event, {}
        elif isinstance(event, CritiqueEvent) and self._proposed is not None:
            self._seconds += event.seconds
            if self._verdicts:  # rejected, and then allowed after all, since the revisions were used up
                self.rest.pop()
            self._verdicts |= {**event.others, **event.verdicts}
            self.rest.append(_round(self._proposed, event, self._verdicts))
        elif isinstance(event, ActEvent):
            self._seconds += event.seconds
        elif isinstance(event, ObserveEvent):
            self.ended = event.ended
            return self._turn(event)
        return None

    def _turn(self, event: ObserveEvent) -> Turn | None:
        if not event.transitions:
            return None
        turn = Turn(rounds=tuple(self.rest), transition=event.transitions[0], seconds=self._seconds)
        self.turns.append(turn)
        self.rest, self._seconds = [], 0.0
        return turn


def _round(proposed: SimulateEvent, critique: CritiqueEvent, verdicts: Mapping[str, Verdict]) -> Round:
    candidates: list[Candidate] = []
    chosen = 0
    for index, proposal in enumerate(proposed.candidates):
        for call_id, action in _calls(proposed, index, proposal).items():
            if call_id in critique.runs or (index == critique.chosen and not critique.runs):
                chosen = len(candidates)
            simulation = next((s for s in proposed.simulations if s.call_id == call_id), None)
            candidates.append(
                Candidate(
                    message=index,
                    thought=proposal.thought,
                    action=action,
                    prediction=_said(simulation.prediction) if simulation is not None else None,
                    value=simulation.value if simulation is not None else None,
                    verdict=verdicts.get(call_id),
                )
            )
    return Round(candidates=tuple(candidates), chosen=chosen, ran=bool(critique.runs))


def _calls(proposed: SimulateEvent, index: int, proposal: Proposal) -> Mapping[str, Action | None]:
    """Return the calls of a proposal that are judged now; one that could not be read has the id ``""``."""
    imagined = {s.call_id for s in proposed.simulations if s.candidate == index}
    if imagined:
        return {i: a for i, a in proposal.calls.items() if i in imagined}
    return dict(proposal.calls) or {"": None}


def _said(prediction: Prediction) -> Prediction | None:
    """Return the prediction; None for the empty one that stands where there is no world model."""
    return None if prediction == Prediction() else prediction
