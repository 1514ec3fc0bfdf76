"""The API over twins, and a client that asks it without a server."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from temporalio.client import Client

from colony.clock import ManualClock
from colony.config.built_in import BUILT_IN
from colony.config.model import Config
from colony.contracts import AgentSpec
from colony.errors import Unavailable
from colony.ids import AgentId, AgentType
from colony.ledger.memory import MemoryLedger
from colony.messaging.memory import MemoryBus, MemoryMessenger
from colony.messaging.port import Messenger
from colony.registry.memory import MemoryRegistry
from colony.registry.port import Registry
from control.api.app import build_app
from control.api.edge import Application, EdgeSettings
from control.api.outbox import Outbox
from control.api.parts import Parts
from control.api.slots import Slot
from control.why_facts import Asked
from workflows.memory_engine import MemoryEngine
from workflows.memory_schedules import MemorySchedules
from workflows.templates import with_templates

KEY = "k" * 32


@dataclass
class ApiOfTwins:
    """Everything behind the API, and a client with the key."""

    parts: Parts
    ledger: MemoryLedger
    engine: MemoryEngine
    bus: MemoryBus
    app: Application
    client: httpx.AsyncClient

    async def submit(self, **body: Any) -> httpx.Response:
        return await self.client.post("/v1/jobs", json={"template": "review_analysis", **body})


@asynccontextmanager
async def away() -> AsyncGenerator[Client]:
    """A Temporal that does not answer."""
    raise Unavailable("Temporal does not answer.")
    yield


def configured(coded: Sequence[str]) -> Config:
    """The built-in configuration with these workflows in code."""
    fleet = BUILT_IN.fleet.model_copy(update={"packages": ("agents", "examples")})
    return with_templates(BUILT_IN.model_copy(update={"fleet": fleet, "workflow_classes": tuple(coded)}))


def twins(
    *, engine: MemoryEngine | None = None, coded: Sequence[str] = ()
) -> tuple[Parts, MemoryLedger, MemoryEngine, MemoryBus]:
    ledger, engine, bus = MemoryLedger(ManualClock()), engine or MemoryEngine(), MemoryBus()
    parts = Parts(
        ledger=ledger,
        engine=engine,
        outbox=Outbox(ledger, engine),
        messenger=Slot[Messenger]("the bus", MemoryMessenger(bus, role="client")),
        registry=Slot[Registry]("the registry", MemoryRegistry()),
        config=configured(coded),
        schedules=MemorySchedules(),
        asked=Asked(away, None),
    )
    return parts, ledger, engine, bus


@asynccontextmanager
async def opened(*, coded: Sequence[str] = (), **settings: Any) -> AsyncGenerator[ApiOfTwins]:
    parts, ledger, engine, bus = twins(coded=coded)
    await ledger.put_agents(
        [AgentSpec(agent_id=AgentId(f"research-{number:05d}"), agent_type=AgentType("research")) for number in range(9)]
        + [AgentSpec(agent_id=AgentId("analysis-00001"), agent_type=AgentType("analysis"))]
    )
    app = build_app(parts, EdgeSettings(key=KEY, **settings))
    headers = {"Authorization": f"Bearer {KEY}"}
    transport = httpx.ASGITransport(app)  # pyright: ignore[reportArgumentType] -- the same protocol, spelled otherwise
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", headers=headers) as client:
        yield ApiOfTwins(parts, ledger, engine, bus, app, client)


def problem(answer: httpx.Response, status: int, error: str, field: str | None = None) -> dict[str, Any]:
    """The problem an answer holds, which must be of this status, name and field."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found = answer.json()
    assert (answer.status_code, found["status"], found["error"], found.get("field")) == (status, status, error, field)
    assert found["type"] == f"urn:colony:error:{error}"
    assert found["title"]
    assert found["detail"]
    return found


Opened = Callable[..., Any]
