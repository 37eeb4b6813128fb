"""The extractive abbreviator, the check of what it returns, and `dyna traces abbreviate` and `show`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from dyna_nodes.nouns import Action, Step
from dyna_training.data import read_trajectories
from dyna_training.traces.abbreviating import AbbreviateSettings, abbreviate
from dyna_training.traces.abbreviator import Abbreviation, Turn, invalid
from dyna_training.traces.extractive import ExtractiveAbbreviator, Part
from dyna_training.traces.sentences import is_selection, joined, sentences
from dyna_training.traces.wording import action_words, mentions, stems
from tests.training.traces.logs import dyna, episode, row

THINKING = """Okay, so I'm trying to figure out what to do in this harbour.
The observation says:
- A buoy 2 strokes east.
- A pier 1 stroke north.

I rowed north before, and now the pier is 1 stroke north, so that worked.
My uncle liked boats.
Boats are made of wood or steel.

Maybe I should row north again. But the pier blocks the way north.
Alternatively, I could row east towards the buoy.
Wait, is the buoy red? It does not matter.
It really does not matter at all, I keep repeating myself.
It really does not matter at all, I keep repeating myself here.
If I row east, I will reach the buoy. So rowing east brings me to the bell.

```
route = [east, east]
```

So, the best action is to row east.
That should be all there is to say."""
ACTIONS = tuple(Action.command(c) for c in ("row east", "row north", "ring bell"))
TURN = Turn(
    "Ring the bell.",
    (Step(action=ACTIONS[1], observation="a buoy 2 strokes east\na pier 1 stroke north"),),
    THINKING,
    ACTIONS[0],
    ACTIONS,
)


class Words:
    """Counts words; what a tokenizer is asked for here."""

    def __call__(self, text: list[str], *, add_special_tokens: bool) -> dict[str, list[list[str]]]:
        assert not add_special_tokens
        return {"input_ids": [t.split() for t in text]}


def kept(turn: Turn) -> dict[str, Part]:
    parts = sentences(turn.thought)
    return {parts[i].text: part for i, part in ExtractiveAbbreviator().select(turn, parts).items()}


def test_the_five_parts_stay_and_the_rest_goes() -> None:
    found = kept(TURN)
    assert found["- A pier 1 stroke north."] is Part.VERIFICATION
    assert found["- A buoy 2 strokes east."] is Part.VERIFICATION
    assert "The observation says:" in found
    assert found["Maybe I should row north again."] is Part.CANDIDATE
    assert found["But the pier blocks the way north."] is Part.CONNECTIVE
    assert found["If I row east, I will reach the buoy."] is Part.SIMULATION
    assert found["```\nroute = [east, east]\n```"] is Part.CODE
    assert found["So, the best action is to row east."] is Part.DECISION
    assert not [text for text in found if "uncle" in text or "steel" in text or "repeating" in text]


def test_the_result_is_a_valid_selection_that_leads_to_the_action() -> None:
    [made] = ExtractiveAbbreviator().abbreviate([TURN])
    [short] = made.candidates
    assert is_selection(short, THINKING)
    assert invalid(short, TURN, removes_only=True) == ""
    assert len(short) < 0.7 * len(THINKING)
    assert sum(made.parts.values()) == len(sentences(short))


def test_what_imagines_the_action_in_the_words_of_the_decision_stays() -> None:
    shelf = Action.command("go to shelf 1")
    thought = "If I go to shelf 1, I should see it. I should see it if I go to shelf 1. I will go to shelf 1."
    turn = Turn("Find a pen.", (Step(action=ACTIONS[1], observation="A room."),), thought, shelf, (shelf,))
    assert list(kept(turn).values()) == [Part.SIMULATION, Part.DECISION], "one of the two that are alike"


def test_the_example_of_the_documentation() -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "import-traces.md"
    thought = (
        page.read_text(encoding="utf-8").partition("made-up thinking\n\n```text\n")[2].partition("\n```")[0]
    )
    turn = TURN._replace(thought=thought, known_actions=ACTIONS[:2])
    left = set(kept(turn))
    gone = [s.text for s in sentences(thought) if s.text not in left]
    assert gone == ["My uncle liked boats.", "My uncle liked boats a lot."]


@pytest.mark.parametrize(
    "thought",
    [
        "",
        "Hm.",
        "…",
        "- a\n- b",
        "```\nx",
        "先去北边。那里有门。",
        "So:\n",
        "But. But. But.",
        "Row east\n" * 40,
    ],
)
def test_odd_thinking_never_breaks_it(thought: str) -> None:
    turn = TURN._replace(thought=thought, history=(), known_actions=())
    [made] = ExtractiveAbbreviator().abbreviate([turn])
    assert is_selection(made.candidates[0], thought)


def test_sentences_lose_nothing() -> None:
    parts = sentences(THINKING)
    assert joined(parts, range(len(parts))) == THINKING
    assert [s.text for s in sentences('1. Go.\n2. "Stop!" Then e.g. this one. v1.2 stays')] == [
        "1. Go.",
        '2. "Stop!"',
        "Then e.g. this one.",
        "v1.2 stays",
    ]
    assert [s.text for s in sentences("```py\na. b. c\n```\nAfter.")] == ["```py\na. b. c\n```", "After."]
    assert joined(parts, []) == ""


def test_what_is_no_valid_abbreviation() -> None:
    def why(text: str, turn: Turn = TURN) -> str:
        return invalid(text, turn, removes_only=True)

    assert why("  ") == "nothing is left"
    assert why("I row east because I like it.") == "it is not a selection of the sentences"
    assert why("So, the best action is to row east.\nMy uncle liked boats.").startswith(
        "it is not a selection"
    )
    assert why("Maybe I should row north again.") == "it leads to another action"
    assert why("My uncle liked boats.") == "it leads to another action"
    assert invalid("I will row east.", TURN, removes_only=False) == ""
    both = TURN._replace(thought="I row east. I row north. My uncle.")
    assert why("My uncle.", both) == "it does not name the action"
    silent = TURN._replace(thought="My uncle liked boats. He had two.")
    assert why("He had two.", silent) == ""


def test_actions_are_recognised_in_other_words() -> None:
    forward = action_words(Action.command("go forward"))
    assert mentions(stems("So moving forward is safe."), forward)
    assert not mentions(stems("a wall 5 steps forward"), forward)
    search = action_words(Action(tool="webSearch", arguments={"query": "tide table", "note": "x\ny"}))
    assert mentions(stems("I search the web for a tide table."), search)
    assert not mentions(stems("anything"), frozenset())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number in range(3):
        rows = [
            row("row north", "I begin.", "a buoy 2 strokes east\na pier 1 stroke north"),
            row("row east", THINKING, "A buoy."),
            row("ring bell", "Short.", "Ding.", 1.0, True),
        ]
        episode(tmp_path / "logs", f"fetch_run_{number:02}", rows, progression=1.0)
    code, _, err = dyna(
        "traces", "import", str(tmp_path / "logs"), "--format", "balrog", "--out", str(tmp_path / "full")
    )
    assert code == 0, err
    return tmp_path / "full"


def test_long_turns_are_shortened_and_short_ones_stay(data: Path, tmp_path: Path) -> None:
    settings = AbbreviateSettings(data=(data,), out=tmp_path / "short", keep_under=50)
    manifest = abbreviate(settings, tokenizer=Words())
    everything = manifest["figures"]["all"]
    assert everything["became"] == {"shortened": 3, "untouched": 3}
    assert everything["ratio"]["low"] <= everything["ratio"]["value"] <= everything["ratio"]["high"] < 1
    for old, new in zip(read_trajectories([data]), read_trajectories([tmp_path / "short"]), strict=True):
        assert (old.id, old.task, old.outcome) == (new.id, new.task, new.outcome)
        assert new.configuration["abbreviation"] == {"method": "extractive", "keep_under": 50}
        for before, after in zip(old.transitions, new.transitions, strict=True):
            assert after.model_copy(update={"thought": before.thought}) == before
        assert is_selection(new.transitions[1].thought, old.transitions[1].thought)
        assert new.transitions[2].thought == "Short."
        words = [len(run.transitions[1].thought.split()) for run in (old, new)]
        assert everything["tokens_before"]["value"] == (words[0] + 1) / 2
        assert everything["tokens_after"]["value"] == (words[1] + 1) / 2


class Scripted:
    """An abbreviator whose answers are given."""

    name = "scripted"
    removes_only = True

    def __init__(self, *candidates: str, error: str = "") -> None:
        self.answer = Abbreviation(candidates, error=error)

    def abbreviate(self, turns: Sequence[Turn]) -> list[Abbreviation]:
        return [self.answer for _ in turns]


@pytest.mark.parametrize(
    ("abbreviator", "reason"),
    [
        (Scripted("Maybe I should row north again."), "it leads to another action"),
        (Scripted("I row east, trust me."), "it is not a selection of the sentences"),
        (Scripted(THINKING), "nothing could be removed"),
        (Scripted(error="the model answered out of format"), "the model answered out of format"),
        (Scripted(""), "nothing is left"),
    ],
)
def test_a_turn_without_a_valid_abbreviation_keeps_its_full_text(
    data: Path, tmp_path: Path, abbreviator: Scripted, reason: str
) -> None:
    settings = AbbreviateSettings(data=(data,), out=tmp_path / "short", keep_under=50)
    manifest = abbreviate(settings, tokenizer=Words(), abbreviator=abbreviator)
    assert manifest["figures"]["all"]["full_because"] == {reason: 3}
    assert [t.thought for run in read_trajectories([tmp_path / "short"]) for t in run.transitions] == [
        t.thought for run in read_trajectories([data]) for t in run.transitions
    ]
    assert reason in (tmp_path / "short" / "report.md").read_text(encoding="utf-8")


def test_the_shortest_valid_candidate_is_taken(data: Path, tmp_path: Path) -> None:
    last = "So, the best action is to row east."
    several = Scripted(f"If I row east, I will reach the buoy. {last}", "My uncle liked boats.", last)
    settings = AbbreviateSettings(data=(data,), out=tmp_path / "short", keep_under=50)
    abbreviate(settings, tokenizer=Words(), abbreviator=several)
    assert {run.transitions[1].thought for run in read_trajectories([tmp_path / "short"])} == {last}


def test_commands(data: Path, tmp_path: Path) -> None:
    from tests.nodes.local.tiny_llama import tiny_tokenizer

    base = tmp_path / "base"
    tiny_tokenizer().save_pretrained(base)
    (base / "config.json").write_text(json.dumps({"model_type": "llama"}))
    short = str(tmp_path / "short")
    arguments = ("traces", "abbreviate", "--data", str(data), "--out", short, "--base", str(base))
    code, text, err = dyna(*arguments, "--keep-under", "300")
    assert code == 0, err
    assert "longer turns" in text
    report = (tmp_path / "short" / "report.md").read_text(encoding="utf-8")
    assert "| all | 6 |" in report
    assert "| decision | 3 | 100.0% |" in report
    code, _, err = dyna(*arguments)
    assert code == 1
    assert "holds trajectories already" in err
    code, text, err = dyna("traces", "show", short, "--before", str(data), "-n", "2", "--lines", "0")
    assert code == 0, err
    assert text.count("My uncle liked boats.") == 2
    assert text.count("> row east") == 2
    code, text, _ = dyna("traces", "show", short, "--before", str(data), "-n", "2", "--markdown")
    assert code == 0
    assert text.count("## ") == 2
    assert text.count("\n`> ") == 2
    code, _, err = dyna("traces", "show", str(data), "--before", str(data))
    assert code == 1
    assert "no turn" in err
    code, _, err = dyna("traces", "abbreviate", "--data", str(tmp_path / "nothing"), "--out", f"{short}2")
    assert code == 1
    assert "dyna traces import" in err
