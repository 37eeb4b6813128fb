"""What goes into the simulator and what comes out of it, as text that an agent can be shown."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

LONGEST: Final = 500
"""Characters of a command that are read."""
LONGEST_ANSWER: Final = 16_384
NOT_UNDERSTOOD: Final = "No known action matches that input."
"""The simulator's answer to what is no action."""
TOO_LONG: Final = f"That command is too long; {LONGEST} characters are read at most."
CUT: Final = "\n[cut: the answer is longer]"

HELP: Final = """Available commands:
  look around:            describe the current room
  inventory:              list what you carry
  task:                   print the task
  look at ...:            describe an object
  look in ...:            describe what is in a container
  read ...:               read a note or book
  open ..., close ...:    open or close a container or a door
  go to ...:              go to an adjacent room
  teleport to ...:        go to any room
  pick up ..., put down ...: take an object, or leave it here
  move ... to ...:        move an object to a container
  pour ... in ...:        pour a liquid into a container
  dunk ... in ...:        dunk a container into a liquid
  mix ...:                mix what is in a container chemically
  activate ..., deactivate ...: turn a device on or off
  use ... on ...:         use a device or tool on an object
  connect ... to ..., disconnect ...: connect electrical components by their terminals
  eat ..., flush ...:     eat food, flush a toilet
  focus on ...:           signal that this object is what the task asks for; a wrong one loses
  wait, wait1:            let ten steps pass, or one
Where a command can mean several things, the answer numbers them; the next command is one of the numbers.
"""
"""What the games understand; ``teleport to`` and ``connect`` only where simplifications allow it."""


def clean(text: str) -> str:
    """Return text of the simulator in printable ASCII, without spaces at the ends of lines."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^\n\t -~]", "", plain)
    plain = "\n".join(line.rstrip() for line in plain.split("\n")).strip("\n")
    return plain if len(plain) <= LONGEST_ANSWER else plain[: LONGEST_ANSWER - len(CUT)] + CUT


def command(action: str) -> tuple[str, str]:
    """Return what to send for an action, and where there is nothing to send, what to answer instead.

    An empty command is nothing to send: to the simulator it means to take back a question about what was meant, which
    any other text does, too. Characters that are not ASCII become question marks, which no action has.
    """
    said = re.sub(r"[^ -~]", "?", " ".join(action.split()))
    if not said:
        return "", NOT_UNDERSTOOD
    return (said, "") if len(said) <= LONGEST else ("", TOO_LONG)
