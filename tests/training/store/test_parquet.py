"""Episodes as columns: exact to the last field, readable by other programs, and every damage is named."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

from dyna_nodes.experience import ExperienceLog, Problem, trajectory_line
from dyna_nodes.nouns import Trajectory, Transition
from dyna_training.data import line_of, read_records, read_trajectories
from dyna_training.store import parquet
from dyna_training.store.columns import unknown_field
from dyna_training.store.parquet import ParquetWriter, read_about, read_parquet
from dyna_training.store.problems import StoreError
from dyna_training.store.rows import Rows
from tests.training.store.anything import dyna, episode, episodes, noun, written


def put(path: Path, records: list[Trajectory] | list[Transition], rows: Rows) -> Path:
    writer = ParquetWriter(path, rows, {"command": "a test"})
    for record in records:
        writer.append(record)
    writer.close()
    return path


@pytest.mark.parametrize("rows", ["trajectory", "transition"])
@pytest.mark.parametrize("hard", [False, True], ids=["plain", "hard"])
def test_whatever_an_episode_holds_comes_back(tmp_path: Path, rows: Rows, hard: bool) -> None:
    before = episodes(150, hard=hard)
    after = list(read_parquet(put(tmp_path / "x.parquet", before, rows)))
    assert [trajectory_line(t) for t in before] == [line_of(t) for t in after]
    assert any(not t.transitions for t in before)
    exact = pq.read_table(tmp_path / "x.parquet", columns=["exact"])["exact"]
    assert (exact.null_count < len(exact)) == hard


@pytest.mark.parametrize("hard", [False, True], ids=["plain", "hard"])
def test_single_steps_come_back(tmp_path: Path, hard: bool) -> None:
    rng = random.Random(1)
    before = [noun(Transition, rng, hard).model_copy(update={"id": str(i)}) for i in range(150)]
    after = list(read_parquet(put(tmp_path / "x.parquet", before, "transition")))
    assert [line_of(t) for t in before] == [line_of(t) for t in after]


def test_ids_that_no_column_can_hold_stay_apart(tmp_path: Path) -> None:
    wild = ["half\ud800", "half\ud801"]
    steps = [episode(id, "look").transitions[0] for id in wild]
    after = list(read_parquet(put(tmp_path / "steps.parquet", steps, "transition")))
    assert [line_of(r) for r in after] == [line_of(s) for s in steps]
    whole = [episode(id, "look", "open door") for id in wild]
    after = list(read_parquet(put(tmp_path / "whole.parquet", whole, "transition")))
    assert [line_of(r) for r in after] == [line_of(t) for t in whole]


def test_rows_are_written_and_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BATCH", 2000)
    before = [episode(f"e{i}", "look", "go to desk 1", game=f"a/{i}") for i in range(40)]
    file = put(tmp_path / "x.parquet", before, "transition")
    assert pq.ParquetFile(file).metadata.num_row_groups > 5
    assert list(read_parquet(file)) == before


def test_columns_can_be_asked_without_this_project(tmp_path: Path) -> None:
    before = [episode("one", "look", "take mug 1"), episode("two", "look", won=False)]
    table = pq.read_table(put(tmp_path / "x.parquet", before, "trajectory"))
    assert table["success"].to_pylist() == [True, False]
    assert table["steps"].to_pylist() == [2, 1]
    assert table["game"].to_pylist() == ["a-b-c/one"] * 2
    assert table["behaviour"].to_pylist() == ["expert"] * 2
    steps = pq.read_table(put(tmp_path / "y.parquet", before, "transition"))
    assert steps["action_type"].to_pylist() == ["look", "take", "look"]


def test_datasets_reads_the_columns(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    file = put(tmp_path / "x.parquet", episodes(20), "trajectory")
    found = datasets.load_dataset(
        "parquet", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert found.num_rows == 20
    assert found[3]["id"] == "episode-3"


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    before = [episode("one", "look")]
    file = put(tmp_path / "x.parquet", before, "trajectory")
    about = json.loads(pq.read_metadata(file).metadata[b"dyna"])
    assert about["format"] == "dyna-parquet/1"
    assert about["nouns"] == "dyna-trajectory/1"
    assert about["command"] == "a test"
    assert about["records"] == 1
    assert read_about(file).digest == read_about(put(tmp_path / "y.parquet", before, "transition")).digest


def test_training_reads_parquet_as_it_reads_lines(tmp_path: Path) -> None:
    before = episodes(12)
    lines = written(tmp_path / "lines" / "x.jsonl", *before)
    (tmp_path / "columns").mkdir()
    put(tmp_path / "columns" / "x.parquet", before, "trajectory")
    plain = [trajectory_line(t) for t in read_trajectories([lines])]
    assert [trajectory_line(t) for t in read_trajectories([tmp_path / "columns"])] == plain
    assert [trajectory_line(t) for t in read_trajectories([tmp_path])] == plain  # each once


def test_training_reads_a_log_and_its_columns(tmp_path: Path) -> None:
    steps = [*episode("a", "look", "open door").transitions, *episode("b", "look").transitions]
    with ExperienceLog(tmp_path / "log") as log:
        for step in steps:
            log.append(step)
    wanted = list(ExperienceLog(tmp_path / "log").trajectories())
    assert [t.id for t in wanted] == ["a", "b"]
    assert list(read_trajectories([tmp_path / "log"])) == wanted
    assert (
        dyna("data", "convert", tmp_path / "log", "--rows", "transition", "--out", tmp_path / "columns")[0]
        == 0
    )
    assert list(read_trajectories([tmp_path / "columns"])) == wanted
    assert dyna("data", "convert", tmp_path / "columns", "--to", "log", "--out", tmp_path / "again")[0] == 0
    assert list(ExperienceLog(tmp_path / "again").read()) == steps


def damaged(tmp_path: Path) -> Path:
    return put(
        tmp_path / "x.parquet", [episode(f"e{i}", "look", "open door") for i in range(50)], "trajectory"
    )


def test_a_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    file = damaged(tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"x\.parquet cannot be read as Parquet .*restore it"):
        list(read_trajectories([file]))


def test_no_byte_changes_unnoticed(tmp_path: Path) -> None:
    file = damaged(tmp_path)
    before, raw = list(read_trajectories([file])), file.read_bytes()
    rng = random.Random(0)
    noticed: list[StoreError] = []
    for _ in range(60):
        changed = bytearray(raw)
        changed[rng.randrange(len(raw))] ^= 0xFF
        file.write_bytes(changed)
        try:
            # The same, where it is a byte that nobody reads, such as of the writer's name.
            assert list(read_trajectories([file])) == before
        except StoreError as error:
            noticed.append(error)
    assert len(noticed) > 30
    assert all(str(file) in str(error) for error in noticed)


def test_an_empty_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").touch()
    problems: list[Problem] = []
    assert list(read_records(tmp_path / "x.parquet", problems)) == []
    assert str(problems[0]).endswith("the file is empty")


def test_parquet_of_another_program_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(StoreError, match="holds no episodes that dyna-graph wrote"):
        list(read_trajectories([tmp_path]))


@pytest.mark.parametrize(
    ("key", "value"),
    [("format", "dyna-parquet/2"), ("nouns", "dyna-trajectory/2"), ("rows", "batch")],
)
def test_a_newer_version_is_refused(tmp_path: Path, key: str, value: str) -> None:
    file = damaged(tmp_path)
    about = {**json.loads(pq.read_metadata(file).metadata[b"dyna"]), key: value}
    pq.write_table(pq.read_table(file).replace_schema_metadata({b"dyna": json.dumps(about)}), file)
    with pytest.raises(StoreError, match=r"another version of dyna-graph .*update dyna-graph"):
        list(read_trajectories([file]))


def test_a_column_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    file = damaged(tmp_path)
    table = pq.read_table(file).append_column("mood", pa.array(["good"] * 50))
    pq.write_table(table.replace_schema_metadata(pq.read_metadata(file).metadata), file)
    with pytest.raises(StoreError, match="'mood' is unknown here"):
        list(read_trajectories([file]))


def test_an_unknown_field_is_found_however_deep() -> None:
    known = pa.struct([("a", pa.list_(pa.struct([("b", pa.string())])))])
    deeper = pa.struct([("a", pa.list_(pa.struct([("b", pa.string()), ("c", pa.int64())])))])
    assert unknown_field(known, known, "") is None
    assert unknown_field(deeper, known, "") == "a.c"
    assert unknown_field(known, deeper, "") is None  # an older file lacks it
    assert unknown_field(pa.struct([("a", pa.int64())]), known, "") == "a"


def test_without_pyarrow_lines_are_read_and_parquet_says_what_to_install(tmp_path: Path) -> None:
    lines = written(tmp_path / "x.jsonl", episode("one", "look"))
    code = """
        import sys
        sys.modules["pyarrow"] = None
        from dyna_graph.cli import main
        sys.argv = ["dyna", "data", *{arguments}]
        main()
    """
    stats, convert = ["stats", str(lines)], ["convert", str(lines), "--out", str(tmp_path / "out")]

    def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
        script = textwrap.dedent(code).replace("{arguments}", repr(arguments))
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)

    assert run(stats).stdout.startswith("1 episodes of 1 games")
    assert run(convert).stderr == "Parquet needs the package pyarrow: pip install 'dyna-graph[data]'\n"
    assert not (tmp_path / "out").exists()
