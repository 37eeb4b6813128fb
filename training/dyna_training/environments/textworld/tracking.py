"""What is so in a game, by TextWorld's own logic, found out from what the interpreter reports.

TextWorld's wrapper computes after every command which actions are possible, whether anybody asks or not; that takes
longer than the command. Here the reported events are kept, and caught up with when somebody asks.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, Final

from dyna_training.environments.textworld.engine import Interpreter, Machine
from dyna_training.environments.textworld.text import Answer, command

_IMPLICIT: Final = "taking the "
"""Inform takes a thing by itself where a command needs it held; it reports that with a number in brackets."""


class Play:
    """A game being played: the state of its interpreter, and on demand the facts that hold in it.

    Args:
        interpreter: The game's.

    Attributes:
        score: Points so far.
        won: Whether the game is won.
        lost: Whether it is lost.
    """

    __slots__ = ("_events", "_machine", "_progression", "_shared", "interpreter", "lost", "score", "won")

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.score, self.won, self.lost = 0, False, False
        self._machine: Machine = interpreter.start
        self._events: list[str] = []
        self._progression = _opening(interpreter)
        self._shared = True

    @property
    def over(self) -> bool:
        """Whether the game has ended."""
        return bool(self.won or self.lost)

    def step(self, action: str) -> str:
        """Execute a command and return what the player sees.

        A game that has ended takes no more commands.
        """
        text, refusal = command(action)
        if refusal or self.over:
            return refusal or "The game has ended."
        answer, self._machine = self.interpreter.run(self._machine, text)
        self._take_in(answer)
        return answer.text

    def _take_in(self, answer: Answer) -> None:
        self._events.extend(answer.events)
        if answer.score is not None:
            self.score = answer.score
        self.won, self.lost = answer.won, answer.lost

    def fork(self) -> Play:
        """Return an independent play in the same state; it copies nothing but a list of events."""
        twin = Play.__new__(Play)
        twin.interpreter, twin.score, twin.won, twin.lost = self.interpreter, self.score, self.won, self.lost
        twin._machine, twin._events = self._machine, list(self._events)
        self._shared = twin._shared = True
        twin._progression = self._progression
        return twin

    def __getstate__(self) -> dict[str, Any]:
        kept = ("score", "won", "lost", "_machine", "_events", "_progression")
        return {"file": self.interpreter.file, **{name: getattr(self, name) for name in kept}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        from dyna_training.environments.textworld.engine import interpreter

        self.interpreter, self._shared = interpreter(state.pop("file")), True
        for name, value in state.items():
            setattr(self, name, value)

    # ------------------------------------------------------------------ by TextWorld's logic

    @property
    def progression(self) -> Any:
        """TextWorld's ``GameProgression`` now: facts, possible actions, quests. Not to be changed."""
        if self._events:
            if self._shared:
                self._progression, self._shared = _copy(self._progression), False
            _follow(self._progression, self.interpreter.language, self._events)
            self._events = []
        return self._progression

    def facts(self) -> frozenset[Any]:
        """Return the facts that hold: ``textworld.logic.Proposition``, with ids for names."""
        return frozenset(self.progression.state.facts)

    def admissible(self) -> list[str]:
        """Return the commands that do something now, sorted; none after the end."""
        if self.over:
            return []
        language = self.interpreter.language
        return sorted(set(language.gen_commands_from_actions(self.progression.valid_actions)))

    def plan(self) -> list[str]:
        """Return commands that win the game from here, by TextWorld's own account of its quests.

        It knows everything. Empty where it knows none: in a lost game, and in cooking games with a limit to what can
        be carried.
        """
        actions = None if self.over else self.progression.winning_policy
        return self.interpreter.language.gen_commands_from_actions(actions) if actions else []


@functools.lru_cache(maxsize=64)
def _opening(interpreter: Interpreter) -> Any:
    from textworld.generator.game import GameProgression

    return GameProgression(interpreter.game)


def _copy(progression: Any) -> Any:
    """Copy a progression without computing anew, as its own ``copy`` does, which actions are possible."""
    twin = object.__new__(type(progression))
    twin.__dict__.update(progression.__dict__)
    twin.state = progression.state.copy()
    twin.quest_progressions = [quest.copy() for quest in progression.quest_progressions]
    return twin


def _follow(progression: Any, language: Any, events: Sequence[str]) -> None:
    for index, event in enumerate(events):
        if event.startswith("("):
            action = _implicit(progression, language, event, events[index + 1 :])
        else:
            action = language.detect_action(event, progression.valid_actions)
        if action is not None:
            progression.update(action)


def _implicit(progression: Any, language: Any, event: str, later: Iterable[str]) -> Any:
    """Return the action of a thing taken by the way; None where a later event is the same taking."""
    said = event.partition(") ")[2]
    if not said.startswith(_IMPLICIT):
        return None
    thing = said.removeprefix(_IMPLICIT)
    if any(e.startswith(f"removing the {thing} from ") for e in later):
        return None
    actions = [a for a in progression.valid_actions if a.name.split("/")[0] == "take"]
    commands = language.gen_commands_from_actions(actions)
    taking = f"take {thing}".lower()
    return next(
        (a for a, c in zip(actions, commands, strict=True) if f"{c} ".lower().startswith(f"{taking} ")), None
    )
