"""Which sentences of a model's words on a page say what the brief says of it. Pure functions.

As `agents.skills.claims` compares words, not meanings, what must hold all of a sentence is small: a sentence of the
brief, two that follow one another and speak of the same, or what is said of one thing. In doubt it does not hold.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from agents.skills.claims import denies, support, telling_words
from agents.skills.stopwords import FUNCTION_WORDS
from agents.skills.text import clean_text, one_line, sentences

SHORTEST: Final = 20
"""Characters of a sentence that says something."""

_NOT: Final = re.compile(r"n['\u2019]t\b")
_POINTERS: Final = frozenset(
    {"he", "she", "it", "they", "his", "her", "its", "their", "this", "that", "these", "those"}
)
"""With these a sentence begins that speaks of what the one before it names."""
_WORD: Final = re.compile(r"[^\W_]+")
_UNFIT: Final = re.compile(r"https?:|www\.|[<>{}\[\]|`@#\\*]|\b(?:lorem|ipsum|as an ai)\b", re.IGNORECASE)


class Passage(NamedTuple):
    """What a brief says in one place."""

    text: str
    words: frozenset[str]
    stems: frozenset[str]
    denies: bool


class _Claim(NamedTuple):
    text: str
    opening: frozenset[str]
    """The first word, which is capitalised whatever it is and may be a name, unless it is one of grammar."""
    proper: set[str]
    denies: bool


def passages_of(texts: Iterable[str], things: Iterable[str], everywhere: str) -> list[Passage]:
    """The passages of running texts, and all that is said of each of `things`; words of `everywhere` belong to all."""
    found: list[str] = []
    for text in texts:
        said = _whole(sentences(text))
        # Of two that differ in this, nobody could tell whom or what of them a sentence is about.
        found += [*said, *(" ".join(pair) for pair in itertools.pairwise(said) if _speak_of_the_same(*pair))]
    return [_passage(text, everywhere) for text in (*found, *things)]


def usable(text: str, passages: Sequence[Passage], limit: int) -> str:
    """The sentences of `text`, in plain form, that a passage each bears out, as many as fit; empty for none.

    In such a sentence are no address or markup, no number and no name that is not in the passage, most of its words are
    from there, and it denies something where the passage does. One that points back is kept with what it points to.
    """
    kept: list[str] = []
    before: set[int] = set()
    for sentence in _whole(sentences(one_line(clean_text(text), 2 * limit))):
        claim = _claim_of(sentence)
        bearing = {at for at, passage in enumerate(passages) if claim is not None and _bears_out(passage, claim)}
        if _first(sentence) in _POINTERS:
            bearing &= before
        fits = bearing and sentence not in kept and len(" ".join((*kept, sentence))) <= limit
        before = bearing if fits else set[int]()
        if fits:
            kept.append(sentence)
    return " ".join(kept)


def _whole(pieces: Sequence[str]) -> list[str]:
    """Sentences of which none was cut after an abbreviation: what goes on in lower case belongs to what it follows."""
    found: list[str] = []
    for piece in pieces:
        if found and piece[0].islower():
            found[-1] = f"{found[-1]} {piece}"
        else:
            found.append(piece)
    return found


def _claim_of(sentence: str) -> _Claim | None:
    """What is to be borne out; None for half a sentence, or one that no page shall have."""
    whole = sentence[-1] in ".!?" and not sentence.endswith("...")
    if len(sentence) < SHORTEST or not whole or not telling_words(sentence) or _UNFIT.search(sentence):
        return None
    first = _first(sentence)
    opening = telling_words(first) or frozenset({first} - FUNCTION_WORDS)
    return _Claim(sentence, opening, _proper(sentence), _denies(sentence))


def _bears_out(passage: Passage, claim: _Claim) -> bool:
    if claim.denies != passage.denies or not (claim.opening <= passage.stems and claim.proper <= passage.words):
        return False
    return support(claim.text, passage.text).holds


def _passage(text: str, everywhere: str) -> Passage:
    whole = text if _denies(everywhere) else f"{everywhere} {text}"
    words = frozenset(word.casefold() for word in _WORD.findall(f"{everywhere} {text}"))
    return Passage(whole, words, words | telling_words(whole), _denies(text))


def _speak_of_the_same(first: str, second: str) -> bool:
    names, others = _names(first), _names(second)
    same = others <= names if _first(second) in _POINTERS else not names and not others
    return same and _denies(first) == _denies(second)


def _names(text: str) -> set[str]:
    """What may be a name or a number, and the first word unless it is one of grammar."""
    return _proper(text) | ({_first(text)} - FUNCTION_WORDS)


def _proper(text: str) -> set[str]:
    """Words with a digit, and those that are capitalised where no sentence begins."""
    words = enumerate(_WORD.findall(text))
    return {word.casefold() for at, word in words if any(map(str.isdigit, word)) or (at > 0 and word[0].isupper())}


def _first(text: str) -> str:
    return next((word.casefold() for word in _WORD.findall(text)), "")


def _denies(text: str) -> bool:
    return denies(text) or _NOT.search(text) is not None
