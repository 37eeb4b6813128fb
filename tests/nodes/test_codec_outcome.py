"""What a step led to, written and read back."""

from __future__ import annotations

import itertools
import math

import pytest

from dyna_nodes.codec import ChatCodec, Example, Outcome, WorldModelCodec
from dyna_nodes.codec.objectives import objective_example
from dyna_nodes.codec.outcome import answer_text, parse_answer, rounded
from dyna_nodes.local.base import load_tokenizer
from dyna_nodes.nouns import Action, Trajectory, Transition

OBSERVATIONS = [
    "You see a mug 1.",
    "",
    "  Line one.\nLine two.\n",
    "[SUCCESS]",
    "It says [SUCCESS]",
    "It says [END]",
    "It says [REWARD 3]",
    "It says [REWARD 3] [SUCCESS]",
    "It says [END] [SUCCESS] [REWARD 0.5] [END]",
    "[REWARD much]",
    "[REWARD nan]",
    "[REWARD ]",
    "] [REWARD",
    "é 你好]",
]
REWARDS = [
    None,
    0.0,
    1.0,
    0.35,
    -1.0,
    20.0,
    1 / 3,
    -0.0004,
    0.0004,
    1234.5678,
    1e9,
    1e300,
    math.nan,
    -math.inf,
]


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Outcome("Ok."), "Ok."),
        (Outcome("Ok.", reward=0.0, done=False), "Ok."),
        (Outcome("Ok.", success=True), "Ok. [SUCCESS]"),
        (Outcome("Ok.", success=True, reward=1.0, done=True), "Ok. [SUCCESS]"),
        (Outcome("Ok.", success=True, reward=0.35, done=True), "Ok. [REWARD 0.35] [SUCCESS]"),
        (Outcome("Ok.", reward=1.0, done=False), "Ok. [REWARD 1]"),
        (Outcome("Ok.", reward=1 / 3), "Ok. [REWARD 0.333]"),
        (Outcome("Ok.", reward=0.0, done=True), "Ok. [END]"),
        (Outcome("Ok.", done=True), "Ok. [END]"),
        (Outcome("Ok.", reward=-10.0, done=True), "Ok. [REWARD -10] [END]"),
        (Outcome("Ok.", success=True, reward=0.0004, done=True), "Ok. [REWARD 0.001] [SUCCESS]"),
        (Outcome("Ok.", reward=-0.0004), "Ok."),
        (Outcome("Ok.", reward=1234567.125), "Ok. [REWARD 1234567.125]"),
        (Outcome("It says [SUCCESS]", reward=0.0), "It says [SUCCESS] [REWARD 0]"),
    ],
)
def test_what_observation_and_success_say_is_not_written_again(outcome: Outcome, text: str) -> None:
    assert answer_text(outcome) == text


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("Ok. [REWARD -1] [SUCCESS]", Outcome("Ok.", success=True, reward=1.0, done=True)),
        ("Ok. [REWARD 0.5] [END]", Outcome("Ok.", done=True)),
        ("Ok. [REWARD 0.5]", Outcome("Ok.", reward=0.5)),
        ("Ok. [REWARD 1_0]", Outcome("Ok. [REWARD 1_0]")),
        ("Ok. [REWARD 1e3]", Outcome("Ok. [REWARD 1e3]")),
    ],
)
def test_the_flag_counts_where_a_reward_contradicts_it(text: str, outcome: Outcome) -> None:
    assert parse_answer(text) == outcome


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_what_is_written_reads_back(observation: str) -> None:
    """Unwritten are only a reward of 0 and an episode that goes on, which a plain observation stands for."""
    for reward, success, done in itertools.product(REWARDS, [False, True], [None, False, True]):
        known = reward if reward is not None and math.isfinite(reward) else float(success)
        if (success or done) and success != (known > 0):
            continue  # no step is recorded so
        text = answer_text(Outcome(observation, success, reward, done))
        read = parse_answer(text)
        assert read.observation == observation.strip()
        assert read.success is success
        assert bool(read.done) is bool(success or done)
        assert (read.reward or 0.0) == (max(rounded(known), 0.001) if success else rounded(known))
        assert parse_answer(f" {answer_text(read)}\n") == read


@pytest.mark.parametrize(
    "text",
    ["Ok. [REWARD abc]", "Ok. [REWARD nan]", "Ok. [REWARD -inf]", "Ok. [REWARD 1e999]", "Ok. [REWARD 1] !"],
)
def test_what_is_no_reward_is_observation(text: str) -> None:
    assert parse_answer(text) == Outcome(text)
    assert parse_answer(f"{text} [END]") == Outcome(text, done=True)


def test_a_step_at_which_an_episode_is_cut_off_does_not_end_it() -> None:
    step = Transition(action=Action.command("look"), observation="Ok.", reward=0.5, done=True)
    assert Outcome.of(step) == Outcome("Ok.", True, 0.5, True)
    cut_off = step.model_copy(update={"labels": {"truncated": 1.0}})
    assert answer_text(Outcome.of(cut_off)) == "Ok. [REWARD 0.5]"


STEPS = [
    ("open door", "You open the door.", 0.08, False),
    ("dance", "Nothing happens.", 0.0, False),
    ("look", "It says: [7]", -1.0, False),
    ("pour acid", "The seed is gone.", 0.0, True),
    ("wait", "", -1.0, False),
]
ANSWERS = [
    "You open the door. [REWARD 0.08]",
    "Nothing happens.",
    "It says: [7] [REWARD -1]",
    "The seed is gone. [END]",
    " [REWARD -1]",
]


@pytest.fixture(scope="module")
def world() -> WorldModelCodec:
    return WorldModelCodec(ChatCodec(load_tokenizer("smollm2").tokenizer))


@pytest.fixture
def trajectory() -> Trajectory:
    return Trajectory(
        task="Grow a plant.",
        transitions=tuple(
            Transition(
                action=Action.command(command),
                thought="Hm.",
                observation=observation,
                reward=reward,
                done=done,
                labels={"return_to_go": 0.5},
            )
            for command, observation, reward, done in STEPS
        ),
    )


def seen(example: Example, place: int) -> list[int]:
    """Return the ids that the model reads up to a place of the row."""
    mine = (0, example.branch[place])
    return [example.ids[i] for i in range(place + 1) if example.branch[i] in mine]


def test_reward_and_end_are_learned_after_the_observation_and_no_history_tells_them(
    world: WorldModelCodec, trajectory: Trajectory
) -> None:
    """Every target is learned after exactly what is read at inference, with a real tokenizer."""
    example = world.example(trajectory, returns=[0, 1])
    places = [i for i, label in enumerate(example.labels) if label != -100]
    learned = [(seen(example, i), example.labels[i]) for i in places]
    wanted = []
    for index, step in enumerate(trajectory.transitions):
        asked = [*world.prefix(trajectory.history(index)), *world.question(step.action)]
        answer = [*world.chat.text(ANSWERS[index]), world.chat.end_id]
        assert world.answer(Outcome.of(step)) == answer
        wanted += [([*asked, *answer[:i]], answer[i]) for i in range(len(answer))]
        if index < 2:
            wanted.append(([*asked, *answer[:-1], *world.return_suffix], world.level_ids[4]))
    assert sorted(learned) == sorted(wanted)


def test_next_state_of_ddt_is_observation_reward_and_end(
    world: WorldModelCodec, trajectory: Trajectory
) -> None:
    steps = tuple(step.model_copy(update={"labels": {}}) for step in trajectory.transitions)
    example = objective_example(world.chat, trajectory.model_copy(update={"transitions": steps}))
    text = world.chat.tokenizer.decode([label for label in example.labels if label != -100])
    assert text == "".join(f"{answer}<|im_end|>" for answer in ANSWERS)
