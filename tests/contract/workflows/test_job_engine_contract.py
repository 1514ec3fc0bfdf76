"""Contract: the workflow engine as the HTTP API asks it, the twin and the one on a real Temporal server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from colony.config.endpoints import TemporalEndpoint
from colony.contracts import JobState
from colony.errors import AlreadyExists, BadInput, NotFound, Unavailable
from tests.servers.ports import free_port
from tests.servers.temporal import temporal_server
from workflows.client import connect_later
from workflows.engine import JobEngine, TemporalEngine
from workflows.memory_engine import MemoryEngine

pytestmark = pytest.mark.contract


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engine_server() -> AsyncGenerator[TemporalEndpoint]:
    async with temporal_server() as endpoint:
        yield endpoint


@pytest.fixture(params=["memory", "temporal"])
def engine_place(request: pytest.FixtureRequest) -> TemporalEndpoint | None:
    return request.getfixturevalue("engine_server") if request.param == "temporal" else None


@pytest.fixture
async def engine(engine_place: TemporalEndpoint | None) -> JobEngine:
    return MemoryEngine() if engine_place is None else TemporalEngine(await connect_later(engine_place))


@pytest.fixture
def name() -> str:
    return f"job-{uuid.uuid4().hex[:8]}"


GIVEN: dict[str, Any] = {"source": "a.csv"}


async def test_the_same_mark_starts_once(engine: JobEngine, name: str) -> None:
    keys = await asyncio.gather(*(engine.start("t", GIVEN, name, "mark") for _ in range(5)))
    assert len(set(keys)) == 1
    assert keys[0]


async def test_an_id_of_somebody_else_is_refused(engine: JobEngine, name: str) -> None:
    await engine.start("t", GIVEN, name, "mark")
    with pytest.raises(AlreadyExists):
        await engine.start("t", GIVEN, name, "other")


async def test_an_id_nobody_can_print_is_refused(engine: JobEngine) -> None:
    for wrong in ("a\nb", "x" * 201):
        with pytest.raises(BadInput):
            await engine.start("t", GIVEN, wrong, "mark")


async def test_a_running_job_has_no_failure_and_nobody_knows_others(engine: JobEngine, name: str) -> None:
    await engine.start("t", GIVEN, name, "mark")
    assert await engine.failure(name) is None
    seen = await engine.describe(name)
    assert (seen.template, seen.state) == ("t", JobState.RUNNING)
    assert seen.key
    with pytest.raises(NotFound):
        await engine.failure("nobody")
    with pytest.raises(NotFound):
        await engine.describe("nobody")
    with pytest.raises(NotFound):
        await engine.cancel("nobody")
    with pytest.raises(NotFound):
        await engine.update("nobody", "pause")
    with pytest.raises(NotFound):
        await engine.progress("nobody")
    await engine.cancel(name)


async def test_a_ping_needs_an_answer(engine: JobEngine) -> None:
    assert await engine.ping() >= 0


@pytest.fixture(params=["memory", "temporal"])
async def away(request: pytest.FixtureRequest) -> JobEngine:
    if request.param == "temporal":
        return TemporalEngine(await connect_later(TemporalEndpoint(address=f"127.0.0.1:{free_port()}")))
    engine = MemoryEngine()
    engine.available = False
    return engine


async def test_an_engine_that_is_away_says_so(away: JobEngine) -> None:
    for call in (
        away.ping(),
        away.start("t", GIVEN, "a", "m"),
        away.cancel("a"),
        away.update("a", "pause"),
        away.failure("a"),
        away.describe("a"),
        away.progress("a"),
    ):
        with pytest.raises(Unavailable):
            await call
