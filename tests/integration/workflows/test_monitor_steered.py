"""The words every job takes, told to a monitor, on the server that skips time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from agents.base import AgentContext, AgentResult, AgentTask
from colony.clock import SystemClock
from colony.config.model import Config
from colony.contracts import BatchReport, BatchRequest, JobState
from colony.dispatch import BatchRunner, OnProgress
from colony.errors import BadInput, Cancelled
from colony.ids import AgentType
from colony.ledger.memory import MemoryLedger
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import keep_history
from tests.servers.time_skipping import time_skipping_server
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.activities_monitor import MonitorActivities
from workflows.client import await_job, start_job, update_job
from workflows.contracts import Progress
from workflows.local_runner import local_runner
from workflows.monitor_contracts import MonitorProgress
from workflows.worker import dispatch_worker, io_worker, run_workers, workflow_worker

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

HOUR = 3600.0


class Well:
    """Says of every site that it is well."""

    actions: ClassVar[Mapping[str, str]] = {"check_site": "looks"}

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        facts = {"site": task.payload["site"], "answered": True, "status": 200, "seconds": 0.1, "digest": "d"}
        return AgentResult(value=facts)

    async def health(self) -> str:
        return ""


class Noting:
    """Notes what is handed out."""

    def __init__(self, runner: BatchRunner) -> None:
        self._runner = runner
        self.seen: list[BatchRequest] = []

    async def run(self, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        self.seen.append(request)
        return await self._runner.run(request, on_progress)


@dataclass
class Steered:
    server: WorkflowEnvironment
    ledger: MemoryLedger
    noting: Noting
    folder: Path

    @property
    def client(self) -> Client:
        return self.server.client

    async def start(self, **given: Any) -> WorkflowHandle[Any, Any]:
        sites = [{"url": "http://a.example/", "name": "a"}]
        started = await start_job(self.client, "website_monitor", {"sites": sites, "interval": HOUR, **given})
        return self.client.get_workflow_handle(started.workflow_id)

    async def progress(self, handle: WorkflowHandle[Any, Any]) -> Progress:
        return await handle.query("progress", result_type=Progress)

    async def runs(self, handle: WorkflowHandle[Any, Any]) -> None:
        async def running() -> bool:
            return (await self.progress(handle)).phase == "running"

        await assert_eventually(running, 30)

    async def ends_cancelled(self, handle: WorkflowHandle[Any, Any]) -> None:
        with pytest.raises(Cancelled):
            await await_job(self.client, handle.id, timeout=60)
        assert (await self.ledger.job(handle.id)).state is JobState.CANCELLED


@asynccontextmanager
async def opened(folder: Path) -> AsyncGenerator[Steered]:
    ledger, shutdown = MemoryLedger(SystemClock()), asyncio.Event()
    async with (
        time_skipping_server() as server,
        local_runner(ledger, {AgentType("monitoring"): Well}) as runner,
    ):
        noting = Noting(runner)
        workers = [
            workflow_worker(server.client),
            io_worker(
                server.client, IoActivities(ledger, Config(), [folder]), monitor=MonitorActivities(ledger, [folder])
            ),
            dispatch_worker(server.client, DispatchActivities(noting)),
        ]
        running = asyncio.create_task(run_workers(workers, shutdown))
        try:
            yield Steered(server, ledger, noting, folder)
        finally:
            shutdown.set()
            await running


async def test_a_monitor_takes_the_words_of_every_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflows.policies.MAX_EVENTS", 60)
    async with opened(tmp_path) as here:
        handle = await here.start(priority=4, tenant="acme")
        await here.runs(handle)
        assert (await here.progress(handle)).priority == 4
        await assert_eventually(lambda: here.noting.seen, 30)
        assert await update_job(here.client, handle.id, "set_priority", 1) == 1
        with pytest.raises(BadInput):
            await update_job(here.client, handle.id, "set_priority", 9)
        with pytest.raises(BadInput):
            await update_job(here.client, handle.id, "approve", {"approve": True})

        await handle.signal("pause")

        async def paused() -> bool:
            return (await here.progress(handle)).paused

        await assert_eventually(paused, 30)
        assert (await handle.query("monitor", result_type=MonitorProgress)).paused == 1
        await handle.signal("pause", "nobody")

        async def refused() -> bool:
            return "nobody" in (await here.progress(handle)).refused

        await assert_eventually(refused, 30)
        await handle.signal("resume")

        async def looks() -> bool:
            assert not (await here.progress(handle)).paused
            return (here.noting.seen[-1].priority, here.noting.seen[-1].tenant) == (1, "acme")

        await assert_eventually(looks, 30)
        assert (here.noting.seen[0].priority, here.noting.seen[0].tenant) == (4, "acme")
        for _ in range(12):
            await here.server.sleep(HOUR)
        first = await here.client.get_workflow_handle(handle.id, run_id=handle.result_run_id).describe()
        assert (await here.progress(handle)).priority == 1, "in a fresh history, too"
        assert first.raw_description.workflow_execution_info.first_run_id != first.run_id
        await update_job(here.client, handle.id, "cancel")
        await here.ends_cancelled(handle)


async def test_a_signal_cancels_a_monitor(tmp_path: Path) -> None:
    async with opened(tmp_path) as here:
        handle = await here.start()
        await here.runs(handle)
        await handle.signal("pause", "a")

        async def paused() -> bool:
            return (await here.progress(handle)).paused

        await assert_eventually(paused, 30)
        await handle.signal("set_priority", 2)
        await handle.signal("cancel")
        await here.ends_cancelled(handle)
        await keep_history(here, handle.id, "monitor_signals")
