"""Older files are brought up in place, with a backup, whole or not at all."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from dyna_nodes.experience import ExperienceError, TrajectoryWriter, trajectory_line
from dyna_nodes.experience.lines import lock
from dyna_training.data import read_trajectories
from dyna_training.store import migrating, migrations
from dyna_training.store.migrations import MIGRATIONS, migrated
from dyna_training.store.problems import StoreError
from dyna_training.store.versions import CURRENT, Version
from tests.training.store.anything import dyna, episode, written

PLAIN: dict[str, Any] = {
    "format": "dyna-trajectory/0",
    "task": "Find the key.",
    "steps": [
        {"action": "open door", "observation": "It is locked.", "thought": "Perhaps it is open."},
        {
            "action": {"tool": "search", "arguments": {"place": "mat"}},
            "observation": "A key!",
            "reward": 1,
            "done": True,
        },
    ],
    "environment": "my/House-v0:one",
    "policy": "me",
    "seed": 3,
}


def old(**changes: Any) -> bytes:
    values = {**PLAIN, **changes}
    return json.dumps({k: v for k, v in values.items() if v is not ...}).encode()


def test_the_plain_shape_becomes_an_episode(tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    file.write_bytes(old() + b"\n")
    assert list(read_trajectories([file])) == []
    code, said = dyna("data", "migrate", tmp_path)
    assert (code, said) == (0, f"{file}: 1 lines brought up; before: {file}.backup-1\n")
    [found] = read_trajectories([tmp_path])
    assert (found.task, found.outcome, found.provenance.policy, found.provenance.seed) == (
        "Find the key.", "success", "me", 3,
    )  # fmt: skip
    first, last = found.transitions
    assert (first.action.text, first.thought, first.done) == ("open door", "Perhaps it is open.", None)
    assert last.action.text == 'search({"place": "mat"})'
    assert [s.index for s in found.transitions] == [0, 1]
    assert {s.trajectory for s in found.transitions} == {found.id}
    assert (tmp_path / "old.jsonl.backup-1").read_bytes() == old() + b"\n"


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [({"success": False}, "failure"), ({"success": True}, "success"), ({"steps": []}, "unknown")],
)
def test_an_outcome_that_is_said_counts(changes: dict[str, Any], outcome: str) -> None:
    assert json.loads(migrated(old(**changes))).get("outcome", "unknown") == outcome


def test_the_same_line_always_makes_the_same_episode() -> None:
    assert migrated(old()) == migrated(old())
    assert migrated(old()) != migrated(old(task="Another."))
    assert json.loads(migrated(old(id="mine")))["id"] == "mine"


def test_a_format_may_be_left_out_of_the_plain_shape() -> None:
    assert json.loads(migrated(old(format=...)))["format"] == "dyna-trajectory/1"


def test_what_is_up_to_date_stays_byte_by_byte(tmp_path: Path) -> None:
    file = written(tmp_path / "new.jsonl", episode("one", "look"))
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    code, said = dyna("data", "migrate", file)
    assert (code, said) == (0, f"{file}: nothing to do\n")
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert [p.name for p in tmp_path.iterdir()] == ["new.jsonl"]


def test_a_file_of_several_versions_keeps_its_order_and_its_damage(tmp_path: Path) -> None:
    new = trajectory_line(episode("one", "look"))
    file = tmp_path / "x.jsonl"
    file.write_bytes(new + b"\n" + old(id="two") + b"\r\nnot JSON\n\n" + new[:40])
    assert dyna("data", "migrate", file)[0] == 0
    lines = file.read_bytes().split(b"\n")
    assert (lines[0], lines[2:]) == (new, [b"not JSON", b"", new[:40]])
    assert [t.id for t in read_trajectories([file])] == ["one", "two"]


def test_a_second_backup_does_not_touch_the_first(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    for number in (1, 2):
        file.write_bytes(old(id=str(number)) + b"\n")
        assert dyna("data", "migrate", file)[0] == 0
    assert [(tmp_path / f"x.jsonl.backup-{n}").read_bytes() for n in (1, 2)] == [
        old(id="1") + b"\n",
        old(id="2") + b"\n",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"format":"dyna-trajectory/2","task":"x"}', "dyna-trajectory/2 was written by a newer version"),
        (b'{"format":"dyna-experience/0"}', "no migration leads up from dyna-experience/0"),
        (old(steps=[{"observation": "x"}]), "not what dyna-trajectory/0 looks like (KeyError: 'action')"),
        (old(steps=["open door"]), "not what dyna-trajectory/0 looks like"),
        (
            old(mood="good"),
            "not what dyna-trajectory/0 looks like (ValueError: unknown key 'mood'; there are task,",
        ),
        (old(outcome="failure"), "not what dyna-trajectory/0 looks like (ValueError: unknown key 'outcome'"),
        (
            old(steps=[{"action": "look", "observation": "x", "time": 3.0}]),
            "not what dyna-trajectory/0 looks like (ValueError: unknown key 'time'; there are action,",
        ),
        (old(task=3), "it does not make a dyna-trajectory/1: task: Input should be a valid string"),
    ],
)
def test_a_line_that_cannot_be_brought_up_is_named_and_nothing_changes(
    tmp_path: Path, line: bytes, said: str
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(old() + b"\n" + line + b"\n")
    before = file.read_bytes()
    code, message = dyna("data", "migrate", file)
    assert code == 1
    assert message.startswith(f"{file}:2: {said}")
    assert message.endswith("x.jsonl is as it was\n")
    assert file.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.jsonl"]


def test_several_versions_are_climbed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration to come: from 1 to 2, after the one from 0 to 1."""
    monkeypatch.setitem(CURRENT, "dyna-trajectory", Version("dyna-trajectory", 2))
    monkeypatch.setitem(
        MIGRATIONS, Version("dyna-trajectory", 1), lambda v: {**v, "task": f"{v['task']} (2)"}
    )
    monkeypatch.setattr(
        migrations, "_checked", lambda values, version: f"{values['task']} {version}".encode()
    )
    assert migrated(old()) == b"Find the key. (2) dyna-trajectory/2"
    assert migrated(trajectory_line(episode("a", "look", task="A."))) == b"A. (2) dyna-trajectory/2"


def test_every_older_version_has_a_migration() -> None:
    for current in CURRENT.values():
        older = range(0 if current.family == "dyna-trajectory" else 1, current.number)
        assert all(Version(current.family, number) in MIGRATIONS for number in older)


def test_a_file_that_somebody_writes_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(old() + b"\n")
    with TrajectoryWriter(file):
        code, said = dyna("data", "migrate", file)
    assert code == 1
    assert f"{file} is being written by another process" in said
    assert file.read_bytes() == old() + b"\n"


def test_who_opened_a_file_before_it_was_replaced_does_not_write_to_the_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(old() + b"\n")

    def late(fd: int, *, wait: bool) -> bool:
        monkeypatch.undo()
        migrating.migrate([file])
        return lock(fd, wait=wait)

    monkeypatch.setattr("dyna_nodes.experience.lines.lock", late)
    with pytest.raises(ExperienceError, match=r"x\.jsonl was replaced while it was being opened"):
        TrajectoryWriter(file)
    assert (tmp_path / "x.jsonl.backup-1").read_bytes() == old() + b"\n"


def test_without_room_the_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(old() + b"\n")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(migrating.os, "fsync", full)
    with pytest.raises(
        StoreError, match=r"cannot migrate .*No space left on device; it is as it was. Free space"
    ):
        migrating.migrate([file])
    assert [p.name for p in tmp_path.iterdir()] == ["x.jsonl"]
    assert file.read_bytes() == old() + b"\n"


def test_a_file_system_without_hard_links_gets_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_bytes(old() + b"\n")

    def refused(source: Path, target: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(migrating.os, "link", refused)
    [found] = migrating.migrate([file])
    assert found.backup is not None
    assert found.backup.read_bytes() == old() + b"\n"
    with file.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds it any more


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    assert "no trajectories there" in dyna("data", "migrate", tmp_path / "nothing")[1]
