"""Workers that end, and one that never does: `run_workers` comes back in time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

import pytest

from colony.errors import Unavailable
from workflows.worker import run_workers


class Work:
    """A worker as `run_workers` sees it: it has been told to end and, if it is `stuck`, never does."""

    def __init__(self, queue: str, *, stuck: bool = False, fails: bool = False) -> None:
        self.task_queue = queue
        self.ended = False
        self._stuck = stuck
        self._fails = fails
        self._told = asyncio.Event()
        self._done = asyncio.Event()

    async def run(self) -> None:
        if self._fails:
            self._done.set()
            raise RuntimeError("no such namespace")
        await self._told.wait()
        if self._stuck:
            # As the SDK: it takes a cancel in its last step for the end of that step.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        self.ended = True
        self._done.set()

    async def shutdown(self) -> None:
        self._told.set()
        await self._done.wait()


def run(*works: Work, told: asyncio.Event) -> asyncio.Task[None]:
    return asyncio.create_task(run_workers(cast("list[Any]", list(works)), told, patience=0.2))


async def test_a_worker_that_does_not_end_is_left_behind() -> None:
    told, well, stuck = asyncio.Event(), Work("well"), Work("stuck", stuck=True)
    running = run(well, stuck, told=told)
    await asyncio.sleep(0)
    assert not running.done()
    told.set()
    async with asyncio.timeout(10):
        await running
    assert (well.ended, stuck.ended) == (True, True)


async def test_one_that_fails_ends_the_others_even_a_stuck_one() -> None:
    stuck = Work("stuck", stuck=True)
    async with asyncio.timeout(10):
        with pytest.raises(Unavailable, match="The worker of queue broken stopped: RuntimeError"):
            await run(Work("broken", fails=True), stuck, told=asyncio.Event())
    assert stuck.ended


async def test_who_is_cancelled_still_ends_its_workers() -> None:
    well, stuck = Work("well"), Work("stuck", stuck=True)
    running = run(well, stuck, told=asyncio.Event())
    await asyncio.sleep(0.01)
    running.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await running
    assert (well.ended, stuck.ended) == (True, True)
