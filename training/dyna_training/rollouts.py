"""One episode, recorded with everything that training needs: thoughts, outcomes and labels."""

from __future__ import annotations

import functools
import random
from importlib.metadata import version
from typing import Final

from dyna_nodes.codec.world_model import DISCOUNT
from dyna_nodes.nouns import Action, Counterfactual, Provenance, Trajectory, Transition, digest_of
from dyna_training.behaviours import Behaviour, BehaviourName, Mixed, other_commands
from dyna_training.environments.alfworld.env import AlfworldEnv, GameLike
from dyna_training.environments.alfworld.experts import SearchingExpert
from dyna_training.environments.base import Expert, ForkableEnv
from dyna_training.teachers.grounded import GroundedTeacher

ENVIRONMENT: Final = "dyna/ALFWorld-v0"
LABEL_HORIZON: Final = 50
"""Steps that the expert gets to finish the task when a return-to-go is labelled."""


def return_to_go(env: ForkableEnv, expert: Expert, *, solved: bool) -> float:
    """Label the state of ``env``: ``DISCOUNT ** n`` where the expert, given only the history, needs n more
    steps.

    Args:
        env: The environment; it is forked, not stepped.
        expert: The expert with the history so far; it is forked too.
        solved: Whether the task is done already.

    Returns:
        A value in [0, 1]; 1 when the task is done, 0 when the expert does not manage in `LABEL_HORIZON`
        steps.
    """
    if solved:
        return 1.0
    env, expert = env.fork(), expert.fork()
    for n in range(1, LABEL_HORIZON + 1):
        command = expert.decide().action
        observation, reward, terminated, _, _ = env.step(command)
        if terminated:
            return float(DISCOUNT**n) if float(reward) > 0 else 0.0
        expert.observe(command, observation)
    return 0.0


def counterfactual(env: ForkableEnv, expert: SearchingExpert, command: str) -> Counterfactual:
    """Try ``command`` in a fork of ``env`` and label where it led; ``expert`` has the history so far."""
    env, expert = env.fork(), expert.fork()
    observation, reward, won, _, _ = env.step(command)
    expert.observe(command, observation)
    return Counterfactual(
        action=Action.command(command),
        observation=observation,
        reward=float(reward),
        done=won,
        labels={"return_to_go": return_to_go(env, expert, solved=won)},
    )


def player_of(name: BehaviourName, rng: random.Random, max_steps: int = 50) -> Behaviour:
    """Return the behaviour of a name, for one episode.

    Args:
        name: Which behaviour.
        rng: The episode's random generator.
        max_steps: Longest episode.
    """
    if name == "teacher" or name == "teacher-future" or name == "teacher-noisy":
        return GroundedTeacher(name, rng, max_steps)
    return Mixed(name, rng, max_steps)


def play(
    game: GameLike,
    behaviour: BehaviourName,
    *,
    seed: int,
    split: str = "",
    max_steps: int = 50,
    counterfactuals: int = 0,
) -> Trajectory:
    """Play one episode of a game.

    Args:
        game: The game, or the path of its file.
        behaviour: Who plays.
        seed: Seeds everything random in the episode.
        split: Name of the split, for the record.
        max_steps: Longest episode.
        counterfactuals: At most so many other commands are tried in forks before each step; they change
            nothing about the episode.

    Raises:
        GameFileError: The game file is missing or corrupt.
    """
    env = AlfworldEnv(games=[game], max_steps=max_steps, admissible_actions=False)
    observation, info = env.reset(seed=seed)
    rng = random.Random(digest_of(seed, info["game_id"].rpartition("/")[2], behaviour))
    expert = env.expert()
    player = player_of(behaviour, rng, max_steps)
    other_rng = random.Random(digest_of(seed, info["game_id"].rpartition("/")[2], behaviour, "forks"))
    trajectory = Trajectory(
        id=episode_id(info["game_id"], behaviour, seed),
        task=observation,
        hidden_state=env.hidden_state(),
        provenance=provenance(info["game_id"], behaviour, seed, split),
    )
    transitions: list[Transition] = []
    won = False
    for index in range(player.max_steps):
        choice = player.choose(env, expert)
        others = other_commands(env, expert, other_rng, choice.command, counterfactuals)
        tried = tuple(counterfactual(env, expert, command) for command in others)
        answer, reward, won, _, _ = env.step(choice.command)
        expert.observe(choice.command, answer)
        player.observe(choice.command, answer)
        transitions.append(
            Transition(
                id=step_id(trajectory.id, index),
                trajectory=trajectory.id,
                index=index,
                thought=choice.thought,
                action=Action.command(choice.command),
                observation=answer,
                reward=reward,
                done=won,
                labels={
                    "return_to_go": return_to_go(env, expert, solved=won),
                    "expert": float(choice.expert),
                },
                counterfactuals=tried,
                time=0.0,
            )
        )
        if won:
            break
    return trajectory.model_copy(
        update={"transitions": tuple(transitions), "outcome": "success" if won else "truncated"}
    )


def episode_id(game_id: str, policy: str, seed: int) -> str:
    """Return the id of the trajectory of an episode; the same for the same episode."""
    return digest_of(game_id, policy, seed)[:32]


def step_id(trajectory: str, index: int) -> str:
    """Return the id of a step of a recorded episode."""
    return digest_of(trajectory, index)[:32]


def provenance(game_id: str, policy: str, seed: int, split: str) -> Provenance:
    """Return where a collected episode comes from."""
    return Provenance(
        source="collect",
        policy=policy,
        environment=f"{ENVIRONMENT}:{game_id}",
        split=split,
        seed=seed,
        versions={"dyna-graph": _version()},
    )


@functools.cache
def _version() -> str:
    return version("dyna-graph")
