"""Turns before and after shortening, drawn to be looked at."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from dyna_training.data import read_trajectories
from dyna_training.traces.importing import TracesError

_PLAIN: Final = {ord(sign): f"&#{ord(sign)};" for sign in "&<>\\`*_[]|#~"}
"""What Markdown would take for more than itself."""


class Pair(NamedTuple):
    """A turn before and after.

    Attributes:
        group: Environment and outcome, or the file it comes from.
        step: Number of the step in its trajectory, from 1.
        action: The action that follows.
        before: The full thinking.
        after: The shortened thinking.
    """

    group: str
    step: int
    action: str
    before: str
    after: str


def drawn_pairs(after: Path, before: Path, n: int, seed: int) -> list[Pair]:
    """Draw turns whose thinking was shortened.

    Args:
        after: Folder of shortened trajectories.
        before: Folder they were made of.
        n: How many at most.
        seed: Seeds the drawing.

    Raises:
        TracesError: A folder holds no trajectories, or they have no shortened turn in common.
    """
    try:
        full = {t.id: t for t in read_trajectories([before])}
        short = list(read_trajectories([after]))
    except FileNotFoundError as error:
        raise TracesError(str(error)) from error
    pairs = [
        Pair(
            new.provenance.environment or new.provenance.thread,
            index + 1,
            step.action.text,
            old.transitions[index].thought,
            step.thought,
        )
        for new in short
        if (old := full.get(new.id)) is not None
        for index, step in enumerate(new.transitions)
        if index < len(old.transitions) and step.thought != old.transitions[index].thought
    ]
    if not pairs:
        raise TracesError(f"no turn of {before} was shortened in {after}; was it made from that folder?")
    chosen = random.Random(seed).sample(range(len(pairs)), min(n, len(pairs)))
    return [pairs[i] for i in sorted(chosen)]


def markdown_of(pairs: Sequence[Pair]) -> str:
    """Return turns side by side as Markdown, whole."""
    parts = []
    for number, pair in enumerate(pairs, start=1):
        before, after = len(pair.before.split()), len(pair.after.split())
        parts.append(
            f"## {number}. {_cell(pair.group)}, step {pair.step}\n\n"
            f"| before: {before} words | after: {after} words |\n|---|---|\n"
            f"| {_cell(pair.before)} | {_cell(pair.after)} |\n\n"
            f"`> {pair.action}`\n"
        )
    return "\n".join(parts)


def _cell(text: str) -> str:
    """Return a text as one line of a table that shows every character as it is."""
    return "<br>".join(text.translate(_PLAIN).strip().splitlines())
