"""Lanes: the coroutines of a host that run agents one after the other, and the watch over their time limits.

A lane awaits `agent.handle` directly, so a quick task costs no asyncio task and no timer of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import structlog

from colony.clock import Clock

_log = structlog.get_logger(__name__)

SLICE_SECONDS: Final = 0.005
"""A lane gives way after this much work, so that lease, heartbeat and messages go on."""

_WATCH_SECONDS: Final = 0.05
_STOP_SECONDS: Final = 2.0
_STOP_STEPS: Final = 4


class Lane:
    """One coroutine that runs agents. Made inside the asyncio task that is the lane."""

    __slots__ = ("deadline", "overdue", "task")

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.deadline = 0.0
        """When the agent must be done, monotonic; 0 while none runs."""
        self.overdue = False


class LaneWatch:
    """Interrupts agents that run into their time limit: one loop for all lanes of a host."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lanes: set[Lane] = set()

    def enter(self) -> Lane:
        """The current asyncio task becomes a lane."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a lane must run inside an asyncio task")
        lane = Lane(task)
        self._lanes.add(lane)
        return lane

    def leave(self, lane: Lane) -> None:
        """The lane ends."""
        self._lanes.discard(lane)

    async def run(self) -> None:
        """Watch until cancelled. An agent that swallows the interruption is interrupted again."""
        while True:
            await self._clock.sleep(_WATCH_SECONDS)
            now = self._clock.monotonic()
            for lane in self._lanes:
                if lane.deadline and now > lane.deadline:
                    lane.overdue = True
                    lane.task.cancel()


async def end_lanes(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Interrupt these lanes, again if an agent swallows it; after some seconds what still runs is left to itself."""
    waiting = set(tasks)
    for _ in range(_STOP_STEPS):
        if not waiting:
            return
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=_STOP_SECONDS / _STOP_STEPS)
    if waiting:
        _log.warning("agents do not let themselves be interrupted", count=len(waiting))
