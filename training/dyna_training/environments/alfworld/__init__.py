"""ALFWorld household games: a fast exact engine, experts, splits and a generator of new households."""

from dyna_training.environments.alfworld.engine import State
from dyna_training.environments.alfworld.env import AlfworldEnv
from dyna_training.environments.alfworld.experts import Decision, SearchingExpert, WalkthroughExpert
from dyna_training.environments.alfworld.game import TASK_TYPES, Game, load_game
from dyna_training.environments.alfworld.knowledge import KnownWorld
from dyna_training.environments.alfworld.splits import SPLITS, games, walkthrough_in_train
from dyna_training.environments.base import GameFileError

__all__ = [
    "SPLITS",
    "TASK_TYPES",
    "AlfworldEnv",
    "Decision",
    "Game",
    "GameFileError",
    "KnownWorld",
    "SearchingExpert",
    "State",
    "WalkthroughExpert",
    "games",
    "load_game",
    "walkthrough_in_train",
]
