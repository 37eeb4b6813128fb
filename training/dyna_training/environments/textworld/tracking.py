"""What is so in a game, by TextWorld's own logic, found out from what the interpreter reports.

TextWorld's wrapper computes after every command which actions are possible, whether anybody asks or not; that takes
longer than the command. Here the reported events are kept, and caught up with when somebody asks.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from dyna_training.environments.textworld.engine import OPEN_GAMES, Interpreter, Machine, open_game
from dyna_training.environments.textworld.text import Answer, command

_TAKING: Final = "taking the "
_ENTERING: Final = "entering "


class Tracker:
    """TextWorld's ``GameProgression`` of a play, as far as it was asked for.

    Args:
        interpreter: The game's.
        quests: Whether quests are followed, too; only plans need that, and it takes time.
    """

    __slots__ = ("_followed", "_language", "_progression", "_shared")

    def __init__(self, interpreter: Interpreter, *, quests: bool) -> None:
        self._progression = _opening(interpreter, quests)
        self._language = interpreter.language
        self._followed = 0
        self._shared = True

    def after(self, events: list[str]) -> Any:
        """Return the progression after all that was reported; it is not to be changed."""
        if self._followed < len(events):
            if self._shared:
                self._progression, self._shared = _copy(self._progression), False
            _follow(self._progression, self._language, events[self._followed :])
            self._followed = len(events)
        return self._progression

    def fork(self) -> Tracker:
        """Return an independent copy; what it shares is copied when one of the two goes on."""
        twin = Tracker.__new__(Tracker)
        self._shared = twin._shared = True
        twin._progression, twin._language = self._progression, self._language
        twin._followed = self._followed
        return twin


class Play:
    """A game being played: the state of its interpreter, and on demand the facts that hold in it.

    Args:
        interpreter: The game's.

    Attributes:
        score: Points so far.
        won: Whether the game is won.
        lost: Whether it is lost.
    """

    __slots__ = ("_events", "_facts", "_machine", "_quests", "interpreter", "lost", "score", "won")

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.score, self.won, self.lost = 0, False, False
        self._machine: Machine = interpreter.start
        self._events: list[str] = []  # all that was reported
        self._facts = Tracker(interpreter, quests=False)
        self._quests = Tracker(interpreter, quests=True)

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
        self._events += answer.events
        if answer.score is not None:
            self.score = answer.score
        self.won, self.lost = answer.won, answer.lost

    def fork(self) -> Play:
        """Return an independent play in the same state; it copies nothing but a list of events."""
        twin = Play.__new__(Play)
        twin.interpreter, twin.score, twin.won, twin.lost = self.interpreter, self.score, self.won, self.lost
        twin._machine, twin._events = self._machine, list(self._events)
        twin._facts, twin._quests = self._facts.fork(), self._quests.fork()
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        # TextWorld's facts keep their hashes, which are others in another process: there they are found out anew.
        state = (self._machine, self.score, self.won, self.lost, self._events)
        return _restored, (self.interpreter.file, *state)

    # ------------------------------------------------------------------ by TextWorld's logic

    def facts(self) -> frozenset[Any]:
        """Return the facts that hold: ``textworld.logic.Proposition``, with ids for names."""
        return frozenset(self._facts.after(self._events).state.facts)

    def admissible(self) -> list[str]:
        """Return the commands that do something now, sorted; none after the end."""
        if self.over:
            return []
        actions = self._facts.after(self._events).valid_actions
        return sorted(set(self.interpreter.language.gen_commands_from_actions(actions)))

    def plan(self) -> list[str]:
        """Return commands that win the game from here, by TextWorld's own account of its quests.

        It knows everything. Empty where it knows none: in a lost game, and in cooking games with a limit to what can
        be carried.
        """
        actions = None if self.over else self._quests.after(self._events).winning_policy
        return self.interpreter.language.gen_commands_from_actions(actions) if actions else []


def _restored(file: Path, machine: Machine, score: int, won: bool, lost: bool, events: list[str]) -> Play:
    play = Play(open_game(file))
    play._machine, play.score, play.won, play.lost, play._events = machine, score, won, lost, events
    return play


@functools.lru_cache(maxsize=2 * OPEN_GAMES)
def _opening(interpreter: Interpreter, quests: bool) -> Any:
    from textworld.generator.game import GameProgression

    return GameProgression(interpreter.game, track_quests=quests)


def _copy(progression: Any) -> Any:
    """Copy a progression without computing anew, as its own ``copy`` does, which actions are possible."""
    twin = object.__new__(type(progression))
    twin.__dict__.update(progression.__dict__)
    twin.state = progression.state.copy()
    twin.quest_progressions = [quest.copy() for quest in progression.quest_progressions]
    return twin


def _follow(progression: Any, language: Any, events: Iterable[str]) -> None:
    for event in events:
        action = (
            language.detect_action(event, progression.valid_actions)
            or _taking(progression, language, event)
            or _entering(progression, language, event)
        )
        if action is not None:
            progression.update(action)


def _taking(progression: Any, language: Any, event: str) -> Any:
    """Return the action of taking a thing from where it is; None where the event is no taking.

    Of ``get knife`` Inform reports that the knife was taken, not from where, and TextWorld's own tracking loses
    sight of it.
    """
    if not event.startswith(_TAKING):
        return None
    taken = f"take {event.removeprefix(_TAKING)} ".lower()
    actions = [a for a in progression.valid_actions if a.name.split("/")[0] == "take"]
    commands = language.gen_commands_from_actions(actions)
    return next(
        (a for a, c in zip(actions, commands, strict=True) if f"{c} ".lower().startswith(taken)), None
    )


def _entering(progression: Any, language: Any, event: str) -> Any:
    """Return the action of going through a door, for an event that names the door; None where it is no such event.

    Of ``go gateway`` Inform does not report the direction.
    """
    if not event.startswith(_ENTERING):
        return None
    name = event.removeprefix(_ENTERING).removeprefix("the ").lower()
    behind = {
        (here.name, there.name)
        for fact in progression.state.facts
        if fact.name == "link"
        for here, door, there in [fact.arguments]
        if str(language.entity_infos[door.name].name).lower() == name
    }
    walks = (action for action in progression.valid_actions if action.name.startswith("go/"))
    return next((a for a in walks if (_room(a.preconditions), _room(a.postconditions)) in behind), None)


def _room(facts: Iterable[Any]) -> str:
    return next(
        (str(f.arguments[1].name) for f in facts if f.name == "at" and f.arguments[0].type == "P"), ""
    )
