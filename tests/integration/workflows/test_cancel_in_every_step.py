"""Whatever step a job is in when it is cancelled: it ends cancelled, its agents stop, and nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.service import RPCError, RPCStatusCode

from agents.base import Agent, AgentContext, AgentResult, AgentTask
from agents.builtin import BUILTIN
from agents.load import load_agent_class
from colony.config.templates import TemplateConfig
from colony.config.yaml_lines import parse_document
from colony.contracts import BatchProgress, BatchReport, BatchRequest, JobState
from colony.dispatch import BatchRunner, OnProgress
from colony.errors import Cancelled, NotFound
from colony.ids import AgentType, Id
from colony.ledger.memory import MemoryLedger
from tests.documents import ROOT
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Colony, Opens
from workflows.client import await_job, cancel_job, job_progress, start_job, update_job
from workflows.contracts import Progress

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

SHIPPED = {AgentType(name): load_agent_class(path, ["agents"]) for name, path in BUILTIN.items()}


class Gate:
    """A runner that holds the batches of a job in one step until its cancel is requested, then hands them on."""

    def __init__(self) -> None:
        self.inner: BatchRunner | None = None
        self.ledger: MemoryLedger | None = None
        self.holds: dict[str, int] = {}
        """Workflow id -> the step in which it is held."""
        self.held: set[str] = set()

    def around(self, runner: BatchRunner) -> BatchRunner:
        self.inner = runner
        return self

    async def run(self, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        """See `BatchRunner`."""
        assert self.inner is not None
        assert self.ledger is not None
        name = (await self.ledger.plan(request.job)).workflow_id
        if self.holds.get(name) == request.step:
            self.held.add(name)
            most = asyncio.get_running_loop().time() + 30
            while not await self.ledger.cancel_requested(request.job) and asyncio.get_running_loop().time() < most:
                on_progress(BatchProgress(done=0, failed=0, total=request.end - request.first))
                await asyncio.sleep(0.1)
        return await self.inner.run(request, on_progress)


def prepare(folder: Path) -> dict[str, dict[str, Any]]:
    """A small input for each template that comes to an end."""
    garden = ROOT / "examples" / "garden"
    shutil.copytree(garden / "corpus", folder / "corpus")
    lines = (garden / "topics.csv").read_text().splitlines()
    (folder / "topics.csv").write_text("\n".join(lines[:4]))
    shutil.copy(ROOT / "examples" / "brief.yaml", folder)
    reviews = [f'{number},"A lovely screen, number {number}.",5' for number in range(6)]
    (folder / "reviews.csv").write_text("\n".join(["id,review,stars", *reviews]))
    return {
        "content_creation": {"source": "topics.csv", "corpus": "corpus"},
        "website_build": {"source": "brief.yaml"},
        "review_analysis": {"source": "reviews.csv"},
    }


async def ended_cancelled(here: Colony, name: str) -> None:
    """The job is over, says so, and nothing more comes of it."""
    with pytest.raises(Cancelled):
        await await_job(here.client, name, timeout=90)
    view = await here.ledger.job(name)
    assert view.state is JobState.CANCELLED, name
    done = await here.ledger.outcome_multiplicity(view.job)
    await asyncio.sleep(0.3)
    assert await here.ledger.outcome_multiplicity(view.job) == done, "its agents go on"
    assert await here.ledger.artifacts(view.job) == [], "nothing half done is shown as done"


@pytest.mark.parametrize("template", ["content_creation", "website_build", "review_analysis"])
async def test_every_step_of_a_shipped_template(colony: Opens, template: str) -> None:
    gate = Gate()
    async with colony(SHIPPED, wrap=gate.around) as here:
        gate.ledger = here.ledger
        given = prepare(here.folder)[template]
        probe = f"cancel-{template}-{uuid.uuid4().hex[:6]}"
        await start_job(here.client, template, given, probe)
        await await_job(here.client, probe, timeout=90)
        steps = (await here.ledger.plan((await here.ledger.job(probe)).job)).steps
        places = [step.number for step in steps if step.agent_type is not None]
        assert len(places) >= 4
        # One after the other: held batches take up the few places of the dispatcher.
        for number in places:
            name = f"{probe}-in-{number}"
            gate.holds[name] = number
            await start_job(here.client, template, given, name)
            await assert_eventually(lambda name=name: name in gate.held, 40)
            await cancel_job(here.client, name)
            await ended_cancelled(here, name)


class Worker:
    """Takes its time, or gives back what it got."""

    at_work = 0

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        if task.action == "slow":
            Worker.at_work += 1
            try:
                await asyncio.sleep(30)
            finally:
                Worker.at_work -= 1
        return AgentResult(value={"n": 1})

    async def health(self) -> str:
        return ""


TYPES: dict[AgentType, type[Agent]] = {AgentType("worker"): Worker}
LOAD = "- {name: load, kind: load, rows: [{n: 1}, {n: 2}]}"
UNTIL = "until: {on: {step: sum, count: ok}, when: {equals: 9}}"
KINDS = {
    "map": "- {name: a, over: load, agent: worker, action: slow}",
    "reduce": "- {name: m, over: load, agent: worker, action: quick}\n"
    "- {name: a, kind: reduce, over: m, agent: worker, action: slow}",
    "chain": "- {name: a, kind: chain, over: load, steps: [{name: x, agent: worker, action: quick},"
    " {name: y, agent: worker, action: slow}]}",
    "loop": f"- {{name: a, kind: loop, most: 5, {UNTIL}, steps: [{{name: w, over: load, agent: worker, action: slow}},"
    " {name: sum, kind: reduce, over: w, agent: worker, action: quick}]}",
    "wait": "- {name: a, kind: wait, seconds: 3600}",
    "approve": '- {name: a, kind: approve, prompt: "Well?", timeout: 3600, default: reject}',
    "call": "- {name: a, kind: call, template: map}",
}
TEMPLATES = {
    Id(kind): TemplateConfig.model_validate(parse_document(f"steps:\n{LOAD}\n{text}").data)
    for kind, text in KINDS.items()
}
REACHED: dict[str, Callable[[Progress], bool]] = {
    "wait": lambda seen: seen.phase == "waiting",
    "approve": lambda seen: bool(seen.approvals),
    "call": lambda seen: seen.phase == "calling",
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_step(colony: Opens, kind: str) -> None:
    Worker.at_work = 0
    async with colony(TYPES, TEMPLATES) as here:
        name = f"cancel-{kind}-{uuid.uuid4().hex[:6]}"
        await start_job(here.client, kind, {}, name)
        reached = REACHED.get(kind)

        async def there() -> bool:
            if reached is None:
                return Worker.at_work > 0
            return reached(await job_progress(here.client, name))

        await assert_eventually(there, 40)
        await cancel_job(here.client, name)
        await ended_cancelled(here, name)
        await assert_eventually(lambda: Worker.at_work == 0, 20)
        states = {job.workflow_id: job.state for job in await here.ledger.jobs(10)}
        assert set(states.values()) == {JobState.CANCELLED}, states


async def test_before_the_first_step(colony: Opens) -> None:
    async with colony(TYPES, TEMPLATES) as here:
        name = f"cancel-first-{uuid.uuid4().hex[:6]}"
        await start_job(here.client, "map", {}, name)
        await cancel_job(here.client, name)
        with pytest.raises(Cancelled):
            await await_job(here.client, name, timeout=60)


async def test_words_to_a_job_that_ended_are_refused_and_change_nothing(colony: Opens) -> None:
    async with colony(TYPES, TEMPLATES) as here:
        name = f"ended-{uuid.uuid4().hex[:6]}"
        await start_job(here.client, "wait", {}, name)
        await assert_eventually(lambda: _waits(here, name), 40)
        await cancel_job(here.client, name)
        await ended_cancelled(here, name)
        before = await here.ledger.job(name)
        handle = here.client.get_workflow_handle(name)
        words: dict[str, list[Any]] = {"pause": [], "resume": [], "cancel": [], "set_priority": [1], "approve": [{}]}
        for word, arguments in words.items():
            with pytest.raises(RPCError) as caught:
                await handle.signal(word, args=arguments)
            assert caught.value.status is RPCStatusCode.NOT_FOUND
            with pytest.raises(NotFound):
                await update_job(here.client, name, word, *arguments)
        with pytest.raises(NotFound):
            await cancel_job(here.client, name)
        assert await here.ledger.job(name) == before
        assert json.loads(before.model_dump_json())["state"] == "cancelled"


async def _waits(here: Colony, name: str) -> bool:
    return (await job_progress(here.client, name)).phase == "waiting"
