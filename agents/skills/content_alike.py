"""How much of a text stands in another one, and in itself twice: by runs of five words. Pure functions."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from agents.skills.hashing import content_hash

ALIKE: Final = 0.5
"""Share of its text that another post has too from which a post is drafted again, and named as alike."""

HELD: Final = 0.8
"""Share from which it is a copy and held back."""

RUN: Final = 5
_WORD: Final = re.compile(r"\w+")
_SAMPLE: Final = 4
_COMMON: Final = 40
"""Runs that more texts have are a turn of phrase, not a copy."""


class Likeness(NamedTuple):
    """A text and the one most like it."""

    text: int
    other: int
    share: float
    """Of the runs of the shorter one, 0 to 1, that the other one has too; an estimate from a sample."""


class Standing(NamedTuple):
    """Which of some texts are copies of others, and how alike the others are."""

    copies: dict[int, Likeness]
    """Those left out, each with a text that stands."""
    alike: dict[int, Likeness]
    """For those that stand, the one that stands before them and is most like them."""


def runs(text: str) -> list[int]:
    """A number for each run of five words, in order; a shorter text is one run."""
    words = _WORD.findall(text.lower())
    if not words:
        return []
    pieces = (" ".join(words[at : at + RUN]) for at in range(max(1, len(words) - RUN + 1)))
    return [
        int.from_bytes(hashlib.blake2b(piece.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        for piece in pieces
    ]


def fingerprint(text: str) -> list[int]:
    """A sample of `runs` that is the same for the same passage wherever it stands; all of them for a short text."""
    found = runs(text)
    sample = sorted({run for run in found if run % _SAMPLE == 0})
    return sample if len(sample) >= RUN else sorted(set(found))


def shared_share(one: Iterable[int], other: Iterable[int]) -> float:
    """Share of the smaller fingerprint that the other one has too, 0 to 1; 0 where one is empty."""
    mine, yours = set(one), set(other)
    return len(mine & yours) / min(len(mine), len(yours)) if mine and yours else 0.0


def repeated_share(texts: Sequence[str]) -> float:
    """Share of the sentences `texts` that say again what one before them said, 0 to 1."""
    seen: set[str] = set()
    again = 0
    for text in texts:
        mark = content_hash(text)
        again += mark in seen
        seen.add(mark)
    return again / len(texts) if texts else 0.0


def standing(prints: Mapping[int, Iterable[int]], copy: float) -> Standing:
    """Decide in order of number: a text stands unless one that stands before it has the share `copy` of it.

    So of two that are alike one stands, whatever was left out before. Texts without a mark stand. Of a run that more
    than forty texts have, the first forty that stand count.
    """
    having: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    found = Standing({}, {})
    for text in sorted(prints):
        marks = set(prints[text])
        counts = Counter(other for mark in marks for other in having.get(mark, ()))
        likest = [(count / min(len(marks), sizes[other]), -other) for other, count in counts.items()]
        share, other = max(likest, default=(0.0, 0))
        if likest:
            (found.copies if share >= copy else found.alike)[text] = Likeness(text, -other, round(share, 3))
        if text in found.copies:
            continue
        sizes[text] = len(marks)
        for mark in marks:
            posts = having.setdefault(mark, [])
            if len(posts) < _COMMON:
                posts.append(text)
    return found


def nearest(prints: Mapping[int, Iterable[int]], *, least: float = 0.2) -> list[Likeness]:
    """For each text of which another one has at least the share `least`: the one most like it. Most alike first."""
    having: dict[int, list[int]] = {}
    sizes: dict[int, int] = {}
    for text, marked in prints.items():
        marks = set(marked)
        sizes[text] = len(marks)
        for mark in marks:
            having.setdefault(mark, []).append(text)
    shared: dict[int, Counter[int]] = {text: Counter() for text in prints}
    for texts in having.values():
        if 1 < len(texts) <= _COMMON:
            for text in texts:
                shared[text].update(other for other in texts if other != text)
    found: list[Likeness] = []
    for text, counts in shared.items():
        likest = [(count / min(sizes[text], sizes[other]), -other) for other, count in counts.items()]
        if likest and max(likest)[0] >= least:
            share, other = max(likest)
            found.append(Likeness(text, -other, round(min(1.0, share), 3)))
    return sorted(found, key=lambda each: (-each.share, each.text))
