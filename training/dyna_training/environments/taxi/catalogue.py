"""The rides of ``dyna/Taxi-v0``, by their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from dyna_training.environments.catalogue import FORESEEING_PLAYERS, TAXI, NamedGames
from dyna_training.environments.taxi.env import TaxiEnv
from dyna_training.environments.taxi.splits import ROUTES, SPLITS, Split, games
from dyna_training.environments.taxi.state import HELP, TASK


class Rides(NamedGames):
    """The catalogue of rides, see `Catalogue`."""

    kind = TaxiEnv
    environment: str = TAXI
    behaviours: Sequence[str] = FORESEEING_PLAYERS
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = ROUTES
    prompt: str = f"Drive a taxi with the tool `act`, one command at a time. {TASK} {HELP}"

    def games(self, split: str) -> Sequence[str]:
        """Return the names of the rides of a split."""
        return games(cast(Split, split))

    def task_type(self, game: str) -> str:
        """Return the route of a ride."""
        return game.partition("/")[0]
