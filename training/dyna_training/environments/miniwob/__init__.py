"""Small web pages in a real Chromium as a text environment: shown as text, acted on by text, forked by replay."""

from dyna_training.environments.miniwob.chromium import BrowserDied, BrowserError
from dyna_training.environments.miniwob.env import MiniWobEnv
from dyna_training.environments.miniwob.experts import Decision, PageExpert
from dyna_training.environments.miniwob.rules import EXPERTS
from dyna_training.environments.miniwob.splits import SPLITS, games
from dyna_training.environments.miniwob.tasks import TASKS, Game, GameNameError

__all__ = [
    "EXPERTS",
    "SPLITS",
    "TASKS",
    "BrowserDied",
    "BrowserError",
    "Decision",
    "Game",
    "GameNameError",
    "MiniWobEnv",
    "PageExpert",
    "games",
]
