"""What a text is about: its key phrases, found without a model. Pure functions.

Runs of words between stop words and punctuation are the candidates ("battery life", "picture quality"), as in RAKE;
two-word runs are worth most, since single words are vague and long runs are rarely said twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from agents.skills.stopwords import STOP_WORDS

_BREAKS: Final = re.compile(r"[^\w\s'\-]+|\s-+\s|--+|\n+")
_WORD: Final = re.compile(r"[a-z\u00c0-\u024f][a-z0-9\u00c0-\u024f]*(?:[-'][a-z0-9\u00c0-\u024f]+)*")
_LONGEST: Final = 3
_WORTH: Final = {1: 1.0, 2: 2.2, 3: 2.0}
_PLURALS_KEPT: Final = ("ss", "us", "is")
_IRREGULAR: Final = {
    "lens": "lens",
    "christmas": "christmas",
    "movies": "movie",
    "cookies": "cookie",
    "series": "series",
}


def keyphrases(text: str, *, limit: int = 8) -> list[str]:
    """At most `limit` phrases of one to three words, best first, each once, plural and possessive endings removed.

    A longer run of words gives its overlapping pairs, so that "dvd player remote control" still counts for "remote
    control".
    """
    scores: dict[str, float] = {}
    for run in _runs(text):
        for phrase in _pieces(run):
            key = " ".join(phrase)
            scores[key] = scores.get(key, 0.0) + _WORTH[len(phrase)]
    ranked = sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))
    return [phrase for phrase, _ in ranked[:limit]]


def _runs(text: str) -> Iterator[list[str]]:
    for part in _BREAKS.split(text.lower()):
        run: list[str] = []
        for token in part.split():
            word = _content_word(token)
            if word:
                run.append(word)
            elif run:
                yield run
                run = []
        if run:
            yield run


@lru_cache(maxsize=50_000)
def _content_word(token: str) -> str:
    """The word in one form, or empty when it says nothing."""
    word = token.strip("'-")
    if len(word) < 3 or word in STOP_WORDS or _WORD.fullmatch(word) is None or "n't" in word:
        return ""
    word = singular(word.removesuffix("'s"))
    return "" if word in STOP_WORDS else word


def singular(word: str) -> str:
    """A light guess at the singular: batteries -> battery, speakers -> speaker, lens stays."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith(_PLURALS_KEPT):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("xes", "ches", "shes", "sses", "zes")):
        return word[:-2]
    return word[:-1]


def _pieces(run: list[str]) -> Iterator[tuple[str, ...]]:
    if len(run) <= 2:
        yield tuple(run)
        return
    if len(run) == _LONGEST:
        yield tuple(run)
    for at in range(len(run) - 1):
        yield (run[at], run[at + 1])
