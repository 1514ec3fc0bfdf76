"""A heap whose items can be taken back. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

_SLACK: Final = 16


class Held(Generic[T]):
    """One item in a heap; what `discard` takes."""

    __slots__ = ("item", "key", "live", "tie")

    def __init__(self, key: Any, tie: int, item: T) -> None:
        self.key = key
        self.tie = tie
        self.item = item
        self.live = True


class Heap(Generic[T]):
    """Smallest key first; equal keys in the order they came.

    Push, pop and discard cost O(log n) on average: a discarded item stays until it reaches the top, or until half of
    the heap is such items, when all of them are swept out at once.
    """

    def __init__(self) -> None:
        # Tuples, so that comparing happens in C; the tie is unique, so items are never compared.
        self._heap: list[tuple[Any, int, Held[T]]] = []
        self._live = 0
        self._tie = 0

    def __len__(self) -> int:
        return self._live

    def __iter__(self) -> Iterator[Held[T]]:
        """All items, in no order."""
        return (held for _, _, held in self._heap if held.live)

    @property
    def size(self) -> int:
        """Items held in memory, discarded ones included."""
        return len(self._heap)

    def push(self, key: Any, item: T) -> Held[T]:
        """Add `item`; keep the result to discard it."""
        self._tie += 1
        held = Held(key, self._tie, item)
        heapq.heappush(self._heap, (key, self._tie, held))
        self._live += 1
        return held

    def top(self) -> Held[T] | None:
        """The first item, left in place; None when there is none."""
        heap = self._heap
        while heap and not heap[0][2].live:
            heapq.heappop(heap)
        return heap[0][2] if heap else None

    def discard(self, held: Held[T]) -> None:
        """Take an item out, wherever it is. One that is out already is ignored."""
        if not held.live:
            return
        held.live = False
        self._live -= 1
        heap = self._heap
        if heap[0][2] is held:
            heapq.heappop(heap)
        elif len(heap) > 2 * self._live + _SLACK:
            self._heap = [entry for entry in heap if entry[2].live]
            heapq.heapify(self._heap)
