"""Whatever step a job is in when it is cancelled: it ends cancelled, its agents stop, and nothing is done twice."""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.service import RPCError, RPCStatusCode

from agents.base import Agent, AgentContext, AgentResult, AgentTask
from agents.builtin import BUILTIN
from agents.load import load_agent_class
from colony.config.templates import TemplateConfig
from colony.config.yaml_lines import parse_document
from colony.contracts import BatchProgress, BatchReport, BatchRequest, JobState
from colony.dispatch import BatchRunner, OnProgress
from colony.errors import Cancelled, NotFound, Permanent
from colony.ids import AgentType, Id, type_subject
from colony.ledger.memory import MemoryLedger
from tests.documents import ROOT
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Colony, Opens, keep_history
from tests.integration.workflows.held_activities import HeldActivities, Moment, Place
from tests.integration.workflows.test_group_over_nats import debating
from workflows.client import await_job, cancel_job, job_progress, start_job, update_job
from workflows.closing import OrphanCloser
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
                await asyncio.sleep(300)
            finally:
                Worker.at_work -= 1
        if task.action == "pass":
            return AgentResult(value={"hand_off": {"agent": "worker", "action": "slow", "payload": {"n": 1}}})
        if task.action == "fail":
            raise Permanent("No.")
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
    "hand-off": "- {name: a, over: load, agent: worker, action: pass, hand_off: {most: 1, to: [{agent: worker,"
    " action: slow}]}}",
    "wait": "- {name: a, kind: wait, seconds: 3600}",
    "approve": '- {name: a, kind: approve, prompt: "Well?", timeout: 3600, default: reject}',
    "call": "- {name: a, kind: call, template: map}",
}
WHOLE = """- {name: a, over: load, agent: worker, action: quick}
- {name: sum, kind: reduce, over: a, agent: worker, action: quick}
- {name: choose, kind: branch, on: {step: sum, field: n}, cases: [{when: {equals: 1}, go: b}]}
- {name: b, over: a, agent: worker, action: quick}
- {name: report, kind: report, over: b}"""
"""A job with every activity that a job may have while it goes well."""
FAILS = "- {name: a, over: load, agent: worker, action: fail, error_budget: 0}"
REPORTED = ["report.md", "results.json"]

TEMPLATES = {
    Id(kind): TemplateConfig.model_validate(parse_document(f"steps:\n{LOAD}\n{text}").data)
    for kind, text in {**KINDS, "whole": WHOLE, "fails": FAILS}.items()
}
REACHED: dict[str, Callable[[Progress], bool]] = {
    "wait": lambda seen: seen.phase == "waiting",
    "approve": lambda seen: bool(seen.approvals),
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
        await assert_eventually(lambda: Worker.at_work == 0, 30)
        states = {job.workflow_id: job.state for job in await here.ledger.jobs(10)}
        assert set(states.values()) == {JobState.CANCELLED}, states


BY_WORD: dict[str, Callable[[Colony, str], Awaitable[Any]]] = {
    "asked": lambda here, name: cancel_job(here.client, name),
    "told": lambda here, name: update_job(here.client, name, "cancel"),
}
"""How a job is cancelled: by a request of Temporal, as of its own client, or by an update of ours."""


async def held_jobs(here: Colony, holding: HeldActivities, activity: str) -> dict[str, tuple[str, Moment]]:
    """Four jobs that wait in the midst of an activity: name -> how to cancel it, and whether its effects are there."""
    moments: tuple[Moment, ...] = ("before", "after")
    jobs: dict[str, tuple[str, Moment]] = {
        f"held-{activity}-{word}-{moment}": (word, moment) for word in BY_WORD for moment in moments
    }
    for name, (_, moment) in jobs.items():
        holding.places[name] = Place(activity, moment)
        await start_job(here.client, "whole", {}, name)
    await assert_eventually(lambda: holding.held >= set(jobs), 40)
    return jobs


@pytest.mark.parametrize("activity", ["load_step", "read_values", "tally_step", "dispatch_batch", "report"])
async def test_in_the_midst_of_every_activity(colony: Opens, activity: str) -> None:
    """A load, a branch, a count, a report: a job that is cancelled meanwhile ends so; what goes on changes nothing."""
    holding = HeldActivities()
    async with colony(TYPES, TEMPLATES, interceptors=[holding]) as here:
        jobs = await held_jobs(here, holding, activity)
        for name, (word, _) in jobs.items():
            await BY_WORD[word](here, name)
        if activity == "dispatch_batch":
            holding.let_go |= set(jobs)  # agents are waited for
        for name in jobs:
            with pytest.raises(Cancelled):
                await await_job(here.client, name, timeout=90)
        before = {name: await here.ledger.job(name) for name in jobs}
        holding.let_go |= set(jobs)
        await assert_eventually(lambda: holding.ended >= set(jobs), 30)
        for name, (_, moment) in jobs.items():
            view = await here.ledger.job(name)
            assert (view.state, view.closed_at) == (JobState.CANCELLED, before[name].closed_at), name
            artifacts = [each.name for each in await here.ledger.artifacts(view.job)]
            assert artifacts == (REPORTED if (activity, moment) == ("report", "after") else []), name


async def test_in_the_midst_of_opening(colony: Opens) -> None:
    """A job without a row has nothing to close: the row that comes too late is closed by who looks after orphans."""
    holding = HeldActivities()
    async with colony(TYPES, TEMPLATES, interceptors=[holding]) as here:
        jobs = await held_jobs(here, holding, "open_job")
        for name, (word, _) in jobs.items():
            await BY_WORD[word](here, name)
        for name in jobs:
            with pytest.raises(Cancelled):
                await await_job(here.client, name, timeout=90)
        holding.let_go |= set(jobs)
        await assert_eventually(lambda: holding.ended >= set(jobs), 30)
        await OrphanCloser(here.client, here.ledger).round()
        for name in jobs:
            view = await here.ledger.job(name)
            assert view.state is JobState.CANCELLED, view
            assert await here.ledger.outcome_multiplicity(view.job) == {}


async def test_a_job_that_is_being_closed_is_done(colony: Opens) -> None:
    """Whoever cancels it then is late: workflow and ledger say the same, and the report is whole."""
    holding = HeldActivities()
    async with colony(TYPES, TEMPLATES, interceptors=[holding]) as here:
        jobs = await held_jobs(here, holding, "close_job")
        for name, (word, _) in jobs.items():
            if word == "told":
                with pytest.raises(NotFound):
                    await BY_WORD[word](here, name)
            else:
                await BY_WORD[word](here, name)
                await assert_eventually(lambda name=name: _cancel_came(here, name), 30)
        holding.let_go |= set(jobs)
        for name, (word, moment) in jobs.items():
            result = await await_job(here.client, name, timeout=60)
            view = await here.ledger.job(name)
            assert (result.state, view.state, view.reason) == (JobState.DONE, JobState.DONE, ""), name
            assert [each.name for each in await here.ledger.artifacts(view.job)] == REPORTED == list(result.artifacts)
            if (word, moment) == ("asked", "after"):
                await keep_history(here, name, "cancelled_while_closing")


async def test_a_job_that_ends_in_a_failure_is_closed_whoever_cancels_it(colony: Opens) -> None:
    holding = HeldActivities()
    async with colony(TYPES, TEMPLATES, interceptors=[holding]) as here:
        name = f"fails-{uuid.uuid4().hex[:6]}"
        holding.places[name] = Place("close_job", "before")
        await start_job(here.client, "fails", {}, name)
        await assert_eventually(lambda: name in holding.held, 40)
        await cancel_job(here.client, name)
        await assert_eventually(lambda: _cancel_came(here, name), 30)
        holding.let_go.add(name)
        with pytest.raises(Permanent, match="error budget"):
            await await_job(here.client, name, timeout=60)
        assert (await here.ledger.job(name)).state is JobState.FAILED


async def test_a_discussion(colony: Opens) -> None:
    async with debating(colony, {"coordination": 1, "optimist": 1, "sceptic": 1, "judge": 1}) as world:
        name = f"cancel-group-{uuid.uuid4().hex[:6]}"
        await start_job(world.here.client, "debating", {"questions": [{"question": "q", "slow": True}]}, name)
        await assert_eventually(lambda: ("colony.type.sceptic", "argue") in world.said, 40)
        await cancel_job(world.here.client, name)
        await ended_cancelled(world.here, name)
        assert (type_subject(AgentType("judge")), "decide") not in world.said


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


async def _cancel_came(here: Colony, name: str) -> bool:
    """Whether the workflow was asked to cancel and has taken it in."""
    history = await here.client.get_workflow_handle(name).fetch_history()
    kinds = [event.event_type for event in history.events]
    if EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED not in kinds:
        return False
    asked = kinds.index(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)
    return EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED in kinds[asked:]


async def _waits(here: Colony, name: str) -> bool:
    return (await job_progress(here.client, name)).phase == "waiting"
