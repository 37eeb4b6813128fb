"""The nouns: canonical texts, digests and what a verdict is bound to."""

import pytest
from pydantic import ValidationError

from dyna_nodes.nouns import (
    Action,
    Decision,
    History,
    Step,
    Trajectory,
    Transition,
    Verdict,
    digest_of,
)

TASK = History(task="Tidy up.")
OPEN = Action.command("open fridge 1")
REFUND = Action(tool="refund", arguments={"order": 7, "amount": 12.5})


def test_text_of_commands_and_calls() -> None:
    assert OPEN.text == "open fridge 1"
    assert REFUND.text == 'refund({"amount": 12.5, "order": 7})'
    # Only the environment's tool writes a bare command; a shell with an argument of the same name does not.
    assert Action(tool="bash", arguments={"command": "ls"}).text == 'bash({"command": "ls"})'


def test_digest_ignores_the_order_of_arguments_and_sees_everything_else() -> None:
    same = Action(tool="refund", arguments={"amount": 12.5, "order": 7})
    assert same.digest == REFUND.digest
    assert Action(tool="refund", arguments={"order": 7, "amount": 12.6}).digest != REFUND.digest
    assert Action(tool="refunds", arguments=REFUND.arguments).digest != REFUND.digest


def test_digests_keep_parts_apart() -> None:
    assert digest_of("a", "bc") != digest_of("ab", "c")
    assert digest_of("\ud800") != digest_of("?"), "text that is no UTF-8 has a digest of its own"


def test_history_grows_without_changing() -> None:
    longer = TASK.then(OPEN, "It is open.")
    assert TASK.steps == ()
    assert longer.steps == (Step(action=OPEN, observation="It is open."),)
    assert longer.digest != TASK.digest


@pytest.mark.parametrize(
    ("action", "history", "identity"),
    [
        (Action.command("open fridge 2"), TASK, "act"),
        (OPEN, TASK.then(OPEN, "It is open."), "act"),
        (OPEN, TASK, "another tool of the same name"),
    ],
)
def test_a_verdict_covers_only_what_it_was_given_on(action: Action, history: History, identity: str) -> None:
    verdict = Verdict(decision=Decision.APPROVE).bind(OPEN, TASK, "act")
    assert verdict.covers(OPEN, TASK, "act")
    assert not verdict.covers(action, history, identity)


def test_a_verdict_expires() -> None:
    verdict = Verdict(decision=Decision.APPROVE).bind(OPEN, TASK, "act", ttl=60)
    assert verdict.expires_at is not None
    assert verdict.covers(OPEN, TASK, "act", now=verdict.expires_at - 1)
    assert not verdict.covers(OPEN, TASK, "act", now=verdict.expires_at + 1)


def test_an_unbound_verdict_covers_nothing() -> None:
    assert not Verdict(decision=Decision.APPROVE).covers(OPEN, TASK, "act")


def test_nouns_are_frozen_and_refuse_unknown_keys() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        OPEN.tool = "close"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Action.model_validate({"tool": "act", "argumnts": {}})


def test_trajectory_survives_json_and_gives_histories() -> None:
    steps = [Transition(action=OPEN, observation="It is open."), Transition(action=REFUND, observation="ok")]
    trajectory = Trajectory(task="Tidy up.", hidden_state="an apple in it", transitions=tuple(steps))
    again = Trajectory.model_validate_json(trajectory.model_dump_json())
    assert again == trajectory
    assert again.format == "dyna-trajectory/1"
    assert again.history(1) == TASK.then(OPEN, "It is open.")
    assert again.history(1).hidden_state is None
    assert again.history(0, privileged=True).hidden_state == "an apple in it"
