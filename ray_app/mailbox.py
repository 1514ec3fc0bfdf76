"""A bounded queue by priority with ageing."""

from __future__ import annotations

import heapq
from enum import IntEnum
from typing import Generic, TypeVar

from colony.errors import Overloaded

AGEING_SECONDS = 1.0
"""An entry may be overtaken by entries one priority better only if they came less than this much later."""

Item = TypeVar("Item")


class Priority(IntEnum):
    """Whose turn it is first; lower is better."""

    ASK = 0
    """Somebody waits for the answer."""
    TELL = 1
    DURABLE = 2
    """Kept in the ledger: it cannot be lost, so it may wait."""


class AgeingQueue(Generic[Item]):
    """Hands out the entry whose (time of arrival + priority * `AGEING_SECONDS`) is smallest.

    So better priorities go first, equal ones in order, and nothing starves: an entry waits behind newer ones of
    better priority for a bounded time only.
    """

    __slots__ = ("_heap", "_limit", "_order")

    def __init__(self, limit: int) -> None:
        self._heap: list[tuple[float, int, Item]] = []
        self._limit = limit
        self._order = 0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, item: Item, priority: int, now: float) -> None:
        """Add an entry; raises `Overloaded` when the queue is full."""
        if len(self._heap) >= self._limit:
            raise Overloaded(f"The queue of this host is full ({self._limit}).")
        self.push_owed(item, priority, now)

    def push_owed(self, item: Item, priority: int, now: float) -> None:
        """Add an entry that was admitted before, whatever the length."""
        self._order += 1
        heapq.heappush(self._heap, (now + priority * AGEING_SECONDS, self._order, item))

    def pop(self) -> Item:
        """Take the next entry; `IndexError` when there is none."""
        return heapq.heappop(self._heap)[2]
