"""The episodes that world models are judged on, and what is known about each of their steps.

The frozen mixture: every game is played once by each of the three behaviours of
`dyna_training.behaviours.MIXTURE`, all with 5 % invalid commands. The same split, games and seed give the
same episodes; `episodes_digest` proves it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from dyna_nodes.codec import Outcome
from dyna_nodes.nouns import Action, Provenance, Trajectory, Transition, digest_of
from dyna_training.behaviours import MIXTURE
from dyna_training.environments.alfworld import AlfworldEnv, KnownWorld, load_game
from dyna_training.environments.alfworld.engine import State
from dyna_training.environments.alfworld.near_miss import almost, is_goal_command
from dyna_training.environments.alfworld.plays import select
from dyna_training.environments.alfworld.splits import Split, games, walkthrough_in_train
from dyna_training.environments.alfworld.task import kind
from dyna_training.rollouts import play

Knowledge = Literal["determined", "first look", "hidden"]
SEED: Final = 20_512
"""Seed of the frozen mixture."""
NEAR_MISS: Final = "near miss"
"""Behaviour of the probes that almost solve the task."""


class Facts(NamedTuple):
    """What is known about a step before any model is asked.

    Attributes:
        game: The game, which intervals are clustered by.
        policy: The behaviour that chose the action.
        verb: The action's type: first word of a command, or the tool's name.
        command: The action's text.
        observation: What really happened.
        success: Whether this step solved the task.
        near_miss: Whether it is a near miss, see `is_goal_command`.
        knowledge: Whether the history determines the observation, else why not; None where nobody can tell.
        return_to_go: The label; None where there is none.
        task_type: Of household games, the task's type.
        reward: Reward of the step; None where it is not recorded.
        done: Whether it ended the episode; likewise.
    """

    game: str
    policy: str
    verb: str
    command: str
    observation: str
    success: bool
    near_miss: bool
    knowledge: Knowledge | None
    return_to_go: float | None
    task_type: str | None = None
    reward: float | None = None
    done: bool | None = None


def record(
    split: Split,
    number: int = 0,
    *,
    seed: int = SEED,
    data_dir: Path | None = None,
    on_game: Callable[[int, int], None] = lambda done, of: None,
) -> list[Trajectory]:
    """Play the frozen mixture.

    Args:
        split: Split of the games.
        number: How many games, as evenly over the task types as they allow; 0 is all of them.
        seed: Seeds games and episodes.
        data_dir: The folder that holds ``json_2.1.1``; default ``$ALFWORLD_DATA``.
        on_game: Called with the number of games played and to play.
    """
    files = games(split, data_dir)
    chosen = sorted(select(number or len(files), seed, files))
    episodes = []
    for done, file in enumerate(chosen):
        episodes += [play(file, behaviour, seed=seed, split=split) for behaviour in MIXTURE]
        on_game(done + 1, len(chosen))
    return episodes


def episodes_digest(trajectories: Iterable[Trajectory]) -> str:
    """Return a digest of everything about the episodes that figures depend on."""
    return digest_of([content(t) for t in trajectories])


def content(trajectory: Trajectory) -> list[object]:
    """Return what figures depend on: texts, outcomes and labels."""
    steps = [
        (t.action.digest, t.observation, t.reward, Outcome.of(t).done, t.labels.get("return_to_go"))
        for t in trajectory.transitions
    ]
    return [trajectory.id, trajectory.task, trajectory.hidden_state, steps]


def game_of(trajectory: Trajectory) -> str:
    """Return the game of a trajectory; its task where the provenance names none."""
    return trajectory.provenance.environment or trajectory.task


def some_games(trajectories: Iterable[Trajectory], number: int) -> set[str]:
    """Return the names of ``number`` games, spread over all of them; 0 is all."""
    names = list(dict.fromkeys(game_of(t) for t in trajectories))
    if not number or number >= len(names):
        return set(names)
    return {names[i * len(names) // number] for i in range(number)}


def facts(trajectory: Trajectory) -> list[Facts]:
    """Return what is known about each step.

    Whether the history determines an observation is `KnownWorld`'s judgement, in household games; for other
    environments it is the label ``determined``, where there is one.
    """
    world = _household(trajectory)
    found = []
    for step in trajectory.transitions:
        command = step.action.text
        outcome = Outcome.of(step)
        last_of_probe = trajectory.provenance.policy == NEAR_MISS and step is trajectory.transitions[-1]
        goal = world is not None and world.task is not None and is_goal_command(world.task, command)
        found.append(
            Facts(
                game=game_of(trajectory),
                policy=trajectory.provenance.policy,
                verb=_verb(step.action),
                command=command,
                observation=step.observation.strip(),
                success=outcome.success,
                near_miss=(goal or last_of_probe) and not outcome.success,
                knowledge=_knowledge(step, world),
                return_to_go=step.labels.get("return_to_go"),
                task_type=world.task.task_type if world is not None and world.task is not None else None,
                reward=outcome.reward,
                done=outcome.done,
            )
        )
        if world is not None:
            world.observe(command, step.observation)
    return found


def near_misses(
    split: Split, number: int = 0, *, seed: int = SEED, data_dir: Path | None = None
) -> list[Trajectory]:
    """Play probes: an expert that pursues almost the right task, up to the step that would complete *that*
    one.

    Of heating, cooling and cleaning tasks it skips the preparation; of two objects it brings one; where there
    is nothing to skip, it brings another kind of object. The last step of each is a near miss of the success
    flag. Probes are a set of their own and no part of the mixture. Games in which no probe ends within 50
    steps, or in which it happens to solve the task, are left out.

    Args: See `record`.
    """
    files = games(split, data_dir)
    chosen = sorted(select(number or len(files), seed, files))
    played = (_probe(file, split, seed) for file in chosen)
    return [trajectory for trajectory in played if trajectory is not None]


def seen_walkthroughs(
    trajectories: Iterable[Trajectory], split: Split, data_dir: Path | None = None
) -> set[str]:
    """Return the games, as `game_of` names them, whose walkthrough also is that of a training game."""
    names = {game_of(t): game_of(t).partition(":")[2] for t in trajectories}
    known = walkthroughs_in_train(names.values(), split, data_dir)
    return {name for name, short in names.items() if short in known}


def walkthroughs_in_train(names: Iterable[str], split: Split, data_dir: Path | None = None) -> set[str]:
    """Return those of some games, named ``task/trial``, whose walkthrough also is that of a training game.

    Args:
        names: The games; unknown ones are left out.
        split: Their split.
        data_dir: The folder that holds ``json_2.1.1``; default ``$ALFWORLD_DATA``.

    Raises:
        GameFileError: The games or the training games are not there.
    """
    files = {f"{file.parts[-3]}/{file.parts[-2]}": file for file in games(split, data_dir)}
    here = files.keys() & set(names)
    return {name for name in here if walkthrough_in_train(load_game(files[name]), data_dir)}


def _probe(file: Path, split: Split, seed: int) -> Trajectory | None:
    game = load_game(file)
    env = AlfworldEnv(games=[file], admissible_actions=False)
    observation, info = env.reset(seed=seed)
    right = env.expert()
    kinds = {kind(name) for name in game.object_by_name}
    for wrong in almost(right.task, kinds, random.Random(f"{seed} {game.id}")):
        state, expert = State(game), right.pursuing(wrong)
        steps: list[Transition] = []
        for index in range(50):
            command = expert.decide().action
            answer, won = state.step(command)
            expert.observe(command, answer)
            action = Action.command(command)
            steps.append(
                Transition(
                    index=index, action=action, observation=answer, reward=float(won), done=won, time=0.0
                )
            )
            if won:
                break
            if is_goal_command(wrong, command) and answer != "Nothing happens.":
                return Trajectory(
                    id=digest_of(game.id, NEAR_MISS, seed)[:32],
                    task=observation,
                    hidden_state=env.hidden_state(),
                    transitions=tuple(steps),
                    outcome="truncated",
                    provenance=Provenance(
                        source="collect",
                        policy=NEAR_MISS,
                        environment=f"dyna/ALFWorld-v0:{info['game_id']}",
                        split=split,
                        seed=seed,
                    ),
                )
    return None


def _household(trajectory: Trajectory) -> KnownWorld | None:
    if "ALFWorld" not in trajectory.provenance.environment:
        return None
    return KnownWorld(trajectory.task)


def _knowledge(step: Transition, world: KnownWorld | None) -> Knowledge | None:
    if world is not None:
        return world.unknown(step.action.text) or "determined"
    label = step.labels.get("determined")
    return None if label is None else "determined" if label else "first look"


def _verb(action: Action) -> str:
    return action.text.split(maxsplit=1)[0] if action.tool == "act" and action.text.strip() else action.tool


def counts(trajectories: Sequence[Trajectory]) -> dict[str, int]:
    """Return how many games, trajectories and steps there are."""
    return {
        "games": len({game_of(t) for t in trajectories}),
        "trajectories": len(trajectories),
        "steps": sum(len(t.transitions) for t in trajectories),
    }
