"""The books: every request counted at once, and written to the ledger in batches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from colony.clock import Clock
from colony.errors import ColonyError, Transient
from colony.ledger.llm import LlmLedger
from colony.lifecycle import Vitals, task_owner
from colony.llm.contracts import LlmCall
from ray_app.gateway.contracts import CallRecord
from ray_app.gateway.totals import Totals

_log = structlog.get_logger(__name__)

BATCH: Final = 500
"""Records that are written at once, and as soon as there are so many."""

INTERVAL: Final = 1.0
"""Seconds a record waits at most for others, and between tries while the ledger is away."""

MOST_BUFFERED: Final = 20_000
"""Records kept while the ledger is away: the oldest go first."""

CLOSE_SECONDS: Final = 3.0
"""Longest wait for the ledger at the end."""


class UsageBook:
    """See `UsageSink`. Open it with `usage_book`. Owned by one event loop."""

    def __init__(self, ledger: LlmLedger | None, clock: Clock, *, most: int = MOST_BUFFERED) -> None:
        """Without a ledger requests are counted and not written."""
        self._ledger = ledger
        self._clock = clock
        self._most = most
        self._buffer: deque[LlmCall] = deque()
        self._some, self._many = asyncio.Event(), asyncio.Event()
        self._totals = Totals(clock.monotonic())
        self._away = False
        self.written = 0
        """Records the ledger has."""
        self.dropped = 0
        """Records the ledger will never have."""

    def record(self, call: CallRecord) -> None:
        """See `UsageSink`."""
        self._totals.add(call, self._clock.monotonic())
        if self._ledger is None:
            return
        if len(self._buffer) >= self._most:
            self._buffer.popleft()
            self.dropped += 1
        self._buffer.append(ledger_row(call))
        self._some.set()
        if len(self._buffer) >= BATCH:
            self._many.set()

    def state(self) -> dict[str, Any]:
        """Numbers for people and metrics."""
        return {
            **self._totals.state(self._clock.monotonic()),
            "buffered": len(self._buffer),
            "written": self.written,
            "dropped": self.dropped,
        }

    async def run(self) -> None:
        """Write what comes, for ever."""
        while True:
            await self._some.wait()
            if self._away:
                await asyncio.sleep(INTERVAL)
            else:
                await self._enough()
            await self.flush()

    async def flush(self) -> bool:
        """Write what is buffered; False when the ledger is away, then it stays buffered."""
        while self._buffer:
            batch = [self._buffer.popleft() for _ in range(min(BATCH, len(self._buffer)))]
            try:
                await self._write(batch)
            except asyncio.CancelledError:
                self._put_back(batch)
                raise
            if self._away:
                return False
        self._some.clear()
        self._many.clear()
        return True

    async def _enough(self) -> None:
        try:
            async with asyncio.timeout(INTERVAL):
                await self._many.wait()
        except TimeoutError:
            return  # few, but old enough

    async def _write(self, batch: list[LlmCall]) -> None:
        if self._ledger is None:
            return
        try:
            await self._ledger.record_calls(batch)
        except Transient as error:
            # Written twice is counted once: a batch whose end is unknown may come again.
            self._put_back(batch)
            self._tell(away=True, error=error)
        except ColonyError as error:
            self.dropped += len(batch)
            _log.error("the ledger refuses usage records", records=len(batch), error=repr(error))
        else:
            self.written += len(batch)
            self._tell(away=False)

    def _put_back(self, batch: list[LlmCall]) -> None:
        """In front again, the newest of them as far as there is room."""
        room = self._most - len(self._buffer)
        kept = batch[-room:] if room > 0 else []
        self.dropped += len(batch) - len(kept)
        self._buffer.extendleft(reversed(kept))

    def _tell(self, *, away: bool, error: ColonyError | None = None) -> None:
        """Log the first failure and the first success after it, not each."""
        if away and not self._away:
            _log.warning("usage records wait for the ledger", buffered=len(self._buffer), error=repr(error))
        if self._away and not away:
            _log.info("usage records are written again", buffered=len(self._buffer), dropped=self.dropped)
        self._away = away

    async def close(self) -> None:
        """Write the rest, if the ledger takes it soon."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.flush()
        except TimeoutError:
            self._away = True
        if self._buffer:
            _log.warning("usage records are lost", records=len(self._buffer))
            self.dropped += len(self._buffer)
            self._buffer.clear()


def ledger_row(call: CallRecord) -> LlmCall:
    """A record as the ledger keeps it."""
    return LlmCall(
        request_id=call.request_id,
        ended_at=call.at,
        agent=call.caller.name,
        agent_type=call.caller.agent_type,
        job=call.caller.job,
        kind=call.kind.value,
        backend=call.backend,
        model=call.model,
        tier=call.tier,
        prompt_tokens=call.prompt_tokens,
        completion_tokens=call.completion_tokens,
        queued=call.queued,
        first=call.first,
        seconds=call.seconds,
        cache=call.cache,
        outcome=call.outcome,
    )


@asynccontextmanager
async def usage_book(
    ledger: LlmLedger | None, clock: Clock, *, vitals: Vitals | None = None
) -> AsyncGenerator[UsageBook]:
    """A `UsageBook` that writes while the block runs, and what is left at its end."""
    book = UsageBook(ledger, clock)
    try:
        async with task_owner() as tasks:
            if vitals is not None:
                vitals.watch(tasks)
            if ledger is not None:
                tasks.start(book.run(), name="usage book")
            yield book
    finally:
        await asyncio.shield(book.close())
