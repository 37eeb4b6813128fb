"""What episodes are told apart by: environment, game, task type, behaviour; and steps by the type of their action."""

from __future__ import annotations

import functools
from contextlib import suppress
from typing import NamedTuple

from dyna_nodes.nouns import COMMAND_TOOL, Action, Trajectory
from dyna_training.environments.catalogue import CATALOGUES, catalogue
from dyna_training.imagined import IMAGINED
from dyna_training.recording import game_key


class Traits(NamedTuple):
    """What is known of an episode without looking at its steps; empty where it is unknown.

    Attributes:
        environment: Gymnasium id of the environment.
        game: What tells its games apart; the task where nobody recorded a game.
        task_type: Type of the task, as the environment's catalogue names them.
        behaviour: Who played.
        split: Split of the game, as it was recorded.
    """

    environment: str
    game: str
    task_type: str
    behaviour: str
    split: str

    @property
    def name(self) -> str:
        """The game with its environment, as a person reads it."""
        return f"{self.environment}:{self.game}" if self.environment else self.game


def traits_of(trajectory: Trajectory) -> Traits:
    """Return the traits of an episode."""
    origin = trajectory.provenance
    environment, key, task_type = _played(origin.environment)
    return Traits(environment, key or trajectory.task, task_type, origin.policy, origin.split)


def action_type(action: Action) -> str:
    """Return the type of an action: a command's verb, else the name of the tool.

    ``search[red shoes]``, as web shops have it, is a search.
    """
    if action.tool != COMMAND_TOOL:
        return action.tool
    return action.text.replace("[", " ").split(maxsplit=1)[0] if action.text.strip("[ \t\r\n") else ""


@functools.lru_cache(maxsize=65536)
def _played(origin: str) -> tuple[str, str, str]:
    """Return environment, key of the game and task type that a record's provenance names."""
    environment, _, game = origin.removeprefix(f"{IMAGINED} ").partition(":")
    if not game or environment not in CATALOGUES:
        return environment, game, ""
    key, types = game, tuple[str, ...]()  # without the environment's packages, a game is what its name says
    with suppress(ValueError, LookupError, ImportError, RuntimeError, OSError):
        types = tuple(catalogue(environment).task_types)
        key = game_key(game, environment)
    # The longest type that the name begins with, or has as a part: "boil" may be one, and "boil-water" another.
    head, *rest = game.split("/")
    found = (t for t in types if t == head or head.startswith(f"{t}-") or t in rest)
    return environment, key, max(found, key=len, default="")
