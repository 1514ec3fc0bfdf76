"""Waiting for a time that can move closer."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from colony.clock import Clock


async def sleep_or(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Return when `event` is set, or after `seconds`; an infinite time waits for the event alone."""
    if seconds == math.inf:
        await event.wait()
        return
    waits: set[asyncio.Future[Any]] = {
        asyncio.ensure_future(event.wait()),
        asyncio.ensure_future(clock.sleep(max(0.0, seconds))),
    }
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


class Alarm:
    """One waiter that is woken at the earliest of the times that were set. Times are the clock's monotonic seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._event = asyncio.Event()
        self._at = math.inf

    def set(self, at: float) -> None:
        """Wake the waiter at `at`, if nothing wakes it sooner."""
        if at < self._at:
            self._at = at
            self._event.set()

    async def wait(self, until: float) -> None:
        """Return at `until`, or at a time set since the last return."""
        self._at = min(self._at, until)
        while (left := self._at - self._clock.monotonic()) > 0:
            self._event.clear()
            await sleep_or(self._event, left, self._clock)
        self._at = math.inf
        self._event.clear()
