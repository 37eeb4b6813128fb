"""One episode, recorded with everything that training needs: thoughts, outcomes and labels."""

from __future__ import annotations

import functools
import random
from importlib.metadata import version
from typing import Any, Final

from dyna_nodes.codec.actions import parse_action
from dyna_nodes.codec.world_model import DISCOUNT
from dyna_nodes.nouns import Action, Counterfactual, Provenance, Trajectory, Transition, digest_of
from dyna_training.behaviours import Behaviour, BehaviourName, Mixed, other_commands
from dyna_training.environments.alfworld.experts import SearchingExpert
from dyna_training.environments.base import Expert, ForkableEnv
from dyna_training.environments.catalogue import ALFWORLD, catalogue
from dyna_training.sessions import solves
from dyna_training.teachers.forking import ForkingTeacher
from dyna_training.teachers.grounded import GroundedTeacher

ENVIRONMENT: Final = ALFWORLD
"""The environment of games that say no other."""
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
        observation, reward, terminated, _, info = env.step(command)
        if terminated:
            return float(DISCOUNT**n) if solves(float(reward), terminated, info) else 0.0
        expert.observe(command, observation)
    return 0.0


def action_of(env: ForkableEnv, command: str) -> Action:
    """Return a command as it is recorded: a call of one of the environment's functions as that, else a command.

    The text is the same; but a policy that learns from it calls the function, as an agent with a tool for each does.
    """
    names = {function.name for function in env.functions()}
    try:
        action = parse_action(command) if names else None
    except ValueError:
        action = None
    return action if action is not None and action.tool in names else Action.command(command)


def counterfactual(env: ForkableEnv, expert: Expert, command: str) -> Counterfactual:
    """Try ``command`` in a fork of ``env`` and label where it led; ``expert`` has the history so far."""
    env, expert = env.fork(), expert.fork()
    observation, reward, over, _, _ = env.step(command)
    expert.observe(command, observation)
    return Counterfactual(
        action=action_of(env, command),
        observation=observation,
        reward=float(reward),
        done=over,
        labels={"return_to_go": value_after(env, expert, float(reward), over=over)},
    )


def value_after(env: ForkableEnv, expert: Expert, reward: float, *, over: bool) -> float:
    """Label the state after a step: 0 where it lost the game, else see `return_to_go`."""
    if over and reward <= 0:
        return 0.0
    return return_to_go(env, expert, solved=over)


def player_of(
    name: BehaviourName, rng: random.Random, max_steps: int = 50, *, household: bool = True
) -> Behaviour:
    """Return the behaviour of a name, for one episode.

    Args:
        name: Which behaviour.
        rng: The episode's random generator.
        max_steps: Longest episode.
        household: Whether this is ALFWorld, which has teachers of its own.
    """
    if name == "teacher" or name == "teacher-future" or name == "teacher-noisy":
        return (GroundedTeacher if household else ForkingTeacher)(name, rng, max_steps)
    return Mixed(name, rng, max_steps)


def play(
    game: Any,
    behaviour: BehaviourName,
    *,
    seed: int,
    split: str = "",
    max_steps: int = 50,
    counterfactuals: int = 0,
    environment: str = ENVIRONMENT,
) -> Trajectory:
    """Play one episode of a game.

    Args:
        game: The game, its name, or the path of its file; whatever the environment takes.
        behaviour: Who plays.
        seed: Seeds everything random in the episode.
        split: Name of the split, for the record.
        max_steps: Longest episode.
        counterfactuals: At most so many other commands are tried in forks before each step; they change
            nothing about the episode.
        environment: Gymnasium id of the environment.

    Raises:
        GameFileError: The game file is missing or corrupt.
    """
    env = catalogue(environment).open(game, max_steps=max_steps)
    observation, info = env.reset(seed=seed)
    rng = random.Random(digest_of(seed, info["game_id"].rpartition("/")[2], behaviour))
    expert = env.expert()
    if expert is None:
        raise ValueError(f"{environment} has no expert, so nothing can be labelled")
    player = player_of(behaviour, rng, max_steps, household=isinstance(expert, SearchingExpert))
    other_rng = random.Random(digest_of(seed, info["game_id"].rpartition("/")[2], behaviour, "forks"))
    trajectory = Trajectory(
        id=episode_id(info["game_id"], behaviour, seed),
        task=observation,
        hidden_state=env.hidden_state(),
        provenance=provenance(info["game_id"], behaviour, seed, split, environment),
    )
    transitions: list[Transition] = []
    over = won = False
    for index in range(player.max_steps):
        choice = player.choose(env, expert)
        others = other_commands(env, expert, other_rng, choice.command, counterfactuals)
        tried = tuple(counterfactual(env, expert, command) for command in others)
        answer, gained, over, _, info = env.step(choice.command)
        reward = float(gained)
        won = solves(reward, over, info)
        expert.observe(choice.command, answer)
        player.observe(choice.command, answer)
        transitions.append(
            Transition(
                id=step_id(trajectory.id, index),
                trajectory=trajectory.id,
                index=index,
                thought=choice.thought,
                action=action_of(env, choice.command),
                observation=answer,
                reward=reward,
                done=over,
                labels={
                    "return_to_go": value_after(env, expert, reward, over=over),
                    "expert": float(choice.expert),
                },
                counterfactuals=tried,
                time=0.0,
            )
        )
        if over:
            break
    outcome = "success" if won else "failure" if over else "truncated"
    return trajectory.model_copy(update={"transitions": tuple(transitions), "outcome": outcome})


def episode_id(game_id: str, policy: str, seed: int) -> str:
    """Return the id of the trajectory of an episode; the same for the same episode."""
    return digest_of(game_id, policy, seed)[:32]


def step_id(trajectory: str, index: int) -> str:
    """Return the id of a step of a recorded episode."""
    return digest_of(trajectory, index)[:32]


def provenance(
    game_id: str, policy: str, seed: int, split: str, environment: str = ENVIRONMENT
) -> Provenance:
    """Return where a collected episode comes from."""
    return Provenance(
        source="collect",
        policy=policy,
        environment=f"{environment}:{game_id}",
        split=split,
        seed=seed,
        versions={"dyna-graph": _version()},
    )


@functools.cache
def _version() -> str:
    return version("dyna-graph")
