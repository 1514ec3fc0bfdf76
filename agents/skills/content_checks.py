"""Whether a post may be published: length, reading ease, repetition, and that every claim traces to its passage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pydantic import Field, model_validator

from agents.skills.claims import support
from agents.skills.content_alike import ALIKE, repeated_share
from agents.skills.content_post import Passage, Post
from agents.skills.text import one_line, sentences
from colony.contracts import Frozen

_WORD: Final = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_VOWELS: Final = re.compile(r"[aeiouy]+")
_SHOWN: Final = 5


class Bounds(Frozen):
    """Parameters of the check."""

    least_words: int = Field(default=150, ge=1, le=5_000)
    most_words: int = Field(default=800, ge=1, le=10_000)
    least_ease: float = Field(default=30.0, ge=-100, le=120)
    """Flesch reading ease: 60 to 70 is plain English, below 30 for graduates."""
    least_traced: float = Field(default=1.0, ge=0, le=1)
    """Share of the sentences that must trace to the passages they cite."""
    most_repeated: float = Field(default=0.0, ge=0, le=1)
    """Share of the sentences that may say again what was said."""
    most_alike: float = Field(default=ALIKE, ge=0, le=1)
    """Share of its text that another post of the job may have too before it is drafted again; 1 for all of it."""
    least_sources: int = Field(default=1, ge=1, le=50)

    @model_validator(mode="after")
    def _in_order(self) -> Bounds:
        if self.least_words > self.most_words:
            raise ValueError(f"least_words {self.least_words} must not be above most_words {self.most_words}")
        return self


class Check(Frozen):
    """What a check of one draft found."""

    words: int
    sentences: int
    ease: float
    traced: float
    repeated: float
    sources: int
    faults: tuple[str, ...] = ()
    """Names of what is wrong: short, long, hard, untraced, repeats, sources, title, alike."""
    untraced: tuple[str, ...] = ()
    """The first sentences that do not trace."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def checked(post: Post, passages: Sequence[Passage], bounds: Bounds) -> Check:
    """The findings on a draft."""
    texts = {passage.number: passage for passage in passages}
    lines = post.all_sentences()
    said = [line.text for line in lines]
    loose = [
        line.text for line in lines if line.cites not in texts or not support(line.text, texts[line.cites].text).holds
    ]
    words = sum(map(word_count, said))
    ease = reading_ease(" ".join(said))
    traced = 1 - len(loose) / len(lines) if lines else 0.0
    repeated = repeated_share(said)
    sources = len({texts[line.cites].source for line in lines if line.cites in texts})
    wrong = {
        "short": words < bounds.least_words,
        "long": words > bounds.most_words,
        "hard": ease < bounds.least_ease,
        "untraced": traced < bounds.least_traced,
        "repeats": repeated > bounds.most_repeated,
        "sources": sources < bounds.least_sources,
        "title": not post.title.strip(),
    }
    return Check(
        words=words,
        sentences=len(lines),
        ease=round(ease, 1),
        traced=round(traced, 3),
        repeated=round(repeated, 3),
        sources=sources,
        faults=tuple(name for name, is_wrong in wrong.items() if is_wrong),
        untraced=tuple(one_line(text, 200) for text in loose[:_SHOWN]),
    )


def word_count(text: str) -> int:
    """Words of a text."""
    return len(_WORD.findall(text))


def reading_ease(text: str) -> float:
    """Flesch's reading ease of an English text: 206.835 - 1.015 words a sentence - 84.6 syllables a word.

    From 100 (very easy) down to 0 and below; 0 for a text without words. Flesch, J. Applied Psychology 32 (1948) 221.
    """
    words = _WORD.findall(text)
    lines = len(sentences(text))
    if not words or not lines:
        return 0.0
    return 206.835 - 1.015 * len(words) / lines - 84.6 * sum(map(syllables, words)) / len(words)


def syllables(word: str) -> int:
    """Syllables of an English word, guessed from its vowels; at least one."""
    plain = word.lower().replace("'", "")
    if plain[-1:].isdigit():
        return 1
    count = len(_VOWELS.findall(plain))
    silent = plain.endswith("e") and not plain.endswith(("le", "ee", "ye", "oe"))
    silent = silent or (plain.endswith(("es", "ed")) and not re.search(r"(?:[sxzcgtd]|sh|ch)e[sd]$", plain))
    return max(1, count - (silent and count > 1))
