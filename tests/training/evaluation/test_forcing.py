"""One forward pass says what generating step by step says: with the real base model, in fp32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch")
import torch

from dyna_nodes.codec import Outcome
from dyna_nodes.local.base import LocalModelError, load_base
from dyna_nodes.local.engine import Engine, Request
from dyna_nodes.nouns import Action, Prediction, Query, Trajectory, Transition
from dyna_nodes.world_models import TrainedWorldModel
from dyna_training.evaluation.examinees import TrainedExaminee, compare, queries
from dyna_training.evaluation.forcing import ForcingModel, TooLongError

TASK = "You are in a kitchen. You see a fridge 1 and a drawer 1.\n\nYour task is to: cool a mug."
NOTHING = "Nothing happens."
STEPS = [
    ("look", NOTHING),
    ("dance", NOTHING),
    ("look", NOTHING),
    ("open drawer 1", "You open the drawer 1."),
    ("dance", NOTHING),
    ("cool mug 1 with fridge 1", "You cool the mug 1."),
]
NEW_TOKENS = 12
UNLABELLED = 2


def episode(labels: bool = True) -> Trajectory:
    """An episode so monotonous that even an untrained model foresees some of it."""
    last = len(STEPS) - 1
    transitions = tuple(
        Transition(
            action=Action.command(command),
            observation=observation,
            reward=float(i == last),
            done=i == last,
            labels={"return_to_go": 0.9 ** (last - i)} if labels and i != UNLABELLED else {},
        )
        for i, (command, observation) in enumerate(STEPS)
    )
    return Trajectory(id="one", task=TASK, hidden_state="mug 1 is in drawer 1", transitions=transitions)


@pytest.fixture(scope="module")
def forcing() -> ForcingModel:
    torch.set_num_threads(1)
    return ForcingModel(load_base("smollm2", "float32"))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(load_base("smollm2", "float32")) as engine:
        yield engine


@pytest.fixture(scope="module")
def tiny(tiny_base: Path) -> ForcingModel:
    return ForcingModel(load_base(str(tiny_base), "float32"))


class Asked(TrainedWorldModel):
    """The shipped world model, which notes how much it was asked."""

    asked = 0

    def predict(self, queries: Sequence[Query]) -> list[Prediction]:
        self.asked += len(queries)
        return super().predict(queries)


def test_forcing_agrees_with_generating(forcing: ForcingModel, engine: Engine) -> None:
    """Exact matches, surprise and returns; and an examinee generates only where a token differs."""
    trajectory = episode()
    forced = forcing.force(forcing.row(trajectory, "agent"), None)
    shipped = Asked(engine, max_new_tokens=NEW_TOKENS)
    blind = TrainedWorldModel(engine, value="blind")
    asked = queries(trajectory, "agent")
    outcomes = [Outcome.of(t) for t in trajectory.transitions]
    answers = [compare(p, o) for p, o in zip(shipped.predict(asked), outcomes, strict=True)]
    assert [f.exact for f in forced] == [a.exact for a in answers]
    assert {True, False} <= {f.exact for f in forced}
    assert [f.surprise / f.tokens for f in forced] == pytest.approx(
        shipped.surprise(asked, outcomes), rel=1e-3
    )
    unseen = [p.value for p in blind.predict(asked)]
    for index, (f, a) in enumerate(zip(forced, answers, strict=True)):
        if index == UNLABELLED:
            assert f.value_after is None
            assert f.value_blind is None
            continue
        assert f.value_blind == pytest.approx(unseen[index], rel=1e-3)
        if f.exact:
            assert f.value_after == pytest.approx(a.value, rel=1e-3)

    shipped.asked = 0
    both = TrainedExaminee("both", forcing, generators={"agent": shipped})
    [examined] = both.examine([trajectory], "agent")
    assert shipped.asked == sum(not f.exact for f in forced)
    for index, (outcome, answer) in enumerate(zip(examined, answers, strict=True)):
        same = ("exact", "observation", "success", "f1", "error")
        assert outcome.model_dump(include=set(same)) == answer.model_dump(include=set(same))
        if answer.confidence is not None:
            assert outcome.confidence == pytest.approx(answer.confidence, rel=1e-3)
        if answer.value is not None and index != UNLABELLED:
            assert outcome.value == pytest.approx(answer.value, rel=1e-3)

    short = TrainedWorldModel(engine, max_new_tokens=2)
    [cut] = TrainedExaminee("cut", forcing, generators={"agent": short}).examine([trajectory], "agent")
    assert not any(o.exact for o in cut)  # what the shipped model may not write to its end is no match

    [alone] = TrainedExaminee("alone", forcing).examine([trajectory], "agent")
    assert all(o.observation is None and o.f1 is None and o.surprise is not None for o in alone)
    elsewhere = TrainedExaminee("some games", forcing, generators={"agent": shipped}, games=["another"])
    assert elsewhere.examine([trajectory], "agent") == [alone]
    assert elsewhere.key(trajectory, "agent") != both.key(trajectory, "agent")


def test_the_flag_after_the_real_observation(forcing: ForcingModel, engine: Engine) -> None:
    """It is what the model writes when the real observation is put into its mouth."""
    trajectory = episode()
    forced = forcing.force(forcing.row(trajectory, "agent"), None)
    codec = forcing.codec
    requests = [
        Request(
            codec.prefix(trajectory.history(index)) + codec.question(step.action),
            [codec.answer(Outcome(step.observation))[:-1]],
            max_new_tokens=1,
        )
        for index, step in enumerate(trajectory.transitions)
    ]
    texts = [result.branches[0].text for result in engine.generate(requests)]
    assert [f.success_after for f in forced] == [text == " [" for text in texts]


REWARDED = [
    ("look", NOTHING, -1.0, False),
    ("dance", NOTHING, -1.0, False),
    ("look", NOTHING, 0.0, False),
    ("dance", NOTHING, 0.35, False),
    ("look", NOTHING, 0.0, True),
]


def rewarded(steps: Sequence[tuple[str, str, float, bool]]) -> Trajectory:
    transitions = tuple(
        Transition(
            action=Action.command(command),
            observation=observation,
            reward=reward,
            done=done,
            labels={"return_to_go": 0.5},
        )
        for command, observation, reward, done in steps
    )
    return Trajectory(id="rewarded", task=TASK, transitions=transitions)


def test_forcing_agrees_with_generating_where_rewards_and_ends_are_written(
    forcing: ForcingModel, engine: Engine
) -> None:
    trajectory = rewarded(REWARDED)
    row = forcing.row(trajectory, "agent")
    forced = forcing.force(row, None)
    shipped = TrainedWorldModel(engine, max_new_tokens=NEW_TOKENS)
    asked = queries(trajectory, "agent")
    outcomes = [Outcome.of(t) for t in trajectory.transitions]
    targets = [label for label in row.example.labels if label != -100]
    for answer, outcome in zip(row.answers, outcomes, strict=True):
        assert [targets[n] for n in answer] == forcing.codec.answer(outcome)
    assert [f.surprise / f.tokens for f in forced] == pytest.approx(
        shipped.surprise(asked, outcomes), rel=1e-3
    )
    answers = [compare(p, o) for p, o in zip(shipped.predict(asked), outcomes, strict=True)]
    assert [f.exact for f in forced] == [a.exact for a in answers]
    unsaid = [f for f, o in zip(forced, outcomes, strict=True) if o.reward or o.done]
    assert any(f.exact for f in unsaid), "observation and success are foreseen"
    assert not any(f.whole for f in unsaid), "reward and end are not"
    [examined] = TrainedExaminee("x", forcing, generators={"agent": shipped}).examine([trajectory], "agent")
    same = {"exact", "observation", "success", "reward", "done", "f1", "error"}
    assert [o.model_dump(include=same) for o in examined] == [a.model_dump(include=same) for a in answers]


@pytest.mark.parametrize(("tag", "success"), [("[SUCCESS]", True), ("[END]", False), ("[REWARD 5]", False)])
@pytest.mark.parametrize(("reward", "done"), [(0.0, False), (0.0, True), (1.0, True)])
def test_the_flag_is_told_from_tags_that_begin_like_it(
    forcing: ForcingModel, tag: str, success: bool, reward: float, done: bool
) -> None:
    """The episode makes the model expect a tag, whatever the last step really ends in."""
    before = [("look", f"{NOTHING} {tag}", 0.0, False)] * 5
    row = forcing.row(rewarded([*before, ("look", NOTHING, reward, done)]), "agent")
    assert forcing.force(row, None)[-1].success_after is success


@pytest.mark.parametrize(
    ("tag", "reward", "done"), [(" [SUCCESS]", -1.0, False), ("", 0.35, True), (" [REWARD 5]", 1.0, True)]
)
def test_another_flag_is_no_exact_match_whatever_comes_after_the_real_reward(
    forcing: ForcingModel, tag: str, reward: float, done: bool
) -> None:
    before = [("look", f"{NOTHING}{tag}", 0.0, False)] * 5
    row = forcing.row(rewarded([*before, ("look", NOTHING, reward, done)]), "agent")
    assert not forcing.force(row, None)[-1].exact


def test_hidden_state_is_told_in_privileged_context_only(tiny: ForcingModel) -> None:
    trajectory = episode()
    told = tiny.codec.chat.decode(tiny.row(trajectory, "privileged").example.ids)
    plain = tiny.codec.chat.decode(tiny.row(trajectory, "agent").example.ids)
    assert "mug 1 is in drawer 1" in told
    assert "mug 1 is in drawer 1" not in plain
    with pytest.raises(ValueError, match="no hidden state"):
        tiny.row(trajectory.model_copy(update={"hidden_state": None}), "privileged")


def test_shots_are_read_and_not_scored(forcing: ForcingModel) -> None:
    trajectory = episode()
    alone, after = forcing.row(trajectory, "agent"), forcing.row(trajectory, "agent", [episode(labels=False)])
    assert after.answers == alone.answers
    assert after.after == alone.after
    before = len(after.example.ids) - len(alone.example.ids)
    assert set(after.example.labels[:before]) == {-100}
    assert after.example.positions[before:] == [before + p for p in alone.example.positions]
    plain, shown = forcing.force(alone, None), forcing.force(after, None)
    # The very same episode before: now the model foresees what it could not.
    assert sum(f.surprise for f in shown) < 0.5 * sum(f.surprise for f in plain)
    assert sum(f.exact for f in shown) > sum(f.exact for f in plain)


def test_an_episode_that_is_too_long_is_no_answer(
    tiny: ForcingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "context_length", 50)
    with pytest.raises(TooLongError, match="reads 50"):
        tiny.force(tiny.row(episode(), "agent"), None)
    [outcomes] = TrainedExaminee("x", tiny).examine([episode()], "agent")
    assert len(outcomes) == len(STEPS)
    assert all(not o.exact and o.error and o.f1 == 0 for o in outcomes)


def test_an_adapter_of_another_base_is_refused(tiny: ForcingModel, tmp_path: Path) -> None:
    with pytest.raises(LocalModelError, match="no such folder"):
        tiny.load(tmp_path / "absent")
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(LocalModelError, match="damaged"):
        TrainedExaminee("x", tiny, tmp_path)


def test_the_key_changes_with_whatever_matters(tiny: ForcingModel) -> None:
    trajectory = episode()
    examinee = TrainedExaminee("a", tiny)
    key = examinee.key(trajectory, "agent")
    assert TrainedExaminee("another name", tiny).key(trajectory, "agent") == key
    other = trajectory.model_copy(update={"transitions": trajectory.transitions[:-1]})
    assert len({key, examinee.key(trajectory, "privileged"), examinee.key(other, "agent")}) == 3
    assert TrainedExaminee("a", tiny, shots=[other]).key(trajectory, "agent") != key
