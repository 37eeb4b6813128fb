"""Notes about steps in an environment of which nothing is known but its answers."""

from __future__ import annotations

from typing import Final

from dyna_nodes.codec.thinking import CORRECT, WRONG, InnerSimulation, holds, sentences
from dyna_training.annotate.annotator import NO_CHANGES

SENTENCES: Final = 3
"""A difference has at most so many sentences (Dyna-Think, arXiv 2506.00320)."""


def plain_difference(seen: str, observation: str, *, solved: bool) -> str:
    """Say what an action changed: what is observed after it and was not before.

    Args:
        seen: What was observed last before the action.
        observation: What was observed after it.
        solved: Whether it solved the task.
    """
    known = set(sentences(seen))
    new = [s for s in saying(observation) if s not in known][: SENTENCES - solved]
    return " ".join([*new, *(["The task is done."] if solved else [])]) or NO_CHANGES


def plain_critique(simulation: InnerSimulation, observation: str) -> str:
    """Say with hindsight what happens, after ``Yes, `` or ``Wait, ``: first what the simulation did not say."""
    right, imagined = holds(simulation, observation), set(sentences(simulation.certain))
    happened = saying(observation)
    first = next((s for s in happened if (s in imagined) == right), next(iter(happened), "Nothing happens"))
    said = first.rstrip(".!? ")
    return f"{CORRECT if right else WRONG}{said[:1].lower()}{said[1:]}."


def saying(text: str) -> list[str]:
    """Return the sentences of an observation that say something; rules and frames do not."""
    return [s for s in sentences(text) if any(c.isalnum() for c in s)]
