"""What a command needs of a running stack, opened on demand."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client

from colony.config.endpoints import Endpoints, home_from_environment, read_endpoints
from colony.errors import ColonyError
from colony.ledger.port import Ledger
from colony.ledger.postgres import open_ledger
from colony.messaging.nats import open_messenger
from colony.messaging.port import Messenger
from control.processes.tracing import Tracing, open_tracing
from control.settings import configured_temporal, load_settings
from workflows.client import connect, connect_later
from workflows.engine import JobEngine, TemporalEngine
from workflows.schedules import Schedules, TemporalSchedules

_LOOK_SECONDS = 3.0


def endpoints_here(home: Path | None = None) -> Endpoints:
    """Addresses of the stack in `home` (default: `COLONY_HOME` or `.colony`). Raises `NotFound`."""
    return read_endpoints(home or home_from_environment())


@asynccontextmanager
async def ledger_here(home: Path | None = None) -> AsyncGenerator[Ledger]:
    """The ledger of the stack."""
    async with open_ledger(endpoints_here(home).postgres, pool_size=2, name="command") as ledger:
        yield ledger


@asynccontextmanager
async def temporal_here(tracing: Tracing | None = None, *, home: Path | None = None) -> AsyncGenerator[Client]:
    """A client of the stack's Temporal; with `tracing`, what it starts belongs to a trace.

    Raises `ConfigInvalid` also where the configuration wants encryption and the stack has no keys.
    """
    interceptors = () if tracing is None else tracing.interceptors
    async with connect(configured_temporal(endpoints_here(home)), interceptors=interceptors) as client:
        yield client


async def temporal_later_here() -> Client:
    """The same, connected by its first call: for what can do without Temporal."""
    return await connect_later(configured_temporal(endpoints_here()))


@asynccontextmanager
async def tracing_here() -> AsyncGenerator[Tracing]:
    """How a command takes part in traces, as the stack's configuration says."""
    endpoints = endpoints_here()
    async with open_tracing(endpoints, load_settings(endpoints).config, "command") as tracing:
        yield tracing


@asynccontextmanager
async def engine_here(home: Path | None = None) -> AsyncGenerator[JobEngine]:
    """What starts and steers jobs."""
    async with temporal_here(home=home) as client:
        yield TemporalEngine(client)


async def failure_here(workflow_id: str) -> ColonyError | None:
    """The error a job ended with, as `JobEngine.failure`, asked with little patience. Raises `Unavailable`."""
    async with connect(configured_temporal(endpoints_here()), timeout=_LOOK_SECONDS) as client:
        return await TemporalEngine(client).failure(workflow_id)


@asynccontextmanager
async def schedules_here(home: Path | None = None) -> AsyncGenerator[Schedules]:
    """What starts jobs again and again."""
    async with temporal_here(home=home) as client:
        yield TemporalSchedules(client)


@asynccontextmanager
async def messenger_here(home: Path | None = None) -> AsyncGenerator[Messenger]:
    """A connection to the bus, with the rights of a client."""
    async with open_messenger(endpoints_here(home).nats, role="client", name="command") as messenger:
        yield messenger
