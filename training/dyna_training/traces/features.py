"""The features of a sentence that the extractive abbreviator decides by."""

from __future__ import annotations

from typing import NamedTuple

from dyna_training.traces.abbreviator import Turn
from dyna_training.traces.sentences import Sentence
from dyna_training.traces.wording import (
    CONDITIONAL,
    CONTRAST,
    LOOKING_BACK,
    OUTCOME,
    PROPOSAL,
    action_words,
    mentions,
    stems,
)


class About(NamedTuple):
    """The words of what a turn is about.

    Attributes:
        action: Stems of the executed action.
        known: Stems of each action of the run, the executed one first.
        previous: Stems of the action before; empty in the first turn.
        seen: Stems of the last observation; of the task in the first turn.
    """

    action: frozenset[str]
    known: tuple[frozenset[str], ...]
    previous: frozenset[str]
    seen: frozenset[str]

    @classmethod
    def of(cls, turn: Turn) -> About:
        """Return the words of a turn."""
        last = turn.history[-1] if turn.history else None
        return cls(
            action_words(turn.action),
            tuple(action_words(action) for action in turn.known_actions),
            action_words(last.action) if last else frozenset(),
            stems(last.observation if last else turn.task),
        )


class Marks(NamedTuple):
    """A sentence with its features.

    Attributes:
        text: The sentence.
        code: Whether it is a block of code.
        words: Stems of its content words.
        executed: Whether it names the executed action.
        named: Places in `About.known` of the actions it names.
        proposes: Whether it proposes something ("should", "maybe", "alternatively").
        looks_back: Whether it speaks of what was seen or done.
        outcome: Whether it says what something leads to ("would", "so that", "to reach").
        conditional: Whether it supposes something ("if I", "once I").
        contrast: Whether it begins by contradicting ("but", "wait", "however").
    """

    text: str
    code: bool
    words: frozenset[str]
    executed: bool
    named: frozenset[int]
    proposes: bool
    looks_back: bool
    outcome: bool
    conditional: bool
    contrast: bool


def marks_of(sentence: Sentence, about: About) -> Marks:
    """Return the features of a sentence."""
    text, words = sentence.text, stems(sentence.text)
    return Marks(
        text=text,
        code=sentence.code,
        words=words,
        executed=mentions(words, about.action),
        named=frozenset(i for i, known in enumerate(about.known) if mentions(words, known)),
        proposes=bool(PROPOSAL.search(text)),
        looks_back=bool(LOOKING_BACK.search(text)),
        outcome=bool(OUTCOME.search(text)),
        conditional=bool(CONDITIONAL.search(text)),
        contrast=bool(CONTRAST.search(text)),
    )
