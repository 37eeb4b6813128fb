"""TextWorld's games, played in ways that are not the straight one."""

from __future__ import annotations

import subprocess
import sys

from dyna_training.environments.textworld import GameSpec, TextWorldEnv, game_file
from tests.training.environments.textworld_games import GAMES, needs_textworld

COOKING = GAMES[-1]


@needs_textworld
def test_whoever_names_a_door_goes_through_it() -> None:
    """Of ``go gateway`` the interpreter does not report the direction."""
    env = TextWorldEnv(games=["treasure_hunter/level=17/17"])
    env.reset(seed=0)
    other = env.fork()
    assert env.step("go gateway")[0] == other.step("go east")[0]
    assert env.admissible() == other.admissible()
    assert env.hidden_state() == other.hidden_state()


@needs_textworld
def test_a_meal_that_was_put_down_is_eaten_all_the_same() -> None:
    env = TextWorldEnv(games=[COOKING])
    env.reset(seed=0)
    expert = env.expert()
    put_down = won = False
    for _ in range(40):
        action = "drop meal" if "drop meal" in env.admissible() and not put_down else expert.decide().action
        put_down |= action == "drop meal"
        observation, _, won, _, _ = env.step(action)
        expert.observe(action, observation)
        if won:
            break
    assert put_down
    assert won


AT_ONCE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from dyna_training.environments.textworld import TextWorldEnv

def admissible(game):
    env = TextWorldEnv(games=[game])
    env.reset(seed=0)
    return env.admissible()

with ThreadPoolExecutor() as threads:
    print(list(threads.map(admissible, sys.argv[1:])))
"""


@needs_textworld
def test_threads_open_games_at_once() -> None:
    """As the episodes of a policy do: TextWorld's parser, which reads them all, is not made for that."""
    for game in GAMES:
        game_file(GameSpec.parse(game))
    # In a process of its own, where nothing has been read yet.
    run = subprocess.run([sys.executable, "-c", AT_ONCE, *GAMES], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr[-2000:]
    expected = []
    for game in GAMES:
        env = TextWorldEnv(games=[game])
        env.reset(seed=0)
        expected.append(env.admissible())
    assert run.stdout.strip() == str(expected)
