import random
from pathlib import Path

import gymnasium
import pytest

import dyna_training.environments as environments
from dyna_training.environments import ForkableEnv
from dyna_training.environments.alfworld import AlfworldEnv, Game, GameFileError
from dyna_training.environments.alfworld.generator import generate, write


@pytest.fixture(scope="module")
def games() -> list[Game]:
    return [generate(seed) for seed in range(8)]


def test_gymnasium_makes_it(games: list[Game]) -> None:
    environments.register()
    env = gymnasium.make("dyna/ALFWorld-v0", games=games)
    assert isinstance(env.unwrapped, ForkableEnv)
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert set(info) == {"task", "task_type", "game_id", "won", "admissible_actions"}
    for command in info["admissible_actions"]:
        assert env.action_space.contains(command)


def test_the_walkthrough_earns_the_reward(games: list[Game]) -> None:
    env = AlfworldEnv(games=games)
    for game in games:
        env.reset(options={"game": game})
        for index, command in enumerate(game.walkthrough):
            observation, reward, terminated, truncated, info = env.step(command)
            last = index == len(game.walkthrough) - 1
            assert (reward, terminated, truncated, info["won"]) == (float(last), last, False, last)
            assert env.observation_space.contains(observation)


def test_an_episode_is_cut_off(games: list[Game]) -> None:
    env = AlfworldEnv(games=games, max_steps=3)
    env.reset(seed=1)
    assert [env.step("dance")[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]


def test_a_seed_draws_the_same_games(games: list[Game]) -> None:
    def drawn(seed: int) -> list[str]:
        env = AlfworldEnv(games=games)
        first = env.reset(seed=seed)[1]["game_id"]
        return [first, *(env.reset()[1]["game_id"] for _ in range(6))]

    assert drawn(5) == drawn(5)
    assert len(set(drawn(5))) > 1


def test_reset_after_any_state_starts_afresh(games: list[Game]) -> None:
    env, generator = AlfworldEnv(games=games), random.Random(0)
    for game in games:
        first = env.reset(options={"game": game})
        for _ in range(generator.randrange(1, 30)):
            env.step(generator.choice(env.admissible()))
        assert env.reset(options={"game": game}) == first


def test_a_fork_goes_its_own_way(games: list[Game]) -> None:
    env, generator = AlfworldEnv(games=games, max_steps=1000), random.Random(0)
    env.reset(seed=0)
    for _ in range(30):
        hidden, admissible = env.hidden_state(), env.admissible()
        twin = env.fork()
        assert (twin.hidden_state(), twin.admissible()) == (hidden, admissible)
        command = generator.choice(admissible)
        for _ in range(5):
            twin.step(generator.choice(twin.admissible()))
        twin.reset(seed=3)
        assert (env.hidden_state(), env.admissible()) == (hidden, admissible)
        assert env.fork().step(command) == env.step(command)


def test_a_fork_keeps_the_count_of_steps(games: list[Game]) -> None:
    env = AlfworldEnv(games=games, max_steps=2)
    env.reset(seed=0)
    env.step("look")
    assert env.fork().step("look")[3] is True


def test_the_hidden_state_tells_what_is_where(small: Game) -> None:
    env = AlfworldEnv(games=[small])
    env.reset()
    env.step("go to desk 1")
    env.step("take mug 2 from desk 1")
    assert env.hidden_state().splitlines() == [
        "at: desk 1, and shelf 1",
        "desk 1: knife 1",
        "drawer 2 (closed): desklamp 1, and mug 1",
        "drawer 1 (closed): knife 1",
        "fridge 1 (closed): lettuce 1",
        "shelf 1: nothing",
        "sinkbasin 1: sink 1",
        "holding: mug 2",
        "cool: lettuce 1",
        "inside mug 2: pen 1",
        "together: desk 1, and shelf 1",
        "together: drawer 2, and drawer 1",
    ]


def test_admissible_actions_are_listed_only_if_wanted(games: list[Game]) -> None:
    env = AlfworldEnv(games=games, admissible_actions=False)
    assert "admissible_actions" not in env.reset(seed=0)[1]
    assert "admissible_actions" not in env.step("look")[4]
    assert env.admissible()


def test_files_are_played_too(tmp_path: Path) -> None:
    env = AlfworldEnv()
    file = write(tmp_path, 4)
    assert env.reset(options={"game": file})[1]["game_id"] == generate(4).id
    with pytest.raises(GameFileError, match="no such game file"):
        env.reset(options={"game": tmp_path / "none"})


def test_misuse_is_explained(games: list[Game]) -> None:
    env = AlfworldEnv()
    for call in (env.fork, env.hidden_state, env.admissible, lambda: env.step("look")):
        with pytest.raises(RuntimeError, match=r"Call reset\(\)"):
            call()
    with pytest.raises(ValueError, match="No game to play"):
        env.reset()
    with pytest.raises(ValueError, match="Unknown reset option 'games'"):
        env.reset(options={"games": games})
    with pytest.raises(ValueError, match="not both"):
        AlfworldEnv(split="train", games=games)
    with pytest.raises(ValueError, match="max_steps"):
        AlfworldEnv(games=games, max_steps=0)
