"""Finding the passages of a corpus that answer a question: BM25. Pure functions."""

from __future__ import annotations

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


def rank(query: str, passages: Sequence[Passage], *, limit: int = 5) -> list[Hit]:
    """The best passages for `query`, best first, equal scores in the order given. None without a common word."""
    wanted = sorted(set(terms(query)))
    counts = [Counter(terms(passage.text)) for passage in passages]
    lengths = [sum(count.values()) for count in counts]
    mean = sum(lengths) / len(lengths) if lengths else 0.0
    rarity = {term: _rarity(sum(1 for count in counts if term in count), len(counts)) for term in wanted}
    hits: list[Hit] = []
    for passage, count, length in zip(passages, counts, lengths, strict=True):
        matched = tuple(term for term in wanted if term in count)
        if matched:
            ratio = _SATURATION * (1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * length / mean)
            score = sum(rarity[term] * count[term] * (_SATURATION + 1) / (count[term] + ratio) for term in matched)
            hits.append(Hit(passage, round(score, 6), matched))
    return sorted(hits, key=lambda hit: -hit.score)[:limit]


def _rarity(having: int, total: int) -> float:
    return math.log(1 + (total - having + 0.5) / (having + 0.5))
