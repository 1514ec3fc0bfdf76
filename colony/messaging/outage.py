"""What is sent while the bus is away: kept in order, bounded in bytes and age."""

from __future__ import annotations

from collections import deque
from typing import Final

from colony.errors import Unavailable

OUTAGE_BYTES: Final = 1024 * 1024
"""Bytes of messages kept while the bus is away (two of the largest fit)."""

OUTAGE_SECONDS: Final = 30.0
"""Older messages are dropped instead of sent late."""


class OutageBuffer:
    """Messages waiting for the bus to come back."""

    def __init__(self, limit: int = OUTAGE_BYTES, seconds: float = OUTAGE_SECONDS) -> None:
        self._limit = limit
        self._seconds = seconds
        self._kept: deque[tuple[float, str, bytes]] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, subject: str, data: bytes, now: float) -> None:
        """Keep one message. `now` is monotonic. Raises `Unavailable` when there is no room."""
        self._forget_old(now)
        if self._size + len(data) > self._limit:
            raise Unavailable("The bus does not answer and its outage buffer is full.")
        self._kept.append((now, subject, data))
        self._size += len(data)

    def take_all(self, now: float) -> list[tuple[str, bytes]]:
        """Everything young enough, oldest first; the buffer is empty after."""
        self._forget_old(now)
        kept = [(subject, data) for _, subject, data in self._kept]
        self._kept.clear()
        self._size = 0
        return kept

    def _forget_old(self, now: float) -> None:
        while self._kept and self._kept[0][0] < now - self._seconds:
            _, _, data = self._kept.popleft()
            self._size -= len(data)
