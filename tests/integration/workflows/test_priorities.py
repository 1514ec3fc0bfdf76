"""Task queues hand out by priority, and within a priority in turn for each tenant."""

from __future__ import annotations

import asyncio

import pytest

from agents.base import AgentContext, AgentResult, AgentTask
from colony.config.endpoints import TemporalEndpoint
from colony.contracts import BatchProgress, BatchReport, BatchRequest
from colony.dispatch import BatchRunner, OnProgress
from colony.ids import AgentType
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Colony, Opens, keep_history
from tests.servers.temporal import temporal_cli
from workflows.attributes import PRIORITY
from workflows.client import await_job, job_progress, start_job, update_job

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


class Probe:
    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        return AgentResult(value={})

    async def health(self) -> str:
        return ""


class Gated:
    """A runner that notes the order of what it is given and does nothing until the gate is open."""

    gate = asyncio.Event()
    order: list[tuple[int, int]] = []  # noqa: RUF012 -- read by the test that made it

    def __init__(self, runner: BatchRunner) -> None:
        self._runner = runner

    async def run(self, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        Gated.order.append((request.job, request.priority))
        while not Gated.gate.is_set():
            on_progress(BatchProgress(done=0, failed=0, total=request.end - request.first))
            await asyncio.sleep(0.1)
        return await self._runner.run(request, on_progress)


async def test_urgent_jobs_go_before_those_that_wait(colony: Opens) -> None:
    Gated.gate.clear()
    Gated.order.clear()
    async with colony({AgentType("probe"): Probe}, wrap=Gated) as here:
        blocker = await start_job(here.client, "durable_tasks", {"tasks": 2000, "parallel": 20, "priority": 3})

        async def full() -> bool:
            return len(Gated.order) >= 8

        await assert_eventually(full, 30)
        late = await start_job(here.client, "durable_tasks", {"tasks": 50, "priority": 5})
        urgent = await start_job(here.client, "durable_tasks", {"tasks": 50, "priority": 1})

        async def queued() -> bool:
            seen = [await job_progress(here.client, job.workflow_id) for job in (late, urgent)]
            return all(each.batches > 0 for each in seen)

        await assert_eventually(queued, 30)
        Gated.gate.set()
        jobs: dict[str, int] = {}
        for job in (blocker, late, urgent):
            result = await await_job(here.client, job.workflow_id, timeout=60)
            jobs[job.workflow_id] = result.job
        await keep_history(here, late.workflow_id, "durable_tasks")
        order = [job for job, _ in Gated.order]
        assert order.index(jobs[urgent.workflow_id]) < order.index(jobs[late.workflow_id])
        assert {priority for _, priority in Gated.order} == {1, 3, 5}


async def test_a_tenant_with_little_does_not_wait_for_one_with_much(colony: Opens) -> None:
    Gated.gate.clear()
    Gated.order.clear()
    async with colony({AgentType("probe"): Probe}, wrap=Gated) as here:
        much = await start_job(here.client, "durable_tasks", {"tasks": 4_000, "parallel": 40, "tenant": "much"})

        async def handed_out() -> bool:
            return len(Gated.order) >= 8 and (await job_progress(here.client, much.workflow_id)).batches >= 30

        await assert_eventually(handed_out, 30)
        little = await start_job(here.client, "durable_tasks", {"tasks": 50, "tenant": "little"})

        async def queued() -> bool:
            return (await job_progress(here.client, little.workflow_id)).batches > 0

        await assert_eventually(queued, 30)
        Gated.gate.set()
        ends = [await await_job(here.client, job.workflow_id, timeout=60) for job in (much, little)]
        order = [job for job, _ in Gated.order]
        place, behind = order.index(ends[1].job), len(order) - 1 - order.index(ends[1].job)
        # By order of coming it would be last but for the batches not handed out yet.
        assert place < behind, order


async def test_a_new_priority_is_found_in_the_list_of_workflows(colony: Opens, temporal: TemporalEndpoint) -> None:
    Gated.gate.clear()
    async with colony({AgentType("probe"): Probe}, wrap=Gated) as here:
        name = (await start_job(here.client, "durable_tasks", {"tasks": 10, "priority": 4})).workflow_id

        async def listed(query: str) -> bool:
            code, output = await temporal_cli(temporal, "workflow", "list", "--query", query)
            assert code == 0, output
            return name in output

        at = 'JobKind = "durable_tasks" AND JobPriority'
        await assert_eventually(lambda: listed(f"{at} = 4"), 30)

        async def handed_out() -> bool:
            return (await job_progress(here.client, name)).batches > 0

        await assert_eventually(handed_out, 30)
        await update_job(here.client, name, "set_priority", 1)
        described = await here.client.get_workflow_handle(name).describe()
        assert described.typed_search_attributes[PRIORITY] == 1
        await assert_eventually(lambda: listed(f"{at} < 3"), 30)
        assert not await listed(f"{at} = 4")
        Gated.gate.set()
        await await_job(here.client, name, timeout=60)
        before, after = {("load_step", 4), ("dispatch_batch", 4)}, {("tally_step", 1), ("close_job", 1)}
        assert set(await turns(here, name)) == {("open_job", 0)} | before | after


async def turns(here: Colony, name: str) -> list[tuple[str, int]]:
    """The activities of a job, each with its priority in the queue."""
    history = await here.client.get_workflow_handle(name).fetch_history()
    asked = [event.activity_task_scheduled_event_attributes for event in history.events]
    return [(each.activity_type.name, each.priority.priority_key) for each in asked if each.activity_type.name]
