"""Recorded episodes: thoughts, labels and returns that are what they say."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from dyna_nodes.codec.policy import why_not_imitated
from dyna_nodes.codec.world_model import DISCOUNT
from dyna_nodes.testing import ScriptedChatModel, call, calls
from dyna_training.behaviours import RANDOM_STEPS, Mixed, invalid_command
from dyna_training.environments.alfworld import AlfworldEnv, Game, GameFileError, SearchingExpert, load_game
from dyna_training.environments.alfworld.generator import generate, write
from dyna_training.environments.alfworld.near_miss import is_goal_command
from dyna_training.environments.alfworld.task import Task
from dyna_training.recording import FURTHER, ModelPlayer, default_prompt
from dyna_training.rollouts import LABEL_HORIZON, play, return_to_go
from dyna_training.study.plays import responses
from dyna_training.tools import environment_tools

BEHAVIOURS = ("expert", "noisy", "random")


@pytest.fixture(scope="module")
def games() -> list[Game]:
    return [generate(seed) for seed in range(6)]


def replayed(game: Game, commands: list[str]) -> tuple[AlfworldEnv, SearchingExpert, bool]:
    env = AlfworldEnv(games=[game])
    observation, info = env.reset()
    expert = SearchingExpert(info["task"], observation)
    won = False
    for command in commands:
        observation, _, won, _, _ = env.step(command)
        expert.observe(command, observation)
    return env, expert, won


def test_an_episode_is_what_the_environment_says(games: list[Game]) -> None:
    for game in games:
        for behaviour in BEHAVIOURS:
            trajectory = play(game, behaviour, seed=3)  # type: ignore[arg-type]
            env = AlfworldEnv(games=[game])
            assert trajectory.task == env.reset()[0]
            assert trajectory.hidden_state == env.hidden_state()
            for step in trajectory.transitions:
                answer = env.step(step.action.text)
                assert (step.observation, step.reward, step.done) == answer[:3]
            assert trajectory.outcome == ("success" if trajectory.transitions[-1].done else "truncated")
            assert [t.index for t in trajectory.transitions] == list(range(len(trajectory.transitions)))
            assert len({t.id for t in trajectory.transitions}) == len(trajectory.transitions)


def test_the_same_seed_plays_the_same_and_another_one_does_not(games: list[Game], tmp_path: Path) -> None:
    for behaviour in BEHAVIOURS:
        one, same, other = (play(games[0], behaviour, seed=seed) for seed in (1, 1, 2))  # type: ignore[arg-type]
        assert one == same
        assert one.id != other.id
        from_file = play(write(tmp_path, 0), behaviour, seed=1)  # type: ignore[arg-type]
        assert from_file == one
    assert play(games[0], "random", seed=1).transitions != play(games[0], "random", seed=2).transitions


def test_counterfactuals_are_what_would_have_happened_and_change_nothing(games: list[Game]) -> None:
    for game, behaviour in zip(games, ("expert", "noisy", "random", "clumsy"), strict=False):
        plain = play(game, behaviour, seed=2)  # type: ignore[arg-type]
        trajectory = play(game, behaviour, seed=2, counterfactuals=3)  # type: ignore[arg-type]
        assert [t.model_copy(update={"counterfactuals": ()}) for t in trajectory.transitions] == list(
            plain.transitions
        )
        tried = 0
        commands = [t.action.text for t in trajectory.transitions]
        for index, step in enumerate(trajectory.transitions):
            assert len({step.action.text, *(o.action.text for o in step.counterfactuals)}) == 1 + len(
                step.counterfactuals
            )
            for other in step.counterfactuals if index < 6 else ():
                env, expert, _ = replayed(game, commands[:index])
                observation, reward, won, _, _ = env.step(other.action.text)
                expert.observe(other.action.text, observation)
                assert (other.observation, other.reward, other.done) == (observation, reward, won)
                assert other.labels["return_to_go"] == return_to_go(env, expert, solved=won)
                tried += 1
        assert tried > 3


def test_the_return_counts_the_steps_that_the_expert_still_needs(games: list[Game]) -> None:
    """Counted here in another way: by playing on from a replay instead of from forks."""
    for game in games[:3]:
        trajectory = play(game, "noisy", seed=0)
        commands = [t.action.text for t in trajectory.transitions]
        for index in range(0, len(commands), 3):
            env, expert, won = replayed(game, commands[: index + 1])
            needed = 0
            while not won and needed < LABEL_HORIZON:
                command = expert.decide().action
                observation, _, won, _, _ = env.step(command)
                expert.observe(command, observation)
                needed += 1
            wanted = DISCOUNT**needed if won else 0.0
            assert trajectory.transitions[index].labels["return_to_go"] == pytest.approx(wanted)
        assert trajectory.transitions[-1].labels["return_to_go"] == 1.0


def test_labelling_changes_neither_environment_nor_expert(games: list[Game]) -> None:
    env, expert, _ = replayed(games[0], ["look"])
    before = (env.hidden_state(), env.admissible(), expert.decide())
    assert 0 < return_to_go(env, expert, solved=False) < 1
    assert return_to_go(env, expert, solved=True) == 1.0
    assert (env.hidden_state(), env.admissible(), expert.decide()) == before


def test_behaviours_do_what_their_names_say(games: list[Game]) -> None:
    shares: dict[str, list[float]] = {b: [] for b in BEHAVIOURS}
    for seed in range(12):
        for behaviour in BEHAVIOURS:
            trajectory = play(games[seed % 6], behaviour, seed=seed)  # type: ignore[arg-type]
            shares[behaviour] += [t.labels["expert"] for t in trajectory.transitions]
            if behaviour == "random":
                assert len(trajectory.transitions) <= RANDOM_STEPS[1]
            for step in trajectory.transitions:
                assert bool(step.thought) == bool(step.labels["expert"])
    means = {b: sum(s) / len(s) for b, s in shares.items()}
    assert means["random"] == 0.0
    assert 0.85 < means["expert"] < 1.0
    assert 0.5 < means["noisy"] < means["expert"]


def test_who_goes_astray_does_almost_the_right_task_and_comes_back(games: list[Game]) -> None:
    near_misses = missing = 0
    for game in games:
        trajectory = play(game, "astray", seed=1)
        right = Task.parse(trajectory.task.partition("Your task is to: ")[2])
        assert trajectory.outcome == "success", "in the end the expert does what is asked for"
        for step in trajectory.transitions:
            goal = is_goal_command(right, step.action.text) and step.observation != "Nothing happens."
            near_misses += goal and not step.done
            missing += step.action.text.startswith("go to") and step.observation == "Nothing happens."
            assert not (step.labels["expert"] and step.observation == "Nothing happens.")
    assert near_misses >= 2
    assert missing >= len(games)


def test_who_goes_astray_does_not_look_around_for_ever(games: list[Game]) -> None:
    """Of the wrong object there is none: an expert that has searched everything for it only looks around."""
    env = AlfworldEnv(games=[games[0]])
    observation, info = env.reset()
    expert = SearchingExpert(info["task"], observation)
    player = Mixed("astray", random.Random(0))
    player._wrong = Task("pick_and_place_simple", "unicorn", "shelf")
    commands = []
    for _ in range(150):
        commands.append(player.choose(env, expert).command)
        answer, _, won, _, _ = env.step(commands[-1])
        expert.observe(commands[-1], answer)
        if won:
            break
    assert won, commands


def test_invalid_commands_are_invalid(games: list[Game]) -> None:
    rng = random.Random(0)
    for game in games:
        env, expert, _ = replayed(game, ["look"])
        for _ in range(30):
            assert invalid_command(env, expert, rng) not in env.admissible()
    assert Mixed("random", random.Random(1), max_steps=3).max_steps == 3


def player(policy: Any, max_steps: int = 50, **options: Any) -> ModelPlayer:
    [act] = environment_tools("dyna/ALFWorld-v0", max_steps=max_steps)
    return ModelPlayer("a model", policy, [act], max_steps, **options)


def test_a_model_plays_through_the_loop_and_is_recorded_alike(tmp_path: Path) -> None:
    file = write(tmp_path, 2)
    solution = load_game(file).walkthrough
    script = [call("act", content=f"Thought {i}.", command=c) for i, c in enumerate(solution)]
    trajectory = player(ScriptedChatModel(script=script)).play(file, seed=4, split="generated")
    assert trajectory.outcome == "success"
    assert [t.action.text for t in trajectory.transitions] == list(solution)
    assert [t.thought for t in trajectory.transitions] == [f"Thought {i}." for i in range(len(solution))]
    assert [t.done for t in trajectory.transitions] == [False] * (len(solution) - 1) + [True]
    assert trajectory.provenance.policy == "a model"
    assert trajectory.provenance.seed == 4
    env, expert, won = replayed(load_game(file), [solution[0]])
    assert trajectory.transitions[0].labels == {"return_to_go": return_to_go(env, expert, solved=won)}


def test_a_model_that_remembers_actions_is_recorded_with_its_thoughts(tmp_path: Path) -> None:
    file = write(tmp_path, 2)
    model = ScriptedChatModel(script=lambda _: call("act", content="I look.", command="look"))
    trajectory = player(model, max_steps=3, memory="actions").play(file, seed=0, split="generated")
    assert [t.thought for t in trajectory.transitions] == ["I look."] * 3
    assert [m.content for m in model.prompts[-1] if m.type == "ai"] == ["", ""]


def test_the_thinking_of_a_response_with_several_actions_is_learned_and_counted_once(tmp_path: Path) -> None:
    look, again = ("act", {"command": "look"}, None), ("act", {"command": "inventory"}, None)
    script = [
        calls(look, again, look, content="I look twice."),
        calls(("fly", {}, None), again, content="I fly."),
        call("act", command="look", content="I look twice."),
        "Enough.",
    ]
    trajectory = player(ScriptedChatModel(script=script)).play(write(tmp_path, 2), seed=0, split="generated")
    steps = trajectory.transitions
    assert [t.action.text for t in steps] == ["look", "inventory", "look", "inventory", "look"]
    assert [t.labels.get(FURTHER) for t in steps] == [None, 1.0, 1.0, None, None]
    assert [bool(why_not_imitated(t)) for t in steps] == [False, True, True, False, False]
    assert list(responses(trajectory)) == [
        "I look twice.\n> look",
        "> inventory",
        "> look",
        "I fly.\n> inventory",
        "I look twice.\n> look",
    ]


def test_a_model_that_gives_up_or_says_nonsense_is_recorded_as_far_as_it_came(tmp_path: Path) -> None:
    file = write(tmp_path, 2)
    giving_up = player(ScriptedChatModel(script=[call("act", command="look"), "I give up."]))
    trajectory = giving_up.play(file, seed=0, split="generated")
    assert (trajectory.outcome, len(trajectory.transitions)) == ("failure", 1)
    assert len(giving_up.tools[0].sessions) == 0
    wrong = calls(("fly", {}, None), ("act", {"command": 5}, None))
    confused = player(ScriptedChatModel(script=[wrong, call("act", command="look"), "", "Enough."]))
    trajectory = confused.play(file, seed=0, split="generated")
    assert [t.action.text for t in trajectory.transitions] == ["look"]
    endless = player(ScriptedChatModel(script=lambda _: call("act", command="look")), max_steps=3)
    trajectory = endless.play(file, seed=0, split="generated")
    assert (trajectory.outcome, len(trajectory.transitions)) == ("truncated", 3)
    with pytest.raises(GameFileError):
        endless.play(tmp_path / "none" / "game.tw-pddl", seed=0, split="generated")


class Seeded(ScriptedChatModel):
    """A model that samples from a seed."""

    seed: int | None = None

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        seeds.append(self.seed)
        return super()._generate(*args, **kwargs)


seeds: list[int | None] = []


def test_a_model_that_samples_gets_the_seed_of_the_episode(tmp_path: Path) -> None:
    file = write(tmp_path, 2)
    playing = player(Seeded(script=lambda _: "Nothing to do."))
    for seed in (1, 1, 2):
        playing.play(file, seed=seed, split="generated")
    assert seeds[0] == seeds[1] is not None
    assert seeds[0] != seeds[2]


def test_a_local_adapter_is_told_what_it_was_trained_with() -> None:
    from dyna_nodes.codec.policy import POLICY_PROMPT

    assert default_prompt("local:smollm2+alfworld-policy") == POLICY_PROMPT
    assert "go to (receptacle)" in default_prompt("openai:gpt-5-mini")
