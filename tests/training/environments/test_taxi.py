"""Taxi: the rules are gymnasium's, step by step; rewards, the expert, splits, and names that are none."""

from __future__ import annotations

import itertools
import random

import gymnasium
import pytest

from dyna_training.environments.base import ForkableEnv, GameFileError
from dyna_training.environments.catalogue import TAXI
from dyna_training.environments.taxi import COMMANDS, SPLITS, Scene, TaxiEnv, games
from dyna_training.environments.taxi.rules import rules
from dyna_training.environments.taxi.splits import scene_of
from dyna_training.environments.taxi.state import TaxiBoard
from dyna_training.rollouts import play
from tests.training.environments.conformance import Conformance

NAMES = ("R-G/2,3", "Y-B/0,0", "B-G/4,4", "G-R/4,3")


def make_taxi() -> ForkableEnv:
    return TaxiEnv(games=NAMES, max_steps=100)


class TestTaxi(Conformance):
    make = staticmethod(make_taxi)
    steps = 10_000
    episodes = tuple({"game": game} for game in NAMES)
    refusals = ("There is a wall", "There is no passenger", "Nobody can be", "That is no command")


def state_of(env: TaxiEnv) -> int:
    assert isinstance(env.board, TaxiBoard)
    return env.board.state


def test_every_step_is_gymnasiums() -> None:
    """Random rides beside gymnasium's own Taxi: states, rewards, ends and what is admissible."""
    original = gymnasium.make("Taxi-v4").unwrapped
    rng, delivered = random.Random(0), 0
    for name in games("train")[:60]:
        env = TaxiEnv(games=[name], reward="gymnasium", max_steps=1000)
        _, info = env.reset(seed=0)
        original.reset(seed=0)
        original.s = scene_of(name).state  # type: ignore[attr-defined]
        for _ in range(60):
            mask = original.action_mask(original.s)  # type: ignore[attr-defined]
            assert info["admissible_actions"] == [c for c, on in zip(COMMANDS, mask, strict=True) if on]
            # Half of the time towards the end, so that some rides end.
            best = rules().best[state_of(env)]
            action = best if rng.random() < 0.5 else rng.randrange(len(COMMANDS))
            _, reward, terminated, _, info = env.step(COMMANDS[action])
            state, expected, over, _, _ = original.step(action)
            assert (state_of(env), reward, terminated) == (state, expected, over)
            if terminated:
                delivered += 1
                break
    assert delivered > 30


def test_scenes_are_gymnasiums_states() -> None:
    original = gymnasium.make("Taxi-v4").unwrapped
    for state in range(500):
        scene = Scene.of(state)
        assert tuple(original.decode(state)) == (  # type: ignore[attr-defined]
            scene.row,
            scene.column,
            scene.passenger,
            scene.destination,
        )
        assert scene.state == state
    assert len(set(rules().texts)) == 500, "an observation says the whole state"


def test_rewards() -> None:
    for reward, expected in (
        ("success", [0.0] * 7 + [1.0]),
        ("gymnasium", [-10, -1, -10, -1, -1, -1, -1, 20]),
    ):
        env = TaxiEnv(games=["R-Y/0,0"], reward=reward)  # type: ignore[arg-type]
        env.reset(seed=0)
        gained = [
            env.step(command)[1] for command in ("dropoff", "pickup", "what?", *["south"] * 4, "dropoff")
        ]
        assert gained == expected
        assert env.step("north")[:3] == ("The game is won and over.", 0.0, True)


def test_what_cannot_be_is_said() -> None:
    env = TaxiEnv(games=["R-Y/2,2"], max_steps=4)
    env.reset(seed=0)
    assert env.step("pickup")[0].startswith("There is no passenger to pick up here.\n+---")
    assert env.step(" DropOff ")[0].startswith("Nobody can be dropped off here.\n+---")
    assert env.step("pick up the passenger")[0].startswith("That is no command. Commands: south, north")
    assert env.step("west")[3]
    env.reset(seed=0, options={"game": "R-Y/0,0"})
    assert env.step("west")[0].startswith("There is a wall.\n+---")


def test_a_passenger_can_be_left_at_another_place_and_fetched_again() -> None:
    env = TaxiEnv(games=["R-G/0,0"])
    env.reset(seed=0)
    env.step("pickup")
    for _ in range(4):
        env.step("south")
    observation, reward, terminated, _, _ = env.step("dropoff")
    assert (reward, terminated) == (0.0, False)
    assert "The passenger waits at Y and wants to go to G." in observation
    assert "pickup" in env.admissible()


def test_the_expert_drives_shortest_ways() -> None:
    """Value iteration over gymnasium's table of transitions says how many commands every ride takes at least."""
    from gymnasium.envs.toy_text.taxi import TaxiEnv as Original

    table = Original().P
    left = dict.fromkeys(range(500), 1000)
    for _ in range(40):
        for state, actions in table.items():
            following = [(1 if over else 1 + left[after]) for [(_, after, _, over)] in actions.values()]
            left[state] = min(left[state], *following)
    for name in itertools.chain.from_iterable(games(split) for split in SPLITS):
        env = TaxiEnv(games=[name])
        env.reset(seed=0)
        expert = env.expert()
        steps, terminated = 0, False
        while not terminated:
            decision = expert.decide()
            observation, _, terminated, truncated, _ = env.step(decision.action)
            expert.observe(decision.action, observation)
            assert not truncated, name
            steps += 1
        assert steps == left[scene_of(name).state], name


def test_splits() -> None:
    rides = {split: set(games(split)) for split in SPLITS}
    assert [len(games(split)) for split in SPLITS] == [145, 40, 40, 75]
    assert len(set.union(*rides.values())) == 300
    routes = {split: {name.partition("/")[0] for name in names} for split, names in rides.items()}
    assert routes["unseen_route"].isdisjoint(routes["train"] | routes["dev"] | routes["test"])
    for end in (0, 2):
        assert {r[end] for r in routes["train"]} == set("RGYB")
    with pytest.raises(ValueError, match="unknown split 'larger'; there are train"):
        games("larger")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["R-R/0,0", "R-G/5,0", "R-G", "r-g/0,0", "", "R-G/0,0,0"])
def test_a_name_that_is_none_is_explained(name: str) -> None:
    with pytest.raises(GameFileError, match="is no name of a ride; names are such as R-G/2,3"):
        TaxiEnv(games=[name])


def test_arguments_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="reward must be 'success' or 'gymnasium'"):
        TaxiEnv(reward="score")  # type: ignore[arg-type]


def test_episodes_are_recorded() -> None:
    trajectory = play("R-G/2,3", "noisy", seed=3, environment=TAXI, counterfactuals=1)
    assert trajectory.provenance.environment == "dyna/Taxi-v0:R-G/2,3"
    assert "commands to the end: " in (trajectory.hidden_state or "")
