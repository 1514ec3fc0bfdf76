from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ray_app import actor
from ray_app.host import Host
from tests.unit.ray_app.fleet_fixture import World


async def test_the_process_of_a_host_that_cannot_close_exits(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    never, exits = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def hanging(_home: Path, slot: int) -> AsyncGenerator[Host]:
        async with world.open(slot, "incarnation-0") as host:
            yield host
            await never.wait()

    monkeypatch.setattr(actor, "composed_host", hanging)
    monkeypatch.setattr(actor, "_exit", exits.set)
    monkeypatch.setattr(actor, "_CLOSE_SECONDS", 0.1)
    made = actor.HostActor("/nowhere", 0)
    await made.start()
    await made.stop()
    await asyncio.wait_for(exits.wait(), 5)
    never.set()
    await made.wait_over()
