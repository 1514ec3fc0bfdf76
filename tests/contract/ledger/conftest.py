"""The two ledgers under one contract: the twin and the one on a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from colony.clock import ManualClock
from colony.config.endpoints import PostgresEndpoint
from colony.ledger.memory import MemoryLedger
from colony.ledger.port import Ledger
from colony.ledger.postgres import open_ledger
from tests.contract.ledger.fleet_of_one import LetTimePass
from tests.servers.postgres import PostgresServer, postgres_server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def ledger_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[PostgresServer]:
    """One Postgres for all tests of the session; nothing in it belongs to the loop that started it."""
    async with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
async def ledger_endpoint(ledger_server: PostgresServer) -> AsyncGenerator[PostgresEndpoint]:
    """A fresh, migrated database."""
    endpoint = await ledger_server.fresh_database()
    yield endpoint
    await ledger_server.drop_database(endpoint)


@pytest.fixture
def manual_clock() -> ManualClock:
    """The clock of the twin."""
    return ManualClock()


@pytest.fixture(params=["memory", "postgres"])
def ledger_place(request: pytest.FixtureRequest) -> PostgresServer | None:
    """Where the ledger under test is; the server is started only when a test needs it."""
    return request.getfixturevalue("ledger_server") if request.param == "postgres" else None


@pytest.fixture
async def ledger(ledger_place: PostgresServer | None, manual_clock: ManualClock) -> AsyncGenerator[Ledger]:
    """Each ledger in turn."""
    if ledger_place is None:
        yield MemoryLedger(manual_clock)
        return
    endpoint = await ledger_place.fresh_database()
    async with open_ledger(endpoint, pool_size=8) as real:
        yield real
    await ledger_place.drop_database(endpoint)


@pytest.fixture
def let_time_pass(ledger: Ledger, manual_clock: ManualClock) -> LetTimePass:
    """Wait until the ledger's own clock has moved on by so many seconds."""

    async def wait(seconds: float) -> None:
        if isinstance(ledger, MemoryLedger):
            manual_clock.advance(seconds)
        else:
            await asyncio.sleep(seconds)

    return wait
