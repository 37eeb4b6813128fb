"""There and back: the same bytes; and what goes wrong on the way leaves nothing half done."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from dyna_nodes.experience import ExperienceLog, Problem, trajectory_line
from dyna_nodes.nouns import Transition
from dyna_training.data import trajectory_files
from dyna_training.store import parts
from dyna_training.store.converting import convert
from dyna_training.store.folder import new_folder
from dyna_training.store.problems import StoreError
from dyna_training.store.source import Source
from tests.training.store.anything import dyna, episode, episodes, written


@pytest.mark.parametrize("rows", ["trajectory", "transition"])
def test_there_and_back_are_the_same_bytes(tmp_path: Path, rows: str) -> None:
    lines = written(tmp_path / "in" / "worker-0.jsonl", *episodes(60, hard=True))
    assert dyna("data", "convert", tmp_path / "in", "--rows", rows, "--out", tmp_path / "columns")[0] == 0
    code, said = dyna("data", "convert", tmp_path / "columns", "--to", "jsonl", "--out", tmp_path / "back")
    assert (code, said) == (0, f"60 records, 0 repeated in {tmp_path / 'back'}\n")
    assert (tmp_path / "back" / "trajectories.jsonl").read_bytes() == lines.read_bytes()
    there, back = (json.loads((tmp_path / n / "manifest.json").read_text()) for n in ("columns", "back"))
    assert there["digest"] == back["digest"]
    assert there["format"] == "dyna-data/1"
    assert there["source"][0]["file"] == str(lines)


def test_a_large_set_becomes_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 3000)
    lines = written(tmp_path / "x.jsonl", *(episode(f"e{i}", "look", "open door") for i in range(30)))
    convert(Source([lines]), tmp_path / "columns", "parquet")
    names = [file.name for file in trajectory_files([tmp_path / "columns"])]
    assert len(names) > 3
    assert names[:2] == ["part-00000.parquet", "part-00001.parquet"]
    convert(Source([tmp_path / "columns"]), tmp_path / "back", "jsonl")
    assert (tmp_path / "back" / "trajectories.jsonl").read_bytes() == lines.read_bytes()


def test_a_last_line_that_a_killed_writer_left_is_reported_and_the_rest_converted(tmp_path: Path) -> None:
    lines = written(tmp_path / "x.jsonl", episode("one", "look"), episode("two", "look"))
    lines.write_bytes(lines.read_bytes()[:-30])
    code, said = dyna("data", "convert", lines, "--out", tmp_path / "out")
    assert code == 0
    assert f"not read: {lines}:2: the last line is incomplete" in said
    assert "1 records" in said
    assert "incomplete" in json.loads((tmp_path / "out" / "manifest.json").read_text())["problems"][0]


def test_a_line_that_is_not_utf8_is_reported_and_the_rest_converted(tmp_path: Path) -> None:
    lines = written(tmp_path / "x.jsonl", episode("one", "look"), episode("two", "look"))
    first, second = lines.read_bytes().splitlines(keepends=True)
    lines.write_bytes(first.replace(b"You look", b"You l\xe9\xe8k") + second)
    code, said = dyna("data", "stats", lines)
    assert code == 0
    assert f"not read: {lines}:1: not a trajectory: Invalid JSON" in said
    assert "1 episodes of 1 games" in said


def test_an_id_that_stands_for_two_things_is_reported_and_a_repeated_record_counted(tmp_path: Path) -> None:
    one = written(tmp_path / "1.jsonl", episode("one", "look"), episode("two", "look"))
    two = written(tmp_path / "2.jsonl", episode("one", "look"), episode("two", "open door"))
    source = Source([tmp_path])
    assert [t.id for t in source.trajectories()] == ["one", "two"]
    assert source.repeated == 1
    [problem] = source.problems
    assert str(problem).startswith(f"{two}:0: id two stands for something else before")
    assert one.exists()


def test_an_id_that_stands_for_two_things_in_one_file_is_reported(tmp_path: Path) -> None:
    one, other = episode("one", "look"), episode("one", "open door")
    lines = tmp_path / "x.jsonl"
    lines.write_bytes(b"".join(trajectory_line(e) + b"\n" for e in (one, one, other)))
    source = Source([lines])
    assert list(source.trajectories()) == [one]
    assert source.repeated == 1
    assert [p.reason for p in source.problems] == [
        "id one stands for something else before; this record is left out"
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"format":"dyna-trajectory/2","task":"x"}', "dyna-trajectory/2 was written by a newer version"),
        ('{"format":"dyna-experience/7","pid":1}', "dyna-experience/7 was written by a newer version"),
    ],
)
def test_a_newer_version_among_others_is_refused(tmp_path: Path, line: str, said: str) -> None:
    written(tmp_path / "1.jsonl", episode("one", "look"))
    (tmp_path / "2.jsonl").write_text(f"{line}\n")
    code, message = dyna("data", "convert", tmp_path, "--out", tmp_path / "out")
    assert code == 1
    assert f"{tmp_path / '2.jsonl'}:1: {said}" in message
    assert not (tmp_path / "out").exists()


def test_a_file_that_cannot_be_read_is_not_blamed_on_the_folder_that_is_written(tmp_path: Path) -> None:
    lines = written(tmp_path / "in" / "x.jsonl", episode("one", "look"))
    (tmp_path / "in" / "folder.jsonl").mkdir()
    source = Source([tmp_path / "in"])
    assert source.files == [lines]
    described = source.described()
    lines.unlink()
    source.described = lambda: described  # type: ignore[method-assign]
    with pytest.raises(StoreError, match=r"x\.jsonl cannot be read: No such file"):
        convert(source, tmp_path / "out", "jsonl")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_folders_without_episodes_say_so(tmp_path: Path) -> None:
    assert "no trajectories there" in dyna("data", "stats", tmp_path)[1]
    assert "no trajectories there" in dyna("data", "stats", tmp_path / "nothing")[1]
    (tmp_path / "games.jsonl").write_text('{"game": 1}\n{"game": 2}\n')
    code, said = dyna("data", "convert", tmp_path, "--out", tmp_path / "out")
    assert code == 1
    assert "there is no episode in" in said
    assert "games.jsonl:1: not a trajectory" in said
    assert [p.name for p in tmp_path.iterdir()] == ["games.jsonl"]


def test_single_steps_are_no_lines_and_episodes_no_log(tmp_path: Path) -> None:
    lines = written(tmp_path / "x.jsonl", episode("one", "look"))
    code, said = dyna("data", "convert", lines, "--to", "log", "--out", tmp_path / "log")
    assert code == 1
    assert "cannot go into a log" in said
    assert "--to jsonl keeps them" in said
    with ExperienceLog(tmp_path / "steps") as log:
        log.append(Transition.model_validate(episode("a", "look").transitions[0]))
    assert dyna("data", "convert", tmp_path / "steps", "--to", "jsonl", "--out", tmp_path / "lines")[0] == 0
    assert [t.id for t in Source([tmp_path / "lines"]).trajectories()] == ["a"]


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    lines = written(tmp_path / "in" / "x.jsonl", episode("one", "look"))
    before = lines.read_bytes()
    for out in (tmp_path / "in", lines):
        code, said = dyna("data", "convert", tmp_path / "in", "--out", out)
        assert (code, said) == (1, f"{out} is there already; choose another --out, or remove it\n")
    assert lines.read_bytes() == before


def test_of_two_writers_one_wins_and_the_other_says_so(tmp_path: Path) -> None:
    def write(name: str) -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "file").write_text(name)
            if name == "slow":
                write("fast")

    with pytest.raises(StoreError, match=r"out is there already"):
        write("slow")
    assert (tmp_path / "out" / "file").read_text() == "fast"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_is_being_written_is_read_by_nobody(tmp_path: Path) -> None:
    written(tmp_path / "done.jsonl", episode("one", "look"))
    with new_folder(tmp_path / "out") as folder:
        written(folder / "trajectories.jsonl", episode("two", "look"))
        assert [file.name for file in trajectory_files([tmp_path])] == ["done.jsonl"]
        assert [file.name for file in trajectory_files([folder])] == ["trajectories.jsonl"]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_full_disk_leaves_nothing_behind_and_says_what_to_do(tmp_path: Path, form: str) -> None:
    lines = written(tmp_path / "x.jsonl", *episodes(150))
    before = lines.read_bytes()
    code = textwrap.dedent(f"""
        import resource, signal
        from pathlib import Path
        from dyna_training.store.converting import convert
        from dyna_training.store.problems import StoreError
        from dyna_training.store.source import Source
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        try:
            convert(Source([Path({str(lines)!r})]), Path({str(tmp_path / "out")!r}), {form!r})
        except StoreError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout.startswith(f"cannot write {tmp_path / 'out'}: ")
    assert "nothing of it was kept" in done.stdout
    assert "Free space" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["x.jsonl"]
    assert lines.read_bytes() == before


def test_problems_of_an_earlier_reading_are_forgotten(tmp_path: Path) -> None:
    lines = written(tmp_path / "x.jsonl", episode("one", "look"))
    lines.write_bytes(lines.read_bytes() + b"half")
    source = Source([lines])
    for _ in range(2):
        list(source.trajectories())
        assert source.problems == [Problem(lines, 2, "the last line is incomplete", b"half")]
