"""ScienceWorld: rewards, forks, hidden state, the expert, and what the package says."""

from __future__ import annotations

import random
import re

import pytest

from dyna_training.environments.scienceworld import (
    TASKS,
    GameSpec,
    variations,
)
from dyna_training.environments.scienceworld.hidden import hidden_state
from dyna_training.environments.scienceworld.play import Play, solution
from tests.training.environments.scienceworld_games import FIND, POWER, begun, needs_scienceworld


@needs_scienceworld
def test_points_sum_up_to_one_and_success_is_the_last_of_them() -> None:
    for reward, wanted in (("score", 1.0), ("success", 1.0)):
        env = begun(FIND, reward=reward)
        rewards = [env.step(action)[1] for action in solution(GameSpec.parse(FIND))]
        assert sum(rewards) == pytest.approx(wanted)
        assert rewards[-1] > 0
        assert env.play.won
        assert env.step("look around")[:3] == ("The task has ended.", 0.0, True)
    assert sum(r > 0 for r in rewards) == 1


@needs_scienceworld
def test_points_that_were_taken_back_are_not_gained_twice() -> None:
    env = begun(FIND)
    path = solution(GameSpec.parse(FIND))
    first = [env.step(action)[1] for action in path[:-1]]
    assert sum(first) > 0
    assert env.step("reset task")[1] == 0
    assert env.play.score < 100 * sum(first)
    again = [env.step(action)[1] for action in path[:-1]]
    assert sum(again) == 0
    assert sum(first) + env.step(path[-1])[1] == pytest.approx(1.0)


@needs_scienceworld
def test_a_failed_task_earns_nothing_and_ends() -> None:
    env = begun("boil/0")
    _, reward, terminated, truncated, info = env.step("focus on picture")
    assert (reward, terminated, truncated, info["lost"], info["won"]) == (0.0, True, False, True, False)
    assert info["score"] == -100
    assert env.admissible() == []


@needs_scienceworld
def test_an_episode_is_cut_off() -> None:
    env = begun(FIND, max_steps=2)
    assert env.step("look around")[2:4] == (False, False)
    assert env.step("dance")[2:4] == (False, True)


@needs_scienceworld
def test_a_question_of_what_was_meant_is_part_of_the_state() -> None:
    env = begun(FIND)
    env.step("teleport to kitchen")
    asked = env.step("open door")[0]
    assert asked.startswith("Ambiguous request")
    assert env.admissible()[:2] == ["0", "1"]
    twin = env.fork()
    assert env.step("dance")[0] != asked
    assert len(env.admissible()) > 50
    assert twin.admissible()[:2] == ["0", "1"]
    assert "already open" in twin.step("0")[0]


@needs_scienceworld
def test_listing_what_can_be_done_changes_nothing() -> None:
    """The simulator draws random numbers to name things; without care, who asks gets another future."""
    quiet, asking = begun("find-animal/4"), begun("find-animal/4")
    for action in ("teleport to greenhouse", "open bee hive", "wait", "look around", "wait", "look around"):
        for _ in range(2):
            asking.play._admissible = None
            asking.admissible()
        assert asking.step(action) == quiet.step(action)
    assert asking.admissible() == quiet.admissible()
    assert asking.hidden_state() == quiet.hidden_state()


@needs_scienceworld
def test_what_is_out_of_reach_is_not_listed() -> None:
    """The simulator lists commands about the sewer behind a drain, and knows none of them."""
    env = begun(POWER)
    env.step("teleport to kitchen")
    listed = env.play._question("valid")
    assert " sewer" in listed
    assert not [c for c in env.admissible() if "sewer" in c]


@needs_scienceworld
def test_the_hidden_state_says_where_things_are_and_what_is_wanted() -> None:
    env = begun(FIND)
    env.step("teleport to kitchen")
    env.step("open cupboard")
    state = env.hidden_state()
    assert state.startswith("at: kitchen\ngoal: ")
    assert re.search(r"^kitchen: .*fridge \(closed, on\)", state, re.MULTILINE)
    assert re.search(r"cupboard \(open\) \[", state)
    assert re.search(r"^inventory: ", state, re.MULTILINE)
    assert hidden_state(env.play) == state


@needs_scienceworld
def test_it_says_what_the_package_says() -> None:
    """The same words, in an order that does not change from run to run, and the same scores."""
    from scienceworld import ScienceWorldEnv as Original

    spec = GameSpec.parse(POWER)
    original = Original("", envStepLimit=1000)
    try:
        original.load(spec.task, spec.variation, "easy", generateGoldPath=False)
        env, rng = begun(POWER, max_steps=1000), random.Random(1)
        assert env.play.task() == " ".join(original.get_task_description().split())
        others = ["look around", "inventory", "dance", "wait1"]
        for chosen in [c for action in solution(spec) for c in (*rng.sample(others, 2), action)]:
            theirs = original.server.step(chosen)
            seen, _, over, _, info = env.step(chosen)
            assert sorted(re.findall(r"\w+", seen)) == sorted(re.findall(r"\w+", theirs)), chosen
            assert info["score"] == round(100 * original.server.getScore()), chosen
            assert over == original.server.getCompleted()
            if over:
                break
        assert env.play.won
    finally:
        original.close()


@needs_scienceworld
def test_the_variations_are_those_of_the_package() -> None:
    from scienceworld import ScienceWorldEnv as Original

    original = Original("")
    try:
        assert set(original.get_task_names()) == set(TASKS)
        for task in TASKS:
            getattr(original.server, "taskStr_$eq")(
                task
            )  # the sets are those of the task that was loaded last
            assert original.get_max_variations(task) == sum(
                len(variations(task, p)) for p in ("train", "dev", "test")
            )  # type: ignore[arg-type]
            assert original.get_variations_train() == list(variations(task, "train"))
            assert original.get_variations_dev() == list(variations(task, "dev"))
            assert original.get_variations_test() == list(variations(task, "test"))
    finally:
        original.close()


@needs_scienceworld
def test_the_expert_finds_back_from_another_room() -> None:
    env = begun(FIND)
    expert = env.expert()
    expert.observe("teleport to foundry", env.step("teleport to foundry")[0])
    assert expert.decide().thought.startswith("I left the way to the solution")
    for _ in range(20):
        decision = expert.decide()
        observation, _, over, _, info = env.step(decision.action)
        expert.observe(decision.action, observation)
        if over:
            break
    assert info["won"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@needs_scienceworld
def test_gold_paths_solve_every_task() -> None:
    """The simulator's own solutions of a variation of each task that nothing is trained on."""
    solved = {}
    for task in TASKS:
        play = Play(GameSpec.of(task, variations(task, "test")[0]))
        for action in solution(play.game):
            play.step(action)
        solved[task] = play.won
    assert all(solved.values()), [task for task, won in solved.items() if not won]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@needs_scienceworld
@pytest.mark.parametrize("task", TASKS)
def test_forks_disturb_nothing_and_a_replay_leads_to_the_same(task: str) -> None:
    """At random, with forks that are stepped beside each step; what is listed is understood."""
    for simplifications in ("easy", "none"):
        game = GameSpec.of(task, 1, simplifications)
        play, rng, commands, seen = Play(game), random.Random(task), [], ""
        while len(commands) < 15 and not play.over:
            listed = play.admissible()
            other = play.fork()
            for _ in range(2):
                other.step(rng.choice(listed))
            commands.append(rng.choice(listed))
            seen = play.step(commands[-1])
            assert not seen.startswith("No known action"), commands[-1]
        again = Play(game)
        assert [again.step(command) for command in commands][-1] == seen
        assert (again.tree(), again.admissible()) == (play.tree(), play.admissible())
