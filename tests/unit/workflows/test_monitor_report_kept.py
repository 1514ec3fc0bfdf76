"""A report names what is kept, and of a closed monitor nothing is."""

from __future__ import annotations

from pathlib import Path

from temporalio.testing import ActivityEnvironment

from colony.clock import SystemClock
from colony.contracts import JobState
from colony.ledger.memory import MemoryLedger
from workflows.activities_monitor import MonitorActivities
from workflows.monitor_contracts import OpenMonitor, ReportMonitor


async def test_a_report_of_a_closed_monitor_names_no_artifacts(tmp_path: Path) -> None:
    ledger = MemoryLedger(SystemClock())
    activities = MonitorActivities(ledger, [tmp_path])
    opening = OpenMonitor(input='{"sites": ["http://one.example/"]}', key="key", workflow_id="monitor", now=1_000.0)
    environment = ActivityEnvironment()
    job = (await environment.run(activities.open_monitor, opening)).job
    request = ReportMonitor(job=job, since=1_000.0, until=2_000.0)
    names = await environment.run(activities.report_monitor, request)
    kept = await ledger.artifacts(job)
    assert sorted(names) == [artifact.name for artifact in kept] != []
    await ledger.close_job(job, JobState.CANCELLED, "cancelled")
    late = ReportMonitor(job=job, since=1_000.0, until=3_000.0, day="1970-01-01")
    assert await environment.run(activities.report_monitor, late) == []
    assert await ledger.artifacts(job) == kept
