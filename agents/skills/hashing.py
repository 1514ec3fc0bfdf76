"""Telling equal and nearly equal texts. Pure functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

_WORD: Final = re.compile(r"\w+")
_BITS: Final = 64
_SHINGLE: Final = 3


def content_hash(text: str) -> str:
    """16 hex digits, equal for texts that differ only in case, spacing and punctuation."""
    return _digest(" ".join(_WORD.findall(text.lower())), 8).hex()


def sha256(content: bytes) -> str:
    """64 hex digits, for bytes."""
    return hashlib.sha256(content).hexdigest()


def simhash(text: str) -> int:
    """64 bits that differ in few places for texts that share most of their three-word runs."""
    words = _WORD.findall(text.lower())
    if not words:
        return 0
    width = min(_SHINGLE, len(words))
    runs = {" ".join(words[at : at + width]) for at in range(len(words) - width + 1)}
    votes = [0] * _BITS
    for run in runs:
        bits = int.from_bytes(_digest(run, 8), "big")
        for place in range(_BITS):
            votes[place] += 1 if bits >> place & 1 else -1
    return sum(1 << place for place, vote in enumerate(votes) if vote > 0)


def distance(left: int, right: int) -> int:
    """Number of bits in which two `simhash` values differ."""
    return (left ^ right).bit_count()


def near_duplicates(texts: Sequence[str], *, within: int = 6) -> list[list[int]]:
    """Groups of two or more indexes whose texts are equal or nearly so (`within` bits), each in order.

    Candidates share at least one of `within` + 1 bands of the 64 bits, so that nothing within the distance is missed
    and not all pairs are compared.
    """
    prints = [simhash(text) for text in texts]
    parent = list(range(len(texts)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    buckets: dict[tuple[int, int], list[int]] = {}
    for index, value in enumerate(prints):
        for band, key in enumerate(_bands(value, within + 1)):
            members = buckets.setdefault((band, key), [])
            for other in members:
                if distance(prints[other], value) <= within:
                    parent[root(index)] = root(other)
            members.append(index)
    groups: dict[int, list[int]] = {}
    for index in range(len(texts)):
        groups.setdefault(root(index), []).append(index)
    return sorted(group for group in groups.values() if len(group) > 1)


def _bands(value: int, count: int) -> Iterable[int]:
    width = -(-_BITS // count)
    mask = (1 << width) - 1
    return [value >> at & mask for at in range(0, _BITS, width)]


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()
