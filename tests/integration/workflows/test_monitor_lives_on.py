"""`website_monitor` while ledger or workers are away for an hour: on the server that skips time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from agents.base import AgentContext, AgentResult, AgentTask
from colony.clock import SystemClock
from colony.config.model import Config
from colony.contracts import JobState
from colony.errors import Cancelled, DeadlineExceeded, Unavailable
from colony.ids import AgentType
from colony.ledger.memory import MemoryLedger
from colony.ledger.sites import MonitorRow, TickRows
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import keep_history
from tests.servers.time_skipping import time_skipping_server
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.activities_monitor import MonitorActivities
from workflows.client import await_job, cancel_job, job_progress, start_job
from workflows.local_runner import local_runner
from workflows.monitor_contracts import MonitorProgress
from workflows.worker import dispatch_worker, io_worker, run_workers, workflow_worker

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

MINUTE = 60.0


class Looks:
    """Counts how often it looked; all is well."""

    actions: ClassVar[Mapping[str, str]] = {"check_site": "looks"}
    count: ClassVar[int] = 0

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        type(self).count += 1
        facts = {"site": task.payload["site"], "answered": True, "status": 200, "seconds": 0.1, "digest": "d"}
        return AgentResult(value=facts)

    async def health(self) -> str:
        return ""


class Faulty(MemoryLedger):
    """A ledger that is away, or writes a round and then does not answer."""

    fault = ""

    async def monitor(self, job: int) -> MonitorRow:
        if self.fault == "away":
            raise Unavailable("The ledger does not answer.")
        return await super().monitor(job)

    async def request_cancel(self, job: int) -> None:
        if self.fault == "away":
            raise Unavailable("The ledger does not answer.")
        await super().request_cancel(job)

    async def save_tick(self, rows: TickRows) -> bytes:
        reply = await super().save_tick(rows)
        if self.fault == "mute":
            raise DeadlineExceeded("The ledger did not answer in time.")
        return reply


class Watched:
    """A monitor whose workers and ledger come and go."""

    def __init__(self, server: WorkflowEnvironment, ledger: Faulty, runner: Any, folder: Path) -> None:
        self.server = server
        self.client: Client = server.client
        self.ledger = ledger
        self._runner = runner
        self.folder = folder
        self._doing: tuple[asyncio.Task[None], asyncio.Event] | None = None
        self.handle: WorkflowHandle[Any, Any] | None = None
        self.job = 0

    async def come(self) -> None:
        io = IoActivities(self.ledger, Config(), [self.folder])
        monitor = MonitorActivities(self.ledger, [self.folder])
        workers = [
            io_worker(self.client, io, monitor=monitor),
            dispatch_worker(self.client, DispatchActivities(self._runner)),
        ]
        shutdown = asyncio.Event()
        self._doing = asyncio.create_task(run_workers(workers, shutdown)), shutdown

    async def go(self) -> None:
        if self._doing is not None:
            running, shutdown = self._doing
            shutdown.set()
            await running
            self._doing = None

    async def start(self) -> None:
        given: dict[str, Any] = {"sites": [{"url": "http://a.example/", "name": "a"}], "interval": 300}
        started = await start_job(self.client, "website_monitor", given)
        self.handle = self.client.get_workflow_handle(started.workflow_id)

        async def opened() -> int:
            return (await self.stands()).job or 0

        self.job = await assert_eventually(opened, 30)
        await self.passes(20 * MINUTE)

    async def stands(self) -> MonitorProgress:
        assert self.handle is not None
        return await self.handle.query("monitor", result_type=MonitorProgress)

    async def passes(self, seconds: float) -> None:
        """In small steps, so that workers of this process keep up with a clock that jumps."""
        for _ in range(int(seconds // (2 * MINUTE))):
            await self.server.sleep(2 * MINUTE)

    async def status(self) -> WorkflowExecutionStatus | None:
        assert self.handle is not None
        return (await self.handle.describe()).status

    async def checks(self) -> int:
        return sum(row.checks for row in await self.ledger.site_checks(self.job, 0))


@asynccontextmanager
async def watched(folder: Path) -> AsyncGenerator[Watched]:
    Looks.count = 0
    ledger = Faulty(SystemClock())
    shutdown = asyncio.Event()
    async with (
        time_skipping_server() as server,
        local_runner(ledger, {AgentType("monitoring"): Looks}) as runner,
    ):
        here = Watched(server, ledger, runner, folder)
        deciding = asyncio.create_task(run_workers([workflow_worker(server.client)], shutdown))
        await here.come()
        try:
            await here.start()
            yield here
        finally:
            if here.handle is not None and await here.status() is WorkflowExecutionStatus.RUNNING:
                await here.handle.terminate()
            await here.go()
            shutdown.set()
            await deciding


async def goes_on(here: Watched) -> None:
    """An hour later all is as if nothing had been."""
    looked = Looks.count
    await here.passes(60 * MINUTE)
    progress = await here.stands()
    assert progress.trouble == ""
    assert Looks.count >= looked + 6, "on its beat again"
    # No look was lost in the round that was asked for again, none was counted twice.
    assert Looks.count - await here.checks() in (0, 1)
    tasks, done = (await here.ledger.outcome_multiplicity(here.job))[0]
    assert tasks - done <= 1
    assert (await here.ledger.monitor(here.job)).tick - progress.rounds in (0, 1)


@pytest.mark.parametrize("fault", ["away", "mute"])
async def test_an_hour_without_ledger_ends_no_monitor(tmp_path: Path, fault: str) -> None:
    async with watched(tmp_path) as here:
        assert here.handle is not None
        assert await here.checks() >= 2
        assert (await here.stands()).trouble == ""
        here.ledger.fault = fault
        await here.passes(60 * MINUTE)
        assert await here.status() is WorkflowExecutionStatus.RUNNING
        said = (await here.stands()).trouble
        assert "ledger did" in said or "ledger does" in said
        assert (await job_progress(here.client, here.handle.id)).waiting_for == said
        here.ledger.fault = ""
        await goes_on(here)


async def test_a_monitor_without_workers_goes_on_when_they_are_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of this server does not jump while nobody takes an activity, so all time-outs are small instead."""
    monkeypatch.setattr("workflows.monitor_patience._SEEN_SECONDS", 0.5)
    monkeypatch.setattr("workflows.monitor_patience.pause_after", lambda failures: 0.2)
    async with watched(tmp_path) as here:
        assert here.handle is not None
        await here.go()
        await here.handle.signal("versions_changed")  # a round begins
        said = await assert_eventually(lambda: _trouble(here), 60)
        assert "monitor_tick" in said
        events = len((await here.handle.fetch_history()).events)

        async def tried_again() -> bool:
            assert here.handle is not None
            return len((await here.handle.fetch_history()).events) > events + 20

        await assert_eventually(tried_again, 60)
        assert await here.status() is WorkflowExecutionStatus.RUNNING
        monkeypatch.undo()  # workers that are there may take longer
        await here.come()
        await goes_on(here)


async def _trouble(here: Watched) -> str:
    return (await here.stands()).trouble


async def test_history_stays_bounded_while_the_ledger_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflows.policies.MAX_EVENTS", 60)
    async with watched(tmp_path) as here:
        here.ledger.fault = "mute"
        await here.passes(90 * MINUTE)
        assert here.handle is not None
        assert await here.status() is WorkflowExecutionStatus.RUNNING
        here.ledger.fault = ""
        looked = Looks.count
        await here.passes(60 * MINUTE)
        assert Looks.count >= looked + 6
        assert Looks.count - await here.checks() in (0, 1)
        first = here.client.get_workflow_handle(here.handle.id, run_id=(await here.ledger.job(str(here.job))).key)
        assert (await first.describe()).status is WorkflowExecutionStatus.CONTINUED_AS_NEW
        assert len((await here.handle.fetch_history()).events) < 200


async def test_a_cancel_while_the_ledger_is_away_is_obeyed_when_it_is_back(tmp_path: Path) -> None:
    async with watched(tmp_path) as here:
        assert here.handle is not None
        here.ledger.fault = "away"
        await here.passes(30 * MINUTE)
        await cancel_job(here.client, here.handle.id)
        await here.passes(30 * MINUTE)
        assert await here.status() is WorkflowExecutionStatus.RUNNING, "the ledger does not know of it yet"
        here.ledger.fault = ""
        with pytest.raises(Cancelled):
            await await_job(here.client, here.handle.id, timeout=60)
        assert (await here.ledger.job(here.handle.id)).state is JobState.CANCELLED
        await keep_history(here, here.handle.id, "monitor_outage")
