"""Answers kept for equal requests: bytes ready to send, bounded by memory and age. Owned by one event loop."""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from colony.clock import Clock
from colony.config.gateway import CacheConfig
from ray_app.gateway.contracts import Body

_SLOT: Final = 256
"""Bytes an entry costs besides the objects it holds: its place in the ordered dictionary, and what the allocator
rounds up. Measured right after the dictionary has grown, when it is largest."""

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 -- only its size is asked for
_SHARE: Final = 16
_BOUNDS: Final = (8, 64)
"""Share of `/dev/shm` that the cache takes where nothing is configured, and the MiB it takes at least and at most: more
would not leave the gateway below 400 MB."""


def shared_memory_mb(folder: Path = SHARED_MEMORY) -> int:
    """MiB that `/dev/shm` may hold: what a container's owner says of the memory to share. 0 where there is none."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_blocks * found.f_frsize // 2**20


def cache_mb(config: CacheConfig, shared: int) -> int:
    """MiB the cache may take: what is configured, else a share of `shared`. Pure."""
    least, most = _BOUNDS
    return max(least, min(most, shared // _SHARE)) if config.max_mb is None else config.max_mb


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A whole answer without its id."""

    tail: bytes
    """JSON of the answer after its id: all that follows `{"id":"…"`."""
    model: str
    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def of(cls, body: Body) -> KeptAnswer:
        """Keep `body`, an answer in OpenAI's shape."""
        usage: dict[str, Any] = body.get("usage") or {}
        rest = orjson.dumps({name: value for name, value in body.items() if name != "id"})
        return cls(
            tail=b"}" if rest == b"{}" else b"," + rest[1:],
            model=str(body.get("model") or ""),
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
        )

    def encoded(self, answer_id: str) -> bytes:
        """The answer under an id of its own, ready to send."""
        return b'{"id":' + orjson.dumps(answer_id) + self.tail

    def body(self, answer_id: str) -> Body:
        """The answer under an id of its own, decoded."""
        return orjson.loads(self.encoded(answer_id))

    @property
    def size(self) -> int:
        """Bytes of memory it takes, its place in the cache included."""
        return (
            _SLOT
            + sys.getsizeof(self)
            + sys.getsizeof(self.tail)
            + sys.getsizeof(self.model)
            + 2 * sys.getsizeof(1 << 40)
        )


@dataclass(slots=True)
class CacheCounts:
    """What became of the calls since the start."""

    hits: int = 0
    misses: int = 0
    evicted: int = 0
    """Left for want of room."""
    expired: int = 0
    refused: int = 0
    """Too large to be kept."""


class AnswerCache:
    """Least recently used out first, by bytes; nothing older than `max_age`.

    Memory only, the least of it where nothing is configured; `kept_cache.answer_cache` adds the ledger.
    """

    def __init__(self, config: CacheConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._most = cache_mb(config, 0) * 1024 * 1024
        self._most_entry = min(config.max_entry_kb * 1024, self._most)
        self._entries: OrderedDict[bytes, tuple[KeptAnswer, float, int]] = OrderedDict()
        """Key -> (answer, monotonic time when it is too old, bytes), used longest ago first."""
        self._bytes = 0
        self.counts = CacheCounts()

    def __len__(self) -> int:
        """Answers kept, those too old included until somebody asks for them."""
        return len(self._entries)

    @property
    def enabled(self) -> bool:
        """Whether it may keep anything."""
        return self._most > 0

    @property
    def bytes(self) -> int:
        """Memory taken, overhead included."""
        return self._bytes

    def get(self, key: bytes, *, last: bool = True) -> KeptAnswer | None:
        """The answer to a request, None when there is none. Counts a hit, or a miss where it is the `last` place asked.

        `recall` counts for whoever asks there, too.
        """
        found = self._entries.get(key)
        if found is not None and found[1] <= self._clock.monotonic():
            self._drop(key)
            self.counts.expired += 1
            found = None
        if found is None:
            self.counts.misses += last
            return None
        self._entries.move_to_end(key)
        self.counts.hits += 1
        return found[0]

    def put(self, key: bytes, answer: KeptAnswer, *, age: float = 0.0) -> bool:
        """Keep an answer that is `age` seconds old; False when it is too large or too old."""
        size = answer.size + sys.getsizeof(key)
        left = self._config.max_age - age
        if size > self._most_entry or left <= 0:
            self.counts.refused += 1
            return False
        if key in self._entries:
            self._drop(key)
        while self._bytes + size > self._most:
            self._drop(next(iter(self._entries)))
            self.counts.evicted += 1
        self._entries[key] = (answer, self._clock.monotonic() + left, size)
        self._bytes += size
        return True

    async def recall(self, key: bytes) -> KeptAnswer | None:
        """The answer kept where `get` does not look, behind the memory; here there is nothing behind it.

        For whoever leads a single flight, before it calls a backend. Counts a hit or a miss.
        """
        del key
        self.counts.misses += 1
        return None

    def clear(self) -> None:
        """Forget every answer."""
        self._entries.clear()
        self._bytes = 0

    def state(self) -> dict[str, Any]:
        """Numbers for people and metrics."""
        counts = self.counts
        asked = counts.hits + counts.misses
        return {
            "entries": len(self._entries),
            "bytes": self._bytes,
            "max_bytes": self._most,
            "hits": counts.hits,
            "misses": counts.misses,
            "hit_rate": round(counts.hits / asked, 4) if asked else 0.0,
            "evicted": counts.evicted,
            "expired": counts.expired,
            "refused": counts.refused,
        }

    def _drop(self, key: bytes) -> None:
        self._bytes -= self._entries.pop(key)[2]
