"""Annotating a folder: what is recorded, what is reported, and going on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dyna_nodes.experience import TrajectoryWriter
from dyna_nodes.nouns import Action, Trajectory, Transition
from dyna_training.annotate.annotating import annotate
from dyna_training.annotate.annotator import Annotation, AnnotatorError
from dyna_training.annotate.folder import AnnotateError, AnnotateSettings
from dyna_training.data import read_trajectories


class Notes:
    """Annotates with the observation; odd turns are a problem, and some trajectories fail altogether."""

    name = "notes"

    def __init__(self, fails: Sequence[str] = (), stops_at: str = "") -> None:
        self.fails = fails
        self.stops_at = stops_at
        self.asked: list[str] = []

    def annotate(self, trajectory: Trajectory, indices: Sequence[int]) -> list[Annotation]:
        self.asked.append(trajectory.id)
        if trajectory.id == self.stops_at:
            raise KeyboardInterrupt
        if trajectory.id in self.fails:
            raise AnnotatorError("nobody answers")
        return [
            Annotation(i, problem=f"odd: turn {i}")
            if i % 2
            else Annotation(i, {"difference": trajectory.transitions[i].observation})
            for i in indices
        ]


def recorded(folder: Path, count: int = 3, **first: Any) -> Path:
    with TrajectoryWriter(folder / "worker-0.jsonl") as writer:
        for n in range(count):
            steps = [
                Transition(
                    index=i,
                    thought=f"t{i}",
                    action=Action.command(f"do {i}"),
                    observation=f"o{n}{i}",
                    **first,
                )
                for i in range(3)
            ]
            writer.append(Trajectory(id=f"run{n}", task="a task", transitions=tuple(steps)))
    return folder


def _settings(tmp_path: Path, **changes: Any) -> AnnotateSettings:
    values = {"data": (tmp_path / "data",), "out": tmp_path / "out", "objective": "difference", "by": "x:y"}
    return AnnotateSettings(**{**values, **changes})


def test_every_turn_is_annotated_or_reported_with_its_reason(tmp_path: Path) -> None:
    recorded(tmp_path / "data")
    manifest = annotate(_settings(tmp_path), annotator=Notes(), command="dyna annotate")
    assert manifest["complete"]
    assert manifest["counts"] == {"trajectories": 3, "turns": 9, "annotated": 6, "problems": 3}
    assert manifest["problems_by_kind"] == {"odd": 3}
    assert manifest["problems"][0] == {"trajectory": "run0", "turn": 1, "reason": "odd: turn 1"}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    runs = list(read_trajectories([tmp_path / "out"]))
    assert [[s.notes for s in r.transitions] for r in runs[:1]] == [
        [{"difference": "o00"}, {}, {"difference": "o02"}]
    ]
    assert runs[0].configuration["annotation"]["difference"]["by"] == "notes"


def test_an_interrupted_work_goes_on_and_asks_about_nothing_twice(tmp_path: Path) -> None:
    recorded(tmp_path / "data")
    with pytest.raises(KeyboardInterrupt):
        annotate(_settings(tmp_path), annotator=Notes(stops_at="run1"))
    half = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert not half["complete"]
    assert half["counts"]["trajectories"] == 1
    with (tmp_path / "out" / "annotated.jsonl").open("ab") as file:
        file.write(b'{"id": "run1", "ta')  # what a killed writer leaves behind
    again = Notes()
    manifest = annotate(_settings(tmp_path), annotator=again)
    assert again.asked == ["run1", "run2"]
    whole = annotate(_settings(tmp_path, out=tmp_path / "whole"), annotator=Notes())
    assert manifest["complete"]
    assert (manifest["digest"], manifest["counts"], manifest["problems"]) == (
        whole["digest"],
        whole["counts"],
        whole["problems"],
    )


def test_a_trajectory_that_fails_is_reported_and_tried_again_next_time(tmp_path: Path) -> None:
    recorded(tmp_path / "data")
    manifest = annotate(_settings(tmp_path), annotator=Notes(fails=["run1"]))
    assert not manifest["complete"]
    assert manifest["failed"] == [{"trajectory": "run1", "reason": "nobody answers"}]
    assert [t.id for t in read_trajectories([tmp_path / "out"])] == ["run0", "run2"]
    again = Notes()
    assert annotate(_settings(tmp_path), annotator=again)["complete"]
    assert again.asked == ["run1"]


def test_when_nobody_answers_the_work_ends_and_keeps_what_it_has(tmp_path: Path) -> None:
    recorded(tmp_path / "data", count=8)
    fails = Notes(fails=[f"run{n}" for n in range(2, 8)])
    with pytest.raises(
        AnnotateError, match=r"5 trajectories in a row .* nobody answers\n2 of 8 are annotated"
    ):
        annotate(_settings(tmp_path), annotator=fails)
    assert len(fails.asked) == 7
    assert len(list(read_trajectories([tmp_path / "out"]))) == 2


def test_damaged_lines_and_steps_that_are_not_imitated_are_left_out(tmp_path: Path) -> None:
    recorded(tmp_path / "data", count=1)
    recorded(tmp_path / "data" / "noisy", count=1, labels={"expert": 0.0}, notes={"difference": "earlier"})
    with (tmp_path / "data" / "worker-0.jsonl").open("ab") as file:
        file.write(b"no trajectory\n")
    manifest = annotate(_settings(tmp_path), annotator=Notes())
    # The noisy one is read first, and the other has the same id.
    assert manifest["counts"] == {"trajectories": 1, "turns": 0, "annotated": 0, "problems": 0}
    assert "worker-0.jsonl:2: not a trajectory" in manifest["unreadable"][0]


def test_an_annotation_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    old = {"difference": "old", "critique": "Yes, fine."}
    recorded(tmp_path / "data", count=1, notes=old, labels={"return_to_go": 0.5})
    annotate(_settings(tmp_path), annotator=Notes())
    [run] = read_trajectories([tmp_path / "out"])
    assert [s.notes for s in run.transitions] == [
        {"difference": "o00", "critique": "Yes, fine."},
        {"critique": "Yes, fine."},
        {"difference": "o02", "critique": "Yes, fine."},
    ]
    assert run.transitions[0].labels == {"return_to_go": 0.5}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"by": "a:b"}, "annotated with by 'x:y', not 'a:b'"),
        ({"objective": "critique"}, "objective 'difference', not 'critique'"),
        ({"data": (Path("nowhere"),)}, "nowhere: no trajectories there"),
    ],
)
def test_other_settings_and_missing_data_are_refused(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    recorded(tmp_path / "data", count=1)
    annotate(_settings(tmp_path), annotator=Notes())
    with pytest.raises(AnnotateError, match=says):
        annotate(_settings(tmp_path, **changes), annotator=Notes())


def test_a_folder_is_not_annotated_into_itself(tmp_path: Path) -> None:
    recorded(tmp_path / "data", count=1)
    with pytest.raises(AnnotateError, match="lies in the folder"):
        annotate(_settings(tmp_path, out=tmp_path / "data"), annotator=Notes())
    recorded(tmp_path / "out", count=1)
    with pytest.raises(AnnotateError, match=r"holds trajectories and no manifest\.json"):
        annotate(_settings(tmp_path), annotator=Notes())
