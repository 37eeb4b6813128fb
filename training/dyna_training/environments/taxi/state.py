"""A ride in progress."""

from __future__ import annotations

from typing import ClassVar, Final, Self

from dyna_training.environments.boards.state import Board, BoardExpert, Decided, paint
from dyna_training.environments.taxi.rules import COMMANDS, IN_TAXI, PLACES, Scene, rules

TASK: Final = "Drive the passenger to the destination."
HELP: Final = (
    f"Commands: {', '.join(COMMANDS)}; the first four drive one cell. Pick the passenger up where it waits, and drop "
    "it off at its destination.\nSymbols: | wall, : nothing between two cells, T taxi, "
    f"{' '.join(PLACES)} places where passengers wait or want to go."
)
ILLEGAL: Final = -10.0
"""Gymnasium's reward of picking up or dropping off where that cannot be; of what is no command, too."""
_INDEX: Final = {command: index for index, command in enumerate(COMMANDS)}
_REFUSALS: Final = {
    "pickup": "There is no passenger to pick up here.",
    "dropoff": "Nobody can be dropped off here.",
}


class TaxiBoard(Board):
    """A ride in progress.

    Args:
        state: Gymnasium's number of the state.

    Attributes:
        state: The state.
        gained: Gymnasium's reward of the last step.
    """

    commands: ClassVar[tuple[str, ...]] = COMMANDS

    def __init__(self, state: int) -> None:
        self.state = state
        self.won = False
        self.gained = 0.0
        self._rules = rules()

    def task(self) -> str:
        """Return what is to be done."""
        return TASK

    def introduction(self) -> str:
        """Return task, commands, symbols, map and scene."""
        return f"{TASK} {HELP}\n\n{self.text()}"

    def text(self) -> str:
        """Return map and scene."""
        return self._rules.texts[self.state]

    def step(self, command: str) -> str:
        """Execute one command and return map and scene; before them stands why where nothing happened."""
        action = _INDEX.get(command)
        if action is None:
            understood = self.understood(command)
            if understood is None:
                self.gained = ILLEGAL
                return f"{self.not_understood()}\n{self.text()}"
            command, action = understood, _INDEX[understood]
        tables, before = self._rules, self.state
        self.state = tables.after[before][action]
        self.gained = tables.rewards[before][action]
        self.won = tables.arrived[before][action]
        if self.state == before:
            return f"{_REFUSALS.get(command, 'There is a wall.')}\n{self.text()}"
        return tables.texts[self.state]

    def fork(self) -> Self:
        """Return an independent board in the same state."""
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __getstate__(self) -> tuple[int, bool, float]:
        return self.state, self.won, self.gained  # the tables are made anew where it arrives

    def __setstate__(self, kept: tuple[int, bool, float]) -> None:
        self.state, self.won, self.gained = kept
        self._rules = rules()

    def admissible(self) -> list[str]:
        """Return the commands that lead to another state, as gymnasium's ``action_mask`` does."""
        if self.won:
            return []
        after = self._rules.after[self.state]
        return [command for command, state in zip(COMMANDS, after, strict=True) if state != self.state]

    def hidden_state(self) -> str:
        """Return map and scene, and how many commands the ride takes at least."""
        left = 0 if self.won else self._rules.left[self.state]
        return f"{self.text()}\ncommands to the end: {left}"

    def render(self) -> str:
        """Return the map in colours: passenger blue, destination magenta, taxi yellow, or green with the passenger."""
        scene = Scene.of(self.state)
        colours = {PLACES[scene.destination]: "1;35"}
        if scene.passenger != IN_TAXI:
            colours[PLACES[scene.passenger]] = "1;34"
        colours["T"] = "30;42" if scene.passenger == IN_TAXI else "30;43"
        *lines, words = self.text().split("\n")
        drawn = ("".join(paint(c, colours[c]) if c in colours else c for c in line) for line in lines)
        return "\n".join((*drawn, words))

    def expert(self) -> TaxiExpert:
        """Return an expert that drives on from here."""
        return TaxiExpert(self)


class TaxiExpert(BoardExpert[TaxiBoard]):
    """Drives a shortest way, which follows from gymnasium's own table of transitions."""

    def decide(self) -> Decided:
        """Return the next command."""
        if self.board.won:
            return Decided("The passenger has arrived.", COMMANDS[0])
        scene, command = Scene.of(self.board.state), COMMANDS[rules().best[self.board.state]]
        destination = PLACES[scene.destination]
        if command == "dropoff":
            return Decided(f"This is {destination}, so the passenger gets off.", command)
        if scene.passenger == IN_TAXI:
            return Decided(f"The passenger wants to go to {destination}, so I drive {command}.", command)
        place = PLACES[scene.passenger]
        if command == "pickup":
            return Decided(f"The passenger waits here at {place}, so it gets on.", command)
        return Decided(f"The passenger waits at {place}, so I drive {command}.", command)
