"""What annotators share: the protocol, what they say about a turn, and which turns they are asked about.

An annotator sees a recorded trajectory with hindsight. It writes what the stage-1 objectives of Dyna-Think
(arXiv 2506.00320, DDT) are trained on into `Transition.notes` and `Transition.labels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from dyna_nodes.nouns import Trajectory, Transition

AnnotationObjective = Literal["difference", "critique", "judgement"]
"""What is asked for.

``difference``: what the action changed. ``critique``: a sentence about the simulation in the thinking, and what it
follows. ``judgement``: only the labels of a critique, for measuring.
"""

DIFFERENCE: Final = "difference"
"""Note: what the action changed."""
NO_CHANGES: Final = "No changes."
"""The difference of an action that changed nothing."""
CRITIQUE: Final = "critique"
"""Note: a sentence about the simulation, which begins with ``Yes, `` or ``Wait, ``."""
CRITIQUE_AFTER: Final = "critique_after"
"""Note: the exact text that the critique follows, a line or a sentence within one; its last occurrence is meant."""
SIMULATED: Final = "simulation_present"
"""Label: 1 where the thinking simulates what is then done, 0 where it does not; the latter has no critique."""
SIMULATION_CORRECT: Final = "simulation_correct"
"""Label: 1 where the simulation agrees with what was observed, 0 where it does not."""
SIMULATION_CONFIDENCE: Final = "simulation_confidence"
"""Label: how sure the judge is, 0 to 5."""

_JUDGED: Final = (SIMULATED, SIMULATION_CORRECT, SIMULATION_CONFIDENCE)
NOTES: Final[Mapping[AnnotationObjective, tuple[str, ...]]] = {
    "difference": (DIFFERENCE,),
    "critique": (CRITIQUE, CRITIQUE_AFTER),
    "judgement": (),
}
"""The notes that each objective writes; those of an earlier annotation are replaced."""
LABELS: Final[Mapping[AnnotationObjective, tuple[str, ...]]] = {
    "difference": (),
    "critique": _JUDGED,
    "judgement": _JUDGED,
}
"""The labels that each objective writes; those of an earlier annotation are replaced."""


class AnnotatorError(RuntimeError):
    """A whole trajectory cannot be annotated, for example because nobody answers; it may be tried again."""


@dataclass(frozen=True)
class Annotation:
    """What an annotator says about a turn.

    Attributes:
        index: Place of the turn in its trajectory, from 0.
        notes: Texts for `Transition.notes`.
        labels: Numbers for `Transition.labels`.
        problem: Why there is no note; empty where all is well. What stands before the first ``": "`` is counted,
            so it should be the same for the same kind of problem.
    """

    index: int
    notes: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""


class Annotator(Protocol):
    """Annotates turns of a trajectory for the objective that it was made for.

    Attributes:
        name: Name, for the record.
    """

    name: str

    def annotate(self, trajectory: Trajectory, indices: Sequence[int]) -> list[Annotation]:
        """Annotate the turns at ``indices``; one annotation for each.

        Raises:
            AnnotatorError: None of them can be annotated.
        """
        ...


def turns_to_annotate(trajectory: Trajectory, objective: AnnotationObjective) -> list[int]:
    """Return the places of the turns that an objective is about.

    These are executed steps whose label ``expert`` is not 0; for a critique or a judgement, those with thinking.
    """
    return [
        index
        for index, step in enumerate(trajectory.transitions)
        if step.status == "ok"
        and step.labels.get("expert", 1.0)
        and (objective == "difference" or step.thought.strip())
    ]


def annotated(step: Transition, annotation: Annotation, objective: AnnotationObjective) -> Transition:
    """Return a step with an annotation; what an earlier one of the same objective wrote is replaced."""
    notes = {k: v for k, v in step.notes.items() if k not in NOTES[objective]}
    labels = {k: v for k, v in step.labels.items() if k not in LABELS[objective]}
    return step.model_copy(
        update={"notes": {**notes, **annotation.notes}, "labels": {**labels, **annotation.labels}}
    )
