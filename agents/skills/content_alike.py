"""How much of a text stands in another one, and in itself twice: by runs of five words. Pure functions."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from agents.skills.hashing import content_hash

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
