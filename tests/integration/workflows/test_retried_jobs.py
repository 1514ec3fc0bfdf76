"""A job that failed in part, and the one that goes on with what it left."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from contextlib import suppress

import pytest

from agents.base import Agent, AgentContext, AgentResult, AgentTask
from colony.config.templates import TemplateConfig
from colony.config.yaml_lines import parse_document
from colony.contracts import JobState
from colony.errors import BadInput, Cancelled, ColonyError, Permanent, Rejected
from colony.ids import AgentType, Id
from control.retrying import retrial
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Colony, Opens
from workflows.attributes import TENANT
from workflows.client import await_job, cancel_job, job_progress, start_job, update_job

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

DONE: Counter[tuple[str, int]] = Counter()
BROKEN: set[int] = set()


class Worker:
    """Fails for the numbers in BROKEN; counts what it did."""

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        if task.action == "sum":
            part = task.payload
            rows = await ctx.results(part["step"], part["first"], part["end"])
            return AgentResult(value={"sum": sum(row["n"] for row in rows)})
        number = task.payload["n"]
        DONE[str(task.action), number] += 1
        if task.action == "work" and number in BROKEN:
            raise Permanent("broken")
        return AgentResult(value={"n": number})

    async def health(self) -> str:
        return ""


TYPES: dict[AgentType, type[Agent]] = {AgentType("worker"): Worker}
TEXT = """
steps:
  - {name: load, kind: load, rows: [{n: 0}, {n: 1}, {n: 2}, {n: 3}, {n: 4}, {n: 5}]}
  - {name: clean, kind: map, over: load, agent: worker, action: clean}
  - {name: work, kind: map, over: clean, agent: worker, action: work, error_budget: BUDGET}
  - {name: later, kind: map, over: work, agent: worker, action: later}
  - {name: total, kind: reduce, over: later, agent: worker, action: sum}
"""


def template(budget: float) -> dict[Id, TemplateConfig]:
    return {
        Id("sums"): TemplateConfig.model_validate(parse_document(TEXT.replace("BUDGET", str(budget))).data),
    }


@pytest.fixture(autouse=True)
def broken() -> None:
    DONE.clear()
    BROKEN.clear()
    BROKEN.update({1, 4})


async def total(here: Colony, job: int) -> int:
    ((_, result),) = await here.ledger.results(job, 4, 0, 1)
    return json.loads(result)["sum"]


async def again(here: Colony, job: int, **more: object) -> tuple[int, JobState]:
    name = f"retry-{uuid.uuid4().hex[:8]}"
    await start_job(here.client, "sums", {"retry": {"job": str(job), **more}}, name)
    end = await await_job(here.client, name, timeout=60)
    return end.job, end.state


@pytest.mark.parametrize("budget", [0.5, 0.0], ids=["a job that went on", "a job over its error budget"])
async def test_only_what_failed_is_done_again(colony: Opens, budget: float) -> None:
    async with colony(TYPES, template(budget)) as here:
        name = f"sums-{uuid.uuid4().hex[:8]}"
        await start_job(here.client, "sums", {}, name)
        with suppress(ColonyError):
            await await_job(here.client, name, timeout=60)
        before = await here.ledger.job(name)
        assert before.state is (JobState.DONE if budget else JobState.FAILED)
        BROKEN.clear()
        job, state = await again(here, before.job)
        assert (state, await total(here, job)) == (JobState.DONE, 15)
        assert all(DONE["clean", number] == 1 for number in range(6))
        assert DONE["work", 1] == 2
        assert budget == 0.0 or DONE["work", 0] == 1
        view = await here.ledger.job(str(job))
        assert [(step.ok, step.failed) for step in view.steps[1:3]] == [(6, 0), (6, 0)]
        multiplicity = await here.ledger.outcome_multiplicity(job)
        assert all(tasks == done for tasks, done in multiplicity.values())
        assert await here.ledger.dead_letters(job) == []
        assert len(await here.ledger.dead_letters(before.job)) == 2 or budget == 0.0  # what was stays as it was
        # A retry with nothing left is refused, and a whole step can be done again all the same.
        with pytest.raises(BadInput):
            await again(here, job)
        third, state = await again(here, job, step="work", whole=True)
        assert (state, await total(here, third)) == (JobState.DONE, 15)
        assert all(DONE["clean", number] == 1 for number in range(6))


async def test_what_cannot_be_retried_is_refused(colony: Opens) -> None:
    async with colony(TYPES, {**template(0.5), Id("other"): template(0.5)[Id("sums")]}) as here:
        name = f"sums-{uuid.uuid4().hex[:8]}"
        await start_job(here.client, "sums", {}, name)
        job = (await await_job(here.client, name, timeout=60)).job
        for template_name, given in (
            ("sums", {"retry": {"job": str(job), "step": "load"}}),
            ("sums", {"retry": {"job": str(job), "step": "nothing"}}),
            ("sums", {"retry": {"job": str(job), "step": "clean"}}),
            ("sums", {"retry": {"job": "no such job"}}),
            ("sums", {"retry": {"job": str(job)}, "source": "a.csv"}),
            ("sums", {"retry": {"wrong": 1}}),
            ("other", {"retry": {"job": str(job)}}),
        ):
            name = f"retry-{uuid.uuid4().hex[:8]}"
            await start_job(here.client, template_name, given, name)
            with pytest.raises(ColonyError):
                await await_job(here.client, name, timeout=60)


ASKED = """
steps:
  - {name: load, kind: load, rows: [{n: 0}, {n: 1}]}
  - {name: clean, kind: map, over: load, agent: worker, action: clean}
  - {name: ask, kind: approve, prompt: "Go on?", timeout: 600}
  - {name: later, kind: map, over: clean, agent: worker, action: later}
  - {name: total, kind: reduce, over: later, agent: worker, action: sum}
"""


async def asked(here: Colony, name: str) -> None:
    async def waits() -> bool:
        return bool((await job_progress(here.client, name)).approvals)

    await assert_eventually(waits, 30)


async def answered(here: Colony, name: str, *, approve: bool) -> None:
    await asked(here, name)
    await update_job(here.client, name, "approve", {"approve": approve})


@pytest.mark.parametrize("end", ["rejected", "cancelled"])
async def test_a_job_that_ended_between_two_maps_goes_on_there(colony: Opens, end: str) -> None:
    template = {Id("asked"): TemplateConfig.model_validate(parse_document(ASKED).data)}
    async with colony(TYPES, template) as here:
        name = f"asked-{uuid.uuid4().hex[:8]}"
        await start_job(here.client, "asked", {"priority": 2, "tenant": "acme", "llm_tokens": 900}, name)
        await asked(here, name)
        if end == "rejected":
            await answered(here, name, approve=False)
        else:
            await cancel_job(here.client, name)
        with pytest.raises(Rejected if end == "rejected" else Cancelled):
            await await_job(here.client, name, timeout=60)
        retry = f"{name}-again"
        started = await start_job(here.client, "asked", {"retry": {"job": name}, "priority": 1}, retry)
        await answered(here, retry, approve=True)
        end_of_it = await await_job(here.client, retry, timeout=60)
        assert (end_of_it.state, await total(here, end_of_it.job)) == (JobState.DONE, 1)
        assert [DONE["clean", number] for number in range(2)] == [1, 1], "what was done is not done again"
        assert (await job_progress(here.client, retry)).priority == 1
        described = await here.client.get_workflow_handle(retry).describe()
        assert described.typed_search_attributes[TENANT] == "acme"
        assert [budget.tokens for budget in await here.ledger.job_budgets(started.key)] == [900]


async def test_a_monitor_is_not_retried(colony: Opens) -> None:
    async with colony(TYPES) as here:
        job = await here.ledger.open_job("watched", "watched", "website_monitor", (), None, {})
        await here.ledger.close_job(job.job, JobState.CANCELLED)
        with pytest.raises(BadInput, match="nothing to go on with"):
            await retrial(here.ledger, "watched")
