"""Notes by the environment itself: what an action changed, and whether its simulation came true.

No model is asked. The thinking has to be in the shared form (`dyna_nodes.codec.thinking`), so that the simulation of
the executed action can be read; it is held against the recorded observation word for word. In ALFWorld the reasons come
from what the history says about the household; elsewhere a note repeats what was observed (`plain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dyna_nodes.codec import Outcome
from dyna_nodes.codec.thinking import (
    CORRECT,
    WRONG,
    InnerSimulation,
    holds,
    hypothesis_holds,
    sentences,
    simulation_of,
)
from dyna_nodes.nouns import Trajectory, Transition
from dyna_training.annotate.annotator import (
    CRITIQUE,
    CRITIQUE_AFTER,
    DIFFERENCE,
    SIMULATED,
    SIMULATION_CONFIDENCE,
    SIMULATION_CORRECT,
    Annotation,
    AnnotationObjective,
)
from dyna_training.annotate.plain import plain_critique, plain_difference
from dyna_training.environments.alfworld.differences import difference
from dyna_training.environments.alfworld.knowledge import KnownWorld
from dyna_training.environments.alfworld.refusals import refusal, where
from dyna_training.environments.alfworld.task import split_command
from dyna_training.environments.alfworld.text import NOTHING_HAPPENS, listing
from dyna_training.teachers.checks import effect

CONFIDENCE: Final = 5.0
"""The judge compares with what was recorded, so it is always sure."""
LISTED: Final = 3
"""A critique names at most so many things that are there."""


class GroundedAnnotator:
    """Annotates runs from their own record.

    Args:
        objective: What it writes.
    """

    name = "grounded"

    def __init__(self, objective: AnnotationObjective) -> None:
        self.objective = objective

    def annotate(self, trajectory: Trajectory, indices: Sequence[int]) -> list[Annotation]:
        """Annotate the turns at ``indices``; one annotation for each."""
        world, seen = _household(trajectory.task), trajectory.task
        made: dict[int, Annotation] = {}
        for index, step in enumerate(trajectory.transitions):
            if index in indices:
                made[index] = self._annotation(index, step, world and world.fork(), seen)
            if world is not None:
                world.observe(step.action.text, step.observation)
            seen = step.observation
        return [made[index] for index in indices]

    def _annotation(self, index: int, step: Transition, before: KnownWorld | None, seen: str) -> Annotation:
        action, observation = step.action.text, step.observation
        if self.objective == "difference":
            done = Outcome.of(step).success
            if before is None:
                return Annotation(index, {DIFFERENCE: plain_difference(seen, observation, solved=done)})
            return Annotation(index, {DIFFERENCE: difference(before, action, observation, solved=done)})
        simulation = simulation_of(step.thought, action)
        if simulation is None:
            return Annotation(index, labels={SIMULATED: 0.0})
        labels = {
            SIMULATED: 1.0,
            SIMULATION_CORRECT: float(holds(simulation, observation)),
            SIMULATION_CONFIDENCE: CONFIDENCE,
        }
        if self.objective == "judgement":
            return Annotation(index, labels=labels)
        notes = {
            CRITIQUE: critique(before, simulation, observation)
            if before is not None
            else plain_critique(simulation, observation),
            CRITIQUE_AFTER: step.thought[simulation.start : simulation.end],
        }
        return Annotation(index, notes, labels)


def _household(task: str) -> KnownWorld | None:
    """Return what a task of ALFWorld tells; None where it is another one's."""
    try:
        world = KnownWorld(task)
    except ValueError:
        return None
    return world if world.task is not None and world.receptacles else None


def critique(before: KnownWorld, simulation: InnerSimulation, observation: str) -> str:
    """Say in one sentence, with hindsight, what is right or wrong about a simulation, and why.

    Args:
        before: What the history before the action tells.
        simulation: What the action was imagined to do.
        observation: What it did.

    Returns:
        A sentence that begins with ``Yes, `` or ``Wait, ``.
    """
    action, after = simulation.action, before.fork()
    after.observe(action, observation)
    right = holds(simulation, observation)
    hoped = simulation.hypotheses[0].split() if simulation.hypotheses else []
    wanted = hoped[1] if len(hoped) > 1 and hoped[0] == "a" else None
    if observation.strip() == NOTHING_HAPPENS:
        said = f"{refusal(before, action)}, so nothing happens"
    elif right or NOTHING_HAPPENS in sentences(simulation.certain):
        said = effect(after, action, wanted)
    else:
        said = _reality(after, simulation, observation) or effect(after, action, wanted)
    return f"{CORRECT if right else WRONG}{said}."


def _reality(after: KnownWorld, simulation: InnerSimulation, observation: str) -> str:
    """Say what is there instead of what was imagined; empty where the action was not about a place."""
    place = split_command(simulation.action)[1]
    if after.is_closed(place):
        return f"{place} is closed, so I do not see what is in it"
    if place not in after.contents:
        return ""
    things = after.contents[place]
    few = len(things) <= LISTED
    seen = listing(things) if few else f"{', '.join(f'a {thing}' for thing in things[:LISTED])} and more"
    missing = [h for h in simulation.hypotheses if not hypothesis_holds(h, observation)]
    if missing:
        return f"there is no {missing[0].removeprefix('a ')} {where(after, place)} {place}, I see {seen}"
    return f"{where(after, place)} {place} I see {seen}"
