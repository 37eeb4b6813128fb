"""TextWorld games as a text environment: made by the package textworld, played by an interpreter that forks."""

from dyna_training.environments.textworld.cache import TextWorldMissing, cache_folder, game_file
from dyna_training.environments.textworld.env import TextWorldEnv
from dyna_training.environments.textworld.experts import CookingExpert, Decision, InstructedExpert
from dyna_training.environments.textworld.games import KINDS, GameNameError, GameSpec
from dyna_training.environments.textworld.splits import SPLITS, games

__all__ = [
    "KINDS",
    "SPLITS",
    "CookingExpert",
    "Decision",
    "GameNameError",
    "GameSpec",
    "InstructedExpert",
    "TextWorldEnv",
    "TextWorldMissing",
    "cache_folder",
    "game_file",
    "games",
]
