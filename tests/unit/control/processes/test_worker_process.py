from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from colony.lifecycle import task_owner
from control.processes.ready import is_ready
from control.processes.worker import until_ended
from tests.eventually import assert_eventually


async def _nothing() -> None:
    return


async def test_a_background_task_that_dies_ends_the_worker(tmp_path: Path) -> None:
    stop, dies = asyncio.Event(), asyncio.Event()

    async def fails() -> None:
        await dies.wait()
        raise ValueError("a fault of ours")

    async def serve() -> None:
        await stop.wait()

    async with task_owner() as owner:
        running = asyncio.create_task(serve())
        decided = owner.start(_nothing(), name="version")
        owner.start(fails(), name="retention")
        ending = asyncio.create_task(until_ended(tmp_path, running, decided, owner, stop))

        async def ready() -> bool:
            return is_ready(tmp_path, "worker", os.getpid())

        await assert_eventually(ready, 30)
        dies.set()
        with pytest.raises(ValueError, match="a fault of ours"):
            await asyncio.wait_for(ending, 10)
        assert running.done(), "its workers ended in good order"
        assert not await ready()


async def test_a_worker_that_is_told_to_stop_ends_well(tmp_path: Path) -> None:
    stop = asyncio.Event()

    async def serve() -> None:
        await stop.wait()

    async with task_owner() as owner:
        running = asyncio.create_task(serve())
        decided = owner.start(_nothing(), name="version")
        ending = asyncio.create_task(until_ended(tmp_path, running, decided, owner, stop))
        stop.set()
        await asyncio.wait_for(ending, 10)
