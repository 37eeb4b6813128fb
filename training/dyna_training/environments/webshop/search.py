"""Search over products as the original's Lucene index does it: BM25, the same scores, ties in the order of ids.

Parameters are those of the original's index (k1 = 0.9, b = 0.4). Lucene keeps the length of a text in one byte and
computes in single precision; both are done here, since either changes which of two products stands first.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from dyna_training.environments.webshop.words import words

K1: Final = np.float32(0.9)
B: Final = np.float32(0.4)
RESULTS: Final = 50
"""Products that a search finds at most."""
_ONE: Final = np.float32(1)
_EXACT: Final = 24
"""Lengths below this, and their excess over it up to 15, are kept exactly; beyond, four binary digits of the excess."""


class Index:
    """Which products hold which words, how often, and in how long a text.

    Args:
        documents: Id and text of each product.
    """

    def __init__(self, documents: Iterable[tuple[str, str]]) -> None:
        ids: list[str] = []
        lengths: list[int] = []
        postings: dict[str, tuple[array[int], array[int]]] = {}
        for number, (identity, text) in enumerate(documents):
            counts = Counter(words(text))
            ids.append(identity)
            lengths.append(counts.total())
            for word, count in counts.items():
                numbers, frequencies = postings.setdefault(word, (array("i"), array("i")))
                numbers.append(number)
                frequencies.append(count)
        self._number = len(ids)
        self._rank: NDArray[np.intp] = np.argsort(np.argsort(np.array(ids)))
        norms = _norms(lengths)
        self._postings = {word: _posting(found, norms) for word, found in postings.items()}

    def search(self, query: str, most: int = RESULTS) -> tuple[int, ...]:
        """Return the numbers of the products that fit a query best, best first.

        Args:
            query: Any text.
            most: How many at most.
        """
        scores: NDArray[np.float64] = np.zeros(self._number)
        for word, count in Counter(words(query)).items():
            if word in self._postings:
                numbers, denominators = self._postings[word]
                weight = np.float32(count) * self._idf(len(numbers))
                scores[numbers] += weight - weight / denominators
        return self._best(scores.astype(np.float32), most)

    def _idf(self, documents: int) -> np.float32:
        return np.float32(math.log(1 + (self._number - documents + 0.5) / (documents + 0.5)))

    def _best(self, scores: NDArray[np.float32], most: int) -> tuple[int, ...]:
        found = np.flatnonzero(scores)
        if len(found) > most:
            least = np.partition(scores[found], len(found) - most)[len(found) - most]
            found = found[scores[found] >= least]
        order = np.lexsort((self._rank[found], -scores[found]))[:most]
        return tuple(found[order].tolist())


def _norms(lengths: Sequence[int]) -> NDArray[np.float32]:
    """Return for each length what a frequency is multiplied by."""
    kept = np.array([_kept(length) for length in lengths], dtype=np.float32)
    average = np.float32(sum(lengths) / max(1, sum(1 for length in lengths if length)))
    norms: NDArray[np.float32] = _ONE / (K1 * ((_ONE - B) + B * kept / average))
    return norms


def _kept(length: int) -> int:
    excess = length - _EXACT
    if excess < 16:
        return length
    shift = excess.bit_length() - 4
    return _EXACT + (excess >> shift << shift)


def _posting(
    found: tuple[array[int], array[int]], norms: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Return the products that hold a word, and one plus frequency times norm for each."""
    numbers = np.array(found[0], dtype=np.int32)
    return numbers, _ONE + np.array(found[1], dtype=np.float32) * norms[numbers]
