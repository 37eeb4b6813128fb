"""What goes into the interpreter and what comes out of it, as text that an agent can be shown."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

NOT_UNDERSTOOD: Final = "That's not a verb I recognise."
"""The interpreter's answer to an unknown verb; here also that to what is not part of the game."""
LONGEST: Final = 198
"""Bytes of a command that the interpreter reads."""
TOO_LONG: Final = f"That command is too long; {LONGEST} characters are read at most."

HELP: Final = """Available commands:
  look:                describe the current room
  goal:                print the goal of this game
  inventory:           print player's inventory
  go <dir>:            move the player north, east, south or west
  examine ...:         examine something more closely
  eat ...:             eat edible food
  open ...:            open a door or a container
  close ...:           close a door or a container
  drop ...:            drop an object on the floor
  take ...:            take an object that is on the floor
  put ... on ...:      place an object on a supporter
  take ... from ...:   take an object from a container or a supporter
  insert ... into ...: place an object into a container
  lock ... with ...:   lock a door or a container with a key
  unlock ... with ...: unlock a door or a container with a key
  cook ... with ...:   cook cookable food with something providing heat
  slice ... with ...:  slice cuttable food with something sharp
  chop ... with ...:   chop cuttable food with something sharp
  dice ... with ...:   dice cuttable food with something sharp
  prepare meal:        combine ingredients from inventory into a meal
"""
"""What the games understand; only cooking games know the last five."""

_PROGRAM: Final = """
    quit q restart restore save undo oops script transcript noscript unscript verify version notify nouns pronouns
    verbose brief normal long short superbrief score fullscore full enable disable restrict print_state
"""
_OUT_OF_WORLD: Final = frozenset(_PROGRAM.split())
"""Verbs that are about the program and not about the world: they would end it, write files, or show what is hidden."""
_STATUS = re.compile(r"\n>[ ]+(?:-=[^\n]*)?$")
"""The prompt and the status line behind it: room, score and turns."""
_PROMPT = re.compile(r"\n>\s*$")
_BANNER = re.compile(r"\A\s*_{8}  .*?\n\n", re.DOTALL)
"""The name of the framework in large letters at the beginning."""
_EXTRA = re.compile(r"<(score|moves)>\n(.*?)</\1>", re.DOTALL)
_EVENT = re.compile(r"\[([^\[\]]+)\]\n?")
_RESTART = re.compile(r"\s*Would you like to RESTART[^\n]*")
_SUCCEEDED: Final = " - succeeded"
_WON: Final = "*** The End ***"
_LOST: Final = "*** You lost! ***"


class Answer(NamedTuple):
    """What the interpreter said to one command.

    Attributes:
        text: What the player sees.
        events: What succeeded in the world, in Inform's words.
        score: Score after it; None where it is not told, as after what took no turn.
        won: Whether the game is won by it.
        lost: Whether the game is lost by it.
    """

    text: str
    events: tuple[str, ...] = ()
    score: int | None = None
    won: bool = False
    lost: bool = False


def read(raw: str) -> Answer:
    """Return what the raw output of the interpreter says.

    Prompt, status line, padding, the large letters at the beginning, the tags that the framework asked for, and the
    question about a restart at the end are taken out; runs of empty lines become one.
    """
    text = _PROMPT.sub("", _STATUS.sub("", raw))
    scores = [value for name, value in _EXTRA.findall(text) if name == "score"]
    text = _EXTRA.sub("", text)
    said = [event.strip() for event in _EVENT.findall(text)]
    # Those in brackets are parts of one that follows.
    events = tuple(e.partition(_SUCCEEDED)[0] for e in said if _SUCCEEDED in e and not e.startswith("("))
    text = _RESTART.sub("", _EVENT.sub("", _BANNER.sub("", text)))
    lines = [line.rstrip() for line in text.split("\n")]
    lines = [line.strip() if line.strip().startswith("***") else line for line in lines]
    return Answer(
        text=re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n"),
        events=events,
        score=int(scores[-1].split()[0]) if scores and scores[-1].strip() else None,
        won=_WON in text,
        lost=_LOST in text,
    )


def command(action: str) -> tuple[str, str]:
    """Return what to send for an action, and where there is nothing to send, what to answer instead.

    One action is one command about the world: several in a line, and those about the program, are not understood. The
    interpreter takes printable ASCII (a zero byte would have it wait for ever); other characters become question marks,
    which it does not understand either.
    """
    said = re.sub(r"[^ -~]", "?", " ".join(action.split())).rstrip(".! ")
    if len(said) > LONGEST:
        return "", TOO_LONG
    words = said.lower().split()
    first = words[0].strip("\"',;:") if words else ""
    several = re.search(r"[.;\"\\]|\bthen\b", said) is not None
    if not words or several or first in _OUT_OF_WORLD or first.startswith("tw-"):
        return "", NOT_UNDERSTOOD
    return said, ""
