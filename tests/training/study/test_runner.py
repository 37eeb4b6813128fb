"""Running stages: what is finished is skipped, what broke is reported, what changed is refused, and nothing is lost."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dyna_training.environments.alfworld.generator import write
from dyna_training.environments.alfworld.splits import split_of
from dyna_training.study.process import OutOfTime
from dyna_training.study.runner import Event, Runner
from dyna_training.study.stages import Stage, StudyError, in_order
from dyna_training.traces.abbreviating import ANSWERS
from tests.training.processes import end, wait_for
from tests.training.study.stages_of import broken, collected, manifest, small_study

DRIVER = """
import sys
from pathlib import Path
from dyna_training.study.runner import Runner
from tests.training.study.stages_of import small_study
stages = small_study(games=150)
Runner(Path(sys.argv[1]), stages).run(list(stages), jobs=2)
"""


def run(out: Path, stages: dict, *, wanted: list[str] | None = None) -> tuple[list[tuple[str, str]], dict]:  # type: ignore[type-arg]
    events: list[Event] = []
    runner = Runner(out, stages, events.append)
    known = runner.run(list(stages) if wanted is None else wanted)
    return [(e.stage, e.kind) for e in events if e.kind != "progress"], known


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    events, known = run(out, small_study())
    assert [kind for _, kind in events] == ["started", "finished"] * 2
    assert {k.state for k in known.values()} == {"finished"}
    return out


def test_a_finished_study_is_only_looked_at(finished: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(finished, moved)
    before = manifest(moved, "a/second").read_bytes()
    events, _ = run(moved, small_study())
    assert events == [("a/teacher", "skipped"), ("a/second", "skipped")]
    assert manifest(moved, "a/second").read_bytes() == before
    said = json.loads(before)
    assert said["state"] == "finished"
    assert said["ran"] == [
        "dyna collect --split generated --behaviours expert --quiet --games 2 --max-steps 4 "
        "--out '{out}/stages/a/second/data'"
    ]
    assert "$ dyna collect" in (moved / "stages/a/second/log.txt").read_text()


def test_another_configuration_is_refused_and_redo_begins_anew(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    shutil.copytree(finished, out)
    other = small_study(games=3)
    with pytest.raises(
        StudyError, match=r"ran with --games 2, the configuration now says --games 3"
    ) as refused:
        run(out, other)
    assert "--redo a/teacher" in str(refused.value)
    runner = Runner(out, other)
    assert [k.state for k in runner.known().values()] == ["changed", "waiting"]
    assert runner.redo(["a/teacher"]) == ["a/teacher", "a/second"]
    events, known = run(out, other)
    assert {k.state for k in known.values()} == {"finished"}, events


def test_files_that_were_changed_by_hand_are_noticed(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "study"
    shutil.copytree(finished, out)
    [file] = (out / "stages/a/teacher/data").glob("*.jsonl")
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(StudyError, match="no longer those that it wrote"):
        run(out, small_study())


def test_a_broken_stage_is_reported_with_its_log_and_holds_up_only_what_needs_it(tmp_path: Path) -> None:
    stages = in_order([broken("a/bad"), collected("a/after", needs=("a/bad",)), collected("a/apart")])
    events: list[Event] = []
    known = Runner(tmp_path, stages, events.append).run(list(stages))
    assert {n: k.state for n, k in known.items()} == {
        "a/bad": "failed",
        "a/after": "waiting",
        "a/apart": "finished",
    }
    [failed] = [e for e in events if e.kind == "failed"]
    assert "ended with code 2" in failed.message
    assert "unknown split 'nowhere'" in failed.message
    assert str(tmp_path / "stages/a/bad/log.txt") in failed.message
    [left] = [e for e in events if e.kind == "left"]
    assert (left.stage, left.message) == ("a/after", "a/bad is failed")
    # The next run tries it again.
    again, known = run(tmp_path, stages)
    assert ("a/bad", "started") in again
    assert known["a/bad"].state == "failed"


def test_episodes_that_fail_for_good_are_tolerated_as_far_as_is_said(tmp_path: Path) -> None:
    games = tmp_path / "alfworld" / "json_2.1.1" / "train"
    files = [write(games, seed, "pick_and_place_simple") for seed in range(1, 5)]
    files[0].write_text("{}")
    words = ("collect", "--split", "train", "--behaviours", "expert", "--max-steps", "3", "--quiet")
    stages = in_order([Stage("a/some", ((*words, "--out", "{out}/stages/a/some/data"),))])
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ALFWORLD_DATA", str(tmp_path / "alfworld"))
        strict = Runner(tmp_path / "study", stages, tolerated=0.02).run(list(stages))
        assert strict["a/some"].state == "failed"
        known = Runner(tmp_path / "study", stages, tolerated=0.5).run(list(stages))
    assert known["a/some"].state == "finished"
    lost = json.loads(manifest(tmp_path / "study", "a/some").read_text())["lost"]
    assert lost == {
        "failed": 1,
        "of": sum(split_of(f"{f.parts[-3]}/{f.parts[-2]}") == "train" for f in files),
    }
    assert lost["of"] > 1


def test_a_stage_that_cannot_go_on_begins_anew(tmp_path: Path) -> None:
    stages = in_order([collected("a/whole")._replace(resumes=False)])
    half = tmp_path / "stages/a/whole/data/trajectories.jsonl"
    half.parent.mkdir(parents=True)
    half.write_text('{"half a line')
    paid = half.with_name(ANSWERS)
    paid.write_text("what a chat model answered")
    _, known = run(tmp_path, stages)
    assert known["a/whole"].state == "finished"
    assert "half a line" not in half.read_text()
    assert paid.read_text() == "what a chat model answered"


def test_nothing_is_cleared_away_under_a_command_that_still_writes(tmp_path: Path) -> None:
    stages = in_order([collected("a/whole")._replace(resumes=False)])
    half = tmp_path / "stages/a/whole/data/trajectories.jsonl"
    half.parent.mkdir(parents=True)
    half.write_text("")
    there: list[bool] = []
    with (tmp_path / "stages/a/whole/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def leave() -> None:
            there.append(half.exists())
            lock.close()

        timer = threading.Timer(1.0, leave)
        timer.start()
        _, known = run(tmp_path, stages)
        timer.join()
    assert there == [True]
    assert known["a/whole"].state == "finished"


def test_only_what_is_wanted_is_run(tmp_path: Path) -> None:
    stages = in_order([collected("a/one"), collected("a/two"), collected("a/three", needs=("a/one",))])
    events, known = run(tmp_path, stages, wanted=["a/one"])
    assert events == [("a/one", "started"), ("a/one", "finished")]
    assert [k.state for k in known.values()] == ["finished", "ready", "ready"]


def test_stages_that_do_not_need_each_other_run_at_the_same_time(tmp_path: Path) -> None:
    stages = in_order([collected("a/one"), collected("a/two"), collected("a/three", needs=("a/one",))])
    events: list[Event] = []
    known = Runner(tmp_path, stages, events.append).run(list(stages), jobs=2)
    assert {k.state for k in known.values()} == {"finished"}
    told = [(e.stage, e.kind) for e in events if e.kind != "progress"]
    assert {told[0], told[1]} == {("a/one", "started"), ("a/two", "started")}
    assert told.index(("a/one", "finished")) < told.index(("a/three", "started"))
    assert len(told) == 6


def test_when_one_of_several_stages_breaks_the_others_are_finished(tmp_path: Path) -> None:
    stages = in_order([broken("a/bad"), collected("a/after", needs=("a/bad",)), collected("a/apart")])
    events: list[Event] = []
    known = Runner(tmp_path, stages, events.append).run(list(stages), jobs=3)
    assert {n: k.state for n, k in known.items()} == {
        "a/bad": "failed",
        "a/after": "waiting",
        "a/apart": "finished",
    }
    assert [(e.stage, e.message) for e in events if e.kind == "left"] == [("a/after", "a/bad is failed")]


def test_time_is_up_for_all_stages_that_run(tmp_path: Path) -> None:
    stages = in_order([collected("a/one", games=5000), collected("a/two", games=5000)])
    events: list[Event] = []
    runner = Runner(tmp_path, stages, events.append)
    with pytest.raises(OutOfTime):
        runner.run(list(stages), deadline=time.monotonic() + 6, jobs=2)
    assert sorted(e.stage for e in events if e.kind == "stopped") == ["a/one", "a/two"]
    assert {k.state for k in runner.known().values()} == {"begun"}


def test_a_study_stops_in_time_and_goes_on(tmp_path: Path) -> None:
    stages = small_study(games=5000)
    events: list[Event] = []
    runner = Runner(tmp_path, stages, events.append)
    with pytest.raises(OutOfTime):
        runner.run(list(stages), deadline=time.monotonic() + 3)
    assert events[-1].kind == "stopped"
    known = runner.known()
    assert known["a/teacher"].state == "begun"
    assert known["a/teacher"].seconds > 1
    with pytest.raises(OutOfTime):
        runner.run(list(stages), deadline=time.monotonic())
    assert runner.known()["a/teacher"].seconds == pytest.approx(known["a/teacher"].seconds, abs=0.5)


def recorded(out: Path) -> int:
    return sum(f.read_bytes().count(b"\n") for f in (out / "stages/a/teacher/data").glob("*.jsonl"))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_killed_study_takes_its_command_along_and_goes_on_where_it_was(tmp_path: Path) -> None:
    processes: list[subprocess.Popen[str]] = []
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        wait_for(process, lambda: recorded(tmp_path) >= 3)
        with pytest.raises(StudyError, match=f"process {process.pid}"):
            run(tmp_path, small_study(games=150))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kept = recorded(tmp_path)
        assert 3 <= kept < 150
        assert json.loads(manifest(tmp_path, "a/teacher").read_text())["state"] == "begun"
        # The new run waits until the orphaned command is gone, which the end of its pipe tells it to be.
        _, known = run(tmp_path, small_study(games=150))
    finally:
        end(processes)
    assert {k.state for k in known.values()} == {"finished"}
    lines = [
        line
        for file in (tmp_path / "stages/a/teacher/data").glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]
    assert len({json.loads(line)["id"] for line in lines}) == len(lines) == 150
    assert "Interrupted" in (tmp_path / "stages/a/teacher/log.txt").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_terminated_study_lets_its_command_finish_first(tmp_path: Path) -> None:
    processes: list[subprocess.Popen[str]] = []
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        wait_for(process, lambda: recorded(tmp_path) >= 1)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        end(processes)
    assert "KeyboardInterrupt" in output
    said = json.loads(manifest(tmp_path, "a/teacher").read_text())
    assert said["state"] == "begun"
    assert said["seconds"] > 0
    assert "Interrupted" in (tmp_path / "stages/a/teacher/log.txt").read_text()
