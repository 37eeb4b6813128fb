"""Which words of a title name things; the reward asks whether two titles share them.

The original asks a language model of spaCy (``en_core_web_sm``). It is not on the package index, and its answers
change with its version, so by default every word of a title counts that is no function word, no common adjective,
adverb or participle, no number and no unit; titles are hardly anything else than names. ``nouns="spacy"`` asks the
model, for who has it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Final, Literal, get_args

from dyna_training.environments.base import PackageMissing

Nouns = Literal["words", "spacy"]
NOUNS: Final[tuple[Nouns, ...]] = get_args(Nouns)
Tagger = Callable[[str], tuple[str, ...]]
MODEL: Final = "en_core_web_sm"

_WORD = re.compile(r"(?<!\w)[^\W\d_](?:[\w.'’]*\w)?")
_OTHERS: Final = """
    a about above across after all also an and any are as at be before behind below between both but by can each either
    every few for from he her his i if in into is it its just less like many may me more most much my no non nor not of
    off on one only onto or other our out over own per she so some such than that the their them then there these they
    this those through to under until up upon us very via was we were what when where which while who will with within
    without you your
    two three four five six seven eight nine ten dozen first second third
    adjustable advanced all-natural antique authentic automatic available awesome basic beautiful best better big bold
    brand-new breathable bright bulk casual cheap chic classic clean clear close comfortable comfy compact compatible
    complete convenient cool cozy creative crispy cute daily dark decorative deep delicious detachable different digital
    disposable double dry durable easy elastic elegant electric electronic essential ethnic extra fashionable fast
    faux fine fit flat flexible floral foldable fresh full funny fuzzy gentle genuine giant good gorgeous great handmade
    handy happy hard healthy heavy high hot huge ideal inflatable instant intense invisible large lightweight little
    long loose low lovely luxurious luxury magnetic male matte medium mini modern multi multifunctional multiple natural
    new nice official old open optical organic original outdoor oversized perfect personal personalized plain plush
    polished portable powerful premium professional pure quick quiet rapid raw real rechargeable rectangular refillable
    regular removable replaceable retro reusable rich round rustic safe sexy sharp short simple single skinny slim
    small smart smooth soft solid special stainless strong stylish super sweet swivel tall thick thin tight tiny top
    traditional transparent triple ultra unique universal useful vegan versatile vintage vivid warm washable waterproof
    wide wireless young
    assorted assembled baked based carved coated cordless cropped designed distressed embroidered engineered fitted
    freeze-dried frosted included infused insulated knitted leakproof lined long-lasting made oiled padded printed
    quilted relaxed ripped roasted scented sealed seamless shaped sleeveless stretchy textured tufted unscented
    unsweetened upgraded upholstered used washed woven
    """
_UNITS: Final = "cm mm m ft inch inches in oz ml l g kg lb lbs w v mah gb tb mhz ghz hz fl ct pcs pc pk x h d"
_NO_NOUNS: Final = frozenset((*_OTHERS.split(), *_UNITS.split()))


def words(title: str) -> tuple[str, ...]:
    """Return the words of a title that can name things, in lower case and as often as they stand there."""
    found = (match.group().lower() for match in _WORD.finditer(title))
    return tuple(word for word in found if word not in _NO_NOUNS)


def tagger(nouns: Nouns) -> Tagger:
    """Return what finds the words of a title that name things.

    Args:
        nouns: ``words`` goes by lists, ``spacy`` asks the original's model.

    Raises:
        PackageMissing: spaCy or its model is not installed.
        ValueError: It is neither.
    """
    if nouns not in NOUNS:
        raise ValueError(f"nouns must be 'words' or 'spacy', got {nouns!r}.")
    return words if nouns == "words" else _spacy()


@functools.cache
def _spacy() -> Tagger:
    try:
        import spacy

        model = spacy.load(MODEL)
    except (ImportError, OSError) as error:
        raise PackageMissing(
            f'nouns="spacy" needs spaCy and its model: pip install spacy, then python -m spacy download {MODEL}.'
        ) from error

    @functools.cache
    def found(title: str) -> tuple[str, ...]:
        return tuple(token.text.lower() for token in model(title) if token.pos_ in ("NOUN", "PROPN"))

    return found
