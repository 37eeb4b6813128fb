"""Any gymnasium environment as text: FrozenLake, CliffWalking, BabyAI of the package minigrid, and a text game."""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from typing import Any

import gymnasium
import pytest
from gymnasium import spaces

from dyna_nodes.nouns import Action, History, Query
from dyna_training.environments.adapted import AdaptedEnv, NotReplayed
from dyna_training.environments.base import ForkableEnv, GameFileError
from dyna_training.tools import environment_tools, make_environment, task_message
from dyna_training.world_models.environment import EnvironmentWorldModel
from tests.training.environments.conformance import Conformance

LAKE = ("left", "down", "right", "up")
CLIFF = ("up", "right", "down", "left")
AGENT = ("turn left", "turn right", "go forward", "pick up", "drop", "toggle", "done")
BABY = "BabyAI-GoToRedBallGrey-v0"
OVER_THE_LAKE = ("down", "right", "right", "down", "down", "down", "down")
"""Crosses the slippery lake of seed 0, by luck."""
TO_THE_BALL = ("turn right", "go forward", "go forward", "turn right", "go forward", "go forward")
"""What the bot of minigrid does with seed 11."""
ALONG_THE_CLIFF = ("up", *("right",) * 11, "down")


needs_minigrid = pytest.mark.skipif(find_spec("minigrid") is None, reason="needs pip install minigrid")


def make_lake(fork: Any = "replay") -> AdaptedEnv:
    """A frozen lake, slippery: what a step does is drawn with the seed."""
    return AdaptedEnv("FrozenLake-v1", actions=LAKE, fork=fork, task="Cross the lake.", render_mode="ansi")


def make_cliff() -> ForkableEnv:
    return AdaptedEnv("CliffWalking-v1", actions=CLIFF, success=arrived, fork="copy", render_mode="ansi")


def arrived(env: gymnasium.Env[Any, Any], reward: float, terminated: bool) -> bool:
    return terminated


def seen_from_above(env: gymnasium.Env[Any, Any], observation: Any) -> str:
    return f"{observation['mission']}\n{env.unwrapped.pprint_grid()}"  # type: ignore[attr-defined]


def baby(fork: Any) -> ForkableEnv:
    import minigrid  # noqa: F401 - announces its environments

    return AdaptedEnv(BABY, actions=AGENT, describe=seen_from_above, fork=fork)


def make_baby() -> ForkableEnv:
    return baby("copy")


def make_baby_replayed() -> ForkableEnv:
    return baby("replay")


class TestFrozenLake(Conformance):
    make = staticmethod(make_lake)
    episodes = ({"game": 0}, {"game": 11})
    solution = OVER_THE_LAKE
    refusals = ("That is no command",)
    steps = 300  # each fork makes the environment anew


class TestCliffWalking(Conformance):
    make = staticmethod(make_cliff)
    episodes = ({"game": 1},)
    solution = ALONG_THE_CLIFF
    refusals = ("That is no command",)


@needs_minigrid
class TestBabyAI(Conformance):
    make = staticmethod(make_baby)
    episodes = ({"game": 11}, {"game": f"{BABY}/5"})
    solution = TO_THE_BALL
    refusals = ("That is no command",)
    steps = 300


@needs_minigrid
class TestBabyAIReplayed(TestBabyAI):
    make = staticmethod(make_baby_replayed)


# ---------------------------------------------------------------------- what is seen and said


def test_what_an_environment_draws_is_its_text() -> None:
    observation, info = make_lake().reset(seed=1)
    assert observation.startswith("Cross the lake.\n\n[S]FFF\nFHFH\n")
    assert info["task"] == "Cross the lake."
    assert info["task_type"] == "FrozenLake-v1"
    assert "\x1b[41mS\x1b[0m" in begun(make_lake()).render()


def begun(env: AdaptedEnv, game: Any = 1) -> AdaptedEnv:
    env.reset(seed=0, options={"game": game})
    return env


def test_without_a_picture_python_writes_the_observation() -> None:
    env = begun(AdaptedEnv("Blackjack-v1", actions=("stick", "hit")))
    before = env.hidden_state()
    assert before.startswith("(")
    assert env.render() == before
    assert env.step("HIT ")[0] != before


def test_the_mask_says_what_is_admissible() -> None:
    commands = ("south", "north", "east", "west", "pickup", "dropoff")
    env = AdaptedEnv("Taxi-v4", actions=commands, render_mode="ansi")
    _, info = env.reset(seed=0)
    assert info["admissible_actions"] == [
        c for c, on in zip(commands, info["action_mask"], strict=True) if on
    ]
    assert 0 < len(info["admissible_actions"]) < 6


def test_what_is_no_command_never_reaches_the_environment() -> None:
    env = begun(make_lake())
    before = env.hidden_state()
    assert env.step("fly")[:4] == ("That is no command. Commands: left, down, right, up.", 0.0, False, False)
    assert env.hidden_state() == before
    assert env.fork().hidden_state() == before


def test_success_is_what_the_function_says() -> None:
    env = make_cliff()
    env.reset(seed=0)
    rewards = [env.step(command)[1:3] for command in ALONG_THE_CLIFF]
    assert rewards == [(0.0, False)] * 12 + [(1.0, True)]
    assert env.step("up")[:4] == ("The episode is over.", 0.0, True, False)
    own = begun(AdaptedEnv("CliffWalking-v1", actions=CLIFF, render_mode="ansi"))
    assert [own.step(command)[1:3] for command in ALONG_THE_CLIFF][-1] == (-1.0, True)


def test_an_episode_is_cut_off() -> None:
    env = begun(AdaptedEnv("CliffWalking-v1", actions=CLIFF, render_mode="ansi", max_steps=2))
    assert [env.step("left")[3] for _ in range(2)] == [False, True]
    assert env.step("left")[:4] == ("The episode is over.", 0.0, False, True)
    lake = begun(AdaptedEnv("FrozenLake-v1", actions=LAKE, render_mode="ansi", max_episode_steps=3))
    assert any(lake.step("up")[3] for _ in range(3))


# ---------------------------------------------------------------------- forks


class Drifting(gymnasium.Env[str, str]):
    """A text game that counts over all its instances, so that no seed makes it begin alike."""

    counter = itertools.count()
    action_space = spaces.Text(20)
    observation_space = spaces.Text(100)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return "It begins – naïvely.", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        won = action == "win"
        return ("You win." if won else f"{action}! {next(self.counter)}"), float(won), won, False, {}


def test_a_replay_that_comes_to_something_else_is_told() -> None:
    env = AdaptedEnv(Drifting)
    env.reset(seed=0)
    env.step("hello")
    with pytest.raises(
        NotReplayed, match=r"replaying Drifting gave 'hello! \d+' and not 'hello! \d+' at step 1"
    ):
        env.fork()
    copied = AdaptedEnv(Drifting, fork="copy")
    copied.reset(seed=0)
    copied.step("hello")
    assert copied.fork().hidden_state() == copied.hidden_state()


# ---------------------------------------------------------------------- text games and tools


@pytest.fixture
def text_game() -> Any:
    gymnasium.register("tests/Drifting-v0", entry_point=f"{__name__}:Drifting", disable_env_checker=True)
    yield "tests/Drifting-v0"
    del gymnasium.registry["tests/Drifting-v0"]


def test_an_environment_with_text_spaces_needs_no_names(text_game: str) -> None:
    env = make_environment(text_game)
    assert isinstance(env, AdaptedEnv)
    observation, info = env.reset(seed=0)
    assert observation == "It begins - naively."
    assert info["admissible_actions"] == env.admissible() == []
    assert env.step("hello")[0].startswith("hello! ")
    assert env.step("x" * 100_000)[0].startswith("That is no command: commands are texts of Text(1, 20")
    assert env.step("win")[:3] == ("You win.", 1.0, True)
    [act] = environment_tools(text_game)
    assert task_message(act, seed=0).content == "It begins - naively."


def test_an_agent_plays_with_the_tool_and_the_environment_foretells() -> None:
    [act] = environment_tools(make_cliff)
    message = task_message(act, seed=0)
    config: Any = {"configurable": {"thread_id": "1", "episode": message.additional_kwargs["episode"]}}
    history = History(task=str(message.content))
    for command in ALONG_THE_CLIFF[:-1]:
        history = history.then(Action.command(command), act.invoke({"command": command}, config))
    [end, other] = EnvironmentWorldModel([act]).predict(
        [Query(history=history, action=Action.command(c), session="1") for c in ("down", "left")]
    )
    assert (end.done, end.success) == (True, True)
    assert (other.done, other.observation != end.observation) == (False, True)
    assert act.invoke({"command": "down"}, config) == end.observation


# ---------------------------------------------------------------------- what cannot be


def test_actions_need_names() -> None:
    with pytest.raises(ValueError, match=r"actions of FrozenLake-v1 are Discrete\(4\): give them names"):
        AdaptedEnv("FrozenLake-v1")
    with pytest.raises(ValueError, match="FrozenLake-v1 has 4 actions, and 3 different names are given"):
        AdaptedEnv("FrozenLake-v1", actions=("left", "right", "up"))
    with pytest.raises(ValueError, match="'öffne' is no name in printable ASCII"):
        AdaptedEnv("FrozenLake-v1", actions=("öffne", "b", "c", "d"))
    with pytest.raises(ValueError, match="'jump' is no name in printable ASCII of an action of Discrete"):
        AdaptedEnv("FrozenLake-v1", actions={"jump": 9})
    with pytest.raises(ValueError, match="has no order: give a mapping"):
        AdaptedEnv("Pendulum-v1", actions=("left", "right"))
    with pytest.raises(
        TypeError, match=r"no fork\(\). Give its actions names: environment_tools\(lambda: AdaptedEnv"
    ):
        make_environment("FrozenLake-v1")


def test_arguments_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="settings for an id"):
        AdaptedEnv(Drifting, render_mode="ansi")
    with pytest.raises(ValueError, match="fork must be"):
        AdaptedEnv(Drifting, fork="clone")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_steps"):
        AdaptedEnv(Drifting, max_steps=0)
    with pytest.raises(GameFileError, match="a game of FrozenLake-v1 is a seed, such as 7, not 'first'"):
        begun(make_lake(), "first")
