"""One episode, recorded with everything that training needs: thoughts, outcomes and labels."""

from __future__ import annotations

import random
from importlib.metadata import version
from pathlib import Path

from dyna_nodes.codec.world_model import DISCOUNT
from dyna_nodes.nouns import Action, Provenance, Trajectory, Transition, digest_of
from dyna_training.behaviours import BehaviourName, Mixed
from dyna_training.environments.alfworld.env import AlfworldEnv
from dyna_training.environments.base import Expert, ForkableEnv

LABEL_HORIZON = 50
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


def play(
    game: str | Path, behaviour: BehaviourName, *, seed: int, split: str = "", max_steps: int = 50
) -> Trajectory:
    """Play one episode of a game.

    Args:
        game: Path of the game file.
        behaviour: Who plays.
        seed: Seeds everything random in the episode.
        split: Name of the split, for the record.
        max_steps: Longest episode.
    """
    rng = random.Random(digest_of(seed, str(Path(game).parent.name), behaviour))
    env = AlfworldEnv(games=[game], max_steps=max_steps, admissible_actions=False)
    observation, info = env.reset(seed=seed)
    expert = env.expert()
    player = Mixed(behaviour, rng, max_steps)
    provenance = Provenance(
        source="collect",
        policy=behaviour,
        environment=f"dyna/ALFWorld-v0:{info['game_id']}",
        split=split,
        seed=seed,
        versions={"dyna-graph": version("dyna-graph")},
    )
    trajectory = Trajectory(
        id=digest_of(info["game_id"], behaviour, seed)[:32],
        task=observation,
        hidden_state=env.hidden_state(),
        provenance=provenance,
    )
    transitions: list[Transition] = []
    won = False
    for index in range(player.max_steps):
        choice = player.choose(env, expert)
        answer, reward, won, _, _ = env.step(choice.command)
        expert.observe(choice.command, answer)
        transitions.append(
            Transition(
                id=digest_of(trajectory.id, index)[:32],
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
                time=0.0,
            )
        )
        if won:
            break
    return trajectory.model_copy(
        update={"transitions": tuple(transitions), "outcome": "success" if won else "truncated"}
    )
