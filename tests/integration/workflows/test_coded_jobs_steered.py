"""What people tell a workflow in code: it ends as cancelled wherever it stands; what its agents do hears the rest."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, ClassVar

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus

from agents.base import Agent, AgentContext, AgentResult, AgentTask
from colony.contracts import JobState
from colony.errors import BadInput, Cancelled
from colony.ids import AgentType
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Colony, Opens
from workflows.attributes import TENANT
from workflows.blocks import CodedJob, as_object, fan_out, wait
from workflows.client import await_job, job_progress, start_job, update_job
from workflows.contracts import Progress

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


@workflow.defn(name="in-code", sandboxed=False)
class InCode(CodedJob):
    @workflow.run
    async def run(self, given: Any = None) -> dict[str, Any]:
        self.begin_main(given)
        match as_object(given).get("at"):
            case "approve":
                await self.approve("Go on?", timeout=600)
            case "wait":
                await wait(600)
            case _:
                await fan_out(as_object(given).get("tasks", 5_000), agent="slow", action="work", batch=5)
        return {"priority": self.steering.priority}


class Slow:
    held: ClassVar[bool] = False
    """Whether no task comes to its end."""

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        await asyncio.sleep(0.05)
        while Slow.held:  # noqa: ASYNC110 -- agents share no event
            await asyncio.sleep(0.05)
        return AgentResult(value={})

    async def health(self) -> str:
        return ""


TYPES: dict[AgentType, type[Agent]] = {AgentType("slow"): Slow}


async def started(here: Colony, at: str, **given: Any) -> str:
    name = f"in-code-{uuid.uuid4().hex[:8]}"
    await start_job(here.client, "in-code", {"at": at, **given}, name)

    async def there() -> bool:
        if at == "flow":
            return await flow_of(here, name) != ""
        seen = await here.client.get_workflow_handle(name).query("progress")
        return at != "approve" or bool(seen["approvals"])

    await assert_eventually(there, 30)
    return name


async def flow_of(here: Colony, name: str) -> str:
    jobs = await here.ledger.jobs(20)
    return next((view.workflow_id for view in jobs if view.workflow_id.startswith(name)), "")


async def flow_shows(here: Colony, name: str, **wanted: object) -> Progress:
    child = await flow_of(here, name)

    async def look() -> bool:
        seen = await job_progress(here.client, child)
        return all(getattr(seen, field) == value for field, value in wanted.items())

    await assert_eventually(look, 30)
    return await job_progress(here.client, child)


@pytest.mark.parametrize("at", ["approve", "wait", "flow"])
async def test_a_cancel_by_update_ends_it_as_cancelled(colony: Opens, at: str) -> None:
    async with colony(TYPES, coded=[InCode]) as here:
        name = await started(here, at)
        await update_job(here.client, name, "cancel")
        with pytest.raises(Cancelled):
            await await_job(here.client, name, timeout=60)
        assert (await here.client.get_workflow_handle(name).describe()).status is WorkflowExecutionStatus.CANCELED
        if at == "flow":
            view = await here.ledger.job(await flow_of(here, name))
            assert view.state is JobState.CANCELLED, "what its agents did ended before it"


async def test_a_cancel_that_comes_before_it_begins(colony: Opens) -> None:
    async with colony(TYPES, coded=[InCode]) as here:
        name = f"in-code-{uuid.uuid4().hex[:8]}"
        handle = await here.client.start_workflow(
            "in-code", {"at": "flow"}, id=name, task_queue="colony", start_signal="cancel"
        )
        with pytest.raises(Cancelled):
            await await_job(here.client, name, timeout=60)
        assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
        assert await flow_of(here, name) == ""


async def test_what_its_agents_do_is_paused_and_urgent_with_it(colony: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slow, "held", True)  # else all could be handed out before the pause
    async with colony(TYPES, coded=[InCode]) as here:
        name = await started(here, "flow", tasks=100, priority=4, tenant="acme")
        first = await flow_shows(here, name, priority=4)
        assert not first.paused
        child = here.client.get_workflow_handle(await flow_of(here, name))
        assert (await child.describe()).typed_search_attributes[TENANT] == "acme"
        await update_job(here.client, name, "pause")
        await flow_shows(here, name, paused=True)
        monkeypatch.setattr(Slow, "held", False)
        await flow_shows(here, name, paused=True, batches=0)
        await update_job(here.client, name, "set_priority", 1)
        await flow_shows(here, name, paused=True, priority=1)
        await update_job(here.client, name, "resume")
        handle = here.client.get_workflow_handle(name)
        assert await handle.result() == {"priority": 1}
        assert (await here.ledger.job(child.id)).state is JobState.DONE
        batches = [
            event.activity_task_scheduled_event_attributes
            for event in (await child.fetch_history()).events
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        ]
        seen = {each.activity_type.name: (each.priority.priority_key, each.priority.fairness_key) for each in batches}
        assert {seen[name] for name in ("dispatch_batch", "tally_step", "close_job")} == {(1, "acme")}


async def test_a_wrong_priority_or_tenant_is_refused(colony: Opens) -> None:
    async with colony(TYPES, coded=[InCode]) as here:
        for wrong in ({"priority": 9}, {"tenant": "a b"}):
            job = await start_job(here.client, "in-code", {"at": "wait", **wrong})
            with pytest.raises(BadInput, match=next(iter(wrong))):
                await await_job(here.client, job.workflow_id, timeout=60)
