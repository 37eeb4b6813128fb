"""The games of ``dyna/TextWorld-v0``, by the names that say what they are made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from dyna_training.environments.catalogue import FORESEEING_PLAYERS, TEXTWORLD, NamedGames
from dyna_training.environments.textworld.cache import textworld_version
from dyna_training.environments.textworld.env import TextWorldEnv
from dyna_training.environments.textworld.games import KINDS, GameSpec, is_file
from dyna_training.environments.textworld.splits import SPLITS, Split, games
from dyna_training.environments.textworld.text import HELP

_PROMPT: Final = (
    "Play the text game with the tool `act`, one command at a time. Before each call, think in one sentence. "
)


class TextWorldGames(NamedGames):
    """The catalogue of TextWorld, see `Catalogue`."""

    kind = TextWorldEnv
    environment: str = TEXTWORLD
    behaviours: Sequence[str] = FORESEEING_PLAYERS
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = KINDS
    prompt: str = _PROMPT + HELP

    def prepare(self) -> None:
        """Find the package; games are made when they are first played."""
        textworld_version()

    def games(self, split: str) -> Sequence[GameSpec]:
        """Return the games of a split."""
        return games(cast(Split, split))

    def task_type(self, game: GameSpec) -> str:
        """Return the kind of a game."""
        return game.kind

    def key(self, game: str) -> str:
        """Return the name, without settings that say the default; of a file, its path."""
        return game if is_file(game) else str(GameSpec.parse(game))
