"""The structural abbreviator keeps five kinds of lines, word for word, and still leads to the action."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyna_nodes.codec.thinking import parts, simulations
from dyna_nodes.experience import iter_trajectory_file, write_trajectory
from dyna_nodes.nouns import Action
from dyna_training.environments.alfworld.generator import generate
from dyna_training.rollouts import play
from dyna_training.traces.abbreviating import AbbreviateSettings, abbreviate
from dyna_training.traces.abbreviator import Turn, invalid, turns_of
from dyna_training.traces.structural import NOT_THE_FORM, StructuralAbbreviator

FULL = """Check: I am at desk 1; no mug here.
Hold on: I am at desk 1 and hold nothing.
Options: go to shelf 1; go to shelf 11; open desk 1.
If I open desk 1: Nothing happens.
That is no use: desk 1 cannot be opened.
If I go to shelf 11: You arrive at shelf 11.
If I go to shelf 1: You arrive at shelf 1. Maybe I see a mug.
Wait, there is no mug on shelf 1, I see nothing.
The task once more: find a mug.
Check: I am still at desk 1.
Or should I go to shelf 11 after all? No.
I need a mug.
So I go to shelf 1."""
SHORT = """Check: I am at desk 1; no mug here.
Options: go to shelf 1; go to shelf 11; open desk 1.
If I go to shelf 1: You arrive at shelf 1. Maybe I see a mug.
Wait, there is no mug on shelf 1, I see nothing.
I need a mug.
So I go to shelf 1."""


def turn(thought: str, action: str = "go to shelf 1") -> Turn:
    return Turn("put a mug in shelf", (), thought, Action.command(action), (Action.command(action),))


def test_five_parts_stay_and_everything_else_goes() -> None:
    [answer] = StructuralAbbreviator().abbreviate([turn(FULL)])
    assert answer.candidates == (SHORT,)
    assert answer.parts == dict.fromkeys(
        ("verification", "candidates", "simulation", "critique", "connective", "decision"), 1
    )
    assert StructuralAbbreviator().abbreviate([turn(SHORT)])[0].candidates == (SHORT,)


@pytest.mark.parametrize(
    "thought",
    [
        "I think I go to shelf 1.",
        "",
        "Options: go to shelf 1.\nSo I go to shelf 11.",
        "So I",
        "If I go to shelf 1: fine",
    ],
)
def test_thinking_in_another_form_is_left_with_the_reason(thought: str) -> None:
    [answer] = StructuralAbbreviator().abbreviate([turn(thought)])
    assert answer.candidates == ()
    assert answer.error == NOT_THE_FORM


def test_a_decision_alone_is_enough() -> None:
    [answer] = StructuralAbbreviator().abbreviate([turn("So I go to shelf 1.")])
    assert answer.candidates == ("So I go to shelf 1.",)


def test_what_teachers_write_is_shortened_and_stays_valid() -> None:
    full = short = 0
    for seed, name in enumerate(("teacher", "teacher-noisy", "teacher-future", "teacher")):
        trajectory = play(generate(800 + seed), name, seed=seed)  # type: ignore[arg-type]
        turns = [turn for _, turn in turns_of(trajectory)]
        for one, answer in zip(turns, StructuralAbbreviator().abbreviate(turns), strict=True):
            [text] = answer.candidates
            assert invalid(text, one, removes_only=True) == ""
            assert [s.action for s in simulations(text)] == [one.action.text]
            assert [p.kind for p in parts(text)][-4:] == ["candidates", "simulation", "remark", "decision"]
            full, short = full + len(one.thought), short + len(text)
    assert 0.25 < short / full < 0.6


class Words:
    """Counts words."""

    def __call__(self, text: list[str], *, add_special_tokens: bool) -> dict[str, list[list[str]]]:
        return {"input_ids": [t.split() for t in text]}


def test_a_folder_is_shortened_by_name(tmp_path: Path) -> None:
    write_trajectory(tmp_path / "full" / "a.jsonl", play(generate(5), "teacher-noisy", seed=1))
    settings = AbbreviateSettings(
        data=(tmp_path / "full",), out=tmp_path / "short", method="structural", keep_under=0
    )
    manifest = abbreviate(settings, tokenizer=Words())
    assert manifest["figures"]["all"]["valid"] == 1
    assert manifest["parts"]["decision"]["turns"] == manifest["figures"]["all"]["turns"]
    [before], [after] = (
        list(iter_trajectory_file(next((tmp_path / name).glob("*.jsonl")), [])) for name in ("full", "short")
    )
    assert [t.action for t in before.transitions] == [t.action for t in after.transitions]
    assert all(
        len(a.thought) <= len(b.thought) for a, b in zip(after.transitions, before.transitions, strict=True)
    )
