"""Finding the passages of a corpus that answer a question: BM25. Pure functions."""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from agents.skills.phrases import singular
from agents.skills.stopwords import FUNCTION_WORDS

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SATURATION: Final = 1.5
_LENGTH_WEIGHT: Final = 0.75


class Passage(NamedTuple):
    """A piece of a source: `source[start:end]` is `text`."""

    source: str
    start: int
    end: int
    text: str


class Hit(NamedTuple):
    """A passage with its score and the words of the query it has."""

    passage: Passage
    score: float
    matched: tuple[str, ...]


def terms(text: str) -> list[str]:
    """Words that can be looked for: lower case, singular, without stop words unless nothing else is left."""
    words = [singular(word) for word in _WORD.findall(text.lower())]
    return [word for word in words if word not in FUNCTION_WORDS] or words


class Index:
    """Passages made ready for many questions. `also` holds words that count as if they stood in the passage."""

    def __init__(self, passages: Sequence[Passage], also: Sequence[str] = ()) -> None:
        self.passages = tuple(passages)
        extra = also or [""] * len(self.passages)
        found = (terms(f"{p.text} {words}".strip()) for p, words in zip(self.passages, extra, strict=True))
        counts = [Counter(words) for words in found]
        self._lengths = [sum(count.values()) for count in counts]
        self._mean = sum(self._lengths) / len(self._lengths) if self._lengths else 0.0
        self._places: dict[str, dict[int, int]] = {}
        for place, count in enumerate(counts):
            for term, times in count.items():
                self._places.setdefault(term, {})[place] = times

    def rarity(self, term: str) -> float:
        """How much a term tells: the rarer, the more; most for one that is nowhere."""
        having, total = len(self._places.get(term, ())), len(self.passages)
        return math.log(1 + (total - having + 0.5) / (having + 0.5))

    def find(self, query: str, *, limit: int = 5) -> list[Hit]:
        """See `rank`."""
        scores: dict[int, float] = {}
        matched: dict[int, list[str]] = {}
        for term in sorted(set(terms(query))):
            rarity = self.rarity(term)
            for place, times in self._places.get(term, {}).items():
                ratio = _SATURATION * (1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * self._lengths[place] / self._mean)
                scores[place] = scores.get(place, 0.0) + rarity * times * (_SATURATION + 1) / (times + ratio)
                matched.setdefault(place, []).append(term)
        best = heapq.nsmallest(limit, scores, key=lambda place: (-round(scores[place], 6), place))
        return [Hit(self.passages[place], round(scores[place], 6), tuple(matched[place])) for place in best]


def rank(query: str, passages: Sequence[Passage], *, limit: int = 5) -> list[Hit]:
    """The best passages for `query`, best first, equal scores in the order given. None without a common word."""
    return Index(passages).find(query, limit=limit)
