"""What agents of one host say, on its way to the ledger: taken without waiting, written in batches."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, deque
from typing import Any, Final

import structlog

from colony.clock import Clock
from colony.config.ledger import LedgerConfig
from colony.errors import ColonyError, Transient
from colony.ledger.transcripts import Said, TranscriptEntry, TranscriptLedger

_log = structlog.get_logger(__name__)

BATCH: Final = 200
"""Entries that are written at once, and as soon as there are so many."""

INTERVAL: Final = 0.5
"""Seconds an entry waits at most for others, and between tries while the ledger is away."""

GAP_SECONDS: Final = 5.0
"""Seconds between two notes of what is missing."""

MOST_BUFFERED: Final = 20_000
"""Entries kept while the ledger is away; those that come then are counted, not kept."""

MOST_LETTERS: Final = 32_000_000
"""The same for their texts."""

CLOSE_SECONDS: Final = 3.0
"""Longest wait for the ledger at the end."""

_CALL_SECONDS: Final = 20.0
_JOBS_KEPT: Final = 1_000


class TranscriptBook:
    """Owned by one event loop. `run` writes; whoever runs it calls `close` in the end."""

    def __init__(
        self, ledger: TranscriptLedger, clock: Clock, config: LedgerConfig, *, host: str, incarnation: str
    ) -> None:
        self.letters = config.transcript_letters
        """Most letters of a request, and of an answer."""
        self._ledger = ledger
        self._clock = clock
        self._host = host
        self._incarnation = incarnation
        self._most_of_job = config.transcript_entries
        self._taken: OrderedDict[int, int] = OrderedDict()
        self._buffer: deque[TranscriptEntry] = deque()
        self._size = 0
        self._lost: dict[int, int] = {}
        self._some, self._many = asyncio.Event(), asyncio.Event()
        self._told_at = clock.monotonic()
        self._away = False
        self._runner: asyncio.Task[Any] | None = None
        self._closed = False
        self.written = 0
        """Entries the ledger has."""
        self.dropped = 0
        """Entries the ledger will never have; it knows how many, as far as it could be told."""

    def add(self, entry: TranscriptEntry) -> None:
        """Take an entry in. Never waits, never raises."""
        if self._closed:
            self.dropped += 1
            return
        entry = entry._replace(entry_id=secrets.token_hex(12), incarnation=self._incarnation)
        taken = self._taken.pop(entry.job, 0) + 1
        self._taken[entry.job] = taken
        if len(self._taken) > _JOBS_KEPT:
            self._taken.popitem(last=False)
        if taken > self._most_of_job or len(self._buffer) >= MOST_BUFFERED or self._size >= MOST_LETTERS:
            self._lose(entry.job)
            return
        self._buffer.append(entry)
        self._size += _size(entry)
        self._some.set()
        if len(self._buffer) >= BATCH:
            self._many.set()

    def state(self) -> dict[str, Any]:
        """Numbers for people and metrics."""
        return {"buffered": len(self._buffer), "written": self.written, "dropped": self.dropped}

    async def run(self) -> None:
        """Write what comes, until `close` or cancelled."""
        self._runner = asyncio.current_task()
        while True:
            await self._some.wait()
            if self._away:
                await self._clock.sleep(INTERVAL)
            else:
                await self._enough()
            await self.flush()

    async def flush(self) -> bool:
        """Write what is buffered; False when the ledger is away, then it stays buffered."""
        self._tell_gaps()
        while self._buffer:
            batch = [self._buffer.popleft() for _ in range(min(BATCH, len(self._buffer)))]
            self._size -= sum(map(_size, batch))
            try:
                await self._write(batch)
            except asyncio.CancelledError:
                self._put_back(batch)
                raise
            if self._away:
                return False
        self._many.clear()
        if not self._lost:
            self._some.clear()
        return True

    async def close(self) -> None:
        """Write the rest, if the ledger takes it soon; ends `run`. What comes later is counted, not kept."""
        self._told_at = float("-inf")
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                # First: what it is writing comes back into the buffer, and is written again or counted.
                await self._stop()
                if await self.flush():
                    await self.flush()  # notes that had no room, or that waited for the ledger
        except TimeoutError:
            self._away = True
        self._closed = True
        if self._buffer:
            _log.warning("what agents said is lost", entries=len(self._buffer))
            self.dropped += sum(entry.kind != Said.GAP for entry in self._buffer)
            self._buffer.clear()
            self._size = 0

    async def _stop(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait([self._runner])

    def _lose(self, job: int) -> None:
        self.dropped += 1
        self._lost[job] = self._lost.get(job, 0) + 1
        while len(self._lost) > _JOBS_KEPT:
            self._lost.pop(next(iter(self._lost)))
        self._some.set()

    def _tell_gaps(self) -> None:
        """Put a note of what is missing in line, now and then: once it is in line it is written like all else.

        While the ledger is away, or the line is full, more of a job makes its note larger, not the line longer.
        """
        now = self._clock.monotonic()
        if not self._lost or now - self._told_at < GAP_SECONDS:
            return
        if self._away or len(self._buffer) >= MOST_BUFFERED:
            return
        self._told_at = now
        for job, lost in self._lost.items():
            entry = TranscriptEntry(
                entry_id=secrets.token_hex(12),
                job=job,
                at=self._clock.wall(),
                kind=Said.GAP,
                agent=self._host,
                incarnation=self._incarnation,
                lost=lost,
            )
            self._buffer.append(entry)
        self._lost.clear()

    async def _enough(self) -> None:
        try:
            async with asyncio.timeout(INTERVAL):
                await self._many.wait()
        except TimeoutError:
            return  # few, but old enough

    async def _write(self, batch: list[TranscriptEntry]) -> None:
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._ledger.write_transcript(batch)
        except (Transient, TimeoutError) as error:
            # Written twice is kept once: a batch whose end is unknown may come again.
            self._put_back(batch)
            self._tell(away=True, error=error)
        except ColonyError as error:
            self.dropped += len(batch)
            self._tell(away=False)
            _log.error("the ledger refuses what agents said", entries=len(batch), error=repr(error))
        else:
            self.written += len(batch)
            self._tell(away=False)

    def _put_back(self, batch: list[TranscriptEntry]) -> None:
        if self._closed:  # a write that outlived its time
            self.dropped += len(batch)
            return
        self._buffer.extendleft(reversed(batch))
        self._size += sum(map(_size, batch))

    def _tell(self, *, away: bool, error: Exception | None = None) -> None:
        """Log the first failure and the first success after it, not each."""
        if away and not self._away:
            _log.warning("what agents said waits for the ledger", buffered=len(self._buffer), error=repr(error))
        if self._away and not away:
            _log.info("what agents said is written again", buffered=len(self._buffer), dropped=self.dropped)
        self._away = away


def _size(entry: TranscriptEntry) -> int:
    return len(entry.request) + len(entry.answer)
