"""`website_monitor` over days, on the server that skips time: beats, alerts, daily reports, fresh histories."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from agents.base import AgentContext, AgentResult, AgentTask
from colony.clock import SystemClock
from colony.config.model import Config
from colony.ids import AgentType
from colony.ledger.memory import MemoryLedger
from colony.sites import SiteState
from tests.eventually import assert_eventually
from tests.servers.time_skipping import time_skipping_server
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.activities_monitor import MonitorActivities
from workflows.client import start_job
from workflows.local_runner import local_runner
from workflows.monitor_contracts import MonitorProgress
from workflows.worker import dispatch_worker, io_worker, run_workers, workflow_worker

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

HOUR = 3600.0


class Scripted:
    """Says of its one site what the script says for the number of the look."""

    actions: ClassVar[Mapping[str, str]] = {"check_site": "looks"}
    looks: ClassVar[int] = 0
    bad: ClassVar[range] = range(0)

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        type(self).looks += 1
        status = 500 if self.looks in self.bad else 200
        facts = {"site": task.payload["site"], "answered": True, "status": status, "seconds": 0.1, "digest": "d"}
        return AgentResult(value=facts)

    async def health(self) -> str:
        return ""


@pytest.mark.timeout(240)
async def test_days_of_watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflows.policies.MAX_EVENTS", 150)
    Scripted.looks, Scripted.bad = 0, range(10, 14)
    ledger = MemoryLedger(SystemClock())
    shutdown = asyncio.Event()
    async with (
        time_skipping_server() as server,
        local_runner(ledger, {AgentType("monitoring"): Scripted}) as runner,
    ):
        client = server.client
        io = IoActivities(ledger, Config(), [tmp_path])
        monitor = MonitorActivities(ledger, [tmp_path])
        workers = [
            workflow_worker(client),
            io_worker(client, io, monitor=monitor),
            dispatch_worker(client, DispatchActivities(runner)),
        ]
        running = asyncio.create_task(run_workers(workers, shutdown))
        given: dict[str, Any] = {"sites": [{"url": "http://a.example/", "name": "a"}], "interval": HOUR}
        started = await start_job(client, "website_monitor", given)
        began = (await server.get_current_time()).timestamp()
        handle = client.get_workflow_handle(started.workflow_id)

        async def opened() -> int:
            return (await handle.query("monitor", result_type=MonitorProgress)).job or 0

        job = await assert_eventually(opened, 30)
        for _ in range(60):
            await server.sleep(HOUR)
        checks = sum(row.checks for row in await ledger.site_checks(job, 0))
        passed = (await server.get_current_time()).timestamp() - began
        assert abs(checks - passed / HOUR) <= 3, "on its beat"
        [alert] = await ledger.alerts(job, 0.0)
        assert alert.worst is SiteState.DOWN
        # Down with the third bad look, up with the second good one: three looks later.
        assert alert.closed_at is not None
        assert abs(alert.closed_at - alert.opened_at - 3 * HOUR) < 600
        names = {artifact.name for artifact in await ledger.artifacts(job)}
        days = {name for name in names if name.startswith("report-") and name.endswith(".md")}
        assert len(days) in (2, 3)
        assert {"report.md", "report.html"} <= names
        history = await handle.fetch_history()
        assert len(history.events) < 1500
        first = await client.get_workflow_handle(started.workflow_id, run_id=started.key).describe()
        assert first.status is not None
        assert first.status.name == "CONTINUED_AS_NEW"
        progress = await handle.query("monitor", result_type=MonitorProgress)
        assert (progress.job, progress.sites, progress.trouble) == (job, 1, "")
        # Each check has one outcome.
        tasks, done = (await ledger.outcome_multiplicity(job))[0]
        assert tasks - done <= 1
        await handle.terminate()
        shutdown.set()
        await running
