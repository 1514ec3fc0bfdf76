"""Whether a sentence says what a passage says: in its words, with its numbers and names, and not the opposite.

A check of words, not of meaning: it cannot prove a claim, but a claim that fails has no footing in the passage.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from agents.skills.phrases import singular
from agents.skills.stopwords import FUNCTION_WORDS, word_set
from agents.skills.text import sentences

LEAST_SHARE: Final = 0.75
"""Share of the telling words of a sentence that one place of the passage must have."""

_WINDOW: Final = 2
_WORD: Final = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['-][^\W\d_]+)*")
_ENDINGS: Final = ("ically", "ations", "ation", "ingly", "edly", "ings", "ing", "ied", "ies", "ed", "ly", "er", "es")
_LEAST_STEM: Final = 4
_COUNTS: Final = dict(
    zip(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
        map(str, range(13)),
        strict=True,
    )
)
_VAGUE: Final = frozenset({"one"})
"""Counts that are mostly no count."""
_NEGATIONS: Final = word_set(
    "not no never none nothing nobody neither nor without cannot can't don't doesn't didn't isn't aren't wasn't "
    "weren't won't wouldn't shouldn't mustn't couldn't hardly rarely seldom unless instead avoid avoids refuse refuses"
)
_TURNS: Final = (
    ("more", "less"), ("increase", "decrease"), ("before", "after"), ("always", "never"), ("above", "below"),
    ("warm", "cold"), ("hot", "cold"), ("wet", "dry"), ("early", "late"), ("high", "low"), ("large", "small"),
    ("deep", "shallow"), ("morning", "evening"), ("summer", "winter"), ("spring", "autumn"), ("good", "bad"),
)  # fmt: skip
_OPPOSITES: Final = {one: other for pair in _TURNS for one, other in (pair, pair[::-1])}


class Support(NamedTuple):
    """How far a passage bears a sentence out."""

    share: float
    """Of its telling words, 0 to 1, in the best place of the passage; 1 for a sentence without any."""
    missing: tuple[str, ...]
    """Numbers and names the passage lacks, then what it has as the opposite."""

    @property
    def holds(self) -> bool:
        """Whether it bears it out."""
        return self.share >= LEAST_SHARE and not self.missing


def support(sentence: str, passage: str) -> Support:
    """How far `passage` bears `sentence` out; two neighbouring sentences of it must do so together."""
    if _flat(sentence) in _flat(passage):
        return Support(1.0, ())
    said = stems(sentence)
    places = _places(passage)
    if not said or not places:
        return Support(1.0 if not said and _flat(sentence) == "" else 0.0, ())
    shares = [sum(word in place.words for word in said) / len(said) for place in places]
    best = max(range(len(places)), key=lambda at: shares[at])
    return Support(shares[best], _missing(sentence, places[best], passage))


def telling_words(text: str) -> frozenset[str]:
    """Stems of the words of a text that say something."""
    return frozenset(stems(text))


def denies(text: str) -> bool:
    """Whether a word of a text turns round what it says."""
    return bool(_plain(text) & _NEGATIONS)


class _Place(NamedTuple):
    text: str
    words: frozenset[str]


@lru_cache(maxsize=512)
def _places(passage: str) -> tuple[_Place, ...]:
    lines = sentences(passage)
    spans = [" ".join(lines[at : at + _WINDOW]) for at in range(max(1, len(lines) - _WINDOW + 1))]
    # Single sentences first: of two places that say as much the shorter one is compared for its negations.
    return tuple(_Place(span, telling_words(span)) for span in [*lines, *spans])


def _missing(sentence: str, place: _Place, passage: str) -> tuple[str, ...]:
    numbers = _numbers(place.text) | _numbers(passage)
    found = [number for number in sorted(_numbers(sentence)) if number not in _numbers(place.text) or not numbers]
    found += [name for name in _names(sentence) if _stem(name.lower()) not in telling_words(passage)]
    if denies(sentence) != denies(place.text):
        found.append("not")
    words = _plain(sentence)
    here = _plain(place.text)
    found += [word for word in sorted(words) if word not in here and _OPPOSITES.get(word, "") in here]
    return tuple(found)


def _numbers(text: str) -> frozenset[str]:
    found: set[str] = set()
    for word in _WORD.findall(text.lower()):
        if word[0].isdigit():
            found.add(word.replace(",", ""))
        elif word in _COUNTS and word not in _VAGUE:
            found.add(_COUNTS[word])
    return frozenset(found)


def _names(text: str) -> list[str]:
    """Words with a capital where no sentence begins."""
    words = [match for line in sentences(text) for match in list(_WORD.finditer(line))[1:]]
    return [m.group() for m in words if m.group()[0].isupper() and m.group() != "I" and len(m.group()) > 1]


def stems(text: str) -> list[str]:
    """The words of a text that say something, without their endings, in order."""
    words = [word for word in _WORD.findall(text.lower()) if not word[0].isdigit()]
    return [_stem(word) for word in words if word not in FUNCTION_WORDS and word not in _COUNTS and len(word) > 2]


def _plain(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))


@lru_cache(maxsize=20_000)
def _stem(word: str) -> str:
    """A word without its ending, so that watered, waters and watering are one."""
    word = singular(word.removesuffix("'s"))
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM:
            word = word[: -len(ending)]
            break
    if len(word) > _LEAST_STEM and word[-1] == word[-2]:
        word = word[:-1]
    return word.removesuffix("e") if len(word) > _LEAST_STEM else word


def _flat(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))


def best_source(sentence: str, passages: Sequence[str]) -> tuple[int, Support] | None:
    """Index of the passage that bears `sentence` out best, with how far; None where none does."""
    found = [(index, support(sentence, text)) for index, text in enumerate(passages)]
    held = [(index, each) for index, each in found if each.holds]
    return max(held, key=lambda entry: entry[1].share) if held else None
