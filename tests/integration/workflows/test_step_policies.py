"""What a template says of a step's attempts, time, batches, parallelism and priority is what happens."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from agents.base import Agent, AgentContext, AgentResult, AgentTask
from colony.config.templates import TemplateConfig
from colony.config.yaml_lines import parse_document
from colony.contracts import BatchProgress, BatchReport, BatchRequest
from colony.dispatch import BatchRunner, OnProgress
from colony.errors import Permanent, Unavailable
from colony.ids import AgentType, Id
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Opens
from workflows.client import await_job, job_progress, start_job

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


class Trying:
    """Counts its tries; fails in a way that may pass until the try the payload names, 0 for always."""

    tries: Counter[int] = Counter()  # noqa: RUF012 -- read by the test that cleared it

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        Trying.tries[task.seq] += 1
        if task.action == "sleep":
            await asyncio.sleep(3600 if task.payload["sleeps"] else 0)
        elif Trying.tries[task.seq] != task.payload.get("good_at"):
            raise Unavailable("not now")
        return AgentResult(value={"tried": Trying.tries[task.seq]})

    async def health(self) -> str:
        return ""


class Quick:
    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        return AgentResult(value={})

    async def health(self) -> str:
        return ""


TYPES: dict[AgentType, type[Agent]] = {AgentType("trying"): Trying, AgentType("quick"): Quick}


class Watched:
    """A runner that notes what it is asked, and how much of it at once; does no step whose gate is shut."""

    def __init__(self) -> None:
        self.asked: list[BatchRequest] = []
        self.now: Counter[int] = Counter()
        self.most: Counter[int] = Counter()
        self.open: set[int] = set()
        self._runner: BatchRunner | None = None

    def around(self, runner: BatchRunner) -> Watched:
        """Wrap."""
        self._runner = runner
        return self

    async def run(self, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        """See `BatchRunner`."""
        assert self._runner is not None
        self.asked.append(request)
        self.now[request.step] += 1
        self.most[request.step] = max(self.most[request.step], self.now[request.step])
        try:
            while request.step not in self.open:
                on_progress(BatchProgress(done=0, failed=0, total=request.end - request.first))
                await asyncio.sleep(0.05)
            return await self._runner.run(request, on_progress)
        finally:
            self.now[request.step] -= 1

    def sizes(self, step: int) -> list[int]:
        """Tasks of each batch of a step."""
        return [each.end - each.first for each in self.asked if each.step == step]


def one(name: str, text: str) -> dict[Id, TemplateConfig]:
    return {Id(name): TemplateConfig.model_validate(parse_document(text).data)}


def trying(action: str, **policy: Any) -> dict[Id, TemplateConfig]:
    said = ", ".join(f"{name}: {value}" for name, value in policy.items())
    return one(
        "trying",
        f"""
inputs: {{rows: {{type: list, required: true}}}}
steps:
- {{name: load, kind: load, rows: {{$input: rows}}}}
- {{name: try, over: load, agent: trying, action: {action}, {said}}}
""",
    )


@pytest.mark.parametrize("attempts", [1, 2, 3])
async def test_attempts_are_the_most_tries_a_task_gets(colony: Opens, attempts: int) -> None:
    Trying.tries.clear()
    rows = [{"good_at": 0}, {"good_at": 1}, {"good_at": attempts}, {"good_at": attempts + 1}]
    async with colony(TYPES, trying("try", attempts=attempts, error_budget=1)) as here:
        started = await start_job(here.client, "trying", {"rows": rows})
        result = await await_job(here.client, started.workflow_id, timeout=60)
    assert Trying.tries == {0: attempts, 1: 1, 2: attempts, 3: attempts}
    assert (result.steps[1].ok, result.steps[1].failed) == (2, 2)
    assert result.steps[1].errors == {"Unavailable": 2}


async def test_attempts_that_are_spent_count_against_the_error_budget(colony: Opens) -> None:
    Trying.tries.clear()
    async with colony(TYPES, trying("try", attempts=2, error_budget=0)) as here:
        started = await start_job(here.client, "trying", {"rows": [{"good_at": 1}, {"good_at": 3}]})
        with pytest.raises(Permanent, match="1 of 2 tasks failed"):
            await await_job(here.client, started.workflow_id, timeout=60)
    assert Trying.tries == {0: 1, 1: 2}


async def test_a_task_longer_than_its_step_allows_fails_alone(colony: Opens) -> None:
    Trying.tries.clear()
    rows = [{"sleeps": False}, {"sleeps": True}, {"sleeps": False}]
    async with colony(TYPES, trying("sleep", task_seconds=0.3, error_budget=0.5)) as here:
        started = await start_job(here.client, "trying", {"rows": rows})
        result = await await_job(here.client, started.workflow_id, timeout=60)
    assert (result.steps[1].ok, result.steps[1].failed) == (2, 1)
    assert result.steps[1].errors == {"TaskTimeout": 1}
    assert Trying.tries == {0: 1, 1: 1, 2: 1}, "a task that took too long would take too long again"


STEPS = """
steps:
- {name: load, kind: load}
- {name: few, over: load, agent: quick, action: do, parallel: 2, batch: 3, priority: 1}
- {name: many, over: load, agent: quick, action: do, parallel: 4}
"""


async def test_batches_parallelism_and_priority_are_those_of_the_step(colony: Opens) -> None:
    watched = Watched()
    async with colony(TYPES, one("steps", STEPS), wrap=watched.around) as here:
        name = (await start_job(here.client, "steps", {"tasks": 40, "priority": 4})).workflow_id
        await assert_eventually(lambda: watched.now[1] == 2, 30)
        assert (await job_progress(here.client, name)).batches == 2
        watched.open.add(1)
        await assert_eventually(lambda: watched.now[2] == 4, 30)
        watched.open.add(2)
        result = await await_job(here.client, name, timeout=60)
    assert [step.ok for step in result.steps] == [40, 40, 40]
    assert watched.most == {1: 2, 2: 4}
    assert (max(watched.sizes(1)), sum(watched.sizes(1))) == (3, 40)
    assert (max(watched.sizes(2)), sum(watched.sizes(2))) == (10, 40), "without a bound a batch is a fair share"
    assert {each.priority for each in watched.asked if each.step == 1} == {1}
    assert {each.priority for each in watched.asked if each.step == 2} == {4}, "that of the job"


async def test_a_job_may_ask_for_other_parallelism_than_its_template(colony: Opens) -> None:
    watched = Watched()
    async with colony(TYPES, one("steps", STEPS), wrap=watched.around) as here:
        name = (await start_job(here.client, "steps", {"tasks": 40, "parallel": 5})).workflow_id
        await assert_eventually(lambda: watched.now[1] == 5, 30)
        watched.open |= {1, 2}
        await await_job(here.client, name, timeout=60)
    assert watched.most[1] == 5
    assert max(watched.sizes(1)) == 3
