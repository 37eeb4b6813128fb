"""What a search is made of: words as Lucene's English analysis makes them, so that results rank as in the original.

A text is cut as Unicode's rules for words say (annex 29), lower-cased, freed of a possessive ``'s`` and of the
commonest words, and stemmed by Porter's algorithm (M. F. Porter, An algorithm for suffix stripping, 1980, with
the two changes of its author's own program).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Final

_COMMON: Final = """
    a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to
    was will with
"""
STOP_WORDS: Final = frozenset(_COMMON.split())

_ALONE = "[\u2e80-\u2fd5\u3005\u3007\u3021-\u3029\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"
"""Characters that are words by themselves: ideographs and hiragana."""
_FRACTIONS = (
    "[\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2089\u2150-\u215f\u2460-\u249b\u24ea-\u24ff\u2776-\u2793]"
)
"""Numbers in circles, above the line, or broken: Python counts them among the letters, Unicode's rules do not."""
_ACCENTS = "\u00ad\u0300-\u036f\u200c\u200e\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff\uff9e\uff9f"
_MARKS = f"[{_ACCENTS}\u200d]*"
"""What belongs to the character before it: accents, soft hyphens, joiners, variants."""
_LETTER = rf"(?:(?!{_ALONE}|{_FRACTIONS}|[\uff9e\uff9f])[^\W\d_]{_MARKS})"
_DIGIT = rf"(?:\d{_MARKS})"
_CONNECTOR = rf"(?:[_\u203f\u2040]{_MARKS})"
_IN_WORDS = rf"(?:[:.'\u00b7\u2018\u2019\u2024\u2027\uff07\uff0e\uff1a]{_MARKS})"
_IN_NUMBERS = rf"(?:[,;.'\u2018\u2019\u2024\u2044\uff07\uff0c\uff0e]{_MARKS})"
_EMOJI = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u2388\u23cf\u23e9-\u23f3\u23f8-\u23fa"
    "\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u2605\u2607-\u2612\u2614-\u2685\u2690-\u2705\u2708-\u2712\u2714"
    "\u2716\u271d\u2721\u2728\u2733\u2734\u2744\u2747\u274c\u274e\u2753-\u2755\u2757\u2763-\u2767\u2795-\u2797\u27a1\u27b0"
    "\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299\U0001f1e6-\U0001f1ff"
    "\U0001f300-\U0001faff]"
)
_WORD = re.compile(
    rf"{_ALONE}{_MARKS}"
    rf"|{_CONNECTOR}*(?:{_LETTER}|{_DIGIT})"
    rf"(?:{_LETTER}|{_DIGIT}|{_CONNECTOR}|(?<=[^\W\d_]){_IN_WORDS}(?={_LETTER})|(?<=\d){_IN_NUMBERS}(?=\d))*"
    rf"|{_EMOJI}[{_ACCENTS}]*(?:\u200d{_EMOJI}[{_ACCENTS}]*)*"
)
_LONGEST: Final = 255
"""Characters after which a word is cut."""


def words(text: str) -> Iterator[str]:
    """Yield the words of a text as they are searched for: stemmed, and without the commonest."""
    for match in _WORD.finditer(text):
        found = match.group()
        for start in range(0, len(found), _LONGEST):
            word = _without_possessive(found[start : start + _LONGEST]).lower()
            if word not in STOP_WORDS:
                yield stem(word)


def _without_possessive(word: str) -> str:
    return word[:-2] if word[-1:] in "sS" and word[-2:-1] in ("'", "\u2019", "\uff07") else word


@functools.lru_cache(maxsize=1 << 17)
def stem(word: str) -> str:
    """Return the stem of a lower-case word.

    Args:
        word: A word; one of two letters or fewer is its own stem.
    """
    if len(word) <= 2:
        return word
    word = _plurals(word)
    word = _past_and_present(word)
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    word = _replaced(word, _STEP_2)
    word = _replaced(word, _STEP_3)
    return _tidied(_bare(word))


_STEP_2: Final = (
    # The last two are Porter's own later changes: "bli" for "abli", and "logi".
    *(("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize")),
    *(("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate")),
    *(("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous")),
    *(("aliti", "al"), ("iviti", "ive"), ("biliti", "ble"), ("bli", "ble"), ("logi", "log")),
)
_STEP_3: Final = (
    *(("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", "")),
    ("ness", ""),
)
_STEP_4: Final = (
    *("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou"),
    *("ism", "ate", "iti", "ous", "ive", "ize"),
)


def _vowels(word: str) -> str:
    """Return the word with each letter as ``v`` or ``c``; a y after a consonant is a vowel."""
    kinds = ""
    for letter in word:
        vowel = letter in "aeiou" or (letter == "y" and kinds.endswith("c"))
        kinds += "v" if vowel else "c"
    return kinds


def _measure(word: str) -> int:
    """Return how many times a consonant follows a vowel: Porter's m."""
    return _vowels(word).count("vc")


def _has_vowel(word: str) -> bool:
    return "v" in _vowels(word)


def _doubled(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and _vowels(word)[-1] == "c"


def _closed(word: str) -> bool:
    """Whether a word ends with consonant, vowel, consonant, the last of them none of w, x, y."""
    return _vowels(word).endswith("cvc") and word[-1] not in "wxy"


def _plurals(word: str) -> str:
    if word.endswith(("sses", "ies")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past_and_present(word: str) -> str:
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for suffix in ("ed", "ing"):
        rest = word.removesuffix(suffix)
        if rest == word:
            continue
        if not _has_vowel(rest):
            return word
        if rest.endswith(("at", "bl", "iz")):
            return rest + "e"
        if _doubled(rest):
            return rest if rest[-1] in "lsz" else rest[:-1]
        return rest + "e" if _measure(rest) == 1 and _closed(rest) else rest
    return word


def _replaced(word: str, endings: tuple[tuple[str, str], ...]) -> str:
    """Replace the first ending that fits, if something is left to measure before it."""
    for suffix, instead in endings:
        if word.endswith(suffix):
            rest = word[: -len(suffix)]
            return rest + instead if _measure(rest) > 0 else word
    return word


def _bare(word: str) -> str:
    for suffix in _STEP_4:
        if word.endswith(suffix):
            rest = word[: -len(suffix)]
            if suffix == "ion" and not rest.endswith(("s", "t")):
                continue
            return rest if _measure(rest) > 1 else word
    return word


def _tidied(word: str) -> str:
    if word.endswith("e"):
        rest, measure = word[:-1], _measure(word[:-1])
        if measure > 1 or (measure == 1 and not _closed(rest)):
            word = rest
    return word[:-1] if word.endswith("ll") and _measure(word) > 1 else word
