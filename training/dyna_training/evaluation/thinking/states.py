"""One fixed set of recorded states, so that all policies are asked the same.

On its own rollouts every policy is judged on other states: one that never leaves the first room has an easy time.
So each is also asked for a response in the same recorded states, and what its proposed action really does there is
found by playing the recorded game up to that state and trying it. A state is a recorded trajectory cut off before
a step.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import gymnasium

from dyna_graph.errors import DynaError
from dyna_nodes.experience import TrajectoryWriter, iter_trajectory_file
from dyna_nodes.nouns import Action, Trajectory, digest_of
from dyna_training.behaviours import MIXTURE
from dyna_training.environments.alfworld.catalogue import GENERATED
from dyna_training.environments.alfworld.env import GameLike
from dyna_training.environments.alfworld.generator import generate
from dyna_training.environments.alfworld.splits import SPLITS, Split, games
from dyna_training.environments.base import ForkableEnv
from dyna_training.evaluation.episodes import SEED, record
from dyna_training.recording import game_key
from dyna_training.rollouts import ENVIRONMENT
from dyna_training.tools import make_environment

STATES_FILE: Final = "states.jsonl"
ENDLESS: Final = 10_000
"""Steps of an episode: what an action does in a state has nothing to do with how long the recorded one was."""


class StateError(ValueError):
    """A recorded state cannot be reached again; the message says which and why."""


class Outcome(NamedTuple):
    """What an action really does in a state."""

    observation: str
    reward: float
    done: bool


def draw_states(trajectories: Sequence[Trajectory], number: int, *, seed: int = SEED) -> list[Trajectory]:
    """Draw states, as evenly over the trajectories as they allow; the same arguments draw the same ones.

    Args:
        trajectories: Recorded episodes.
        number: How many states.
        seed: Seed of the drawing.

    Returns:
        The trajectories, each cut off before a step that is drawn uniformly from its own; its id names both.

    Raises:
        ValueError: There are not as many states.
    """
    there = sum(len(t.transitions) for t in trajectories)
    if there < number:
        raise ValueError(
            f"{number} states are asked for, the {len(trajectories)} recorded episodes have {there}; "
            "ask for fewer, or record more episodes"
        )
    rng = random.Random(seed)
    left = [(t, rng.sample(range(len(t.transitions)), len(t.transitions))) for t in trajectories]
    rng.shuffle(left)
    found: list[Trajectory] = []
    while len(found) < number:
        found += [_cut(t, indices.pop()) for t, indices in left if indices]
    return found[:number]


def mixture_states(
    split: Split,
    number: int,
    *,
    seed: int = SEED,
    on_game: Callable[[int, int], None] = lambda done, of: None,
) -> list[Trajectory]:
    """Draw states from the frozen mixture of behaviours: one of each episode, more where the games do not suffice.

    Args:
        split: Split of the games.
        number: How many states.
        seed: Seeds games, episodes and drawing.
        on_game: Called with the number of games played and to play.

    Raises:
        GameFileError: The games are not there.
        ValueError: There are not as many states.
    """
    wanted = min(math.ceil(number / len(MIXTURE)), len(games(split)))
    return draw_states(record(split, wanted, seed=seed, on_game=on_game), number, seed=seed)


def frozen_states(folder: Path, draw: Callable[[], list[Trajectory]], *about: object) -> list[Trajectory]:
    """Return the states that a folder holds, and where it holds none (or others), draw and write them.

    Args:
        folder: The folder; the file is named after what the states depend on.
        draw: Draws them.
        about: What they depend on.

    Raises:
        ExperienceError: The file cannot be read or written.
    """
    file = folder / f"{digest_of(*about)[:12]}-{STATES_FILE}"
    if not file.exists():
        partial = file.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        writer = TrajectoryWriter(partial)
        for state in draw():
            writer.append(state)
        partial.rename(file)
    return list(iter_trajectory_file(file))


def states_digest(states: Sequence[Trajectory]) -> str:
    """Return a digest of everything that a policy is shown, and of the game it is shown it of."""
    return digest_of([(t.provenance.environment, t.history().digest) for t in states])


def _cut(trajectory: Trajectory, index: int) -> Trajectory:
    cut = {
        "id": digest_of(trajectory.id, "state", index)[:32],
        "transitions": trajectory.transitions[:index],
        "outcome": "unknown",
    }
    return trajectory.model_copy(update=cut)


class Forks:
    """Finds out what actions really do in recorded states; every state is played up to only once."""

    def __init__(self) -> None:
        self._reached: dict[str, ForkableEnv] = {}

    def outcome(self, state: Trajectory, action: Action) -> Outcome:
        """Return what an action does in a state.

        Raises:
            StateError: The game cannot be found, or it does not go as recorded.
        """
        if state.id not in self._reached:
            self._reached[state.id] = reach(state)
        fork = self._reached[state.id].fork()
        observation, reward, terminated, _, _ = fork.step(action.text)
        return Outcome(observation, float(reward), terminated)


def reach(state: Trajectory) -> ForkableEnv:
    """Return the environment in a recorded state, by playing it again.

    Raises:
        StateError: The game cannot be found, or it does not go as recorded.
    """
    environment, _, game = state.provenance.environment.partition(":")
    chosen = _household(game, state.provenance.split) if environment == ENVIRONMENT else game
    try:
        env = make_environment(environment, max_steps=ENDLESS, admissible_actions=False)
        observation, _ = env.reset(seed=state.provenance.seed, options={"game": chosen})
    except (gymnasium.error.Error, DynaError, ValueError, TypeError) as error:
        where = state.provenance.environment or "an unnamed environment"
        raise StateError(f"{where} cannot be played again: {error}") from error
    if observation != state.task:
        raise StateError(f"{game} is another game than the recorded one: it begins with {observation!r}")
    for index, step in enumerate(state.transitions):
        observation, *_ = env.step(step.action.text)
        if observation != step.observation:
            raise StateError(
                f"{game}, step {index} ({step.action.text!r}): {observation!r}, not {step.observation!r} as recorded"
            )
    return env


def _household(game: str, split: str) -> GameLike:
    """Return a household, which its name alone does not find: its file is in a split, or it was made from a seed."""
    key = game_key(game)
    if split in SPLITS:
        files = {f"{file.parts[-3]}/{file.parts[-2]}": file for file in games(split)}
        if game not in files:
            raise StateError(f"{game} is no game of {split}: check $ALFWORLD_DATA")
        return files[game]
    if key.startswith(GENERATED):
        return generate(int(key.removeprefix(GENERATED)))
    raise StateError(f"{game} was recorded without the split it is from, so its file cannot be found")
