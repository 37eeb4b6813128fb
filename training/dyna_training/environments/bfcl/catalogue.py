"""The games of ``dyna/BFCL-v0``: tasks, by their names in BFCL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from dyna_training.environments.bfcl.env import BfclEnv
from dyna_training.environments.bfcl.splits import SPLITS, Split, games
from dyna_training.environments.bfcl.tasks import TASK_TYPES, task
from dyna_training.environments.catalogue import BFCL, NamedGames

_PROMPT: Final = (
    "Do what the user asks for by calling functions, one at a time. When all that the user asked for is done, "
    "call done; the user then goes on. Before each call, think in one sentence."
)


class BfclTasks(NamedGames):
    """The catalogue of BFCL's multi-turn base tasks, see `Catalogue`."""

    kind = BfclEnv
    environment: str = BFCL
    splits: Sequence[str] = SPLITS
    task_types: Sequence[str] = TASK_TYPES
    prompt: str = _PROMPT

    def games(self, split: str) -> Sequence[str]:
        """Return the names of the tasks of a split."""
        return games(cast(Split, split))

    def task_type(self, game: str) -> str:
        """Return the APIs of a task."""
        return task(game).kind
