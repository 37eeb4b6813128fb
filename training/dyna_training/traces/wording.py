"""What a sentence of thinking is about: the words of actions, and the turns of phrase that mark its part.

The turns of phrase are English. Thinking in another language shows none of them; only its last sentence would stay.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from dyna_nodes.nouns import COMMAND_TOOL, Action

_WORD: Final = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[^\W\d_]+")
_CANONICAL: Final = {
    **dict.fromkeys(("go", "going", "goes", "went", "gone", "move", "head", "walk", "proceed"), "go"),
    **dict.fromkeys(("take", "took", "taken", "grab", "pick", "get", "got"), "take"),
    **dict.fromkeys(("put", "puts", "place", "drop"), "put"),
}
_STOPWORDS: Final = """
a an the to of in on at with from into and or but so that this these those it its is are was were be
been am i i'm i'll i've i'd my me we you your he she they them there here then than as if for by not
no do does did have has had can could should would will may might must just now one which what where
when how all any some
"""
STOPWORDS: Final = frozenset(_STOPWORDS.split())
"""Words that say nothing about what a sentence is about."""

CONDITIONAL: Final = re.compile(
    r"\b(if i|if we|once i|once we|after (that|this)|by \w+ing|\w+ing \w+ (would|will))\b", re.I
)
OUTCOME: Final = re.compile(
    r"\b(would|will|(i|we|it|that|this)'(ll|d)|leads?|takes? me|brings? me|results? in|allows? me|lets me|"
    r"gives? me|so that|that way|should (be|get|give|let|lead|bring|take|put|open|work|land|make|help|reveal)|"
    r"to (find|see|check|confirm|reach|get|explore|reveal|remind|unlock|face|return|collect|move|learn|know))\b",
    re.I,
)
PROPOSAL: Final = re.compile(
    r"\b(should|could|can(?!'t)|might|maybe|perhaps|let me|let's|need to|have to|want to|try|options?|"
    r"alternatively|consider|next step|next action|first step|plan|possible|choose|instead)\b",
    re.I,
)
CHOICE: Final = re.compile(
    r"\b(so,? (the|i|i'll|my)"
    r"|the (best|next|first|right|correct|immediate|logical) \w*\s?(action|step|move|choice|course|thing)"
    r"|i'll|i will|i should|therefore|decide|go with|the action (is|should)|my next|makes? sense)\b",
    re.I,
)
CONTRAST: Final = re.compile(
    r"^(but|however|wait|hold on|actually|no,|although|though|yet|instead|on the other hand)\b", re.I
)
CAUSE: Final = re.compile(
    r"\b(because|since|therefore|thus|so|that means|which means|meaning|but|however)\b", re.I
)
LOOKING_BACK: Final = re.compile(
    r"\b(observation|says|shows?|see|previous|previously|last (action|step|move)|just|earlier|before|was|were|did|"
    r"didn't|tried|[a-z]{3,}ed|went|took|got|now (i'm|in|i am|facing)|currently|current|came from|still)\b",
    re.I,
)
ANAPHORA: Final = re.compile(
    r"^((then,? )?(that|this|which|it|doing (so|that|this)|from there,? i) (would|will|should|might|may|could|can|way)"
    r"|once (there|that|this|i'm|i am|i know|i have|inside)|after that|that way|this way)\b",
    re.I,
)


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """Return a word without its ending, and with words for the same move made one."""
    if word in _CANONICAL:
        return _CANONICAL[word]
    for ending in ("ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]
    return _CANONICAL.get(word, _CANONICAL.get(word + "e", word))


def stems(text: str) -> frozenset[str]:
    """Return the stems of a text's content words."""
    return frozenset(
        stem(w) for w in _WORD.findall(text.lower().replace("’", "'").replace("_", " ")) if w not in STOPWORDS
    )


def action_words(action: Action) -> frozenset[str]:
    """Return the stems that name an action: a command's words, or those of a tool's name and its arguments.

    Values of arguments longer than a line or eight words are left out; nobody repeats them in thinking.
    """
    if action.tool == COMMAND_TOOL:
        return stems(action.text)
    values = [str(v) for v in action.arguments.values() if len(str(v).split()) <= 8 and "\n" not in str(v)]
    return stems(" ".join([re.sub(r"(?<=[a-z])(?=[A-Z])", " ", action.tool), *values]))


def mentions(words: frozenset[str], action: frozenset[str]) -> bool:
    """Tell whether a sentence with these words names an action.

    Up to three words must all be there; of longer names, two thirds.
    """
    if not action:
        return False
    found = len(words & action)
    return found == len(action) if len(action) <= 3 else found >= len(action) * 2 / 3


def similarity(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the share of common words among all words of two sentences, in [0, 1]."""
    return len(one & other) / len(one | other) if one or other else 1.0
