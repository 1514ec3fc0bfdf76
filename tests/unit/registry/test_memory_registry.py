from __future__ import annotations

from colony.clock import ManualClock
from colony.registry.entries import TIME_TO_LIVE
from colony.registry.memory import MemoryRegistry


async def test_time_to_live_follows_the_clock() -> None:
    clock = ManualClock()
    registry = MemoryRegistry(clock)
    await registry.join("a", "1", {})
    clock.advance(TIME_TO_LIVE - 0.1)
    assert (await registry.hosts())[0].passing
    await registry.beat("a", "1")
    clock.advance(TIME_TO_LIVE - 0.1)
    assert (await registry.hosts())[0].passing
    clock.advance(0.1)
    assert not (await registry.hosts())[0].passing
