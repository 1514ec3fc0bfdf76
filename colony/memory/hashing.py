"""An embedder without a model: feature hashing of words and of pieces of words. Pure, the same on every machine.

Texts with the same or similar words (`compost`, `composting`) come near each other; words of the same meaning do not.
Weinberger et al., Feature Hashing for Large Scale Multitask Learning, 2009; pieces as in fastText, 2017.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from colony.errors import DeadlineExceeded
from colony.llm.port import Caller
from colony.memory.contracts import Vector

_WORD: Final = re.compile(r"\w+")
_PIECES: Final = (3, 4)
_LONGEST: Final = 64
_FULL_WEIGHT: Final = 6
"""Letters from which a word counts in full: short ones are mostly of the kind that every text has."""
_WHOLE: Final = 1.0
_PIECE: Final = 0.75
_INLINE: Final = 4_000
"""Characters that are embedded on the loop; more go to a thread."""

VERSION: Final = 1
"""Part of the name: a change of the features below is another embedder."""


class HashingEmbedder:
    """The twin of an embedding model, and the default without one. See `Embedder`."""

    def __init__(self, dimensions: int = 256) -> None:
        self._dimensions = dimensions

    @property
    def name(self) -> str:
        """See `Embedder`."""
        return f"hashing-{VERSION}"

    async def embed(self, texts: Sequence[str], caller: Caller, timeout: float) -> list[Vector]:
        """See `Embedder`."""
        if sum(map(len, texts)) <= _INLINE:
            return [hashed(text, self._dimensions) for text in texts]
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.to_thread(_all_hashed, list(texts), self._dimensions)
        except TimeoutError:
            raise DeadlineExceeded(f"Embedding took longer than {timeout:g} s.") from None


def _all_hashed(texts: Sequence[str], dimensions: int) -> list[Vector]:
    return [hashed(text, dimensions) for text in texts]


def hashed(text: str, dimensions: int) -> list[float]:
    """The vector of a text: of length 1, also for one without a word. Case and form of letters do not matter."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    counts = Counter(word[:_LONGEST] for word in _WORD.findall(plain))
    values = [0.0] * dimensions
    for word, times in counts.items():
        weight = min(1.0, len(word) / _FULL_WEIGHT) * (1.0 + math.log(times))
        for number, share in _features(word):
            values[(number >> 1) % dimensions] += weight * share if number & 1 else -weight * share
    length = math.sqrt(sum(value * value for value in values))
    if not length:
        # No word at all, or (once in a very long while) features that cancel out.
        values = [0.0] * dimensions
        values[_number(f"text {plain}") % dimensions] = length = 1.0
    return [value / length for value in values]


@lru_cache(maxsize=8_192)
def _features(word: str) -> tuple[tuple[int, float], ...]:
    """(number, weight) of the word and of its pieces; all pieces together weigh as much as `_PIECE` says."""
    edged = f"<{word}>"
    pieces = [edged[at : at + size] for size in _PIECES for at in range(len(edged) - size + 1)]
    share = _PIECE / math.sqrt(len(pieces)) if pieces else 0.0
    return ((_number(f"word {word}"), _WHOLE), *((_number(f"piece {piece}"), share) for piece in pieces))


def _number(feature: str) -> int:
    return int.from_bytes(hashlib.blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
