"""The trained world model with real weights: the embedded SmolLM2, and a tiny random Llama for mechanics."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

pytest.importorskip("torch")
import torch

from dyna_nodes.codec import ChatCodec, Outcome, WorldModelCodec, expected_return, return_level
from dyna_nodes.local.base import Base, fingerprint, load_base
from dyna_nodes.local.engine import Engine
from dyna_nodes.nouns import Action, History, Query, Trajectory, Transition
from dyna_nodes.protocols import WorldModel
from dyna_nodes.world_models import TrainedWorldModel

TASK = (
    "You are in a kitchen. You see a fridge 1, a drawer 1 and a sinkbasin 1.\n\nYour task is to: cool a mug."
)
HISTORY = (
    History(task=TASK)
    .then(Action.command("go to drawer 1"), "You arrive at drawer 1. The drawer 1 is closed.")
    .then(Action.command("open drawer 1"), "You open the drawer 1. In it, you see a mug 1.")
)
COMMANDS = ["take mug 1 from drawer 1", "go to fridge 1", "close drawer 1"]


@pytest.fixture(scope="module")
def base() -> Base:
    torch.set_num_threads(1)
    return load_base("smollm2", "float32")


@pytest.fixture(scope="module")
def engine(base: Base) -> Iterator[Engine]:
    with Engine(base) as engine:
        yield engine


@pytest.fixture(scope="module")
def tiny(base: Base) -> Iterator[Engine]:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(base.tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=512,
    )
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    with Engine(Base(model, base.tokenizer, fingerprint(model), "tiny")) as engine:
        yield engine


def queries(history: History = HISTORY, commands: list[str] = COMMANDS) -> list[Query]:
    return [Query(history=history, action=Action.command(c)) for c in commands]


@pytest.fixture(scope="module")
def reference() -> Callable[[list[int]], torch.Tensor]:
    """Log-probabilities [tokens, vocabulary] by plain transformers, without the engine."""
    from transformers import AutoModelForCausalLM

    from dyna_nodes.local.base import resolve_base

    model = AutoModelForCausalLM.from_pretrained(resolve_base("smollm2"), dtype=torch.float32).eval()

    def logits(ids: list[int]) -> torch.Tensor:
        with torch.inference_mode():
            found: torch.Tensor = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        return found

    return logits


def test_it_is_a_world_model_and_predicts_with_the_real_base(
    engine: Engine, base: Base, reference: Callable[[list[int]], torch.Tensor]
) -> None:
    model = TrainedWorldModel(engine, max_new_tokens=48)
    assert isinstance(model, WorldModel)
    [prediction] = model.predict(queries(commands=["go to fridge 1"]))
    codec = WorldModelCodec(ChatCodec(base.tokenizer))
    ids = codec.prefix(HISTORY) + codec.question(Action.command("go to fridge 1"))
    assert prediction.error is None
    assert prediction.observation is not None
    answer = [*codec.chat.text(prediction.observation), base.tokenizer.eos_token_id]
    assert prediction.tokens == len(answer)
    logits = reference(ids + answer[:-1] + codec.return_suffix)
    rows = logits[len(ids) - 1 : len(ids) + len(answer) - 1]
    assert rows.argmax(-1).tolist() == answer
    mean = rows.max(-1).values.mean().item()
    assert prediction.confidence == pytest.approx(math.exp(mean), rel=1e-3)
    digits = logits[-1, codec.level_ids].exp().tolist()
    assert prediction.value == pytest.approx(expected_return(digits), rel=1e-3)
    [surprise] = model.surprise(queries(commands=["go to fridge 1"]), [Outcome(prediction.observation)])
    assert surprise == pytest.approx(-mean, rel=1e-3)


def test_a_blind_value_is_read_right_after_the_action(
    engine: Engine, base: Base, reference: Callable[[list[int]], torch.Tensor]
) -> None:
    [prediction] = TrainedWorldModel(engine, value="blind").predict(queries(commands=["go to fridge 1"]))
    codec = WorldModelCodec(ChatCodec(base.tokenizer))
    ids = codec.prefix(HISTORY) + codec.question(Action.command("go to fridge 1")) + codec.return_suffix
    digits = reference(ids)[-1, codec.level_ids].exp().tolist()
    assert prediction.value == pytest.approx(expected_return(digits), rel=1e-3)
    assert (prediction.observation, prediction.success, prediction.tokens) == (None, None, 0)


def test_batched_and_single_predictions_agree_and_share_the_history(tiny: Engine) -> None:
    model = TrainedWorldModel(tiny, max_new_tokens=24)
    other = History(task="Another kitchen.")
    asked = [*queries(), *queries(other, COMMANDS[:1]), *queries(commands=COMMANDS[:1])]
    tiny.clear_store()
    before = tiny.stats.tokens
    together = model.predict(asked)
    spent = tiny.stats.tokens - before
    single = []
    for query in asked:
        tiny.clear_store()
        single += model.predict([query])
    apart = tiny.stats.tokens - before - spent
    keys = ("observation", "success", "error")
    assert [p.model_dump(include=set(keys)) for p in together] == [
        p.model_dump(include=set(keys)) for p in single
    ]
    for one, two in zip(together, single, strict=True):
        assert one.value == (None if two.value is None else pytest.approx(two.value, abs=1e-4))
    history_tokens = len(model.codec.prefix(HISTORY))
    assert apart - spent >= 3 * (history_tokens - 40)  # four queries read the same history, once
    assert together[-1].tokens == 0
    assert together[0].tokens > 0
    assert together[-1].observation == together[0].observation


async def test_async_answers_are_the_same_and_leave_the_loop_free(tiny: Engine) -> None:
    model = TrainedWorldModel(tiny, max_new_tokens=16)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticker = asyncio.create_task(tick())
    found = await model.apredict(queries())
    surprises = await model.asurprise(queries(), [Outcome("Nothing happens.")] * 3)
    ticker.cancel()
    assert [p.observation for p in found] == [p.observation for p in model.predict(queries())]
    assert surprises == pytest.approx(model.surprise(queries(), [Outcome("Nothing happens.")] * 3), rel=1e-3)
    assert ticks > 1


def test_what_the_text_makes_likely_is_less_surprising(engine: Engine) -> None:
    model = TrainedWorldModel(engine)
    history = HISTORY
    for _ in range(2):
        history = history.then(Action.command("look"), "Nothing happens.")
    asked = queries(history, ["look"] * 2)
    likely, unlikely = model.surprise(
        asked, [Outcome("Nothing happens."), Outcome("Purple elephants negotiate quietly.")]
    )
    assert likely is not None
    assert unlikely is not None
    assert 0 < likely < unlikely


def test_hidden_state_reaches_the_model_in_privileged_context_only(tiny: Engine) -> None:
    hidden = HISTORY.model_copy(update={"hidden_state": "mug 1 is in drawer 1"})
    agent, privileged = (
        TrainedWorldModel(tiny, value="blind"),
        TrainedWorldModel(tiny, value="blind", context="privileged"),
    )
    [plain], [stripped] = agent.predict(queries(commands=["look"])), agent.predict(queries(hidden, ["look"]))
    assert stripped.value == pytest.approx(plain.value)
    [told] = privileged.predict(queries(hidden, ["look"]))
    assert told.value != pytest.approx(plain.value, abs=1e-9)
    [refused] = privileged.predict(queries(commands=["look"]))
    assert refused.error is not None
    assert "hidden state" in refused.error


def test_an_answer_without_end_is_an_error_with_its_tokens(tiny: Engine) -> None:
    [prediction] = TrainedWorldModel(tiny, max_new_tokens=4).predict(queries(commands=["look"]))
    assert prediction.error is not None
    assert "no end after 4 tokens" in prediction.error
    assert (prediction.tokens, prediction.observation, prediction.value) == (4, None, None)


def test_a_history_that_is_too_long_fails_alone(tiny: Engine) -> None:
    long = HISTORY
    for index in range(60):
        long = long.then(Action.command(f"go to drawer {index}"), "You arrive. It is closed.")
    model = TrainedWorldModel(tiny, value="blind")
    first, second = model.predict([*queries(long, ["look"]), *queries(commands=["look"])])
    assert first.error is not None
    assert "62 steps" in first.error
    assert "512" in first.error
    assert second.value is not None
    asked = [*queries(long, ["look"]), *queries(commands=["look"])]
    scored = model.surprise(asked, [Outcome("x"), Outcome("y")])
    assert scored[0] is None
    assert scored[1] is not None


def test_no_queries_no_predictions(tiny: Engine) -> None:
    assert TrainedWorldModel(tiny).predict([]) == []
    assert TrainedWorldModel(tiny).surprise([], []) == []


def test_wrong_settings_are_refused(tiny: Engine) -> None:
    with pytest.raises(ValueError, match="'agent' or 'privileged'"):
        TrainedWorldModel(tiny, context="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="imagined"):
        TrainedWorldModel(tiny, value="seen")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_new_tokens"):
        TrainedWorldModel(tiny, max_new_tokens=0)
    with pytest.raises(ValueError, match="2 queries need"):
        TrainedWorldModel(tiny).surprise(queries(commands=["a", "b"]), [Outcome("x")])


HOUSEHOLD = [
    (Outcome("You arrive at drawer 1. The drawer 1 is closed.", reward=0.0, done=False), 0.5),
    (Outcome("You open the drawer 1. In it, you see a mug 1.", reward=0.0, done=False), 0.7),
    (Outcome("You pick up the mug 1 from the drawer 1.", reward=0.0, done=False), 0.9),
    (Outcome("You cool the mug 1 using the fridge 1.", success=True, reward=1.0, done=True), 1.0),
]
LABORATORY = [
    (Outcome("You open the door.", reward=0.08, done=False), 0.5),
    (Outcome("Nothing happens.", reward=0.0, done=False), 0.4),
    (Outcome("The acid burns.", reward=-1.0, done=False), 0.2),
    (Outcome("The seed is gone.", reward=-0.25, done=True), 0.0),
]
SOLD = [(Outcome("Thank you.", success=True, reward=0.35, done=True), 0.4)]
LOST = [(Outcome("You are lost.", reward=0.0, done=True), 0.0)]


def episode(steps: Sequence[tuple[Outcome, float]]) -> Trajectory:
    transitions = [
        Transition(
            action=Action.command(f"do {index}"),
            observation=outcome.observation,
            reward=outcome.reward,
            done=outcome.done,
            labels={"return_to_go": value},
        )
        for index, (outcome, value) in enumerate(steps)
    ]
    return Trajectory(task=TASK, transitions=tuple(transitions))


def train(model: Any, codec: WorldModelCodec, trajectory: Trajectory, steps: int) -> None:
    """Fit a model to one example of the codec, branches and all."""
    everything = range(len(trajectory.transitions))
    example = codec.example(trajectory, returns=everything, blind_returns=everything)
    branch = torch.tensor(example.branch)
    causal = torch.ones(len(branch), len(branch), dtype=torch.bool).tril()
    mask = (causal & ((branch[None] == 0) | (branch[None] == branch[:, None])))[None, None]
    labels = torch.tensor(example.labels)
    where = (labels != -100).nonzero()[:, 0]
    model.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        hidden = model.model(
            input_ids=torch.tensor([example.ids]),
            position_ids=torch.tensor([example.positions]),
            attention_mask=mask,
        ).last_hidden_state[0, where]
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden), labels[where])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.requires_grad_(False)


@pytest.mark.parametrize(
    "steps", [HOUSEHOLD, LABORATORY, SOLD, LOST], ids=["household", "laboratory", "sold", "lost"]
)
def test_what_the_codec_teaches_is_what_the_world_model_reads(
    base: Base, steps: list[tuple[Outcome, float]]
) -> None:
    """A tiny model that learned one episode by heart answers it exactly: both sides speak alike."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(base.tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    trajectory = episode(steps)
    train(model, WorldModelCodec(ChatCodec(base.tokenizer)), trajectory, steps=90)
    with Engine(Base(model.eval(), base.tokenizer, fingerprint(model), "learned")) as learned:
        asked = [
            Query(history=trajectory.history(index), action=step.action)
            for index, step in enumerate(trajectory.transitions)
        ]
        world, blind = TrainedWorldModel(learned), TrainedWorldModel(learned, value="blind")
        for prediction, unimagined, (real, value) in zip(
            world.predict(asked), blind.predict(asked), steps, strict=True
        ):
            assert (prediction.observation, prediction.success) == (real.observation, real.success)
            assert prediction.done is (True if real.done else None)
            assert prediction.reward == (real.reward or None), "a plain observation claims no reward of 0"
            assert prediction.value == pytest.approx(return_level(value) / 9, abs=0.1)
            assert unimagined.value == pytest.approx(return_level(value) / 9, abs=0.1)
            assert (prediction.confidence or 0) > 0.6
        right = world.surprise(asked, [real for real, _ in steps])
        flipped = world.surprise(asked, [real._replace(success=not real.success) for real, _ in steps])
        assert all(
            r is not None and f is not None and r < 0.5 and r < f for r, f in zip(right, flipped, strict=True)
        )
