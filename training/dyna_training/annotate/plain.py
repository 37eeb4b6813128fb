"""Notes about steps in an environment of which nothing is known but its answers."""

from __future__ import annotations

import re
from typing import Final

from dyna_nodes.codec.thinking import (
    CORRECT,
    WRONG,
    InnerSimulation,
    certain_holds,
    holds,
    hypothesis_holds,
)
from dyna_training.annotate.annotator import NO_CHANGES

SENTENCES: Final = 3
"""A difference has at most so many sentences (Dyna-Think, arXiv 2506.00320)."""
_END: Final = re.compile(r"(?<=[.!?]) ")


def plain_difference(seen: str, observation: str, *, solved: bool) -> str:
    """Say what an action changed: what is observed after it and was not before.

    Args:
        seen: What was observed last before the action.
        observation: What was observed after it.
        solved: Whether it solved the task.
    """
    known = set(saying(seen))
    new = [s for s in saying(observation) if s not in known][: SENTENCES - solved]
    return " ".join([*new, *(["The task is done."] if solved else [])]) or NO_CHANGES


def plain_critique(simulation: InnerSimulation, observation: str) -> str:
    """Say with hindsight what happened: where the simulation is right, first what it said, else what it did not say.

    Args:
        simulation: What the action was imagined to do.
        observation: What it did.

    Returns:
        A sentence that begins with ``Yes, `` or ``Wait, ``; about a hypothesis where it hangs on one.
    """
    right, imagined = holds(simulation, observation), set(saying(simulation.outcome))
    happened = saying(observation)
    told = next((s for s in happened if (s in imagined) == right), next(iter(happened), "nothing happens"))
    told = told.rstrip(".!? ")
    if told[1:2].islower():  # no "I", and no name in capitals
        told = told[0].lower() + told[1:]
    missed = [h for h in simulation.hypotheses if not hypothesis_holds(h, observation)]
    if missed and certain_holds(simulation, observation):
        told = f"I do not see {missed[0]}: {told}"
    elif right and simulation.hypotheses and not simulation.certain:
        told = f"I see {simulation.hypotheses[0]}"
    return f"{CORRECT if right else WRONG}{told}."


def saying(text: str) -> list[str]:
    """Return the sentences of an observation that say something; rules and frames do not.

    Unlike the codec, which compares pieces, this ends no sentence inside a number or a name: its sentences are written.
    """
    return [s for s in _END.split(" ".join(text.split())) if any(c.isalnum() for c in s)]
