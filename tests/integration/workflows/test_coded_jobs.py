"""Workflows written as code, and jobs that bring their own template."""

from __future__ import annotations

import pytest

from agents.analysis import Analysis
from agents.base import Agent
from agents.coordination import Coordination
from colony.errors import BadInput, ConfigInvalid, Rejected
from colony.ids import AgentType
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Opens
from workflows.client import await_job, start_job, update_job
from workflows.coded import load_workflow_classes

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

TYPES: dict[AgentType, type[Agent]] = {AgentType("analysis"): Analysis, AgentType("coordination"): Coordination}
CODED = load_workflow_classes(["examples.opinions:Opinions"], ["examples"])


async def test_a_workflow_in_code_uses_agents_and_asks_a_person(colony: Opens) -> None:
    async with colony(TYPES, coded=CODED) as here:
        started = await start_job(here.client, "opinions", {"texts": ["Great!", "Awful."], "ask": True})
        handle = here.client.get_workflow_handle(started.workflow_id)

        async def asked() -> bool:
            return bool((await handle.query("progress"))["approvals"])

        await assert_eventually(asked, 30)
        await update_job(here.client, started.workflow_id, "approve", {"by": "ann"})
        result = await handle.result()
        assert (result["merged"], result["by"]) == (1, "ann")
        assert result["first"]["label"] == "positive"
        assert {job.template for job in await here.ledger.jobs(10)} == {"pipeline"}
        started = await start_job(here.client, "opinions", {"texts": ["Great!"], "ask": True})
        handle = here.client.get_workflow_handle(started.workflow_id)
        await assert_eventually(asked, 30)
        await update_job(here.client, started.workflow_id, "approve", {"approve": False})
        with pytest.raises(Rejected):
            await await_job(here.client, started.workflow_id, timeout=60)
        for wrong in ({}, {"texts": []}):
            started = await start_job(here.client, "opinions", wrong)
            with pytest.raises(BadInput, match="texts"):
                await await_job(here.client, started.workflow_id, timeout=60)


async def test_a_job_may_bring_its_own_template(colony: Opens) -> None:
    step = {"name": "judge", "over": "load", "agent": "analysis", "action": "sentiment"}
    template = {"steps": [{"name": "load", "kind": "load", "rows": [{"text": "Great!"}]}, step]}
    async with colony(TYPES) as here:
        started = await start_job(here.client, "pipeline", {"template": template, "priority": 1})
        assert (await await_job(here.client, started.workflow_id, timeout=60)).steps[1].ok == 1
        wrong = {"steps": [template["steps"][0], {**step, "over": "nope"}]}
        for given, says in (
            ({}, "template.steps"),
            ({"template": wrong}, "no earlier step"),
            ({"template": 1}, "template"),
        ):
            started = await start_job(here.client, "pipeline", given)
            with pytest.raises(BadInput, match=says):
                await await_job(here.client, started.workflow_id, timeout=60)


@pytest.mark.parametrize("path", ["examples.opinions", "os:path", "examples.none:X", "examples.greeter:Greeter"])
async def test_what_is_no_workflow_is_refused(path: str) -> None:
    with pytest.raises(ConfigInvalid):
        load_workflow_classes([path], ["examples"])
