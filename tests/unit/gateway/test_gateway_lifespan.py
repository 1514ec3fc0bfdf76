"""The application of a replica: open with its lifespan, known by the name of its stack, checked by a real call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from colony.errors import DeadlineExceeded, Unavailable
from colony.lifecycle import Vitals, task_owner
from ray_app.gateway import lifespan
from ray_app.gateway.lifespan import LifespanApp, Served
from ray_app.gateway.ports import Gate


class Answering:
    """As much of a gate as a check asks."""

    def __init__(self) -> None:
        self.hangs = False

    async def models(self) -> list[Any]:
        if self.hangs:
            await asyncio.Event().wait()
        return []


class Replica:
    def __init__(self, trouble: Exception | None = None) -> None:
        self.gate = Answering()
        self.trouble = trouble
        self.events: list[str] = []
        self.vitals = Vitals()
        self.live = LifespanApp(self.opened, "abc")
        self._orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.said: list[Any] = []

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Served]:
        if self.trouble is not None:
            raise self.trouble
        self.events.append("open")
        yield Served(cast("Gate", self.gate), self.app, self.vitals)
        self.events.append("closed")

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 418})

    async def lives(self) -> None:
        async def send(message: Any) -> None:
            self.said.append(message["type"])

        await self.live({"type": "lifespan"}, self._orders.get, send)

    def order(self, kind: str) -> None:
        self._orders.put_nowait({"type": f"lifespan.{kind}"})

    async def status(self, path: str) -> int:
        found: list[Any] = []

        async def send(message: Any) -> None:
            found.append(message)

        await self.live({"type": "http", "path": path}, self._orders.get, send)
        return found[0]["status"]


async def test_it_serves_while_it_lives() -> None:
    replica = Replica()
    assert await replica.status("/-/stack/abc") == 503
    with pytest.raises(Unavailable):
        await replica.live.check()
    await replica.live.start()
    life = asyncio.create_task(replica.lives())
    replica.order("startup")
    assert await replica.status("/-/stack/abc") == 200
    assert await replica.status("/-/stack/other") == 418
    await replica.live.check()
    replica.order("shutdown")
    await life
    assert replica.said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert replica.events == ["open", "closed"]
    assert await replica.status("/-/stack/abc") == 503


async def test_what_cannot_open_says_why() -> None:
    replica = Replica(Unavailable("no ledger"))
    with pytest.raises(Unavailable, match="no ledger"):
        await replica.live.start()


async def test_a_gate_that_hangs_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifespan, "CHECK_SECONDS", 0.01)
    replica = Replica()
    await replica.live.start()
    replica.gate.hangs = True
    with pytest.raises(DeadlineExceeded):
        await replica.live.check()
    replica.order("startup")
    replica.order("shutdown")
    await replica.lives()


async def test_a_gate_that_lost_a_background_task_is_not_healthy() -> None:
    async def dies() -> None:
        raise ZeroDivisionError("a fault")

    replica = Replica()
    async with task_owner() as tasks:
        replica.vitals.watch(tasks)
        await replica.live.start()
        await replica.live.check()
        await asyncio.wait({tasks.start(dies(), name="vital")})
        with pytest.raises(Unavailable, match="a fault"):
            await replica.live.check()
    replica.order("shutdown")
    await replica.lives()
