"""Schedules that start jobs by themselves, on a real server in real time: the time-skipping server has no schedules."""

from __future__ import annotations

import uuid

import pytest

from colony.config.templates import TemplateConfig
from colony.contracts import JobState
from colony.ids import Id
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Opens
from workflows.client import await_job, update_job
from workflows.schedules import Overlap, TemporalSchedules, Timing

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

QUICK = TemplateConfig.model_validate({"description": "Loads.", "steps": [{"name": "load", "kind": "load"}]})
SLOW = TemplateConfig.model_validate(
    {
        "description": "Waits for a person.",
        "steps": [
            {"name": "load", "kind": "load", "rows": [{"text": "?"}]},
            {"name": "ask", "kind": "approve", "timeout": 600, "default": "reject"},
        ],
    }
)
TEMPLATES = {Id("quick"): QUICK, Id("slow"): SLOW}


async def test_jobs_start_by_themselves_again_and_again(colony: Opens) -> None:
    async with colony({}, TEMPLATES) as here:
        schedules, name = TemporalSchedules(here.client), f"s-{uuid.uuid4().hex[:8]}"
        await schedules.create(name, Timing(template="quick", every=1), {"tasks": 3})
        try:

            async def done_twice() -> bool:
                jobs = [job for job in await here.ledger.jobs(20) if job.workflow_id.startswith(f"{name}-")]
                return len([job for job in jobs if job.state is JobState.DONE]) >= 2

            await assert_eventually(done_twice, 30)
        finally:
            await schedules.delete(name)


@pytest.mark.parametrize("overlap", ["skip", "buffer", "allow"])
async def test_a_job_that_is_due_while_the_one_before_runs(colony: Opens, overlap: Overlap) -> None:
    async with colony({}, TEMPLATES) as here:
        schedules, name = TemporalSchedules(here.client), f"s-{uuid.uuid4().hex[:8]}"
        await schedules.create(name, Timing(template="slow", every=1, overlap=overlap), {})
        due: set[float] = set()

        async def passed() -> bool:
            view = await schedules.show(name)
            due.update(view.next[:1])
            return len(due) > 4 and (view.started or 0) >= (3 if overlap == "allow" else 1)

        try:
            await assert_eventually(passed, 30)
            jobs = [job.workflow_id for job in await here.ledger.jobs(50) if job.workflow_id.startswith(f"{name}-")]
            assert len(jobs) == 1 or overlap == "allow"
            assert overlap != "skip" or ((await schedules.show(name)).skipped or 0) >= 2
            await update_job(here.client, jobs[-1], "approve", {"by": "ann"})
            await await_job(here.client, jobs[-1], timeout=60)
            if overlap == "buffer":  # the one that waited starts as soon as the first ends

                async def second() -> bool:
                    found = [job for job in await here.ledger.jobs(50) if job.workflow_id.startswith(f"{name}-")]
                    return len(found) == 2

                await assert_eventually(second, 30)
        finally:
            await schedules.delete(name)
