"""The embedded pool as a backend, without processes: what a caller waits for."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import httpx
import pytest

from colony.clock import SystemClock
from colony.config.gateway import BackendConfig
from colony.errors import DeadlineExceeded
from colony.lifecycle import task_owner
from ray_app.gateway.backends.embedded_pool import EmbeddedPoolBackend
from ray_app.gateway.backends.pool_wire import PoolWire
from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.contracts import BackendCall, Kind


async def test_who_waits_for_anothers_load_keeps_a_deadline_of_his_own() -> None:
    asked = asyncio.Event()

    async def loading(_: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.sleep(60)
        return httpx.Response(503)

    def call(seconds: float) -> BackendCall:
        return BackendCall(kind=Kind.COMPLETION, model="m", body={"prompt": "x"}, seconds=seconds)

    config = BackendConfig(kind="scripted")
    transport = httpx.MockTransport(loading)
    async with httpx.AsyncClient(transport=transport, base_url="http://pool") as client, task_owner() as tasks:
        backend = EmbeddedPoolBackend(
            "pool/0",
            PoolWire(client),
            lambda _: nullcontext(ScriptedBackend("m", Script(), config)),
            tasks=tasks,
            clock=SystemClock(),
        )
        patient = tasks.start(backend.answer(call(50)), name="patient")
        await asked.wait()
        async with asyncio.timeout(5):
            with pytest.raises(DeadlineExceeded):
                await backend.answer(call(0.05))
        assert not patient.done()
