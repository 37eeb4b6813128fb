"""What an action of ALFWorld changed, in words (Dyna-Think, arXiv 2506.00320, DDT: state difference).

At most three sentences, about what somebody who acts there can use, and only what the action caused.
"""

from __future__ import annotations

from typing import Final

from dyna_training.annotate.annotator import NO_CHANGES
from dyna_training.environments.alfworld.knowledge import KnownWorld
from dyna_training.environments.alfworld.refusals import where
from dyna_training.environments.alfworld.task import split_command
from dyna_training.environments.alfworld.text import listing
from dyna_training.environments.alfworld.tracking import success_text

BECOMES: Final = {"clean": "clean", "heat": "hot", "cool": "cool", "slice": "sliced", "use": "on"}
"""Verb to what a thing is after it, in words."""
_OPPOSITE: Final = {"heat": "cool", "cool": "hot"}


def difference(before: KnownWorld, action: str, observation: str, *, solved: bool = False) -> str:
    """Say what an action changed.

    Args:
        before: What the history before it tells.
        action: The command.
        observation: What was observed after it.
        solved: Whether it solved the task.

    Returns:
        Up to three sentences; `NO_CHANGES` where nothing did, looking at what was known included.
    """
    after = before.fork()
    after.observe(action, observation)
    said = [*_changes(before, after, action, observation), *(["The task is done."] if solved else [])]
    return " ".join(said) or NO_CHANGES


def _changes(before: KnownWorld, after: KnownWorld, action: str, observation: str) -> list[str]:
    verb, first, second = split_command(action)
    if verb == "examine":
        return _sight(after, first) if _newly_seen(before, after, first) else []
    text = success_text(verb, first, second)
    if not text or not observation.strip().startswith(text):
        return []
    if verb == "go":
        return [f"You are now at {first}.", *_sight(after, first)]
    if verb == "open":
        return [f"{first.capitalize()} is now open.", *_sight(after, first)]
    if verb == "close":
        return [f"{first.capitalize()} is now closed."]
    if verb == "take":
        return [f"You now hold the {first}; it is no longer {where(after, second)} {second}."]
    if verb == "move":
        return [f"The {first} is now {where(after, second)} {second}; you no longer hold it."]
    if after.states == before.states:
        return []
    lost = _OPPOSITE.get(verb, "")
    no_longer = f" and no longer {lost}" if (first, lost) in before.states else ""
    return [f"The {first} is now {BECOMES[verb]}{no_longer}."]


def _sight(after: KnownWorld, place: str) -> list[str]:
    """Say what is to be seen at a place, as far as it was reported."""
    if after.is_closed(place):
        return [f"You see that {place} is closed."]
    if place not in after.contents:
        return []
    return [f"You see {listing(after.contents[place])} {where(after, place)} it."]


def _newly_seen(before: KnownWorld, after: KnownWorld, place: str) -> bool:
    return (before.contents.get(place), before.opened.get(place)) != (
        after.contents.get(place),
        after.opened.get(place),
    )
