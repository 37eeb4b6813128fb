"""`dyna traces import`: BALROG's episodes, damage, the count of turns, and what training then imitates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dyna_nodes.codec.policy import policy_example
from dyna_nodes.nouns import Transition
from dyna_training.data import read_trajectories
from dyna_training.traces import importing
from dyna_training.traces.importing import ImportSettings, import_traces
from dyna_training.traces.problems import Fate, Imported, Reason, Reported, TurnsLost
from tests.training.traces.logs import assistant, call, dyna, episode, jsonl, row, tool, user

DEFAULTED = (
    "\n\nYour previous output did not contain a valid action. Defaulted to action: drift\n\nObservation:\n"
)
ROWS = [
    row("row north", "I see a pier.", "A buoy."),
    row("row east", "The buoy is red. If I row east I will reach the quay.", "A quay."),
    [
        "Failed to obtain a valid action from the reasoning.",
        "<think>\nround and",
        DEFAULTED + "Fog.",
        "0",
        "False",
    ],
    ["sail", "<think>\nSail!\n</think>\n<|ACTION|>sail<|END|>", DEFAULTED + "More fog.", "0", "False"],
    ["moor", "<|ACTION|>moor<|END|>", "Moored.", "0", "False"],
    row("ring bell", "Now the bell.", "It rings.", 0.5, True),
]


def imported(folder: Path, source: Path, *more: str) -> dict:  # type: ignore[type-arg]
    code, out, err = dyna("traces", "import", str(source), "--out", str(folder), "--json", "--quiet", *more)
    assert code == 0, err
    manifest: dict = json.loads(out)  # type: ignore[type-arg]
    assert manifest == json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    turns = manifest["counts"]["turns"]
    assert turns["read"] == turns["kept"] + turns["reported"]
    assert turns["kept"] == sum(
        bool(t.labels.get("expert", 1)) for run in read_trajectories([folder]) for t in run.transitions
    )
    return manifest


def problems_of(manifest: dict) -> list[Reported]:  # type: ignore[type-arg]
    return [Reported.model_validate(line) for line in manifest["problems"]]


def steps(folder: Path) -> list[Transition]:
    return [step for run in read_trajectories([folder]) for step in run.transitions]


def test_episodes_of_balrog(tmp_path: Path) -> None:
    episode(tmp_path / "logs", "fetch_run_00", ROWS, mission="ring the bell", progression=1.0)
    (tmp_path / "logs" / "summary.txt").write_text("x")
    manifest = imported(tmp_path / "out", tmp_path / "logs", "--format", "balrog")
    assert manifest["counts"]["turns"] == {"read": 6, "kept": 2, "reported": 4}
    found = [(line.turn, line.reason, line.fate) for line in problems_of(manifest)]
    assert found == [
        (None, Reason.OTHER_FILE, Fate.LEFT_OUT),
        (1, Reason.UNSEEN, Fate.READ),
        (3, Reason.NOT_PARSED, Fate.READ),
        (4, Reason.FAILED, Fate.READ),
        (5, Reason.NO_THINKING, Fate.READ),
    ]
    [run] = read_trajectories([tmp_path / "out"])
    assert (run.task, run.outcome) == ("ring the bell", "success")
    assert [t.action.text for t in run.transitions] == [
        "row north",
        "row east",
        "drift",
        "drift",
        "moor",
        "ring bell",
    ]
    assert [t.observation for t in run.transitions][2:4] == ["Fog.", "More fog."]
    assert [bool(t.thought) for t in run.transitions] == [False, True, False, False, False, True]
    assert (run.transitions[-1].reward, run.transitions[-1].done) == (0.5, True)


def test_running_scores_become_rewards(tmp_path: Path) -> None:
    rows = [row("look", "a", "x", 1), row("look", "b", "x", 1), row("look", "c", "x", 3)]
    episode(tmp_path / "logs", "coin_collector_run_00", rows, task="coin_collector")
    imported(tmp_path / "out", tmp_path / "logs", "--format", "balrog")
    assert [t.reward for t in steps(tmp_path / "out")] == [1.0, 0.0, 2.0]


def test_damaged_episodes(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    whole = episode(logs, "a_run_00", ROWS)
    raw = whole.read_bytes()
    (logs / "cut.csv").write_bytes(raw[: raw.index(b"reach the quay") + 5])
    (logs / "cells.csv").write_bytes(raw[: raw.index(b"A quay.")])
    (logs / "latin.csv").write_bytes(raw.replace(b"The buoy is red", b"The buoy is r\xe9d"))
    (logs / "empty.csv").write_bytes(b"")
    (logs / "header.csv").write_bytes(raw.splitlines(keepends=True)[0])
    (logs / "other.csv").write_bytes(b"a,b\n1,2\n")
    (logs / "quote.csv").write_bytes(b'"Step,Action\n')
    (logs / "latin.json").write_text("{oops")
    manifest = imported(tmp_path / "out", logs, "--format", "balrog")
    by_file: dict[str, list[Reported]] = {}
    for line in problems_of(manifest):
        by_file.setdefault(Path(line.file).name, []).append(line)

    def found(name: str) -> list[tuple[Reason, int | None]]:
        return [(line.reason, line.turn) for line in by_file[name]]

    assert (Reason.TRUNCATED, 2) in found("cut.csv")
    assert (Reason.TRUNCATED, 2) in found("cells.csv")
    assert (Reason.ENCODING, 2) in found("latin.csv")
    assert (Reason.FORMAT, None) in found("latin.csv")  # its JSON
    assert found("empty.csv") == [(Reason.EMPTY, None)]
    assert (Reason.EMPTY, None) in found("header.csv")
    assert found("other.csv") == found("quote.csv") == [(Reason.FORMAT, None)]
    assert manifest["counts"]["turns"] == {"read": 6 + 2 + 2 + 6, "kept": 2 + 1, "reported": 13}


def test_a_broken_row_takes_no_other_with_it(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    text = "A box,\na bell, a key, a rope, a mat,\n9, rug, by, the, door, True\n"
    rows = [row(f"ring {i}", text, "It rings, here,\n1, 2, 3, 4, 5, 6") for i in range(8)]
    whole = episode(logs, "a_run_00", rows)
    raw = whole.read_bytes()
    whole.write_bytes(raw.replace(b"\n3,ring 3,", b'\n3,"ring" 3,'))
    manifest = imported(tmp_path / "out", logs, "--format", "balrog")
    assert manifest["counts"]["turns"] == {"read": 8, "kept": 6, "reported": 2}
    assert (Reason.TRUNCATED, 4) in [(line.reason, line.turn) for line in problems_of(manifest)]
    assert [s.action.text for s in steps(tmp_path / "out")] == [f"ring {i}" for i in range(8) if i != 3]
    whole.write_bytes(raw.replace(b"\n7,ring 7,", b'\n7,"ring" 7,').replace(b"\n3,ring 3,", b'\n3,"ring" 3,'))
    manifest = imported(tmp_path / "again", logs, "--format", "balrog")
    assert manifest["counts"]["turns"] == {"read": 8, "kept": 5, "reported": 3}


def test_a_lost_turn_stops_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = episode(tmp_path / "logs", "a_run_00", ROWS)
    [good] = importing.read_file(path, "balrog")
    lossy = Imported(good.file, good.trajectory, good.turns, good.reported[1:])
    monkeypatch.setattr(importing, "read_file", lambda *_: iter([lossy]))
    with pytest.raises(TurnsLost, match="6 turns were read, but 2 kept and 3 reported"):
        import_traces(ImportSettings(paths=(path,), format="balrog", out=tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*.jsonl"))


def test_words_of_the_command(tmp_path: Path) -> None:
    turn = assistant("Press.", call("1", "press"))
    source = jsonl(tmp_path / "a.jsonl", {"messages": [user("Go."), turn, tool("1", "ok")]})
    out = str(tmp_path / "out")
    code, text, _ = dyna("traces", "import", str(source), "--format", "openai", "--out", out)
    assert code == 0
    assert "1 turns read in 1 files: 1 kept, 0 reported" in text
    code, _, err = dyna("traces", "import", str(source), "--format", "openai", "--out", out)
    assert code == 1
    assert "holds trajectories already" in err
    code, _, err = dyna("traces", "import", str(tmp_path / "no"), "--format", "openai", "--out", out)
    assert code == 1
    assert "no such file" in err
    code, _, err = dyna("traces", "import", str(tmp_path), "--format", "balrog", "--out", f"{out}2")
    assert code == 1
    assert "is --format right?" in err
    more = ("--format", "openai", "--out", f"{out}3", "--action-pattern")
    assert "no regular expression" in dyna("traces", "import", str(source), *more, "(")[2]
    assert "needs a group" in dyna("traces", "import", str(source), *more, "x")[2]
    code, text, _ = dyna(
        "traces", "import", str(source), "--format", "openai", "--out", f"{out}4", "--tools", "fly"
    )
    assert code == 1  # nothing was kept
    assert "unknown tool" in text


def test_training_imitates_the_kept_turns_and_nothing_else(tmp_path: Path) -> None:
    from dyna_nodes.codec import ChatCodec
    from tests.nodes.local.tiny_llama import tiny_tokenizer

    episode(tmp_path / "logs", "fetch_run_00", ROWS, mission="ring the bell")
    imported(tmp_path / "out", tmp_path / "logs", "--format", "balrog")
    [run] = read_trajectories([tmp_path / "out"])
    tokenizer = tiny_tokenizer()
    example = policy_example(ChatCodec(tokenizer), run)
    target = tokenizer.decode([label for label in example.labels if label != -100])
    assert target == (
        "The buoy is red. If I row east I will reach the quay.\n> row east<|im_end|>"
        "Now the bell.\n> ring bell<|im_end|>"
    )
    context = tokenizer.decode(example.ids)
    assert "> drift" in context
    assert "round and" not in context
