"""Days pass in a moment on the server that skips time: timers and approvals that nobody answers."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from colony.clock import SystemClock
from colony.config.model import Config
from colony.config.templates import TemplateConfig
from colony.config.yaml_lines import parse_document
from colony.contracts import JobState
from colony.ids import Id
from colony.ledger.memory import MemoryLedger
from tests.eventually import assert_eventually
from tests.servers.time_skipping import time_skipping_server
from workflows.activities_io import IoActivities
from workflows.client import job_progress, start_job
from workflows.worker import io_worker, workflow_worker

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

LONG = """
steps:
- {name: load, kind: load, rows: [{a: 1}]}
- {name: week, kind: wait, seconds: 604800}
- {name: ask, kind: approve, prompt: "Still?", timeout: 2592000, default: DEFAULT}
- {name: until, kind: wait, until: 2020-01-01T00:00:00Z}
"""


async def test_a_week_and_a_month_pass(tmp_path: Path) -> None:
    workflows = {
        Id(name): TemplateConfig.model_validate(parse_document(LONG.replace("DEFAULT", default)).data)
        for name, default in (("patient", "approve"), ("stern", "reject"))
    }
    async with time_skipping_server() as environment:
        ledger = MemoryLedger(SystemClock())
        io = IoActivities(ledger, Config(workflows=workflows), [tmp_path])
        client = environment.client
        async with workflow_worker(client), io_worker(client, io):
            jobs = [await start_job(client, name, {}) for name in ("patient", "stern")]

            async def at_rest() -> bool:
                return all([(await job_progress(client, job.workflow_id)).phase == "waiting" for job in jobs])

            await assert_eventually(at_rest, 30)
            await environment.sleep(timedelta(days=8))

            async def asked() -> bool:
                return all([bool((await job_progress(client, job.workflow_id)).approvals) for job in jobs])

            await assert_eventually(asked, 30)
            await environment.sleep(timedelta(days=31))

            async def closed() -> bool:
                return not await ledger.jobs(running_only=True)

            await assert_eventually(closed, 30)
            patient, stern = [await ledger.job(job.key) for job in jobs]
            assert patient.state is JobState.DONE
            assert (stern.state, stern.reason) == (JobState.FAILED, "Step ask: nobody approved in time.")
