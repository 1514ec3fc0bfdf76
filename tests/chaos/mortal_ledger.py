"""A ledger whose process dies half way through what it writes, once in each place."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from colony.contracts import BatchRequest, OutcomeRow, StateRow
from colony.ledger.port import Ledger

ON_ITS_WAY: Final = frozenset(
    {
        "open_job",
        "load_map",
        "load_reduce",
        "load_tasks",
        "put_artifacts",
        "close_job",
        "request_cancel",
        "open_monitor",
        "save_tick",
        "put_sites",
        "remove_sites",
        "pause_sites",
        "settle_notices",
    }
)
"""Written in one transaction: the process dies while it is on its way, and whether it is done nobody knows."""

_ON_ITS_WAY_SECONDS: Final = 0.003
"""About what a small statement takes."""


class Deaths:
    """The places where a process died, a line each in a file. While there is no file, nobody dies."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @property
    def places(self) -> list[str]:
        """Where, in order."""
        return self.file.read_text().splitlines() if self.file.exists() else []

    def due(self, place: str) -> bool:
        """Whether somebody is still to die there."""
        return self.file.exists() and place not in self.places

    def die_once(self, place: str) -> None:
        """Die, but in each place only once. An activity may be at work in a thread or task: it dies too."""
        if self.due(place):
            with self.file.open("a") as file:
                file.write(f"{place}\n")
            os.kill(os.getpid(), signal.SIGKILL)


class MortalLedger:
    """The ledger it is given, but for the moments in which its process dies."""

    def __init__(self, ledger: Ledger, deaths: Deaths) -> None:
        self._ledger = ledger
        self._deaths = deaths

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._ledger, name)
        return self._on_its_way(name, call) if name in ON_ITS_WAY else call

    def _on_its_way(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def write(*arguments: Any, **words: Any) -> Any:
            # The second argument of a load is its step.
            place = f"half {name} {arguments[1]}" if name.startswith("load_") else f"half {name}"
            if not self._deaths.due(place):
                return await call(*arguments, **words)
            writing = asyncio.ensure_future(call(*arguments, **words))
            await asyncio.wait({writing}, timeout=_ON_ITS_WAY_SECONDS)
            self._deaths.die_once(place)
            return await writing

        return write

    async def load_source(
        self, job: int, step: int, rows: AsyncIterator[Sequence[tuple[int, bytes]]], bad: Sequence[Any]
    ) -> Any:
        """Dies when the first rows are copied and none is a task yet."""

        async def mortal_rows() -> AsyncIterator[Sequence[tuple[int, bytes]]]:
            async for chunk in rows:
                yield chunk
                self._deaths.die_once(f"half load_source {step}")

        return await self._ledger.load_source(job, step, mortal_rows(), bad)

    async def commit(
        self,
        batch: BatchRequest,
        incarnation: str,
        epochs: Any,
        outcomes: Sequence[OutcomeRow],
        states: Sequence[StateRow] = (),
    ) -> list[int]:
        """Dies when the first half of these outcomes is written, or none of them where a half is not to be had."""
        place = f"half dispatch_batch {batch.step}"
        if self._deaths.due(place):
            if len(outcomes) > 1 and not states:
                await self._ledger.commit(batch, incarnation, epochs, outcomes[: len(outcomes) // 2])
            self._deaths.die_once(place)
        return await self._ledger.commit(batch, incarnation, epochs, outcomes, states)
