"""Sokoban as a text environment: generated levels and Boxoban's, deadlocks, and a solver."""

from dyna_training.environments.sokoban.env import SokobanEnv
from dyna_training.environments.sokoban.generator import generate
from dyna_training.environments.sokoban.level import Level, parse
from dyna_training.environments.sokoban.solver import Push, Solution, solve
from dyna_training.environments.sokoban.splits import SPLITS, games, level_of

__all__ = [
    "SPLITS",
    "Level",
    "Push",
    "SokobanEnv",
    "Solution",
    "games",
    "generate",
    "level_of",
    "parse",
    "solve",
]
