"""Whether a host takes more work, by measured memory and by the length of its queues."""

from __future__ import annotations

import psutil

from colony.clock import Clock
from colony.errors import Overloaded

_MEASURE_SECONDS = 1.0
_MEGABYTE = 1024 * 1024


class Admission:
    """Refuses work before it hurts what is under way. Memory is measured at most once a second."""

    def __init__(self, memory_mb: int, queue_length: int, clock: Clock) -> None:
        self._memory_mb = memory_mb
        self._queue_length = queue_length
        self._clock = clock
        self._process = psutil.Process()
        self._measured_at = float("-inf")
        self._resident_mb = 0.0

    def check(self, waiting: int) -> None:
        """Raises `Overloaded` if the process uses too much memory or `waiting` is too long a queue."""
        if waiting >= self._queue_length:
            raise Overloaded(f"{waiting} tasks and messages are waiting on this host.")
        resident = self.resident_mb()
        if resident >= self._memory_mb:
            raise Overloaded(f"This host uses {resident:.0f} MB of the {self._memory_mb} MB it may.")

    def resident_mb(self) -> float:
        """Resident memory of this process, at most a second old."""
        now = self._clock.monotonic()
        if now - self._measured_at >= _MEASURE_SECONDS:
            self._resident_mb = self._process.memory_info().rss / _MEGABYTE
            self._measured_at = now
        return self._resident_mb

    def proportional_mb(self) -> float:
        """Memory of this process with shared pages counted by share. Takes milliseconds."""
        try:
            return self._process.memory_full_info().pss / _MEGABYTE
        except (psutil.Error, AttributeError):
            return self.resident_mb()
