"""The experience log and trajectory files: real files, real processes, real damage."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from dyna_nodes.experience import (
    ExperienceError,
    ExperienceLog,
    Problem,
    Retention,
    TrajectoryWriter,
    iter_trajectory_file,
    write_trajectory,
)
from dyna_nodes.experience.lines import LineWriter, dump
from dyna_nodes.nouns import TRUNCATED, Action, Prediction, Provenance, Trajectory, Transition


def transition(index: int = 0, trajectory: str = "a", **fields: object) -> Transition:
    return Transition.model_validate(
        {
            "trajectory": trajectory,
            "index": index,
            "task": "put a mug in the sink",
            "action": Action.command(f"go to drawer {index}"),
            "observation": f"You arrive at drawer {index}.",
            **fields,
        }
    )


def script(body: str) -> list[str]:
    prelude = """
        import sys
        from dyna_nodes.experience import ExperienceLog
        from dyna_nodes.nouns import Action, Transition
        def transition(index, trajectory="a"):
            action = Action.command(f"go to drawer {index}")
            observation = f"You arrive at drawer {index}. " + "x" * 500
            return Transition(trajectory=trajectory, index=index, action=action, observation=observation)
    """
    return [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(body)]


@pytest.mark.parametrize("level", ["process", "power"])
def test_what_is_appended_is_read_back_equal_and_in_order(tmp_path: Path, level: str) -> None:
    written = [
        transition(
            i,
            prediction=Prediction(observation="x", value=0.5),
            scores={"exact": 0.0},
            reward=0.0,
            done=False,
        )
        for i in range(20)
    ]
    with ExperienceLog(tmp_path / "log", level=level) as log:  # type: ignore[arg-type]
        for one in written:
            log.append(one)
    assert list(ExperienceLog(tmp_path / "log").read()) == written


def test_values_that_json_hardly_knows_survive(tmp_path: Path) -> None:
    odd = [
        transition(0, action=Action(tool="find", arguments={"limit": None, "name": "caf\u00e9\n"})),
        transition(1, observation="a file name that is not UTF-8: \udc80"),
        transition(2, scores={"surprise": float("inf")}),
    ]
    with ExperienceLog(tmp_path) as log:
        for one in odd:
            log.append(one)
    problems: list[Problem] = []
    assert list(log.read(problems)) == odd
    assert problems == []


def test_a_second_record_with_the_same_id_is_dropped(tmp_path: Path) -> None:
    one = transition()
    for _ in range(2):
        with ExperienceLog(tmp_path) as log:
            log.append(one)
            log.append(one)
    assert len(log.segments()) == 2
    assert list(log.read()) == [one]


def test_an_empty_or_missing_folder_holds_nothing(tmp_path: Path) -> None:
    assert list(ExperienceLog(tmp_path / "none").read()) == []
    assert not (tmp_path / "none").exists()


def test_a_killed_writer_loses_nothing_it_had_appended(tmp_path: Path) -> None:
    code = script(f"""
        log = ExperienceLog({str(tmp_path)!r})
        for index in range(10**6):
            log.append(transition(index))
            print(index, flush=True)
    """)
    with subprocess.Popen(code, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        said += [int(line) for line in process.stdout if line.endswith("\n")]
    problems: list[Problem] = []
    found = [t.index for t in ExperienceLog(tmp_path).read(problems)]
    assert found[: len(said)] == said
    assert len(found) <= len(said) + 1
    assert len(problems) <= 1


def test_processes_share_a_folder_without_losing_a_record(tmp_path: Path) -> None:
    code = [
        script(f"""
        with ExperienceLog({str(tmp_path)!r}) as log:
            for index in range(300):
                log.append(transition(index, trajectory={name!r}))
        """)
        for name in "abc"
    ]
    writers = [subprocess.Popen(one) for one in code]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    problems: list[Problem] = []
    trajectories = list(ExperienceLog(tmp_path).trajectories(problems))
    assert problems == []
    assert sorted(t.id for t in trajectories) == ["a", "b", "c"]
    assert all([s.index for s in t.transitions] == list(range(300)) for t in trajectories)


def _append_in_child(log: ExperienceLog, queue: multiprocessing.Queue[int]) -> None:
    log.append(transition(1))
    queue.put(len(log.segments()))


def test_a_forked_child_writes_its_own_segment(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[int] = context.Queue()
    log = ExperienceLog(tmp_path)
    log.append(transition(0))
    child = context.Process(target=_append_in_child, args=(log, queue))
    child.start()
    assert queue.get(timeout=30) == 2
    child.join(30)
    log.append(transition(2))
    assert sorted(t.index for t in log.read()) == [0, 1, 2]
    assert len(log.segments()) == 2


def test_a_file_that_is_being_written_is_refused_to_a_second_writer(tmp_path: Path) -> None:
    with (
        TrajectoryWriter(tmp_path / "t.jsonl"),
        pytest.raises(ExperienceError, match=r"t\.jsonl.*another process"),
    ):
        TrajectoryWriter(tmp_path / "t.jsonl")
    TrajectoryWriter(tmp_path / "t.jsonl").close()
    with pytest.raises(ExperienceError, match="File exists"):
        LineWriter(tmp_path / "t.jsonl", new=True, sync=False)


def test_a_truncated_last_line_is_reported_and_nothing_else_is_lost(tmp_path: Path) -> None:
    written = [transition(i) for i in range(3)]
    with ExperienceLog(tmp_path) as log:
        for one in written:
            log.append(one)
    segment = log.segments()[0]
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-40])
    with ExperienceLog(tmp_path) as after:
        after.append(transition(3))
    problems: list[Problem] = []
    assert [t.index for t in after.read(problems)] == [0, 1, 3]
    assert [(p.file, p.line) for p in problems] == [(segment, 4)]
    assert "incomplete" in problems[0].reason
    assert whole.endswith(problems[0].raw + whole[-40:])


def test_a_living_writers_half_line_is_no_problem(tmp_path: Path) -> None:
    with ExperienceLog(tmp_path) as log:
        log.append(transition(0))
        with log.segments()[0].open("ab") as file:
            file.write(b'{"id": "half')
        problems: list[Problem] = []
        assert [t.index for t in log.read(problems)] == [0]
        assert problems == []
    assert len(list(log.read(problems))) == len(problems) == 1


def test_damage_in_the_middle_is_reported_with_file_and_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ExperienceLog(tmp_path) as log:
        for index in range(4):
            log.append(transition(index))
    segment = log.segments()[0]
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[2] = b"\x00\x00" + lines[2][9:]
    lines[3] = lines[3].replace(b'"action"', b'"acton"')
    segment.write_bytes(b"".join(lines))
    problems: list[Problem] = []
    assert [t.index for t in log.read(problems)] == [0, 3]
    assert [p.line for p in problems] == [3, 4]
    assert "act" in problems[1].reason
    list(log.read())
    assert f"{segment}:3" in caplog.text


def test_a_segment_of_another_format_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "0.jsonl").write_text('{"format": "dyna-experience/9"}\n{"x": 1}\n')
    with ExperienceLog(tmp_path) as log:
        log.append(transition())
    problems: list[Problem] = []
    assert len(list(log.read(problems))) == 1
    assert len(problems) == 1
    assert "dyna-experience/9" in problems[0].reason


def test_a_full_disk_is_an_error_and_leaves_no_half_line(tmp_path: Path) -> None:
    code = script(f"""
        import resource, signal
        from dyna_nodes.experience import ExperienceError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        log = ExperienceLog({str(tmp_path)!r})
        log.append(transition(0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        done = 1
        try:
            for index in range(1, 100):
                log.append(transition(index))
                done += 1
        except ExperienceError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        log.append(transition(done))
        print(done)
    """)
    out = subprocess.run(code, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert "was not saved" in out[0]
    assert "Free space" in out[0]
    done = int(out[1])
    assert 0 < done < 10
    problems: list[Problem] = []
    assert [t.index for t in ExperienceLog(tmp_path).read(problems)] == list(range(done + 1))
    assert problems == []


def test_an_interrupt_in_the_middle_of_a_line_takes_the_line_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ExperienceLog(tmp_path)
    log.append(transition(0))
    real = os.write

    def interrupted(fd: int, data: bytes) -> int:
        real(fd, bytes(data)[:20])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.append(transition(1))
    log.append(transition(2))
    problems: list[Problem] = []
    assert [t.index for t in log.read(problems)] == [0, 2]
    assert problems == []


def test_after_a_line_that_cannot_be_taken_back_a_new_segment_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ExperienceLog(tmp_path)
    log.append(transition(0))
    real = os.write

    def half(fd: int, data: bytes) -> int:
        if len(data) < 200:
            raise OSError(5, "Input/output error")
        return real(fd, bytes(data)[:-100])

    def stuck(fd: int, size: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        patch.setattr(os, "ftruncate", stuck)
        with pytest.raises(ExperienceError, match="Input/output error"):
            log.append(transition(1, observation="x" * 200))
    log.append(transition(2))
    log.close()
    problems: list[Problem] = []
    assert [t.index for t in log.read(problems)] == [0, 2]
    assert len(log.segments()) == 2
    assert ["incomplete" in p.reason for p in problems] == [True]


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ExperienceError, match=r"cannot open .*file.*Not a directory"):
        ExperienceLog(tmp_path / "file" / "log").append(transition())


def test_redaction_happens_before_writing_and_closed(tmp_path: Path) -> None:
    def redact(one: Transition) -> Transition | None:
        if one.index == 1:
            return None
        if one.index == 2:
            raise RuntimeError("the redaction service is down")
        return one.model_copy(update={"observation": one.observation.replace("drawer", "****")})

    with ExperienceLog(tmp_path, redact=redact) as log:
        log.append(transition(0))
        log.append(transition(1))
        with pytest.raises(RuntimeError, match="is down"):
            log.append(transition(2))
    assert [t.observation for t in log.read()] == ["You arrive at **** 0."]
    assert b"arrive at drawer" not in log.segments()[0].read_bytes()


def test_retention_deletes_old_segments_but_never_a_living_one(tmp_path: Path) -> None:
    for index in range(3):
        with ExperienceLog(tmp_path) as old:
            old.append(transition(index))
    month_ago = time.time() - 30 * 86400
    for path in old.segments()[:2]:
        os.utime(path, (month_ago, month_ago))
    living = ExperienceLog(tmp_path, retention=Retention(days=7))
    living.append(transition(3))
    assert [t.index for t in living.read()] == [2, 3]
    os.utime(living.segments()[-1], (month_ago, month_ago))
    assert ExperienceLog(tmp_path, retention=Retention(days=7)).prune() == []
    living.close()
    assert len(ExperienceLog(tmp_path, retention=Retention(size=1)).prune()) == 2


def test_retention_spares_a_segment_that_is_just_being_created(tmp_path: Path) -> None:
    newborn = tmp_path / "0-1-a.jsonl"
    newborn.touch()
    (tmp_path / "1-1-b.jsonl").write_text("x" * 100)
    log = ExperienceLog(tmp_path, retention=Retention(size=1))
    assert [p.name for p in log.prune()] == ["1-1-b.jsonl"]
    assert newborn.exists()


def test_segments_roll_over_by_size(tmp_path: Path) -> None:
    with ExperienceLog(tmp_path, segment_bytes=1000) as log:
        for index in range(10):
            log.append(transition(index))
    assert len(log.segments()) > 2
    assert [t.index for t in log.read()] == list(range(10))


async def test_async_appends_keep_order_and_leave_the_loop_free(tmp_path: Path) -> None:
    log = ExperienceLog(tmp_path, level="power")
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticker = asyncio.create_task(tick())
    await asyncio.gather(*(log.aappend(transition(i)) for i in range(50)))
    ticker.cancel()
    await asyncio.to_thread(log.close)
    assert [t.index for t in log.read()] == list(range(50))
    assert ticks > 50


async def test_async_appends_hand_over_only_what_may_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first record opens the segment; then only fsync, hooks, full segments and queues need a thread."""
    here, found = threading.get_ident(), dict[int, bool]()
    append = ExperienceLog.append

    def noted(self: ExperienceLog, one: Transition, **options: Any) -> None:
        found[one.index] = threading.get_ident() == here
        append(self, one, **options)

    monkeypatch.setattr(ExperienceLog, "append", noted)
    log = ExperienceLog(tmp_path)
    for index in range(3):
        await log.aappend(transition(index))
    await asyncio.gather(log.aappend(transition(3), level="power"), log.aappend(transition(4)))
    with log._lock:  # as while another thread forces a record to the disk
        waiting = asyncio.create_task(log.aappend(transition(5)))
        await asyncio.sleep(0.01)
        assert not waiting.done()
    await waiting
    log.redact = lambda one: one
    await log.aappend(transition(6))
    log.redact, log.segment_bytes = None, 1
    await log.aappend(transition(7))
    assert found == {0: False, 1: True, 2: True, 3: False, 4: False, 5: False, 6: False, 7: False}
    await asyncio.to_thread(log.close)
    assert [t.index for t in log.read()] == list(range(8))


async def test_cancelling_an_append_does_not_lose_the_record(tmp_path: Path) -> None:
    log = ExperienceLog(tmp_path, level="power")
    await log.aappend(transition(0))
    task = asyncio.create_task(log.aappend(transition(1)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(log.close)
    assert [t.index for t in log.read()] == [0, 1]


def test_trajectories_are_grouped_across_segments_and_have_an_outcome(tmp_path: Path) -> None:
    with ExperienceLog(tmp_path) as log:
        log.append(transition(0, "a"))
        log.append(transition(0, "b", done=True, reward=0.0))
    with ExperienceLog(tmp_path) as log:
        log.append(transition(1, "a", done=True, reward=1.0))
        log.append(transition(0, "c"))
        log.append(transition(0, "d", done=True, reward=0.5, labels={TRUNCATED: 1.0}))
    found = {t.id: (len(t.transitions), t.outcome) for t in log.trajectories()}
    assert found == {"a": (2, "success"), "b": (1, "failure"), "c": (1, "unknown"), "d": (1, "truncated")}


def test_a_trajectory_file_continues_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    first = [Trajectory(task="x", transitions=(transition(i),), outcome="success") for i in range(2)]
    for one in first:
        write_trajectory(path, one)
    assert all(line.startswith(b'{"format":"dyna-trajectory/1",') for line in path.read_bytes().splitlines())
    path.write_bytes(path.read_bytes()[:-30])
    problems: list[Problem] = []
    last = Trajectory(task="y")
    with TrajectoryWriter(path, problems=problems) as writer:
        writer.append(last)
    assert [p.line for p in problems] == [2]
    later: list[Problem] = []
    assert list(iter_trajectory_file(path, later)) == [first[0], last]
    assert later == []
    assert (tmp_path / "t.jsonl.truncated").read_bytes().rstrip() == problems[0].raw


def test_a_trajectory_file_that_is_missing_or_damaged_says_where(tmp_path: Path) -> None:
    with pytest.raises(ExperienceError, match=r"none\.jsonl.*No such file"):
        list(iter_trajectory_file(tmp_path / "none.jsonl"))
    path = tmp_path / "t.jsonl"
    path.write_text('{"format":"dyna-trajectory/2","task":"x"}\n{"format":"dyna-trajectory/1","task":"x"}\n')
    problems: list[Problem] = []
    assert len(list(iter_trajectory_file(path, problems))) == 1
    assert str(problems[0]).startswith(f"{path}:1: format 'dyna-trajectory/2', not 'dyna-trajectory/1'")


def test_ctrl_c_while_a_record_is_written_is_not_taken_for_bad_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: object, other: object) -> bool:
        raise KeyboardInterrupt

    record = Transition(action=Action.command("look"), time=0.0)
    monkeypatch.setattr(Provenance, "__eq__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dump(record)
