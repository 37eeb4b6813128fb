"""Judging the simulations in a policy's thinking, turn by turn, against what then really happened.

Of an executed turn, the simulation of the *executed* action counts, and only that one. Where the thinking has the
form of `dyna_nodes.codec.thinking` a program reads it and holds it against the observation; thinking in any other
form is given to an annotator, such as a chat model.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import BaseModel, ConfigDict

from dyna_nodes.codec.thinking import (
    InnerSimulation,
    certain_holds,
    holds,
    hypothesis_holds,
    parts,
    sentences,
    simulation_of,
)
from dyna_nodes.nouns import Trajectory, Transition
from dyna_training.annotate.annotator import (
    SIMULATED,
    SIMULATION_CONFIDENCE,
    SIMULATION_CORRECT,
    Annotation,
    Annotator,
    AnnotatorError,
)
from dyna_training.evaluation.episodes import Facts, Knowledge, facts

GROUNDED: Final = "grounded"
"""Name of the judge that compares texts."""
_OUR_FORM: Final = frozenset({"verification", "candidates", "simulation"})
"""Lines that free thinking does not happen to have; ``Wait, …`` and ``So I …`` stand in any."""


class Judgement(BaseModel):
    """What a judge says about one turn.

    Attributes:
        judge: Who judged.
        outcome: The simulated outcome; None where the executed action is not simulated, or the judge does not
            quote it.
        readable: Whether the judge can read the form of the thinking.
        simulated: Whether the executed action is simulated; None where the judge failed.
        correct: Whether all of the simulation came true, hypotheses included; None without a simulation.
        certain_correct: Whether all that it was certain of came true; None where it was certain of nothing, or the
            judge does not tell the two apart.
        exact: Whether it says all that was observed and nothing else; None where the judge does not tell.
        certain: Sentences that it was certain of.
        false: How many of these did not come true.
        supposed: Hypotheses.
        supposed_true: How many of these came true.
        confidence: How sure the judge is, 0 to 5; None where it does not say.
        problem: Why the judge failed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    judge: str
    outcome: str | None = None
    readable: bool = True
    simulated: bool | None = False
    correct: bool | None = None
    certain_correct: bool | None = None
    exact: bool | None = None
    certain: int = 0
    false: int = 0
    supposed: int = 0
    supposed_true: int = 0
    confidence: float | None = None
    problem: str = ""


class ThinkingJudge(Protocol):
    """Judges the simulation of the executed action in the thinking of some turns."""

    name: str

    def judge(self, trajectory: Trajectory, indices: Sequence[int]) -> list[Judgement]:
        """Return one judgement for each of the turns at ``indices``."""
        ...


@dataclass(frozen=True)
class JudgedTurn:
    """A turn with what is known about it and what the judge said.

    Attributes:
        trajectory: Id of its trajectory.
        index: Its place there, from 0.
        facts: What is known about it whoever thought.
        judgement: What the judge said.
        acted: Whether the policy acted at all; of recorded states it may be asked in vain.
    """

    trajectory: str
    index: int
    facts: Facts
    judgement: Judgement
    acted: bool

    @property
    def knowledge(self) -> Knowledge | None:
        """Whether the history determines what is observed, else why not; None where nobody can tell."""
        return self.facts.knowledge

    @property
    def informed(self) -> bool | None:
        """Whether the simulation says all that the history determines, and nothing false for certain.

        None without a simulation, and where nobody can tell.
        """
        if self.judgement.exact is None or self.knowledge is None:
            return None
        determined = self.knowledge == "determined"
        return self.judgement.exact if determined else bool(self.judgement.certain_correct)


class GroundedJudge:
    """Compares a simulation with the observation, sentence by sentence; knows the form of this project alone."""

    name = GROUNDED

    def judge(self, trajectory: Trajectory, indices: Sequence[int]) -> list[Judgement]:
        """Return one judgement for each of the turns at ``indices``."""
        return [_grounded(trajectory.transitions[index]) for index in indices]


class AnnotatorJudge:
    """Reads thinking in this project's form itself, and asks an annotator about any other.

    Args:
        annotator: Made for the objective ``judgement``; see `dyna_training.annotate`.
    """

    def __init__(self, annotator: Annotator) -> None:
        self.annotator = annotator
        self.name = annotator.name

    def judge(self, trajectory: Trajectory, indices: Sequence[int]) -> list[Judgement]:
        """Return one judgement for each of the turns at ``indices``; one that fails says why."""
        found = {
            index: _grounded(trajectory.transitions[index])
            for index in indices
            if readable(trajectory.transitions[index].thought)
        }
        others = [index for index in indices if index not in found]
        if others:
            found |= {a.index: self._read(a) for a in self._annotations(trajectory, others)}
        missing = Judgement(judge=self.name, simulated=None, problem="no annotation came back")
        return [found.get(index, missing) for index in indices]

    def _annotations(self, trajectory: Trajectory, indices: Sequence[int]) -> list[Annotation]:
        try:
            return self.annotator.annotate(trajectory, indices)
        except AnnotatorError as error:
            return [Annotation(index, problem=str(error)) for index in indices]

    def _read(self, annotation: Annotation) -> Judgement:
        labels = annotation.labels
        correct = labels.get(SIMULATION_CORRECT)
        if correct is not None:
            return Judgement(
                judge=self.name,
                simulated=True,
                correct=correct > 0.5,
                confidence=labels.get(SIMULATION_CONFIDENCE),
            )
        if labels.get(SIMULATED) == 0:
            return Judgement(judge=self.name)
        return Judgement(
            judge=self.name, simulated=None, problem=annotation.problem or "the judge gave no judgement"
        )


def readable(thinking: str) -> bool:
    """Return whether a program can read a thinking: it has this project's form, or there is none at all."""
    return not thinking.strip() or any(part.kind in _OUR_FORM for part in parts(thinking))


def claim(outcome: str, observation: str) -> Judgement:
    """Hold an imagined outcome against what was observed, both in the words of the environment."""
    simulation = InnerSimulation("", outcome, 0, 0)
    said, real = sentences(simulation.certain), sentences(observation)
    supposed = simulation.hypotheses
    return Judgement(
        judge=GROUNDED,
        outcome=outcome,
        simulated=True,
        correct=holds(simulation, observation),
        certain_correct=certain_holds(simulation, observation) if said else None,
        exact=not supposed and said == real,
        certain=len(said),
        false=sum(sentence not in real for sentence in said),
        supposed=len(supposed),
        supposed_true=sum(hypothesis_holds(h, observation) for h in supposed),
    )


def judged_turns(
    trajectories: Iterable[Trajectory],
    judge: ThinkingJudge | None = None,
    *,
    turns: Mapping[str, Collection[int]] | None = None,
) -> list[JudgedTurn]:
    """Judge the thinking of executed turns.

    Args:
        trajectories: What happened; steps whose tool failed or never answered are left out.
        judge: Who judges; None is the `GroundedJudge`.
        turns: By id of a trajectory, the places of the turns to judge; all when None.
    """
    judge = judge or GroundedJudge()
    return [turn for t in trajectories for turn in _of(t, judge, None if turns is None else turns[t.id])]


def _of(trajectory: Trajectory, judge: ThinkingJudge, chosen: Collection[int] | None) -> Iterator[JudgedTurn]:
    indices = [
        index
        for index, step in enumerate(trajectory.transitions)
        if step.status == "ok" and (chosen is None or index in chosen)
    ]
    known = facts(trajectory)
    judgements = judge.judge(trajectory, indices)
    for index, judgement in zip(indices, judgements, strict=True):
        acted = bool(trajectory.transitions[index].action.text.strip())
        yield JudgedTurn(trajectory.id, index, known[index], judgement, acted)


def _grounded(step: Transition) -> Judgement:
    simulation = simulation_of(step.thought, step.action.text)
    # One that says nothing ("…") foretells nothing, though nothing in it is wrong.
    if simulation is None or not sentences(simulation.outcome):
        return Judgement(judge=GROUNDED, readable=readable(step.thought))
    return claim(simulation.outcome, step.observation)
