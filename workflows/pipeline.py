"""The workflow behind every template: decides which step, batch and generation comes next, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NoReturn

from temporalio import workflow
from temporalio.common import Priority, RawValue
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from colony.contracts import JobState, StepCounts, StepLoad
    from colony.errors import Cancelled, ColonyError
    from colony.jobs import TASK_KINDS, JobPlan, StepKind, StepPlan
    from workflows import names
    from workflows.attributes import updates
    from workflows.boundary import input_text, parent_of, resume_of
    from workflows.contracts import (
        CancelJob,
        CloseJob,
        JobResult,
        OpenJob,
        ParentNote,
        Progress,
        ReportInput,
        ReportResult,
        Resume,
        StepCursor,
        StepRef,
        StepView,
        TakeFrom,
    )
    from workflows.control_steps import PARENT_MEMO, ControlSteps
    from workflows.cursor import start
    from workflows.policies import io_options, priority_of
    from workflows.steered import Steered
    from workflows.step_spans import step_span
    from workflows.steps import StepRun
    from workflows.translate import final, to_colony_error
    from workflows.unhindered import unhindered
    from workflows.ways import past, steps_seen, takes_of

_SHORT = 120.0
"""Seconds an activity may take that only touches a few rows."""


@workflow.defn(dynamic=True)
class Pipeline(Steered):
    """One run of a template. Its name is the template's; its key is the first execution run id."""

    def __init__(self) -> None:
        super().__init__()
        info = workflow.info()
        self._key = _key(info)
        self._phase = Progress(template=info.workflow_type, key=self._key)
        self._plan: JobPlan | None = None
        self._step: StepRun | None = None
        self._started_at = 0.0
        self._finished: tuple[StepCounts, ...] = ()
        self._bad_rows = 0
        self._artifacts: tuple[str, ...] = ()

    @workflow.query(name="progress")
    def progress(self) -> Progress:
        """Where the job stands."""
        update: dict[str, object] = {"finished": self._finished, "bad_rows": self._bad_rows}
        if self._plan is not None:
            update |= {"job": self._plan.job, "steps": len(self._plan.steps), "key": self._plan.key}
        if self._step is not None:
            update |= self._step.progress()
        update |= self.steering.progress()
        if self.steering.paused:
            update["waiting_for"] = "resume"
        update["skipped"] = tuple(step.name for step in self._finished if step.skipped)
        return self._phase.model_copy(update=update)

    @workflow.query(name="steps")
    def steps(self) -> tuple[StepView, ...]:
        """The steps of the job; empty until it is open."""
        if self._plan is None:
            return ()
        return steps_seen(self._plan, self._finished, closed=self._phase.phase == "closed")

    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> JobResult:
        """Run the job to its end; fails with a typed, non-retryable `ApplicationError`."""
        try:
            self.begin_main()
            plan, cursor = await self._open(args)
            self._plan = plan
            await self._steps(plan, cursor)
            await unhindered(self._close(plan, JobState.DONE, ""), cut_before=True)
            return self._result(plan)
        except (ColonyError, FailureError, asyncio.CancelledError) as error:
            await self._fail(error)

    async def _open(self, args: Sequence[RawValue]) -> tuple[JobPlan, StepCursor | None]:
        info = workflow.info()
        payloads = [arg.payload for arg in args]
        resumed = resume_of(payloads) if info.continued_run_id else None
        if resumed is not None:
            self._started_at, self._finished = resumed.started_at, resumed.finished
            self._bad_rows, self._artifacts = resumed.bad_rows, resumed.artifacts
            self.steering.begin(resumed.plan, resumed.steering)
            return resumed.plan, resumed.cursor
        self._started_at = workflow.now().timestamp()
        request = OpenJob(
            template=info.workflow_type,
            input=input_text(payloads),
            key=self._key,
            workflow_id=info.workflow_id,
            parent=_parent(info),
        )
        plan = await workflow.execute_activity(names.OPEN_JOB, request, result_type=JobPlan, **io_options())
        self.steering.begin(plan, None)
        if plan.attributes:
            workflow.upsert_search_attributes(updates(plan.attributes))  # pyright: ignore[reportUnknownMemberType] -- SDK
        return plan, None

    async def _steps(self, plan: JobPlan, cursor: StepCursor | None) -> None:
        depth = 0 if (parent := _parent(workflow.info())) is None else parent.depth
        control = ControlSteps(plan, self.steering, lambda: self._finished, depth, self._show)
        while len(self._finished) < len(plan.steps):
            step = plan.steps[len(self._finished)]
            takes = takes_of(step, self._finished)
            if takes is None:
                self._finished += past(plan, step.number, step.number + 1)
                continue
            if self.steering.paused:
                await workflow.wait_condition(lambda: not self.steering.paused)
            with step_span(step.number, step.name, step.kind):
                go, counts = await self._take_step(plan, step, cursor, takes, control)
            cursor = None
            before = self._started_at + sum(done.seconds for done in self._finished)
            seconds = max(0.0, workflow.now().timestamp() - before)
            self._finished = (*self._finished, counts.model_copy(update={"seconds": seconds}))
            self._finished += past(plan, step.number + 1, go)

    async def _take_step(
        self,
        plan: JobPlan,
        step: StepPlan,
        cursor: StepCursor | None,
        takes: tuple[TakeFrom, ...],
        control: ControlSteps,
    ) -> tuple[int, StepCounts]:
        """The number of the step that comes next, and what came of this one."""
        if step.kind is StepKind.LOAD or step.kind in TASK_KINDS:
            return step.number + 1, await self._run_step(plan, step, cursor, takes, control)
        go = step.number + 1
        if step.kind is StepKind.REPORT:
            await self._report(plan, step, takes)
        else:
            go = await control.run(step)
        return go, StepCounts(number=step.number, name=step.name)

    async def _run_step(
        self,
        plan: JobPlan,
        step: StepPlan,
        cursor: StepCursor | None,
        takes: tuple[TakeFrom, ...],
        control: ControlSteps,
    ) -> StepCounts:
        if cursor is None:
            self._show("loading", step)
            where = StepRef(job=plan.job, step=step.number, takes=takes)
            options = io_options(priority=self._turn(plan, step))
            loaded = await workflow.execute_activity(names.LOAD_STEP, where, result_type=StepLoad, **options)
            self._bad_rows += loaded.bad_rows
            if step.kind is StepKind.LOAD:
                return StepCounts(number=step.number, name=step.name, tasks=loaded.tasks, ok=loaded.tasks)
            if loaded.tasks == 0 and any(take.only.startswith("to ") for take in takes):
                return StepCounts(number=step.number, name=step.name, skipped=True)  # nobody handed anything off
            cursor = start(step.number, loaded.tasks)
            self.steering.reads = await control.values(step.reads)
        self._show("running", step)
        self._step = StepRun(plan, step, cursor, self.steering)
        counts = await self._step.run()
        if counts is None:
            self._continue(plan, self._step.cursor)
        self._step = None
        self.steering.reads = {}
        return counts

    async def _report(self, plan: JobPlan, step: StepPlan, takes: tuple[TakeFrom, ...]) -> None:
        self._show("reporting", step)
        request = ReportInput(
            job=plan.job,
            step=step.number,
            bad_rows=self._bad_rows,
            counts=self._finished,
            started_at=self._started_at,
            over=takes[0].step if takes else None,
        )
        options = io_options(priority=self._turn(plan, step))
        report = await workflow.execute_activity(names.REPORT, request, result_type=ReportResult, **options)
        self._artifacts = report.artifacts

    def _continue(self, plan: JobPlan, cursor: StepCursor) -> NoReturn:
        workflow.continue_as_new(
            Resume(
                plan=plan,
                started_at=self._started_at,
                finished=self._finished,
                bad_rows=self._bad_rows,
                artifacts=self._artifacts,
                cursor=cursor,
                steering=self.steering.state(),
            )
        )

    async def _fail(self, error: BaseException) -> NoReturn:
        """Stop what still runs, close the job, and end the workflow as cancelled or failed."""
        cancelled = is_cancelled_exception(error)
        self.steering.ending = True
        cause = Cancelled("The job was cancelled.") if cancelled else to_colony_error(error)
        if self._plan is not None:
            state = JobState.CANCELLED if isinstance(cause, Cancelled) else JobState.FAILED
            await unhindered(self._stop(self._plan, state, cause), cut_before=False)
        if cancelled and not self.steering.cancelled:
            raise error
        raise final(cause) from None

    async def _stop(self, plan: JobPlan, state: JobState, cause: ColonyError) -> None:
        if self._step is not None:
            self._show("cancelling")
            await workflow.execute_activity(
                names.CANCEL_JOB, CancelJob(job=plan.job, key=plan.key), **io_options(_SHORT, self._turn(plan))
            )
            await self._step.settle()
        await self._close(plan, state, str(cause))

    async def _close(self, plan: JobPlan, state: JobState, reason: str) -> None:
        self.steering.ending = True
        self._show("closing")
        request = CloseJob(job=plan.job, state=state, reason=reason[:1000])
        await workflow.execute_activity(names.CLOSE_JOB, request, **io_options(_SHORT, self._turn(plan)))
        self._show("closed")

    def _show(
        self, phase: str, step: StepPlan | None = None, waiting_for: str = "", until: float | None = None
    ) -> None:
        update: dict[str, object] = {"phase": phase, "waiting_for": waiting_for}
        update |= {"since": workflow.now().timestamp(), "until": until}
        if step is not None:
            update |= {"step": step.name, "step_number": step.number}
        self._phase = self._phase.model_copy(update=update)

    def _turn(self, plan: JobPlan, step: StepPlan | None = None) -> Priority:
        """The place in the queue of activities on the ledger."""
        own = None if step is None else step.priority
        return priority_of(own or self.steering.priority, plan.tenant)

    def _result(self, plan: JobPlan) -> JobResult:
        return JobResult(
            job=plan.job,
            key=plan.key,
            workflow_id=plan.workflow_id,
            template=plan.template,
            state=JobState.DONE,
            steps=self._finished,
            bad_rows=self._bad_rows,
            artifacts=self._artifacts,
        )


def _key(info: workflow.Info) -> str:
    """The key of the job, until the plan says it: a retry or cron run is a job of its own."""
    return info.run_id if info.continued_run_id else info.first_execution_run_id


def _parent(info: workflow.Info) -> ParentNote | None:
    """What the job that started this one handed over; only a parent is believed."""
    return None if info.parent is None else parent_of(workflow.memo_value(PARENT_MEMO, None))
