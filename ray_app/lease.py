"""The right of this incarnation to own shards, and the proof of it by this machine's own clock."""

from __future__ import annotations

import asyncio

import structlog

from colony.clock import Clock
from colony.errors import Fenced, Transient
from colony.ledger.port import FleetLedger

_log = structlog.get_logger(__name__)

_MARGIN_SECONDS = 0.3
_RETRY_SECONDS = 0.25
_CALL_SECONDS = 5.0


class LeaseKeeper:
    """Opens and renews the lease of one incarnation.

    `valid` is judged by the monotonic clock, counted from before the last renewal was sent, so a process that was
    stopped and wakes up knows at once that it must not speak.
    """

    def __init__(self, ledger: FleetLedger, clock: Clock, *, incarnation: str, host: str, seconds: float) -> None:
        self.incarnation = incarnation
        self.host = host
        self._ledger = ledger
        self._clock = clock
        self._seconds = seconds
        self._until = float("-inf")
        self._ended = False

    def valid(self) -> bool:
        """Whether the lease is proven to live now."""
        return not self._ended and self._clock.monotonic() < self._until

    def give_up(self) -> None:
        """From now on the lease counts as ended, whatever the ledger says."""
        self._ended = True

    async def open(self) -> None:
        """Open the lease. Errors as in `FleetLedger.start_lease`."""
        before = self._clock.monotonic()
        async with asyncio.timeout(_CALL_SECONDS):
            await self._ledger.start_lease(self.incarnation, self.host, self._seconds)
        self._until = before + self._seconds - _MARGIN_SECONDS

    async def keep(self) -> None:
        """Renew until the lease is lost, then raise `Fenced`."""
        pause = self._seconds * 0.3
        while True:
            await self._clock.sleep(min(pause, max(0.0, self._until - self._clock.monotonic())))
            pause = self._seconds * 0.3 if await self._renewed() else _RETRY_SECONDS
            if not self.valid():
                raise Fenced(f"{self.host} lost its lease.")

    async def _renewed(self) -> bool:
        before = self._clock.monotonic()
        left = self._until - before
        if left <= 0:
            self._ended = True
            return False
        try:
            async with asyncio.timeout(min(left, _CALL_SECONDS)):
                renewed = await self._ledger.renew_lease(self.incarnation, self._seconds)
        except (Transient, TimeoutError) as error:
            _log.warning("the lease could not be renewed", host=self.host, error=str(error), seconds_left=left)
            return False
        if not renewed:
            self._ended = True
            return False
        self._until = before + self._seconds - _MARGIN_SECONDS
        return True

    async def end(self) -> None:
        """End the lease in good order; frees the shards."""
        self._ended = True
        async with asyncio.timeout(_CALL_SECONDS):
            await self._ledger.end_lease(self.incarnation, crashed=False)
