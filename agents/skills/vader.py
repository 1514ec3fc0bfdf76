"""Sentiment by lexicon and rules: VADER's scores, several times faster, and open for words of a domain.

With no domain words a score equals `SentimentIntensityAnalyzer.polarity_scores(text)["compound"]` of the installed
`vaderSentiment`, digit for digit (a test proves it): lexicon, boosters and negations are that package's data; the
rules are applied here on one lower-cased list of words instead of on a new list for each rule.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from vaderSentiment import vaderSentiment  # pyright: ignore[reportUnknownVariableType] -- ships no types

_DATA: Final = cast(Any, vaderSentiment)
_BOOSTERS: Final[Mapping[str, float]] = _DATA.BOOSTER_DICT
_SPECIAL: Final[Mapping[str, float]] = _DATA.SPECIAL_CASES
_NEGATIONS: Final = frozenset(cast("list[str]", _DATA.NEGATE))
_CAPITALS: Final[float] = _DATA.C_INCR
_FLIP: Final[float] = _DATA.N_SCALAR
_EMPHASIS: Final = frozenset({"so", "this"})
_DISTANCE: Final = (1.0, 0.95, 0.9)
"""How much of a booster's weight is left one, two and three words before the word it boosts."""

Rewrite = Callable[[list[str]], list[str]]
"""Changes the list of words before they are scored."""


class Words(NamedTuple):
    """The data of the installed package."""

    lexicon: Mapping[str, float]
    emoji: Mapping[str, str]


@lru_cache(maxsize=1)
def installed_words() -> Words:
    """Lexicon and emoji descriptions of the installed package, read once in a process and shared by all agents."""
    analyzer = _DATA.SentimentIntensityAnalyzer()
    return Words(lexicon=analyzer.lexicon, emoji=analyzer.emojis)


class Lexicon:
    """Scores text with the package's words, optionally changed by `domain` (word -> valence) and `rewrite`."""

    def __init__(
        self,
        words: Words,
        *,
        domain: Mapping[str, float] | None = None,
        rewrite: Rewrite | None = None,
    ) -> None:
        self._valence: Mapping[str, float] = {**words.lexicon, **domain} if domain else words.lexicon
        self._emoji = words.emoji
        self._rewrite = rewrite

    def knows(self, word: str) -> bool:
        """Whether the lower-case `word` carries sentiment."""
        return word in self._valence

    def compound(self, text: str) -> float:
        """Sentiment of `text`, -1 to 1, four decimals; 0 for text without a word that carries any."""
        text = (text if text.isascii() else self._spell_emoji(text)).strip()
        words = [_bare(token) for token in text.split()]
        if self._rewrite is not None:
            words = self._rewrite(words)
        if not words:
            return 0.0
        lower = [word.lower() for word in words]
        total = float(sum(self._but(lower, self._valences(words, lower))))
        emphasis = _emphasis(text)
        if total > 0:
            total += emphasis
        elif total < 0:
            total -= emphasis
        return round(max(-1.0, min(1.0, total / math.sqrt(total * total + 15))), 4)

    def _spell_emoji(self, text: str) -> str:
        parts: list[str] = []
        after_space = True
        for character in text:
            description = self._emoji.get(character)
            if description is None:
                parts.append(character)
                after_space = character == " "
            else:
                parts.append(description if after_space else " " + description)
                after_space = False
        return "".join(parts)

    def _valences(self, words: Sequence[str], lower: Sequence[str]) -> list[float]:
        valence = self._valence
        capitals = sum(map(str.isupper, words))
        mixed_case = 0 < capitals < len(words)
        last = len(words) - 1
        found: list[float] = []
        for index, word in enumerate(lower):
            kind_of = word == "kind" and index < last and lower[index + 1] == "of"
            if word not in valence or word in _BOOSTERS or kind_of:
                found.append(0.0)
            else:
                found.append(self._in_context(words, lower, index, mixed_case))
        return found

    def _in_context(self, words: Sequence[str], lower: Sequence[str], index: int, mixed_case: bool) -> float:
        lexicon = self._valence
        word = lower[index]
        value = lexicon[word]
        if word == "no" and index < len(lower) - 1 and lower[index + 1] in lexicon:
            value = 0.0
        if _after_no(lower, index):
            value = lexicon[word] * _FLIP
        if mixed_case and words[index].isupper():
            value += _CAPITALS if value > 0 else -_CAPITALS
        for distance in range(min(3, index)):
            before = lower[index - distance - 1]
            if before in lexicon:
                continue
            boost = _BOOSTERS.get(before)
            if boost is not None:
                value += _boosted(boost, value, mixed_case and words[index - distance - 1].isupper(), distance)
            value *= _negation(lower, index, distance)
            if distance == 2:
                value = _idiom(lower, index, value)
        if index > 0 and lower[index - 1] == "least" and "least" not in lexicon:
            exempt = index > 1 and lower[index - 2] in ("at", "very")
            value = value if exempt else value * _FLIP
        return value

    @staticmethod
    def _but(lower: Sequence[str], found: list[float]) -> list[float]:
        """Halve what stands before the first "but", raise what stands after it.

        The original looks each value up by its first equal, so equal values are changed in turn at that place. Kept,
        because the lexicon's thresholds were measured with it.
        """
        if "but" not in lower:
            return found
        turn = lower.index("but")
        for position in range(len(found)):
            place = found.index(found[position])
            if place < turn:
                found[place] *= 0.5
            elif place > turn:
                found[place] *= 1.5
        return found


def _bare(token: str) -> str:
    stripped = token.strip(string.punctuation)
    return token if len(stripped) <= 2 else stripped  # what is left of an emoticon says nothing


def _after_no(lower: Sequence[str], index: int) -> bool:
    return (
        (index > 0 and lower[index - 1] == "no")
        or (index > 1 and lower[index - 2] == "no")
        or (index > 2 and lower[index - 3] == "no" and lower[index - 1] in ("or", "nor"))
    )


def _boosted(boost: float, value: float, capitals: bool, distance: int) -> float:
    if value < 0:
        boost = -boost
    if capitals:
        boost += _CAPITALS if value > 0 else -_CAPITALS
    return boost * _DISTANCE[distance]


def _negation(lower: Sequence[str], index: int, distance: int) -> float:
    """Factor that the word `distance` + 1 places before brings as a negation."""
    word = lower[index - distance - 1]
    if distance == 1:
        if word == "never" and lower[index - 1] in _EMPHASIS:
            return 1.25
        if word == "without" and lower[index - 1] == "doubt":
            return 1.0
    elif distance == 2:
        if lower[index - 1] in _EMPHASIS or (word == "never" and lower[index - 2] in _EMPHASIS):
            return 1.25
        if word == "without" and "doubt" in (lower[index - 2], lower[index - 1]):
            return 1.0
    return _FLIP if word in _NEGATIONS or "n't" in word else 1.0


def _idiom(lower: Sequence[str], index: int, value: float) -> float:
    three, two, one, here = lower[index - 3 : index + 1]
    for phrase in (f"{one} {here}", f"{two} {one} {here}", f"{two} {one}", f"{three} {two} {one}", f"{three} {two}"):
        if phrase in _SPECIAL:
            value = _SPECIAL[phrase]
            break
    after = lower[index + 1 : index + 3]
    for length in range(1, len(after) + 1):
        value = _SPECIAL.get(" ".join((here, *after[:length])), value)
    for phrase in (f"{three} {two} {one}", f"{three} {two}", f"{two} {one}"):
        value += _BOOSTERS.get(phrase, 0.0)
    return value


def _emphasis(text: str) -> float:
    marks = min(text.count("!"), 4) * 0.292
    questions = text.count("?")
    if questions > 1:
        marks += questions * 0.18 if questions <= 3 else 0.96
    return marks
