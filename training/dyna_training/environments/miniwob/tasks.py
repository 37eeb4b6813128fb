"""The tasks of the package miniwob, and the names of games: a task and a seed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from dyna_graph.errors import suggestion

Mode = Literal["train", "test"]
"""Distribution that a page draws its episodes from; most pages have one for both."""

TASKS: Final[tuple[str, ...]] = tuple(
    (Path(__file__).parent / "data" / "tasks.txt").read_text(encoding="ascii").split()
)
"""Every task that the package registers."""


class GameNameError(ValueError):
    """A name is the name of no game; the message says why."""


@dataclass(frozen=True, slots=True)
class Game:
    """An episode's task, its seed and the distribution; its name is ``task/seed`` or ``task/test/seed``.

    Attributes:
        task: Name of the task, as the package has it.
        seed: Seed of the page's own generator.
        mode: Distribution, where a page has two.
    """

    task: str
    seed: int
    mode: Mode = "train"

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the game of a name.

        Raises:
            GameNameError: There is no such game.
        """
        match = re.fullmatch(r"([\w.-]+)/(?:(train|test)/)?(\d{1,15})", str(name))
        if match is None:
            raise GameNameError(f"{name!r} is no name of a game; one is 'click-button/7', a task and a seed")
        task, mode, seed = match.groups()
        if task not in TASKS:
            raise GameNameError(f"unknown task {task!r}; {suggestion(task, TASKS, what='there are')}")
        return cls(task, int(seed), "test" if mode == "test" else "train")

    @property
    def address(self) -> str:
        """The place of the page in the package's folder."""
        if self.task.startswith("flight."):
            return f"{self.task.replace('.', '/')}/wrapper.html"
        return f"miniwob/{self.task}.html"

    def __str__(self) -> str:
        return f"{self.task}/test/{self.seed}" if self.mode == "test" else f"{self.task}/{self.seed}"
