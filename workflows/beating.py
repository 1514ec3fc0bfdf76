"""Heartbeats of activities that take a moment, so that the death of their process is seen within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from temporalio import activity

from colony.lifecycle import task_owner
from workflows.policies import SILENCE_SECONDS

_BEAT_SECONDS = SILENCE_SECONDS / 3


@asynccontextmanager
async def beating(longest: float) -> AsyncGenerator[None]:
    """Heartbeat while the body runs, at most `longest` seconds; a body that ends at once sends none.

    Each costs the server a write, and the start of the activity counts as one. It proves that the loop turns, not that
    the body gets on: that is what the bound is for. Raises `TimeoutError`.
    """
    async with task_owner() as tasks, asyncio.timeout(longest):
        tasks.start(_beat(), name="heartbeat")
        yield


async def _beat() -> None:
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        activity.heartbeat()
