"""Figures of hand-made outcomes, checked by hand."""

from __future__ import annotations

import pytest

from dyna_nodes.codec import Outcome
from dyna_nodes.nouns import Prediction
from dyna_training.evaluation import figures, report
from dyna_training.evaluation.episodes import Facts
from dyna_training.evaluation.examinees import StepOutcome, compare


def fact(game: str = "g1", verb: str = "go", **changes: object) -> Facts:
    plain = Facts(game, "expert", verb, f"{verb} x", "Something happens.", False, False, "determined", 0.5)
    return plain._replace(**changes)


RIGHT = StepOutcome(
    exact=True,
    observation="Something happens.",
    success=False,
    f1=1.0,
    surprise=1.0,
    tokens=4,
    confidence=0.95,
    value=0.6,
    success_after=False,
    value_after=0.6,
    value_blind=0.2,
)
WRONG = RIGHT.model_copy(
    update={"exact": False, "observation": "Nothing happens.", "f1": 0.5, "surprise": 7.0, "confidence": 0.85}
)


def test_exact_match_micro_and_macro_and_by_part() -> None:
    facts = [fact("g1"), fact("g1"), fact("g2"), fact("g2", "take", knowledge="first look")]
    found = figures.figures(facts, [RIGHT, RIGHT, RIGHT, WRONG])
    assert found["em"]["value"] == 0.75
    assert found["em_macro"]["value"] == 0.5
    assert found["f1"]["value"] == pytest.approx(3.5 / 4)
    assert found["surprise_per_token"]["value"] == pytest.approx(10 / 16)
    parts = found["slices"]
    assert parts["action_type"]["take"]["em"]["value"] == 0
    assert parts["action_type"]["go"]["em"]["steps"] == 3
    assert parts["knowledge"]["determined"]["em"]["value"] == 1
    assert parts["knowledge"]["first look"]["f1"]["value"] == 0.5


def test_the_flag_counts_successes_and_near_misses() -> None:
    yes, no = {"success": True}, {"success": False, "success_after": True}
    facts = [
        fact("g1", success=True),
        fact("g2", success=True),
        fact("g1", near_miss=True, task_type="clean"),
        fact("g2"),
    ]
    said = [RIGHT.model_copy(update=u) for u in (yes, no, yes, yes)]
    probes = (
        [fact(g, near_miss=True, task_type="heat") for g in ("g1", "g2")],
        [RIGHT.model_copy(update=no)] * 2,
    )
    flag = figures.figures(facts, said, probes=probes)["flag"]
    assert (flag["successes"], flag["near_misses"], flag["near_miss_probes"], flag["enough"]) == (
        2,
        1,
        2,
        False,
    )
    imagined, after = flag["imagined"], flag["after"]
    assert imagined["predicted"] == 3
    assert imagined["precision"]["value"] == pytest.approx(1 / 3)
    assert imagined["recall"]["value"] == pytest.approx(1 / 2)
    assert imagined["precision_hard"]["value"] == pytest.approx(
        1 / 2
    )  # the one out of the blue does not count
    assert imagined["near_miss_false_alarms"]["value"] == pytest.approx(1 / 3)
    kinds = imagined["false_alarms_by_task_type"]
    assert {k: v["value"] for k, v in kinds.items()} == {"clean": 1.0, "heat": 0.0}
    assert after["precision"]["value"] == 1.0
    assert after["precision_hard"]["value"] == pytest.approx(1 / 3)
    assert after["near_miss_false_alarms"]["value"] == pytest.approx(2 / 3)
    many = figures.flag_figures([fact(success=True), fact(near_miss=True)] * 100, [RIGHT] * 200)
    assert many["enough"]


def test_an_error_says_no_success_and_is_no_match() -> None:
    outcome = compare(Prediction(error="no end after 160 tokens"), Outcome("Something happens.", True))
    assert (outcome.exact, outcome.f1, outcome.success) == (False, 0.0, None)
    flag = figures.flag_figures([fact(success=True)], [outcome])
    assert flag["imagined"]["recall"].value == 0
    assert "after" not in flag


def test_reward_and_end_are_reported_where_success_does_not_say_them() -> None:
    plain = [fact(reward=0.0, done=False), fact(success=True, reward=1.0, done=True)]
    right = [RIGHT, RIGHT.model_copy(update={"success": True})]
    assert "rewards" not in figures.figures(plain, right)
    facts = [*plain, fact(reward=0.35, done=True, success=True), fact(reward=0.1234), fact(done=True), fact()]
    zero = RIGHT.model_copy(update={"reward": 0.0, "done": False})
    predicted: list[dict[str, object]] = [
        {},
        {"reward": 1.0, "done": True},
        {"reward": 0.35, "done": True},
        {"reward": 0.123},
        {"done": True},
        {"reward": 1.0, "done": True},
    ]
    said = [zero.model_copy(update=update) for update in predicted]
    found = figures.figures(facts, said)["rewards"]
    assert found["reward"]["accuracy"]["value"] == 1, "where no reward is recorded, none is counted"
    assert found["reward"]["accuracy"]["steps"] == 4
    assert found["reward"]["accuracy_told"]["steps"] == 2
    assert found["end"]["precision"]["value"] == pytest.approx(3 / 4)
    assert found["end"]["recall"]["value"] == 1
    silent = compare(Prediction(error="no end after 160 tokens"), Outcome("Something happens."))
    worse = figures.figures(facts, [*said[:3], silent, silent, zero])["rewards"]
    assert worse["reward"]["accuracy_told"]["value"] == 0.5
    assert worse["end"]["recall_without_success"]["value"] == 0
    forced = RIGHT.model_copy(update={"observation": None, "success": None, "f1": None})
    assert "rewards" not in figures.figures(facts, [forced] * 6)

    models = [{"name": "a", "contexts": {"agent": {"rewards": found}, "privileged": {}}}]
    head, rows = report.rewards({"models": models})
    assert len(rows) == 1
    assert [cell.split(" ")[0] for cell in rows[0]] == [
        "a",
        "agent",
        "100.0",
        "100.0",
        "75.0",
        "100.0",
        "100.0",
    ]
    assert len(head) == len(rows[0])


def test_what_was_not_generated_is_left_out_and_not_guessed() -> None:
    """In one game answers were generated, in the other only forced, matches included."""
    forced = {"observation": None, "success": None, "f1": None, "confidence": None, "value": None}
    match, mistake = RIGHT.model_copy(update=forced), WRONG.model_copy(update=forced)
    facts = [fact("g1"), fact("g1"), fact("g2"), fact("g2")]
    found = figures.figures(facts, [RIGHT, WRONG, match, mistake])
    assert (found["em"]["value"], found["em"]["steps"]) == (0.5, 4)
    assert (found["f1"]["value"], found["f1"]["steps"], found["f1"]["games"]) == (0.75, 2, 1)
    assert found["not_generated"] == 2
    assert found["confidence"]["ece"]["steps"] == 2
    assert found["value"]["imagined"]["mae"]["steps"] == 2
    assert found["value"]["after"]["mae"]["steps"] == 4
    assert figures.error_examples(facts, [RIGHT, WRONG, match, mistake])[0]["count"] == 1
    nothing = figures.figures(facts, [match, mistake, match, mistake])
    assert nothing["f1"] is None
    assert nothing["confidence"] == {}
    assert set(nothing["value"]) == {"after", "blind", "constant"}
    assert "imagined" not in nothing["flag"]
    assert nothing["slices"]["action_type"]["go"]["f1"] is None
    assert figures.error_examples(facts, [match, mistake, match, mistake]) == []


def test_returns_are_compared_with_their_labels() -> None:
    facts = [fact(f"g{i}", return_to_go=label) for i, label in enumerate((0.1, 0.5, 0.9))]
    said = [RIGHT.model_copy(update={"value": v, "value_blind": None}) for v in (0.2, 0.6, 1.0)]
    value = figures.figures(facts, said)["value"]
    assert value["imagined"]["r"]["value"] == pytest.approx(1)
    assert value["imagined"]["mae"]["value"] == pytest.approx(0.1)
    assert value["constant"]["mae"]["value"] == pytest.approx(0.8 / 3)
    assert "blind" not in value
    unlabelled = [f._replace(return_to_go=None) for f in facts]
    assert figures.figures(unlabelled, said)["value"] == {}


def test_confidence_is_compared_with_being_right() -> None:
    found = figures.figures([fact("g1"), fact("g2"), fact("g3")], [RIGHT, RIGHT, WRONG])["confidence"]
    assert found["ece"]["value"] == pytest.approx((2 * 0.05 + 0.85) / 3)
    assert [(b["from"], b["steps"], b["em"]) for b in found["bins"]] == [(0.8, 1, 0.0), (0.9, 2, 1.0)]


@pytest.mark.parametrize(
    ("changes", "said", "kind"),
    [
        ({}, {"observation": "Nothing happens."}, "nothing where something happens"),
        ({"observation": "Nothing happens."}, {"observation": "You win."}, "effect where nothing happens"),
        ({"success": True}, {"observation": "Something happens."}, "success missed"),
        ({}, {"observation": "Something happens.", "success": True}, "false success"),
        ({"observation": "a 1 b 2"}, {"observation": "b 2 a 1"}, "right words, wrong order"),
        ({"knowledge": "first look"}, {"observation": "You see a cup 9."}, "contents never seen"),
        ({"knowledge": "hidden"}, {"observation": "You see a cup 9."}, "history does not tell"),
        ({}, {"observation": "You see a cup 9."}, "forgotten"),
        ({"knowledge": None}, {"observation": "You see a cup 9."}, "other text"),
        ({}, {"observation": None, "error": "x"}, "no answer"),
    ],
)
def test_kinds_of_mistakes(changes: dict[str, object], said: dict[str, object], kind: str) -> None:
    assert figures.error_kind(fact(**changes), WRONG.model_copy(update=said)) == kind


def test_examples_come_from_every_kind() -> None:
    facts = [fact() for _ in range(50)] + [fact(success=True)]
    said = [WRONG] * 50 + [WRONG.model_copy(update={"observation": "Something happens."})]
    kinds = figures.error_examples([*facts, fact()], [*said, RIGHT], 20)
    assert [(k["kind"], k["count"], len(k["examples"])) for k in kinds] == [
        ("nothing where something happens", 50, 19),
        ("success missed", 1, 1),
    ]
    assert kinds[1]["examples"] == [
        {"action": "go x", "predicted": "Something happens.", "real": "Something happens. [SUCCESS]"}
    ]
    assert figures.error_examples([fact()], [RIGHT]) == []


def test_differences_are_of_the_same_steps() -> None:
    found = figures.differences([fact("g1"), fact("g2", "take")], [RIGHT, RIGHT], [RIGHT, WRONG])
    assert found["em"]["value"] == 0.5
    assert found["em_macro"]["value"] == 0.5
