"""Outcomes of one batch on their way to the ledger: gathered into chunks, committed one chunk at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from colony.clock import Clock
from colony.contracts import BatchRequest, OutcomeRow, TaskRow
from ray_app.commits import CHUNK, Committer, Finished, Tally, let_go
from ray_app.perform import Handled
from ray_app.population import AgentCell

COMMIT_SECONDS: Final = 0.25
"""Longest an outcome waits for others while quick tasks fill a chunk."""

CHUNK_BYTES: Final = 8 * 1024 * 1024
"""A chunk ends with the outcome that reaches this many bytes of results and states."""

_SAVED_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.005


class Outbox:
    """Takes outcomes without waiting. `more_to_come` says whether a task may end within a moment."""

    def __init__(
        self,
        batch: BatchRequest,
        committer: Committer,
        tally: Tally,
        clock: Clock,
        more_to_come: Callable[[], bool],
    ) -> None:
        self._batch = batch
        self._committer = committer
        self._tally = tally
        self._clock = clock
        self._more_to_come = more_to_come
        self._finished: list[Finished] = []
        self._bytes = 0
        self._closed = False
        self._oldest = 0.0
        self._dirty = asyncio.Event()
        self._committing = asyncio.Lock()

    def put(self, row: TaskRow, cell: AgentCell, handled: Handled) -> asyncio.Future[None] | None:
        """Queue an outcome for its commit; returns what a stateful agent must await before it goes on."""
        if handled.left:
            self._tally.leave(handled.error, handled.retry_after)
            return None
        if self._closed:
            cell.live = None
            return None
        outcome = OutcomeRow(
            row.seq,
            cell.agent_id,
            not handled.error,
            handled.error,
            handled.message,
            handled.transient,
            handled.value,
            handled.micros,
        )
        saved: asyncio.Future[None] | None = None
        if cell.kind.stateful or handled.state is not None:
            saved = asyncio.get_running_loop().create_future()
        cell.shard.in_use += 1
        if not self._finished:
            self._oldest = self._clock.monotonic()
            self._dirty.set()
        done = Finished(outcome, handled.state, cell, cell.shard, saved)
        self._finished.append(done)
        self._bytes += _size(done)
        return saved

    async def run(self) -> None:
        """Commit big chunks while quick tasks come in, and at once when nothing more will; until cancelled."""
        while True:
            await self._dirty.wait()
            while (
                self._more_to_come()
                and len(self._finished) < CHUNK
                and self._bytes < CHUNK_BYTES
                and self._clock.monotonic() - self._oldest < COMMIT_SECONDS
            ):
                await self._clock.sleep(_POLL_SECONDS)
            await self._commit_some()

    async def flush(self) -> None:
        """Return once all that finished is committed or given up."""
        while self._finished or self._committing.locked():
            await self._commit_some()

    def close(self) -> None:
        """Give up what is not committed, also what comes from now on: it is left without an outcome."""
        self._closed = True
        for done in self._finished:
            done.cell.live = None
        let_go(self._finished)
        self._finished.clear()
        self._bytes = 0

    def _next_part(self) -> list[Finished]:
        count = size = 0
        while count < min(CHUNK, len(self._finished)) and size < CHUNK_BYTES:
            size += _size(self._finished[count])
            count += 1
        part = self._finished[:count]
        del self._finished[:count]
        self._bytes -= size
        return part

    async def _commit_some(self) -> None:
        async with self._committing:
            part = self._next_part()
            if not self._finished:
                self._dirty.clear()
            if part:
                await self._committer.commit(self._batch, part, self._tally)


def _size(done: Finished) -> int:
    return len(done.outcome.result) + len(done.state or b"")


async def until_saved(saved: asyncio.Future[None], clock: Clock) -> None:
    """Wait for a commit. Interrupted, wait on for it within bounds, then raise `CancelledError`.

    An agent that went on before would start from the state of before.
    """
    try:
        return await asyncio.shield(saved)
    except asyncio.CancelledError:
        deadline = clock.monotonic() + _SAVED_SECONDS
    while not saved.done() and (left := deadline - clock.monotonic()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({saved}, timeout=left)
    raise asyncio.CancelledError
