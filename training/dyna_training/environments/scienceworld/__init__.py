"""ScienceWorld as a text environment: the package's simulator, in a process of its own that forks what it simulates."""

from dyna_training.environments.scienceworld.env import ScienceWorldEnv
from dyna_training.environments.scienceworld.expert import Decision, GoldExpert
from dyna_training.environments.scienceworld.games import SIMPLIFICATIONS, TASKS, GameNameError, GameSpec
from dyna_training.environments.scienceworld.simulator import (
    ScienceWorldMissing,
    SimulatorDied,
    SimulatorError,
)
from dyna_training.environments.scienceworld.splits import HELD_OUT, SPLITS, games, variations

__all__ = [
    "HELD_OUT",
    "SIMPLIFICATIONS",
    "SPLITS",
    "TASKS",
    "Decision",
    "GameNameError",
    "GameSpec",
    "GoldExpert",
    "ScienceWorldEnv",
    "ScienceWorldMissing",
    "SimulatorDied",
    "SimulatorError",
    "games",
    "variations",
]
