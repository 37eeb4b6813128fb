"""Pages of episodes: a page is a value, what was done since it was opened, and any tab of a browser can show it.

So forking, going on in another process and going on after a crash are one thing: a tab opens the page again and repeats
what was done (see `tabs`), which takes about fifty milliseconds and one or two for each action.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

from dyna_training.environments.miniwob.actions import Action, readable
from dyna_training.environments.miniwob.chromium import BrowserError
from dyna_training.environments.miniwob.tabs import played, tabs
from dyna_training.environments.miniwob.tasks import Game


@dataclass(frozen=True, slots=True)
class State:
    """What is there after an action.

    Attributes:
        lines: The page, line by line; empty when the episode is over.
        options: The admissible actions.
        done: Whether the page has ended the episode.
        reward: The page's own reward without its loss over time, from -1 to 1; 0 before the end.
        said: What the page said in alerts.
        refused: Why the action did nothing, if it did nothing.
    """

    lines: tuple[str, ...]
    options: tuple[str, ...]
    done: bool
    reward: float
    said: tuple[str, ...] = field(default=(), compare=False)
    refused: str = field(default="", compare=False)

    @classmethod
    def of(cls, seen: dict[str, Any]) -> Self:
        """Return the state that the script of the page tells."""
        return cls(
            lines=tuple(map(readable, seen["lines"])),
            options=tuple(map(readable, seen["options"])),
            done=bool(seen["done"]),
            reward=float(seen["reward"]),
            said=tuple(map(readable, seen["said"])),
            refused=readable(seen["refused"]),
        )


class Page:
    """The page of an episode.

    Attributes:
        game: Which one.
        done: The actions so far.
        task: What the page wants done.
        state: What the actions led to.
    """

    task: str
    state: State

    def __init__(self, game: Game) -> None:
        """Open it.

        Raises:
            PackageMissing: The browser or the package of the pages is not installed.
            BrowserError: The browser or the page failed.
        """
        self.game = game
        self.done: tuple[Action, ...] = ()
        tabs().run(self)

    @property
    def address(self) -> str:
        """The page's place in the package's folder."""
        return self.game.address

    @property
    def beginning(self) -> tuple[int, str]:
        """Seed of the episode and the name of the distribution it is drawn from."""
        return self.game.seed, self.game.mode

    def opened(self, opening: dict[str, Any], now: dict[str, Any]) -> None:
        """Take in what was seen at the beginning and after the actions so far.

        Raises:
            BrowserError: It is something else than before.
        """
        task, state = readable(opening["task"]), State.of(now)
        if not hasattr(self, "state"):
            self.task, self.state = task, state
        elif (self.task, self.state) != (task, state):
            before, after = (self.task, *self.state.lines), (task, *state.lines)
            differs = next(
                (f"{a!r} instead of {b!r}" for a, b in zip(after, before, strict=False) if a != b), ""
            )
            raise BrowserError(
                f"{self.game}: {len(self.done)} actions, repeated, led to another page than before: "
                f"{differs or f'{len(after)} lines instead of {len(before)}'}"
            )

    def act(self, action: Action) -> State:
        """Do something and return what it led to; a refused action changes nothing.

        Raises:
            BrowserError: The browser or the page failed; the page is as before.
        """
        state = State.of(tabs().run(self, played([action])))
        if not state.refused:
            self.done = (*self.done, action)
            self.state = state
        return state

    def hidden(self) -> list[str]:
        """Return the lines of the page with all that cannot be seen."""
        return [readable(line) for line in tabs().run(self, "dyna.hidden()")]

    def fork(self) -> Self:
        """Return an independent page in the same state; it gets a tab when it is used."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def close(self) -> None:
        """Give the tab to others."""
        tabs().release(self)
