"""What every environment of this project offers beyond `gymnasium.Env`: forks and hidden state."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeVar, runtime_checkable

import gymnasium
from gymnasium import spaces

Game = TypeVar("Game")
RenderMode = Literal["ansi"]
CHARACTERS = "".join(map(chr, range(32, 127))) + "\n\t"
"""Characters of commands and observations: printable ASCII, newline and tab."""


def text_space(max_length: int) -> spaces.Text:
    """Return a text space over printable ASCII, newline and tab.

    Args:
        max_length: Longest text, in characters.
    """
    return spaces.Text(max_length=max_length, min_length=0, charset=CHARACTERS)


class GameFileError(ValueError):
    """A game is missing, truncated, no game at all, or cannot be made; the message says which and what to do."""


def check_arguments(
    split: object, games: object, max_steps: int, render_mode: object, *, reward: str = "success"
) -> None:
    """Check the arguments that environments of named games have in common.

    Raises:
        ValueError: Both ``split`` and ``games`` are given, or another one cannot be.
    """
    if split is not None and games is not None:
        raise ValueError("Give either split or games, not both.")
    if reward not in ("success", "score"):
        raise ValueError(f"reward must be 'success' or 'score', got {reward!r}.")
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}.")
    check_render_mode(render_mode)


def check_render_mode(render_mode: object) -> None:
    """Check what ``gymnasium.make(…, render_mode=…)`` hands on.

    Raises:
        ValueError: It is no way in which these environments draw.
    """
    if render_mode not in (None, "ansi"):
        raise ValueError(f"render_mode must be 'ansi', which is text for a terminal, got {render_mode!r}.")


class PackageMissing(RuntimeError):
    """A package that an environment is made of is not installed; the message says how to install it."""


class Function(NamedTuple):
    """A function that can be called in an environment: what an agent's tool for it is made of.

    Attributes:
        name: Its name.
        description: What it is for.
        parameters: Its parameters, as JSON Schema of an object.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]


class Decision(Protocol):
    """What an expert decided: a short reason that follows from what it has seen, and the command."""

    @property
    def thought(self) -> str:
        """The reason."""
        ...

    @property
    def action(self) -> str:
        """The command."""
        ...


class Expert(Protocol):
    """Plays well, whoever played before: it is told every step and decides from what it was told."""

    def decide(self) -> Decision:
        """Return the next thought and command."""
        ...

    def observe(self, action: str, observation: str) -> None:
        """Take in one executed command and its observation."""
        ...

    def fork(self) -> Expert:
        """Return an independent copy."""
        ...


@runtime_checkable
class Foreseeing(Expert, Protocol):
    """An expert that can tell which part of an outcome the history determines."""

    def foreseen(self, action: str, outcome: str) -> str:
        """Return what the history lets one say of an action's outcome.

        Args:
            action: A command that is possible now.
            outcome: What it does, all of it, as a fork shows.

        Returns:
            Sentences of the outcome that the history determines, and as a hypothesis what it lets one hope for; empty
            where nothing can be said.
        """
        ...


class ForkableEnv(gymnasium.Env[str, str]):
    """A text environment that can be branched.

    Observations and actions are text, the reward of a step is a float, and `fork` gives an independent
    environment in the same state: stepping one never changes the other. Each can be rendered as text.
    """

    metadata = {"render_modes": ["ansi"]}  # noqa: RUF012 - gymnasium declares it this way
    render_mode = "ansi"

    @abstractmethod
    def fork(self) -> Self:
        """Return an independent environment in the same state.

        Raises:
            RuntimeError: `reset` was never called.
        """

    def _twin(self, **own: Any) -> Self:
        """Return a copy with attributes of its own; it draws its later games independently."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__, _np_random=None, **own)
        return twin

    @abstractmethod
    def hidden_state(self) -> str:
        """Return what an omniscient observer knows now, as compact text for the privileged context.

        Raises:
            RuntimeError: `reset` was never called.
        """

    @abstractmethod
    def admissible(self) -> list[str]:
        """Return the commands that would do something now.

        Raises:
            RuntimeError: `reset` was never called.
        """

    def render(self) -> str:
        """Return a picture of the state for a terminal, in ANSI colours where they help.

        Most text environments have no picture of their own and show `hidden_state`; those that have one draw it here,
        and `dyna env play` shows it with every step.

        Raises:
            RuntimeError: `reset` was never called.
        """
        return self.hidden_state()

    def inadmissible(self, rng: random.Random) -> str:
        """Return a plausible command that would do nothing now: a verb with what does not go with it here.

        Args:
            rng: Where it is drawn from.

        Raises:
            RuntimeError: `reset` was never called.
        """
        commands = sorted(self.admissible())
        parts = [command.partition(" ") for command in commands]
        verbs = sorted({verb for verb, _, rest in parts if rest})
        objects = sorted({rest for _, _, rest in parts if rest})
        for _ in range(20 if objects else 0):
            command = f"{rng.choice(verbs)} {rng.choice(objects)}"
            if command not in commands:
                return command
        return "dance"

    def choose_game(self, games: Sequence[Game], options: dict[str, Any] | None) -> Game:
        """Return the game that `reset` is to play: the one that ``options`` name, or one drawn from ``games``.

        Args:
            games: What is drawn from, with the seed of the last `reset`.
            options: Options of `reset`; the only one is ``game``.

        Raises:
            ValueError: There is no game to draw from, or an unknown option.
        """
        unknown = set(options or ()) - {"game"}
        if unknown:
            raise ValueError(f"Unknown reset option {sorted(unknown)[0]!r}; the only one is 'game'.")
        chosen: Game | None = (options or {}).get("game")
        if chosen is not None:
            return chosen
        if not games:
            raise ValueError(
                "No game to play: create the environment with split= or games=, or reset with options={'game': …}."
            )
        return games[int(self.np_random.integers(len(games)))]

    def functions(self) -> Sequence[Function]:
        """Return the functions whose calls are this environment's actions, in the text of `Action`; none by default.

        An environment that has some is offered to agents as a tool for each.
        """
        return ()

    def expert(self) -> Expert | None:
        """Return an expert that knows only what the first observation said; None where there is none.

        Raises:
            RuntimeError: `reset` was never called.
        """
        return None
