"""Task sentences and command lines of ALFWorld, understood."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from dyna_training.environments.alfworld.game import TaskType

_TASKS: Final[tuple[tuple[re.Pattern[str], TaskType], ...]] = (
    (re.compile(r"(?:look at|examine the) (\w+) (?:under|with) the (\w+)"), "look_at_obj_in_light"),
    (re.compile(r"(?:put|find) two (\w+) (?:and put them )?in (\w+)"), "pick_two_obj_and_place"),
    (
        re.compile(r"(?:clean some|put a clean) (\w+) (?:and put it )?in (\w+)"),
        "pick_clean_then_place_in_recep",
    ),
    (re.compile(r"(?:heat some|put a hot) (\w+) (?:and put it )?in (\w+)"), "pick_heat_then_place_in_recep"),
    (re.compile(r"(?:cool some|put a cool) (\w+) (?:and put it )?in (\w+)"), "pick_cool_then_place_in_recep"),
    (re.compile(r"put (?:some|a) (\w+) (?:in|on) (\w+)"), "pick_and_place_simple"),
)


@dataclass(frozen=True, slots=True)
class Task:
    """A task sentence, understood.

    Attributes:
        task_type: One of `game.TASK_TYPES`.
        object: Wanted kind of object, for example ``mug``.
        target: Kind of receptacle it belongs in, or kind of lamp.
    """

    task_type: TaskType
    object: str
    target: str

    @classmethod
    def parse(cls, text: str) -> Task:
        """Understand a task sentence, with or without ``Your task is to: ``.

        Raises:
            ValueError: The sentence is none of the twelve that the games use.
        """
        for pattern, task_type in _TASKS:
            match = pattern.search(text)
            if match:
                return cls(task_type, match.group(1), match.group(2))
        raise ValueError(
            f"{text!r} is not an ALFWorld task; expected a sentence like 'put a clean mug in shelf.'"
        )


def kind(name: str) -> str:
    """Return the kind of a numbered name: ``mug`` for ``mug 2``."""
    return name.partition(" ")[0]


def number(name: str) -> int:
    """Return the number of a numbered name: 2 for ``mug 2``."""
    return int(name.partition(" ")[2])


def split_command(command: str) -> tuple[str, str, str]:
    """Split a command into verb, first and second name.

    Names that the form of the verb does not have, or that do not follow its preposition, are empty strings:
    ``go to desk 1`` gives ``("go", "desk 1", "")`` and ``take mug 1`` gives ``("take", "mug 1", "")``.
    """
    verb, _, rest = command.strip().partition(" ")
    if verb == "go":
        return verb, rest[3:] if rest.startswith("to ") else "", ""
    preposition = _PREPOSITIONS.get(verb)
    if preposition is None:
        return verb, rest, ""
    first, _, second = rest.partition(preposition)
    return verb, first, second


_PREPOSITIONS: Final = {
    "take": " from ",
    "move": " to ",
    "clean": " with ",
    "heat": " with ",
    "cool": " with ",
    "slice": " with ",
}
