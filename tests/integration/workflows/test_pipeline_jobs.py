from __future__ import annotations

import asyncio
import json
import uuid

import pytest

from agents.base import Agent, AgentContext, AgentResult, AgentTask
from colony.config.templates import StepConfig, TemplateConfig
from colony.contracts import BatchReport, BatchRequest, JobState
from colony.dispatch import BatchRunner, OnProgress
from colony.errors import AlreadyExists, BadInput, Cancelled, ColonyError, NotFound, Permanent, Unavailable
from colony.ids import AgentType, Id
from colony.jobs import StepKind
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import Opens, keep_history
from tests.servers.temporal import temporal_cli
from workflows.client import await_job, cancel_job, job_progress, start_job
from workflows.closing import OrphanCloser
from workflows.templates import DURABLE_TASKS

pytestmark = [pytest.mark.asyncio(loop_scope="session")]


class Plain:
    """Base of the agents here."""

    async def health(self) -> str:
        return ""


class Probe(Plain):
    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        return AgentResult(value={"n": task.payload.get("n", task.seq)})


class Flaky(Plain):
    """Each tenth task fails once in a way that may pass; task 7 fails for good."""

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        if task.seq == 7:
            raise ValueError("a poison task")
        if task.seq % 10 == 0 and task.generation == 0:
            raise Unavailable("not now")
        return AgentResult(value={"generation": task.generation})


class Slow(Plain):
    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        await asyncio.sleep(0.05)
        return AgentResult(value={})


class Adder(Plain):
    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        if task.action == "double":
            return AgentResult(value={"n": task.payload["n"] * 2})
        part = task.payload
        results = await ctx.results(part["step"], part["first"], part["end"])
        return AgentResult(value={"n": sum(result["n"] for result in results)})


PROBE: dict[AgentType, type[Agent]] = {AgentType("probe"): Probe}
SUMS = TemplateConfig(
    steps=(
        StepConfig(name=Id("load"), kind=StepKind.LOAD),
        StepConfig(
            name=Id("double"), kind=StepKind.MAP, over=Id("load"), agent=AgentType("adder"), action=Id("double")
        ),
        StepConfig(
            name=Id("sums"),
            kind=StepKind.REDUCE,
            over=Id("double"),
            agent=AgentType("adder"),
            action=Id("sum"),
            group=100,
        ),
        StepConfig(
            name=Id("total"),
            kind=StepKind.REDUCE,
            over=Id("sums"),
            agent=AgentType("adder"),
            action=Id("sum"),
            group=1000,
        ),
        StepConfig(name=Id("report"), kind=StepKind.REPORT, over=Id("total")),
    )
)


def with_budget(budget: float) -> dict[Id, TemplateConfig]:
    load, work = DURABLE_TASKS.steps
    steps = (load, work.model_copy(update={"error_budget": budget}))
    return {Id("durable_tasks"): DURABLE_TASKS.model_copy(update={"steps": steps})}


async def test_map_reduce_report(colony: Opens) -> None:
    async with colony({AgentType("adder"): Adder}, {Id("sums"): SUMS}) as here:
        started = await start_job(here.client, "sums", {"tasks": 1050})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        assert result.key == started.key
        assert [(step.tasks, step.ok) for step in result.steps] == [
            (1050, 1050),
            (1050, 1050),
            (11, 11),
            (1, 1),
            (0, 0),
        ]
        artifacts = {artifact.name: artifact.content for artifact in await here.ledger.artifacts(result.job)}
        assert json.loads(artifacts["results.json"])["n"] == 1050 * 1049
        assert set(artifacts) == set(result.artifacts)
        view = await here.ledger.job(started.key)
        assert view.state is JobState.DONE
        progress = await job_progress(here.client, started.workflow_id)
        assert progress.phase == "closed"


async def test_failures_are_tried_again_and_the_rest_kept_within_the_budget(colony: Opens) -> None:
    async with colony({AgentType("probe"): Flaky}) as here:
        started = await start_job(here.client, "durable_tasks", {"tasks": 500})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        assert result.steps[1].ok == 499
        assert result.steps[1].errors == {"ValueError": 1}
        multiplicity = await here.ledger.outcome_multiplicity(result.job)
        assert multiplicity[1] == (500, 500)
        await keep_history(here, started.workflow_id, "second_generation")


async def test_a_spent_error_budget_fails_the_job(colony: Opens) -> None:
    async with colony({AgentType("probe"): Flaky}, with_budget(0)) as here:
        started = await start_job(here.client, "durable_tasks", {"tasks": 50})
        with pytest.raises(Permanent, match="1 of 50 tasks failed"):
            await await_job(here.client, started.workflow_id, timeout=60)
        assert (await here.ledger.job(started.key)).state is JobState.FAILED


@pytest.mark.parametrize(
    ("template", "raw", "error"),
    [
        ("no_such_template", "{}", "NotFound"),
        ("durable_tasks", None, "BadInput"),
        ("durable_tasks", "[1]", "BadInput"),
        ("durable_tasks", '"text"', "BadInput"),
        ("durable_tasks", "null", "BadInput"),
        ("durable_tasks", "{}", "BadInput"),
        ("durable_tasks", '{"tasks": "many"}', "BadInput"),
        ("durable_tasks", '{"tasks": 0}', "BadInput"),
        ("durable_tasks", '{"tasks": 5, "extra": 1}', "BadInput"),
        ("durable_tasks", '{"tasks": 5, "source": "a.csv"}', "BadInput"),
        ("durable_tasks", '{"source": "../../etc/passwd"}', "BadInput"),
        ("durable_tasks", '{"tasks": 5, "parameters": {"nope": {}}}', "BadInput"),
        ("review_analysis", '{"source": "none.csv"}', "BadInput"),
        ("review_analysis", '{"source": {"range": 5}}', "BadInput"),
        ("review_analysis", '{"resume": "colony-1"}', "BadInput"),
    ],
)
async def test_bad_inputs_of_the_plain_command_fail_the_workflow(
    colony: Opens, template: str, raw: str | None, error: str
) -> None:
    name = f"bad-{uuid.uuid4().hex}"
    async with colony(PROBE) as here:
        given = [] if raw is None else ["--input", raw]
        code, output = await temporal_cli(
            here.endpoint,
            *("workflow", "start", "--type", template, "--task-queue", "colony", "--workflow-id", name),
            *given,
        )
        assert code == 0, output
        with pytest.raises(ColonyError) as caught:
            await await_job(here.client, name, timeout=60)
        assert type(caught.value).__name__ == error


async def test_the_plain_command_starts_and_asks(colony: Opens) -> None:
    name = f"cli-{uuid.uuid4().hex}"
    async with colony(PROBE) as here:
        code, output = await temporal_cli(
            here.endpoint,
            *("workflow", "execute", "--type", "durable_tasks", "--task-queue", "colony", "--workflow-id", name),
            *("--input", '{"tasks": 120}'),
        )
        assert code == 0, output
        code, output = await temporal_cli(
            here.endpoint, "workflow", "query", "--workflow-id", name, "--type", "progress", "--output", "json"
        )
        assert code == 0, output
        assert '"phase":"closed"' in output.replace(" ", "")


async def test_a_duplicate_is_refused(colony: Opens) -> None:
    async with colony(PROBE) as here:
        started = await start_job(here.client, "durable_tasks", {"tasks": 1}, f"twice-{uuid.uuid4().hex}")
        await await_job(here.client, started.workflow_id, timeout=60)
        with pytest.raises(AlreadyExists):
            await start_job(here.client, "durable_tasks", {"tasks": 1}, started.workflow_id)


async def test_cancel_stops_the_hosts_and_closes_the_job(colony: Opens) -> None:
    async with colony({AgentType("probe"): Slow}) as here:
        started = await start_job(here.client, "durable_tasks", {"tasks": 100_000})

        async def running() -> bool:
            return (await job_progress(here.client, started.workflow_id)).batches > 0

        await assert_eventually(running, 30)
        await cancel_job(here.client, started.workflow_id)
        with pytest.raises(Cancelled):
            await await_job(here.client, started.workflow_id, timeout=60)
        view = await here.ledger.job(started.key)
        assert view.state is JobState.CANCELLED
        await keep_history(here, started.workflow_id, "cancelled")
        with pytest.raises(NotFound):
            await cancel_job(here.client, started.workflow_id)


async def test_a_mark_in_the_ledger_cancels_too(colony: Opens) -> None:
    async with colony({AgentType("probe"): Slow}) as here:
        started = await start_job(here.client, "durable_tasks", {"tasks": 100_000})

        async def running() -> bool:
            return (await job_progress(here.client, started.workflow_id)).batches > 0

        await assert_eventually(running, 30)
        await here.ledger.request_cancel((await here.ledger.job(started.key)).job)
        with pytest.raises(Cancelled):
            await await_job(here.client, started.workflow_id, timeout=60)
        assert (await here.ledger.job(started.key)).state is JobState.CANCELLED


async def test_jobs_of_terminated_workflows_are_closed(colony: Opens) -> None:
    async with colony({AgentType("probe"): Slow}) as here:
        started = await start_job(here.client, "durable_tasks", {"tasks": 100_000})

        async def opened() -> bool:
            return (await job_progress(here.client, started.workflow_id)).job is not None

        await assert_eventually(opened, 30)
        closer = OrphanCloser(here.client, here.ledger)
        assert await closer.round() == []
        await here.client.get_workflow_handle(started.workflow_id).terminate()
        job = (await here.ledger.job(started.key)).job
        assert await closer.round() == [job]
        assert (await here.ledger.job(started.key)).state is JobState.CANCELLED
        gone = await here.ledger.open_job(str(uuid.uuid4()), "never-was", "durable_tasks", [], None, {})
        assert await closer.round() == [gone.job]


async def test_all_running_jobs_have_their_turn_however_many_there_are(colony: Opens) -> None:
    async with colony({AgentType("probe"): Slow}) as here:
        gone = [
            (await here.ledger.open_job(str(uuid.uuid4()), f"never-was-{n}", "durable_tasks", [], None, {})).job
            for n in range(3)
        ]
        jobs = [await start_job(here.client, "durable_tasks", {"tasks": 100_000}) for _ in range(6)]

        async def opened() -> bool:
            return len(await here.ledger.jobs(20)) == len(gone) + len(jobs)

        await assert_eventually(opened, 30)
        closer = OrphanCloser(here.client, here.ledger, page=2, most=4)
        rounds = [await closer.round() for _ in range(4)]
        assert rounds[0] == [], "the newest come first"
        assert sorted(job for closed in rounds for job in closed) == gone
        assert len(await here.ledger.jobs(20, running_only=True)) == len(jobs)


class Troubled:
    """A runner whose hosts refuse, lose shards, die and fall silent before they do the work."""

    def __init__(self, runner: BatchRunner) -> None:
        self._runner = runner
        self._troubles: dict[int, int] = {}

    async def run(self, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        seen = self._troubles[request.first] = self._troubles.get(request.first, 0) + 1
        size = request.end - request.first
        if seen == 1:
            return BatchReport(left=size, left_reason="LostShard")
        if seen == 2:
            raise Unavailable("the host died")
        if seen == 3 and request.first == 0:
            await asyncio.Event().wait()
        if seen == 4:
            half = request.model_copy(update={"end": request.first + size // 2})
            report = await self._runner.run(half, on_progress)
            return report.model_copy(update={"left": size - size // 2, "left_reason": "Overloaded"})
        return await self._runner.run(request, on_progress)


async def test_trouble_with_hosts_is_no_attempt_of_a_task(colony: Opens) -> None:
    async with colony(PROBE, wrap=Troubled, silence=1.0) as here:
        started = await start_job(here.client, "durable_tasks", {"tasks": 300})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        assert result.steps[1].ok == 300
        history = await here.client.get_workflow_handle(started.workflow_id).fetch_history()
        assert len(history.events) < 100, "trouble must not grow the history"
        await keep_history(here, started.workflow_id, "trouble_with_hosts")


async def test_a_long_history_continues_as_new_under_the_same_key(
    colony: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.policies.MAX_EVENTS", 40)
    async with colony(PROBE) as here:
        started = await start_job(here.client, "durable_tasks", {"tasks": 20_000})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        assert result.key == started.key
        assert result.steps[1].ok == 20_000
        description = await here.client.get_workflow_handle(started.workflow_id).describe()
        assert description.run_id != started.key
        assert await here.ledger.outcome_multiplicity(result.job) == {1: (20_000, 20_000)}


async def test_a_source_file_becomes_tasks(colony: Opens) -> None:
    template = TemplateConfig(steps=DURABLE_TASKS.steps, columns={"text": ("text",)})
    async with colony(PROBE, {Id("rows"): template}) as here:
        (here.folder / "a.csv").write_bytes(b"text,id\nfine,1\n\xff,2\nalso,3\n")
        started = await start_job(here.client, "rows", {"source": "a.csv"})
        result = await await_job(here.client, started.workflow_id, timeout=60)
        assert (result.bad_rows, result.steps[1].ok) == (1, 2)
        (here.folder / "b.csv").write_bytes(b"text,id\n\xff,2\n")
        started = await start_job(here.client, "rows", {"source": "b.csv"})
        with pytest.raises(BadInput, match="line 2: not UTF-8"):
            await await_job(here.client, started.workflow_id, timeout=60)
        assert (await here.ledger.job(started.key)).state is JobState.FAILED
