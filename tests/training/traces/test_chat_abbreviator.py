"""Abbreviation by a chat model: scripted answers of every kind, interruptions, and a real small model."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage

import dyna_graph.models
from dyna_nodes.experience import write_trajectory
from dyna_nodes.nouns import Action, Step, Trajectory, Transition
from dyna_nodes.testing import ScriptedChatModel
from dyna_training.data import read_trajectories
from dyna_training.traces import chat_abbreviator
from dyna_training.traces.abbreviating import AbbreviateSettings, abbreviate
from dyna_training.traces.abbreviator import Turn, invalid, new_share
from dyna_training.traces.chat_abbreviator import ChatAbbreviator, shortened
from dyna_training.traces.importing import TracesError
from dyna_training.traces.sentences import is_selection
from tests.training.traces.logs import dyna
from tests.training.traces.test_abbreviating import THINKING, Words

GOOD = """<think>
Maybe I should row north again. But the pier blocks the way north.
So, the best action is to row east.
</think>"""
SHORTER = "<think>So, the best action is to row east.</think>"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A run with one turn that is long, and one that is short."""
    steps = [
        Transition(index=0, thought="I begin.", action=Action.command("row north"), observation="a pier"),
        Transition(index=1, thought=THINKING, action=Action.command("row east"), observation="a buoy"),
    ]
    for n in range(2):
        run = Trajectory(
            id=f"run{n}",
            task="Ring the bell.",
            transitions=tuple(steps),
            configuration={"system": f"You row boat {n}."},
        )
        write_trajectory(tmp_path / "full" / "runs.jsonl", run)
    return tmp_path / "full"


def shorten(data: Path, model: Any, out: str = "short", **settings: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the manifest and the thinking of the long turns."""
    given = AbbreviateSettings(data=(data,), out=data.parent / out, method="chat", keep_under=50, **settings)
    made = ChatAbbreviator(model, name="teacher", samples=given.samples)
    manifest = abbreviate(given, tokenizer=Words(), abbreviator=made)
    return manifest, [run.transitions[1].thought for run in read_trajectories([given.out])]


def test_the_shortest_valid_answer_of_several_is_taken(data: Path) -> None:
    answers = itertools.cycle(
        [GOOD, SHORTER, "<think>Row north.</think>", "<think>Hm.</think>", f"<think>{THINKING}</think>"]
    )
    model = ScriptedChatModel(script=lambda _: next(answers))
    manifest, thoughts = shorten(data, model)
    assert thoughts == ["So, the best action is to row east."] * 2
    assert len(model.prompts) == 10  # five for each long turn, none for the short ones
    assert manifest["figures"]["all"]["became"] == {"shortened": 2, "untouched": 2}
    assert manifest["figures"]["all"]["new_sentences"]["value"] == 0


def test_what_the_model_is_shown(data: Path) -> None:
    model = ScriptedChatModel(script=lambda _: GOOD)
    shorten(data, model, samples=1)
    system, example, answer, asked = model.prompts[0]
    text = str(asked.content)
    assert "five" not in str(system.content)
    assert "What it observed last:\n<<<observation" in text
    assert "\na pier\n" in text
    assert "You row boat 0." in text
    assert f"<think>\n{THINKING}\n</think>\n> row east" in text
    assert str(example.content).startswith(text.split("\n")[0])
    assert shortened(str(answer.content))[0] == chat_abbreviator.EXAMPLE_SHORT


def test_the_example_keeps_its_own_rules() -> None:
    turn = Turn(
        task="",
        history=(Step(action=Action.command("mv"), observation=chat_abbreviator.EXAMPLE_SEEN),),
        thought=chat_abbreviator.EXAMPLE_THOUGHT,
        action=Action.command(chat_abbreviator.EXAMPLE_ACTION),
    )
    short = chat_abbreviator.EXAMPLE_SHORT
    assert is_selection(short, turn.thought)
    assert invalid(short, turn, removes_only=True) == ""
    assert len(short) < 0.5 * len(turn.thought)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("So, the best action is to row east.", "the model answered out of format: no <think>…</think>"),
        ("<think>So I row east.", "the model answered out of format: no <think>…</think>"),
        (f"{SHORTER}\nI removed the uncle.", "the model answered out of format: text after </think>"),
        ("<think> </think>", "the model answered out of format: nothing in the tags"),
        (
            AIMessage(SHORTER, response_metadata={"finish_reason": "length"}),
            "the model answered out of format: cut off at the token limit",
        ),
        (RuntimeError("503"), "the model raised RuntimeError"),
        ("<think>Maybe I should row north again.</think>", "it leads to another action"),
        ("<think>My uncle liked boats.</think>", "it leads to another action"),
        (f"<think>{THINKING}</think>", "nothing could be removed"),
    ],
)
def test_a_turn_without_a_valid_answer_keeps_its_text_and_is_reported(
    data: Path, answer: Any, reason: str
) -> None:
    manifest, thoughts = shorten(data, ScriptedChatModel(script=lambda _: answer), samples=2)
    assert thoughts == [THINKING] * 2
    assert manifest["figures"]["all"]["full_because"] == {reason: 2}
    assert manifest["full"] == [
        {"trajectory": "run0", "step": 1, "reason": reason},
        {"trajectory": "run1", "step": 1, "reason": reason},
    ]
    rejected = {reason: 4} if reason.startswith("the model") else {}
    assert manifest["rejected_answers"] == rejected
    assert reason in (data.parent / "short" / "report.md").read_text(encoding="utf-8")


def test_good_answers_count_though_others_are_out_of_format(data: Path) -> None:
    answers = itertools.cycle(["nonsense", ValueError("x"), GOOD])
    manifest, thoughts = shorten(data, ScriptedChatModel(script=lambda _: next(answers)), samples=3)
    assert all(text.endswith("row east.") for text in thoughts)
    assert manifest["rejected_answers"] == {
        "the model answered out of format: no <think>…</think>": 2,
        "the model raised ValueError": 2,
    }


def test_rewritten_sentences_are_measured(data: Path) -> None:
    answer = "<think>North is blocked. So, the best action is to row east.</think>"
    manifest, _ = shorten(data, ScriptedChatModel(script=lambda _: answer), samples=1)
    assert manifest["figures"]["all"]["new_sentences"]["value"] == 0.5
    assert "no sentences of the full one: 0.500" in (data.parent / "short" / "report.md").read_text()
    assert new_share("A. B.", "A. B. C.") == 0
    assert new_share("", "A.") == 0


def test_answers_of_other_shapes() -> None:
    assert shortened("<think>my own reasoning</think>\n<think>\nI row.\n</think>\n> row east") == (
        "I row.",
        "",
    )
    assert shortened("Here it is:\n<THINKING>> row\nI row.</THINKING>") == (" > row\nI row.", "")


def test_after_an_interruption_nothing_is_asked_twice(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = itertools.count()

    def stops(messages: list[BaseMessage]) -> str:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return GOOD

    settings = AbbreviateSettings(
        data=(data,),
        out=data.parent / "short",
        method="chat",
        keep_under=50,
        samples=2,
        model="some:model",
        concurrency=1,
    )
    kept = settings.out / ".answers.partial"

    def go(script: Any) -> ScriptedChatModel:
        model = ScriptedChatModel(script=script)
        monkeypatch.setattr(dyna_graph.models, "resolve_model", lambda name, **options: model)
        abbreviate(settings, tokenizer=Words())
        return model

    with pytest.raises(KeyboardInterrupt):
        go(stops)
    assert [file.name for file in settings.out.iterdir()] == [".answers.partial"]
    known = len(kept.read_bytes().splitlines())
    assert known in (2, 3)  # the third answer may have come together with the interruption
    with kept.open("ab") as file:
        file.write(b'["half a line')
    assert len(go(lambda _: GOOD).prompts) == 4 - known
    assert sorted(file.name for file in settings.out.iterdir()) == [
        "manifest.json",
        "report.md",
        "traces.jsonl",
    ]


def test_a_model_that_only_raises_ends_the_work(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_abbreviator, "TURNS_RAISED", 2)
    with pytest.raises(
        TracesError, match="raised at 2 turns in a row, the last time ConnectionError: refused"
    ):
        shorten(data, ScriptedChatModel(script=lambda _: ConnectionError("refused")))
    assert not (data.parent / "short" / "traces.jsonl").exists()


def test_the_command(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.nodes.local.tiny_llama import tiny_tokenizer

    base, short = tmp_path / "base", tmp_path / "short"
    tiny_tokenizer().save_pretrained(base)
    (base / "config.json").write_text(json.dumps({"model_type": "llama"}))
    words = ["traces", "abbreviate", "--data", str(data), "--out", str(short), "--base", str(base)]
    words += ["--keep-under", "300", "--quiet"]
    for half in (["--method", "chat"], ["--model", "local:smollm2"]):
        code, _, err = dyna(*words, *half)
        assert code == 2
        assert "--method chat and --model provider:model belong together" in err
    code, _, err = dyna(*words, "--method", "chat", "--model", "local:smollm2")
    assert code == 1
    assert "at temperature 0, 5 answers of local:smollm2 are all alike" in err
    answers = itertools.cycle([GOOD, "nonsense"])
    model = ScriptedChatModel(script=lambda _: next(answers))
    monkeypatch.setattr(dyna_graph.models, "resolve_model", lambda name, **options: model)
    code, text, err = dyna(*words, "--method", "chat", "--model", "some:model", "--samples", "2")
    assert code == 0, err
    assert "0.0% of the sentences of a shortened turn are new" in text
    assert "2 answers could not be used: the model answered out of format: no <think>…</think>" in text
    [run, _] = read_trajectories([short])
    assert run.configuration["abbreviation"] == {"method": "chat, some:model", "keep_under": 300}


def test_a_small_model_that_answers_nonsense_changes_nothing(data: Path) -> None:
    from dyna_nodes.local import LocalChatModel

    manifest, thoughts = shorten(data, LocalChatModel(max_tokens=8), samples=1)
    assert thoughts == [THINKING] * 2
    assert sum(manifest["rejected_answers"].values()) == 2
