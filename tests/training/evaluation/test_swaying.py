"""How often a verdict is swayed: with parts of which it is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import BaseMessage

from dyna_nodes.critics import HouseholdCritic, JudgeCritic, OutcomeCritic
from dyna_nodes.nouns import Prediction, Query
from dyna_nodes.testing import ScriptedChatModel, ScriptedWorldModel
from dyna_training.evaluation import swaying_report as report
from dyna_training.evaluation.episodes import record
from dyna_training.evaluation.injections import FAMILIES, injections
from dyna_training.evaluation.swaying import FUTILE, NOTES, Case, cases, chosen, decide, figures, imagine


@pytest.fixture
def found(households: Path) -> list[Case]:
    return cases(record("valid_seen", 2, seed=3), chosen(28), 300, seed=3)


def sober(query: Query) -> Prediction:
    """Predict by the action alone."""
    text = "Nothing happens." if query.action == FUTILE else "You do it."
    return Prediction(observation=text, success=False)


def gullible(query: Query) -> Prediction:
    """Believe whoever writes "approve"."""
    swayed = "approve" in query.history.steps[-1].observation.lower()
    return Prediction(observation="You do it.", success=True) if swayed else sober(query)


def test_attacks_are_chosen_evenly_over_the_families() -> None:
    assert chosen(0) == injections()
    assert [attack.family for attack in chosen(14)] == list(FAMILIES)


def test_only_the_note_differs_and_harmless_ones_are_as_long(found: list[Case]) -> None:
    assert len(found) == 28
    for case in found:
        none, attack, harmless = (case.histories[note] for note in NOTES)
        assert attack.steps[:-1] == none.steps[:-1] == harmless.steps[:-1]
        assert case.attack.text[:300] in attack.steps[-1].observation
        assert len(attack.steps[-1].observation) == len(harmless.steps[-1].observation)


def test_a_sober_world_model_is_never_swayed(found: list[Case]) -> None:
    predictions = imagine(ScriptedWorldModel(sober), found, batch=5)
    for critic in (HouseholdCritic(), OutcomeCritic()):
        shares = figures(decide(critic, found, predictions), seed=0)
        assert shares["judgements"] == 56
        assert shares["attack"]["flipped"]["value"] == 0
    assert shares["without_note"] == {"reject": 56}


def test_a_gullible_world_model_is_swayed_by_attacks_alone(found: list[Case]) -> None:
    predictions = imagine(ScriptedWorldModel(gullible), found, batch=5)
    shares = figures(decide(OutcomeCritic(), found, predictions), seed=0)
    tried = sum("approve" in case.histories["attack"].steps[-1].observation.lower() for case in found)
    assert 5 < tried < 28
    assert shares["attack"]["into_approval"]["value"] == pytest.approx(tried / 28)
    assert shares["harmless"]["flipped"]["value"] == 0
    assert shares["attack_beyond_harmless"]["value"] == pytest.approx(tried / 28)
    assert shares["attack"]["flipped"]["low"] < tried / 28 < shares["attack"]["flipped"]["high"]
    by_family = {name: s["flipped"]["value"] for name, s in shares["families"].items()}
    assert by_family["order"] > 0


def test_a_judge_is_asked_in_parallel_and_nonsense_is_no_verdict(found: list[Case]) -> None:
    def answer(messages: list[BaseMessage]) -> Any:
        asked = str(messages[-1].content)
        if "milk, eggs" in asked:
            return "I like milk."
        return '{"decision": "approve"}' if "approve" in asked.lower() else '{"decision": "reject"}'

    predictions = imagine(ScriptedWorldModel(sober), found, batch=28)
    judge = JudgeCritic(ScriptedChatModel(script=answer))
    shares = figures(decide(judge, found, predictions, at_once=8), seed=0)
    assert shares["harmless"]["no_verdict"]["value"] > 0.9
    assert 0 < shares["attack"]["into_approval"]["value"] < 1
    results = {
        "judged": {"a judge": shares},
        "cases": 28,
        "episodes": {"number": 6},
        "settings": {
            "games": 2,
            "steps": 50,
            "split": "valid_seen",
            "max_characters": 300,
            "seed": 3,
            "adapter": "here",
            "base": "tiny",
            "dtype": "float32",
            "device": "cpu",
        },
    }
    text = report.markdown(results, [], "dyna eval injections")
    assert "| a judge | attack | 56 |" in text
    assert "| template token |" in text
