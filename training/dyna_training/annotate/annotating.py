"""Annotating recorded trajectories: from a folder of them to a new one with notes and labels.

    dyna annotate data/own --objective critique --by grounded --out data/own-critique

The folder then holds ``annotated.jsonl``, as ``dyna collect`` writes trajectories, and ``manifest.json``. Each
trajectory carries in its ``configuration`` who annotated it and which of its turns could not be, so that whoever
goes on after an interruption knows all from the file alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from dyna_nodes.experience import ExperienceError, TrajectoryWriter
from dyna_nodes.nouns import Trajectory
from dyna_training.annotate.annotator import (
    Annotation,
    AnnotationObjective,
    Annotator,
    AnnotatorError,
    annotated,
    turns_to_annotate,
)
from dyna_training.annotate.folder import ANNOTATED, KEY, AnnotateError, AnnotateSettings, Work

FAILURES: Final = 5
"""So many trajectories in a row that could not be annotated at all end the work."""


class Progress(NamedTuple):
    """How far the work is.

    Attributes:
        done: Trajectories annotated, those of earlier runs included.
        total: Trajectories in the data, counted by lines.
        turns: Turns that were asked about in this run.
        problems: How many of these have a problem.
        failed: Why the last trajectory could not be annotated at all; empty otherwise.
    """

    done: int
    total: int
    turns: int
    problems: int
    failed: str = ""


def make_annotator(settings: AnnotateSettings) -> Annotator:
    """Return the annotator that the settings name.

    Raises:
        AnnotateError: There is none of that name.
        DynaError: The chat model cannot be made.
    """
    if settings.by == "grounded":
        from dyna_training.annotate.grounded import GroundedAnnotator

        annotator: Annotator = GroundedAnnotator(settings.objective)
        return annotator
    from dyna_training.annotate.chat import ChatAnnotator

    return ChatAnnotator.from_settings(settings)


def annotate(
    settings: AnnotateSettings,
    *,
    command: str = "",
    annotator: Annotator | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Annotate recorded trajectories, or go on with it; those that are finished are not asked about again.

    Args:
        settings: What to annotate, and by whom.
        command: The command line, for the manifest.
        annotator: Used instead of the one that the settings name.
        on_progress: Called at the start and after every trajectory.

    Returns:
        The manifest.

    Raises:
        AnnotateError: There is nothing to annotate, the folder belongs to other settings or cannot be written, or
            several trajectories in a row cannot be annotated at all.
        DynaError: The chat model cannot be made.
        KeyboardInterrupt: Ctrl-C; what was annotated is kept, and the same call goes on.
    """
    work = Work(settings, command)
    annotator = annotator or make_annotator(settings)
    try:
        work.out.mkdir(parents=True, exist_ok=True)
        work.write_manifest(annotator.name)
        with TrajectoryWriter(work.out / ANNOTATED) as writer:
            try:
                _annotate_all(work, annotator, writer, on_progress)
            except BaseException:
                with suppress(
                    OSError
                ):  # what stopped the work is worth more than a manifest that is up to date
                    work.write_manifest(annotator.name)
                raise
        return work.write_manifest(annotator.name, complete=not work.failed)
    except OSError as error:
        reason = error if isinstance(error, ExperienceError) else error.strerror or error
        raise AnnotateError(f"cannot write to {work.out}: {reason}") from error


def _annotate_all(
    work: Work, annotator: Annotator, writer: TrajectoryWriter, on_progress: Callable[[Progress], None]
) -> None:
    objective, total = work.settings.objective, work.total()
    done = turns = problems = in_a_row = 0
    on_progress(Progress(done, total, turns, problems))
    for trajectory in work.data():
        failed = ""
        if trajectory.id not in work.finished:
            try:
                made = annotate_trajectory(trajectory, annotator, objective)
            except AnnotatorError as error:
                failed, in_a_row = str(error), in_a_row + 1
                work.failed[trajectory.id] = failed
            else:
                writer.append(made)
                about = made.configuration[KEY][objective]
                turns, problems, in_a_row = turns + about["turns"], problems + len(about["problems"]), 0
        done += not failed
        on_progress(Progress(done, total, turns, problems, failed and f"{trajectory.id}: {failed}"))
        if in_a_row >= FAILURES:
            raise AnnotateError(
                f"{FAILURES} trajectories in a row could not be annotated, the last because: {failed}\n"
                f"{done} of {total} are annotated in {work.out}; the same command goes on from there"
            )


def annotate_trajectory(
    trajectory: Trajectory, annotator: Annotator, objective: AnnotationObjective
) -> Trajectory:
    """Return a trajectory with the annotations of its turns; who made them stands in its ``configuration``.

    Raises:
        AnnotatorError: None of its turns can be annotated.
    """
    indices = turns_to_annotate(trajectory, objective)
    steps, problems = list(trajectory.transitions), {}
    for annotation in _complete(annotator.annotate(trajectory, indices) if indices else [], indices):
        steps[annotation.index] = annotated(steps[annotation.index], annotation, objective)
        if annotation.problem:
            problems[str(annotation.index)] = annotation.problem
    made = {"by": annotator.name, "turns": len(indices), "problems": problems}
    earlier = trajectory.configuration.get(KEY, {})
    return trajectory.model_copy(
        update={
            "transitions": tuple(steps),
            "configuration": {**trajectory.configuration, KEY: {**earlier, objective: made}},
        }
    )


def _complete(annotations: Sequence[Annotation], indices: Sequence[int]) -> list[Annotation]:
    """Return one annotation per turn that was asked about; one that is missing is a problem."""
    by_index = {annotation.index: annotation for annotation in annotations}
    return [by_index.get(i, Annotation(i, problem="the annotator left the turn out")) for i in indices]
