"""Which ScienceWorld game: a task, which of its variations, and what is simplified, written ``task/variation``.

    boil/17
    boil/teleportAction,openDoors/17
    boil/none/17

A name that says nothing of simplifications means `EASY`, all that the task allows, as in the paper's experiments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final, Self

VARIATIONS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "boil": 30,
        "change-the-state-of-matter-of": 30,
        "chemistry-mix": 32,
        "chemistry-mix-paint-secondary-color": 36,
        "chemistry-mix-paint-tertiary-color": 36,
        "find-animal": 300,
        "find-living-thing": 300,
        "find-non-living-thing": 300,
        "find-plant": 300,
        "freeze": 30,
        "grow-fruit": 126,
        "grow-plant": 126,
        "identify-life-stages-1": 14,
        "identify-life-stages-2": 10,
        "inclined-plane-determine-angle": 168,
        "inclined-plane-friction-named-surfaces": 1386,
        "inclined-plane-friction-unnamed-surfaces": 162,
        "lifespan-longest-lived": 125,
        "lifespan-longest-lived-then-shortest-lived": 125,
        "lifespan-shortest-lived": 125,
        "measure-melting-point-known-substance": 436,
        "measure-melting-point-unknown-substance": 300,
        "melt": 30,
        "mendelian-genetics-known-plant": 120,
        "mendelian-genetics-unknown-plant": 480,
        "power-component": 20,
        "power-component-renewable-vs-nonrenewable-energy": 20,
        "test-conductivity": 900,
        "test-conductivity-of-unknown-substances": 600,
        "use-thermometer": 540,
    }
)
"""Every task, with the number of its variations in scienceworld 1.2.3."""
TASKS: Final = tuple(VARIATIONS)
EASY: Final = "easy"
"""All simplifications that a task allows: teleporting, open doors, flower pots that water themselves, and no electrical
actions where the task is not about electricity."""
NONE: Final = "none"
SIMPLIFICATIONS: Final = (
    "teleportAction",
    "openDoors",
    "openContainers",
    "selfWateringFlowerPots",
    "noElectricalAction",
)
"""What can be simplified, each by itself."""


class GameNameError(ValueError):
    """A game is named that there is not; the message says what is wrong with the name."""


@dataclass(frozen=True, slots=True)
class GameSpec:
    """A game.

    Attributes:
        task: Name of the task.
        variation: Which of its variations, counted from 0.
        simplifications: ``easy``, ``none``, or some of `SIMPLIFICATIONS` in their order, separated by commas.
    """

    task: str
    variation: int
    simplifications: str = EASY

    @classmethod
    def of(cls, task: str, variation: int, simplifications: str = EASY) -> Self:
        """Return a game.

        Raises:
            GameNameError: There is no such task, variation or simplification.
        """
        if task not in VARIATIONS:
            raise GameNameError(f"unknown task {task!r}; {_there_are(task, TASKS)}")
        if variation not in range(VARIATIONS[task]):
            raise GameNameError(f"{task} has variations from 0 to {VARIATIONS[task] - 1}, and no {variation}")
        return cls(task, variation, checked_simplifications(simplifications, task))

    @classmethod
    def parse(cls, name: str, simplifications: str = EASY) -> Self:
        """Read a name.

        Args:
            name: The name.
            simplifications: Of a game whose name says none.

        Raises:
            GameNameError: It is no name of a game.
        """
        parts = name.strip().split("/")
        if len(parts) not in (2, 3) or not parts[-1].isdecimal():
            raise GameNameError(
                f"{name!r} names no ScienceWorld game: expected task/variation, such as boil/17, or "
                "task/simplifications/variation"
            )
        try:
            return cls.of(parts[0], int(parts[-1]), parts[1] if len(parts) == 3 else simplifications)
        except GameNameError as error:
            raise GameNameError(f"{name!r}: {error}") from None

    def __str__(self) -> str:
        said = "" if self.simplifications == EASY else f"{self.simplifications}/"
        return f"{self.task}/{said}{self.variation}"


GameLike = GameSpec | str
"""A game, or its name."""


def is_electrical(task: str) -> bool:
    """Return whether a task cannot do without electrical actions."""
    return "power-component" in task or "conductivity" in task


def checked_simplifications(text: str, task: str = "") -> str:
    """Return simplifications in their order, each once.

    Args:
        text: ``easy``, ``none``, or names separated by commas.
        task: The task that they are for, where that is known.

    Raises:
        GameNameError: There is no such simplification, or the task cannot do with it.
    """
    if text in (EASY, NONE):
        return text
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in SIMPLIFICATIONS:
            raise GameNameError(
                f"unknown simplification {name!r}; {_there_are(name, (EASY, NONE, *SIMPLIFICATIONS))}"
            )
        if name == "noElectricalAction" and is_electrical(task):
            raise GameNameError(f"{task} cannot be done without electrical actions; leave out {name}")
    return ",".join(name for name in SIMPLIFICATIONS if name in names)


def _there_are(name: str, names: tuple[str, ...]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names)}"
