from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from colony.clock import SystemClock
from colony.config.model import Config
from colony.contracts import BatchProgress, BatchReport, BatchRequest, JobState
from colony.dispatch import OnProgress
from colony.errors import BadInput, NotFound, Overloaded, Permanent
from colony.ledger.memory import MemoryLedger
from colony.llm.contracts import JobBudget
from tests.eventually import assert_eventually
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.contracts import CancelJob, CloseJob, OpenJob, ParentNote, StepRef

REQUEST = BatchRequest(job=1, key="k", step=1, first=0, end=10)


class Scripted:
    """A runner that reports `beats` times, `every` seconds apart, and then ends as told."""

    def __init__(self, end: BatchReport | Exception | None, beats: int = 0, every: float = 0.0) -> None:
        self._end = end
        self._beats = beats
        self._every = every
        self.begun = False
        self.cancelled = False

    async def run(self, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        self.begun = True
        try:
            for beat in range(self._beats):
                await asyncio.sleep(self._every)
                on_progress(BatchProgress(done=beat, failed=0, total=request.end))
            if self._end is None:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if isinstance(self._end, BatchReport):
            return self._end
        assert self._end is not None
        raise self._end


async def dispatch(runner: Scripted, silence: float = 5.0) -> tuple[BatchReport, list[object]]:
    beats: list[object] = []
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: beats.extend(details)
    return await environment.run(DispatchActivities(runner, silence_seconds=silence).dispatch_batch, REQUEST), beats


async def test_heartbeats_are_the_progress_of_the_host() -> None:
    report, beats = await dispatch(Scripted(BatchReport(ok=10), beats=3))
    assert report.ok == 10
    assert beats == [BatchProgress(done=n, failed=0, total=10) for n in range(3)]


async def test_progress_keeps_a_batch_longer_than_the_silence_allowed() -> None:
    report, _ = await dispatch(Scripted(BatchReport(ok=10), beats=9, every=0.2), silence=1.5)
    assert report.ok == 10


async def test_a_silent_host_loses_its_batch_and_its_slot() -> None:
    runner = Scripted(None, beats=1)
    with pytest.raises(ApplicationError, match="reported no progress") as caught:
        await dispatch(runner, silence=0.1)
    assert (caught.value.type, caught.value.non_retryable) == ("Unavailable", False)
    assert runner.cancelled


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (Overloaded("full"), "Overloaded"),
        (BatchReport(left=10, left_reason="LostShard"), "LostShard"),
        (BatchReport(left=10, skipped=0), "Unavailable"),
    ],
)
async def test_what_ends_no_task_comes_back_later(end: BatchReport | Exception, reason: str) -> None:
    with pytest.raises(ApplicationError) as caught:
        await dispatch(Scripted(end))
    assert caught.value.type == reason
    assert caught.value.next_retry_delay is not None
    assert not caught.value.non_retryable


async def test_progress_and_cancel_are_reported_at_once() -> None:
    for report in (BatchReport(ok=1, left=9), BatchReport(left=10, cancelled=True)):
        assert (await dispatch(Scripted(report)))[0] == report
    with pytest.raises(Permanent):
        await dispatch(Scripted(Permanent("never")))


async def test_cancellation_reaches_the_runner() -> None:
    runner = Scripted(None, beats=1)
    environment = ActivityEnvironment()
    running = asyncio.create_task(environment.run(DispatchActivities(runner).dispatch_batch, REQUEST))
    await assert_eventually(lambda: runner.begun)
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert runner.cancelled


def opening(template: str, given: object, key: str = "key-1") -> OpenJob:
    return OpenJob(template=template, input=json.dumps(given), key=key, workflow_id="w")


async def test_a_job_is_opened_once_and_loaded_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("review,stars\ngood,5\n,1\nbad,1\n")
    ledger = MemoryLedger(SystemClock())
    io = IoActivities(ledger, Config(), [tmp_path])
    run = ActivityEnvironment().run
    plan = await run(io.open_job, opening("review_analysis", {"source": "a.csv"}))
    assert await run(io.open_job, opening("review_analysis", {"source": "a.csv"})) == plan
    assert plan.source is not None
    assert plan.source.columns == {"text": "review", "rating": "stars"}
    for _ in range(2):
        loaded = await run(io.load_step, StepRef(job=plan.job, step=0))
        assert (loaded.tasks, loaded.bad_rows) == (2, 1)
    assert (await run(io.load_step, StepRef(job=plan.job, step=1))).tasks == 2
    tally = await run(io.tally_step, StepRef(job=plan.job, step=1))
    assert (tally.tasks, tally.missing) == (2, 2)
    await run(io.cancel_job, CancelJob(job=plan.job, key=plan.key))
    assert await ledger.cancel_requested(plan.job)
    await run(io.close_job, CloseJob(job=plan.job, state=JobState.CANCELLED))
    await run(io.close_job, CloseJob(job=plan.job, state=JobState.DONE))
    assert (await ledger.job("key-1")).state is JobState.CANCELLED


async def test_refused_jobs_have_a_closed_row_that_says_why(tmp_path: Path) -> None:
    ledger = MemoryLedger(SystemClock())
    io = IoActivities(ledger, Config(), [tmp_path])
    run = ActivityEnvironment().run
    with pytest.raises(NotFound, match=r"There are: .*durable_tasks, review_analysis"):
        await run(io.open_job, opening("other", {}))
    refused: list[tuple[object, str]] = [
        ({"tasks": 1, "oops": 2}, "unknown field 'oops'"),
        ({"tasks": 1, "columns": {"a": "b"}}, "no columns"),
        ({"tasks": 10**12}, "'tasks' is wrong"),
        ({"tasks": 1, "parameters": {"work": {"a": "x" * 63_000, "b": "y" * 63_000}}}, "plan of the job"),
    ]
    for given, says in refused:
        with pytest.raises(BadInput, match=says):
            await run(io.open_job, opening("durable_tasks", given).model_copy(update={"key": says}))
        view = await ledger.job(says)
        assert (view.state, view.steps) == (JobState.FAILED, ())
        assert says in view.reason
    with pytest.raises(NotFound, match="no workflow template"):
        await run(io.open_job, opening("no id \0", {}).model_copy(update={"key": "unfit"}))
    assert len(await ledger.jobs()) == 1 + len(refused)


async def test_a_job_brings_its_own_budget_of_tokens_for_it_and_all_it_starts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\ngood\n")
    ledger = MemoryLedger(SystemClock())
    io = IoActivities(ledger, Config(), [tmp_path])
    given = {"source": "a.csv", "llm_tokens": 5000}
    await ActivityEnvironment().run(io.open_job, opening("review_analysis", given).model_copy(update={"key": "top"}))
    child = opening("review_analysis", {"source": "a.csv"})
    child = child.model_copy(update={"key": "child", "parent": ParentNote(key="top", depth=1)})
    await ActivityEnvironment().run(io.open_job, child)
    assert await ledger.job_budgets("child") == [JobBudget("child", "top", None, 0), JobBudget("top", "", 5000, 0)]
    for wrong in (0, -1, 1.5, "many"):
        with pytest.raises(BadInput, match="llm_tokens"):
            await ActivityEnvironment().run(io.open_job, opening("review_analysis", {**given, "llm_tokens": wrong}))
