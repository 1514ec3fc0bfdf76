"""Steps that run no agents: they wait, ask a person, choose a way, or call another job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import FailureError, is_cancelled_exception
from temporalio.workflow import ChildWorkflowHandle, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from colony.contracts import StepCounts
    from colony.errors import BadInput, Cancelled, Permanent, Rejected
    from colony.jobs import CallPlan, JobPlan, StepKind, StepPlan, ValueRef
    from workflows import names
    from workflows.conditions import at_path, holds
    from workflows.contracts import JobResult, ParentNote, PendingApproval, ReadValues, ValueAt
    from workflows.policies import io_options, priority_of
    from workflows.steering import Steering
    from workflows.translate import to_colony_error

PARENT_MEMO = "colony_parent"

_BEFORE = "priority-before-the-start"
"""Histories of earlier builds, whose called jobs did not hear of a priority that changed during their start."""


class Show(Protocol):
    """Says what the job does."""

    def __call__(self, phase: str, step: StepPlan, waiting_for: str, until: float | None = None) -> None:
        """Phase, step, what it waits for, and when that ends by itself in wall-clock seconds."""
        ...


class ControlSteps:
    """Runs the steps of one job that have no tasks. `finished` answers for the steps done so far."""

    def __init__(
        self, plan: JobPlan, steering: Steering, finished: Callable[[], tuple[StepCounts, ...]], depth: int, show: Show
    ) -> None:
        self._plan = plan
        self._steering = steering
        self._finished = finished
        self._depth = depth
        self._show = show

    async def run(self, step: StepPlan) -> int:
        """Do the step; the number of the step to go on at. Raises `Rejected`, and what a called job failed with."""
        match step.kind:
            case StepKind.WAIT:
                await self._wait(step)
            case StepKind.APPROVE:
                return await self._approve(step)
            case StepKind.BRANCH:
                return await self._branch(step)
            case StepKind.CALL:
                await self._call(step)
            case _:
                raise Permanent(f"A {step.kind} step has tasks.")
        return step.number + 1

    async def values(self, references: Mapping[str, ValueRef]) -> dict[str, Any]:
        """What the references lead to; None where nothing is."""
        found: dict[str, Any] = {}
        asked: dict[str, ValueAt] = {}
        finished = self._finished()
        for name, reference in references.items():
            number = next((each for each in reference.steps if not finished[each].skipped), None)
            if number is None:
                found[name] = 0 if reference.count else None
            elif reference.count:
                found[name] = getattr(finished[number], reference.count)
            elif number in self._steering.left:
                found[name] = at_path(self._steering.left[number], reference.field)
            else:
                asked[name] = ValueAt(step=number, field=reference.field)
        if asked:
            request = ReadValues(job=self._plan.job, values=asked)
            found |= await workflow.execute_activity(
                names.READ_VALUES,
                request,
                result_type=dict[str, Any],
                **io_options(priority=priority_of(self._steering.priority, self._plan.tenant)),
            )
        return found

    async def _wait(self, step: StepPlan) -> None:
        if step.wait is None:
            raise BadInput(f"Step {step.name!r} does not say how long it waits.")
        seconds, now = step.wait.seconds, workflow.now()
        if seconds is None:
            seconds = max(0.0, (step.wait.until or 0.0) - now.timestamp())
        passing = f"{seconds:.0f} s to pass since {now.isoformat(timespec='seconds')}"
        self._show("waiting", step, passing, now.timestamp() + seconds)
        await asyncio.sleep(seconds)

    async def _approve(self, step: StepPlan) -> int:
        asked = step.approval
        if asked is None:
            raise BadInput(f"Step {step.name!r} does not say what to approve.")
        shown = None if asked.show is None else (await self.values({"shown": asked.show}))["shown"]
        now = workflow.now().timestamp()
        self._show("approving", step, f"a person's approval of step {step.name}", now + asked.timeout)
        self._steering.pending = PendingApproval(
            step=step.name,
            prompt=asked.prompt,
            shown=shown,
            since=now,
            until=now + asked.timeout,
            default=asked.default,
        )
        try:
            await workflow.wait_condition(lambda: self._steering.decision(step.name) is not None, timeout=asked.timeout)
        except TimeoutError:
            self._steering.time_out(workflow.now().timestamp())
        finally:
            self._steering.pending = None
        decision = self._steering.decision(step.name)
        if decision is None:
            raise Permanent(f"The approval {step.name!r} ended without a decision.")
        self._steering.left[step.number] = decision.model_dump(mode="json")
        if decision.approved:
            return step.number + 1
        if asked.on_reject is not None:
            return asked.on_reject
        who = "nobody approved in time" if decision.timed_out else f"rejected by {decision.by or 'a person'}"
        said = f": {decision.comment}" if decision.comment else ""
        raise Rejected(f"Step {step.name}: {who}{said}.")

    async def _branch(self, step: StepPlan) -> int:
        branch = step.branch
        if branch is None:
            raise BadInput(f"Step {step.name!r} does not say what to look at.")
        self._show("deciding", step, "")
        value = (await self.values({"on": branch.on}))["on"]
        try:
            for case in branch.cases:
                if holds(case.when, value):
                    return case.go
        except BadInput as error:
            raise BadInput(f"Step {step.name}: {error.message}") from None
        return branch.otherwise

    async def _call(self, step: StepPlan) -> None:
        call = step.call
        if call is None:
            raise BadInput(f"Step {step.name!r} does not say what to call.")
        given = {**call.input, **await self.values(step.reads)}
        priority = self._steering.priority
        handle = await self._started(step, call, given)
        if priority != self._steering.priority and not workflow.patched(_BEFORE):
            priority = self._steering.priority
        self._show("calling", step, f"job {handle.id} of template {call.template}")
        try:
            result = await followed(handle, self._steering, priority)
        except FailureError as error:
            if call.on_failure == "fail" and is_cancelled_exception(error):
                raise Cancelled(f"Step {step.name}: the job {handle.id} was cancelled.") from None
            if call.on_failure == "fail":
                raise
            self._steering.left[step.number] = {"state": "failed", "reason": str(to_colony_error(error))[:500]}
            return
        self._steering.left[step.number] = _of_result(result)

    async def _started(
        self, step: StepPlan, call: CallPlan, given: dict[str, Any]
    ) -> ChildWorkflowHandle[Any, JobResult]:
        priority = step.priority or self._steering.priority
        note = ParentNote(key=self._plan.key, depth=self._depth + 1, priority=priority, tenant=self._plan.tenant)
        return await workflow.start_child_workflow(
            call.template,
            given,
            id=f"{self._plan.workflow_id[:120]}.{step.name}.{self._plan.key[:8]}",
            # The name says which step of which job it is: one that was there before is no work to do again.
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            result_type=JobResult,
            parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
            memo={PARENT_MEMO: note},
            priority=priority_of(priority, self._plan.tenant),
        )


async def followed(
    handle: ChildWorkflowHandle[Any, JobResult],
    steering: Steering,
    priority: int,
    may_tell: Callable[[], bool] = lambda: True,
) -> JobResult:
    """Wait for a job that was started; what this one is told it hears too, and it ends before a cancelled one does.

    `priority` is the one it was started at. Raises what it failed with.
    """
    paused = False
    try:
        while not handle.done():
            seen = steering.changes
            if steering.paused != paused and may_tell():
                paused = steering.paused
                await _tell(handle, "pause" if paused else "resume")
            if steering.priority != priority and may_tell():
                priority = steering.priority
                await _tell(handle, "set_priority", priority)
            await workflow.wait_condition(lambda seen=seen: handle.done() or steering.changes != seen)
        return await handle
    except asyncio.CancelledError:
        handle.cancel()
        await asyncio.gather(handle, return_exceptions=True)
        raise


async def _tell(handle: ChildWorkflowHandle[Any, JobResult], signal: str, *words: Any) -> None:
    try:
        await handle.signal(signal, args=list(words))
    except FailureError:
        workflow.logger.info("the called job %s ended before it heard %s", handle.id, signal)


def _of_result(result: JobResult) -> dict[str, Any]:
    counts = {step.name: {"tasks": step.tasks, "ok": step.ok, "failed": step.failed} for step in result.steps}
    return {
        "state": result.state.value,
        "job": result.job,
        "workflow_id": result.workflow_id,
        "artifacts": list(result.artifacts),
        "steps": counts,
    }
