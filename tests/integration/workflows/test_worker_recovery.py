from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from agents.probe import Probe
from colony.clock import SystemClock
from colony.config.endpoints import TemporalEndpoint
from colony.config.model import Config
from colony.contracts import BatchReport, BatchRequest, JobState
from colony.dispatch import BatchRunner, OnProgress
from colony.errors import Overloaded, Unavailable
from colony.ids import AgentType
from colony.ledger.memory import MemoryLedger
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Opens
from tests.servers.ports import free_port
from tests.servers.temporal import temporal_server
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.client import await_job, connect, job_progress, start_job
from workflows.local_runner import local_runner
from workflows.worker import dispatch_worker, io_worker, run_workers, workflow_worker

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


class Full:
    """No host ever takes work."""

    def __init__(self, runner: BatchRunner) -> None:
        pass

    async def run(self, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        raise Overloaded("all hosts are full")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_seconds(step: object) -> float:
        return 2.0

    monkeypatch.setattr("workflows.policies.STALL_SECONDS", 2.0)
    monkeypatch.setattr("workflows.steps.STALL_SECONDS", 2.0)
    monkeypatch.setattr("workflows.policies.batch_deadline", two_seconds)


@pytest.mark.usefixtures("impatient")
async def test_a_job_without_room_for_it_fails_in_the_end(colony: Opens) -> None:
    async with colony({AgentType("probe"): Probe}, wrap=Full) as here:
        started = await start_job(here.client, "durable_tasks", {"tasks": 10})
        with pytest.raises(Overloaded, match="all hosts are full"):
            await await_job(here.client, started.workflow_id, timeout=60)
        assert (await here.ledger.job(started.key)).state is JobState.FAILED


@pytest.mark.usefixtures("impatient")
async def test_a_job_without_a_dispatcher_fails_in_the_end(colony: Opens) -> None:
    async with colony({AgentType("probe"): Probe}, dispatch=False) as here:
        started = await start_job(here.client, "durable_tasks", {"tasks": 10})
        with pytest.raises(Unavailable, match="no dispatcher took work"):
            await await_job(here.client, started.workflow_id, timeout=60)
        assert (await here.ledger.job(started.key)).state is JobState.FAILED


async def test_a_job_outlives_its_workers(temporal: TemporalEndpoint, tmp_path: Path) -> None:
    ledger = MemoryLedger(SystemClock())
    agents = {AgentType("probe"): Probe}
    async with connect(temporal) as client, connect(temporal) as other, local_runner(ledger, agents) as runner:

        def workers(each: Client) -> list[Worker]:
            io = IoActivities(ledger, Config(), [tmp_path])
            dispatch = DispatchActivities(runner)
            return [workflow_worker(each), io_worker(each, io), dispatch_worker(each, dispatch)]

        first_stop, second_stop = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(run_workers(workers(client), first_stop))
        started = await start_job(client, "durable_tasks", {"tasks": 60_000})

        async def under_way() -> bool:
            return (await job_progress(client, started.workflow_id)).done > 0

        await assert_eventually(under_way, 30)
        first_stop.set()
        await first
        second = asyncio.create_task(run_workers(workers(other), second_stop))
        result = await await_job(client, started.workflow_id, timeout=100)
        second_stop.set()
        await second
        assert result.steps[1].ok == 60_000
        assert await ledger.outcome_multiplicity(result.job) == {1: (60_000, 60_000)}


async def test_no_server_is_told_as_unavailable() -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        async with connect(TemporalEndpoint(address=f"127.0.0.1:{free_port()}"), timeout=0.5):
            pass


async def test_connecting_waits_for_a_server_that_starts_later() -> None:
    port = free_port()

    async def connected() -> bool:
        async with connect(TemporalEndpoint(address=f"127.0.0.1:{port}"), timeout=30) as client:
            return await client.service_client.check_health()

    waiting = asyncio.create_task(connected())
    async with temporal_server(port=port):
        assert await waiting
