"""A row of tokens under construction: a trunk, and branches that hang on it.

What stands in a conversation is the *trunk*. A *branch* is something that is said after a part of the trunk
and that nothing else may know of: a return-to-go, an answer about the next observation, a response whose
thinking later turns do not see. It sees the trunk before it and itself, so that one row holds many answers to
one conversation for the price of their own tokens.

Trunk and branches are made of segments: what the model *reads*, what it must *write*, and what it is
*expected* to say next without its being read afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

IGNORED: Final = -100
"""Label of a position at which nothing must be predicted."""


class Example(NamedTuple):
    """One row as a training example; all lists have length tokens.

    Attributes:
        ids: Token ids.
        labels: ``labels[i]`` is the token that must be predicted *at* position i, or -100. They are
            not to be shifted again: with branches, the next token in the row is not always the successor.
        positions: Position ids; a branch counts on from where it hangs, the trunk takes no notice of it.
        branch: 0 for the trunk, k > 0 for the k-th branch. Position i attends to j when j <= i and
            branch[j] is 0 or branch[i].
    """

    ids: list[int]
    labels: list[int]
    positions: list[int]
    branch: list[int]

    @property
    def targets(self) -> int:
        """Number of tokens that must be predicted."""
        return sum(label != IGNORED for label in self.labels)


class Segment(NamedTuple):
    """A piece of a branch; made by `read`, `write` and `expect`."""

    ids: Sequence[int]
    use: Literal["read", "write", "expect"]


def read(ids: Sequence[int]) -> Segment:
    """Tokens that the model only reads."""
    return Segment(ids, "read")


def write(ids: Sequence[int]) -> Segment:
    """Tokens that the model must predict, and reads afterwards."""
    return Segment(ids, "write")


def expect(token: int) -> Segment:
    """A token that the model must predict and that nothing reads, such as an end of turn before a question."""
    return Segment([token], "expect")


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the longest common beginning."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


class Row:
    """Builds an `Example` from left to right."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._labels: list[int] = []
        self._positions: list[int] = []
        self._branch: list[int] = []
        self._branches = 0
        self._trunk = 0
        self._tip = -1

    def read(self, ids: Sequence[int]) -> None:
        """Append trunk tokens that the model only reads."""
        for token in ids:
            self._tip = len(self._ids)
            self._append(token, self._trunk, 0)
            self._trunk += 1

    def write(self, ids: Sequence[int]) -> None:
        """Append trunk tokens that the model must predict.

        Raises:
            ValueError: The row is empty: nothing predicts its first token.
        """
        for token in ids:
            self._label(self._tip, token)
            self.read([token])

    def hang(self, *segments: Segment) -> int:
        """Hang a branch on the tip of the trunk.

        Returns:
            The number of the branch, from 1.

        Raises:
            ValueError: It does not begin with a token to read. The tip of the trunk predicts the trunk.
        """
        first = next((s for s in segments if s.ids), None)
        if first is None or first.use != "read":
            raise ValueError("a branch begins with at least one token that is read")
        self._branches += 1
        position = self._trunk
        for segment in segments:
            for token in segment.ids:
                if segment.use != "read":
                    self._label(len(self._ids) - 1, token)
                if segment.use != "expect":
                    self._append(token, position, self._branches)
                    position += 1
        return self._branches

    def example(self) -> Example:
        """Return what was built."""
        return Example(self._ids, self._labels, self._positions, self._branch)

    def _label(self, place: int, token: int) -> None:
        if place < 0 or self._labels[place] != IGNORED:
            raise ValueError("this token has nothing before it that could predict it")
        self._labels[place] = token

    def _append(self, token: int, position: int, branch: int) -> None:
        self._ids.append(token)
        self._labels.append(IGNORED)
        self._positions.append(position)
        self._branch.append(branch)
