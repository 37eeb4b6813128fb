"""The games of ``dyna/MiniWoB-v0`` that have an expert, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from dyna_training.environments.catalogue import MINIWOB, NamedGames
from dyna_training.environments.miniwob.actions import USAGE
from dyna_training.environments.miniwob.chromium import browser_program, pages_folder
from dyna_training.environments.miniwob.env import MiniWobEnv
from dyna_training.environments.miniwob.rules import EXPERTS
from dyna_training.environments.miniwob.splits import SPLITS, Split, games
from dyna_training.environments.miniwob.tasks import Game

_PROMPT: Final = (
    "Do the task on the web page with the tool `act`, one action at a time. Before each call, think in one sentence. "
    "The page is shown line by line; what can be acted on has a number in brackets. "
)


class WebPages(NamedGames):
    """The catalogue of MiniWoB, see `Catalogue`.

    Collecting labels every step beside an expert, so only games that have one are drawn; the environment itself plays
    all of a split.
    """

    kind = MiniWobEnv
    environment: str = MINIWOB
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = tuple(EXPERTS)
    prompt: str = _PROMPT + USAGE

    def prepare(self) -> None:
        """Find the browser and the pages."""
        browser_program()
        pages_folder()

    def games(self, split: str) -> Sequence[Game]:
        """Return the games of a split that have an expert."""
        return [game for game in games(cast(Split, split)) if game.task in EXPERTS]

    def task_type(self, game: Game) -> str:
        """Return the task of a game."""
        return game.task

    def key(self, game: str) -> str:
        """Return the name."""
        return str(Game.parse(game))
