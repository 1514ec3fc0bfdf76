"""One step of a job under way: hands out ranges in a window, adapts, tries again, and knows when to stop."""

from __future__ import annotations

import asyncio
import json

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from colony.contracts import MAX_BATCH, BatchReport, BatchRequest, StepCounts
    from colony.errors import Cancelled, Permanent, Unavailable
    from colony.jobs import JobPlan, StepPlan
    from workflows import names
    from workflows.contracts import Range, StepCursor, StepRef, StepTally
    from workflows.cursor import absorb, next_generation, sweep, take
    from workflows.policies import (
        DISPATCHER_SECONDS,
        MAX_SWEEPS,
        STALL_SECONDS,
        budget_exceeded,
        dispatch_options,
        generation_delay,
        io_options,
        leave_delay,
        priority_of,
        should_continue_as_new,
    )
    from workflows.steering import Steering
    from workflows.translate import never_started, ran_out_of_time

_SETTLE_SECONDS = 60.0
"""How long batches of a cancelled job may take to notice it."""


class StepRun:
    """Runs one step. `cursor` is always what a next run of the workflow needs to go on."""

    def __init__(self, plan: JobPlan, step: StepPlan, cursor: StepCursor, steering: Steering) -> None:
        self._plan = plan
        self._steering = steering
        self._values = json.dumps(steering.reads) if steering.reads else ""
        self._step = step
        self._running: dict[asyncio.Task[BatchReport], Range] = {}
        self._progress_at = workflow.time()
        self._idle_rounds = 0
        self._retry_after = 0.0
        self._not_started = False
        """Whether a batch came back since nobody took it up."""
        self._left_since: float | None = None
        """Since when tasks come back; None while they do not. Wall-clock seconds, as in what follows."""
        self._rest_since: float | None = None
        """When a pause before the next try began; None outside of one."""
        self._rest_until: float | None = None
        self.cursor = cursor

    def _priority(self) -> int:
        return self._step.priority or self._steering.priority

    def _turn(self) -> Priority:
        return priority_of(self._priority(), self._plan.tenant)

    def progress(self) -> dict[str, object]:
        """The part of `Progress` a step knows."""
        times: dict[str, object] = {}
        since = self._left_since if self.cursor.again else self._rest_since
        if since is not None:
            times = {"since": since, "until": self._rest_until}
        return times | {
            "tasks": self.cursor.tasks,
            "done": self.cursor.done,
            "failed": self.cursor.failed,
            "generation": self.cursor.generation,
            "batches": len(self._running),
            "waiting_for": self.cursor.left_reason if self.cursor.again else "",
        }

    async def run(self) -> StepCounts | None:
        """The counts of the finished step; None if the history is long: then continue as new with `cursor`.

        Raises `Permanent` when the error budget is spent, `Unavailable` when nothing moves, `Cancelled`.
        """
        while True:
            if not await self._hand_out_all():
                return None
            tally = await self._tally()
            if budget_exceeded(tally.failed - tally.transient, tally.tasks, self._step.error_budget):
                raise _over_budget(self._step, tally)
            if tally.missing > 0:
                self._sweep(tally)
            elif tally.transient > 0 and self.cursor.generation + 1 < self._step.attempts:
                self.cursor = next_generation(self.cursor, tally)
                await self._sleep(generation_delay(self.cursor.generation))
            elif budget_exceeded(tally.failed, tally.tasks, self._step.error_budget):
                raise _over_budget(self._step, tally)
            else:
                return self._counts(tally)

    async def settle(self) -> None:
        """Wait for the batches under way to end, whatever they end with; cancel those that do not."""
        if not self._running:
            return
        _, late = await workflow.wait(list(self._running), timeout=_SETTLE_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()

    async def _hand_out_all(self) -> bool:
        """Hand out the whole generation; False when stopped since the history is long."""
        while True:
            info = workflow.info()
            full = should_continue_as_new(info.get_current_history_length(), info.is_continue_as_new_suggested())
            if not full:
                self._fill()
            if not self._running:
                if self._steering.paused and not full and not self._handed_out():
                    await self._rest()
                    continue
                return not full
            done = await self._some_end()
            left = False
            for task in done:
                handed = self._running.pop(task)
                left |= self._absorb(handed, self._report_of(task, handed))
            if left:
                await self._wait_for_hosts()

    def _handed_out(self) -> bool:
        return not self.cursor.fresh and not self.cursor.again

    async def _rest(self) -> None:
        """Wait until the job is resumed. A pause is no standing still."""
        await workflow.wait_condition(lambda: not self._steering.paused)
        self._progress_at = workflow.time()

    async def _some_end(self) -> list[asyncio.Task[BatchReport]]:
        """Batches that ended; none when the job was resumed meanwhile, so that more are handed out."""
        if self._steering.paused:
            await workflow.wait_condition(
                lambda: not self._steering.paused or any(task.done() for task in self._running)
            )
            return [task for task in self._running if task.done()]
        done, _ = await workflow.wait(list(self._running), return_when=asyncio.FIRST_COMPLETED)
        return [task for task in self._running if task in done]

    def _fill(self) -> None:
        while len(self._running) < self._step.parallel and not self._steering.paused:
            self.cursor, handed = take(
                self.cursor, self._step.parallel, self._step.batch or MAX_BATCH, self._plan.first_batch
            )
            if handed is None:
                return
            request = BatchRequest(
                job=self._plan.job,
                key=self._plan.key,
                step=self._step.number,
                generation=self.cursor.generation,
                first=handed.first,
                end=handed.end,
                priority=self._priority(),
                tenant=self._plan.tenant,
                values=self._values,
            )
            batch = workflow.execute_activity(
                names.DISPATCH_BATCH,
                request,
                result_type=BatchReport,
                **dispatch_options(self._step, self._priority(), self._plan.tenant),
            )
            self._running[asyncio.ensure_future(batch)] = handed

    def _report_of(self, task: asyncio.Task[BatchReport], handed: Range) -> BatchReport:
        """How a batch ended. One that waited in vain for its turn comes back as it was: that is no failure of it."""
        try:
            return task.result()
        except ActivityError as error:
            if never_started(error):
                self._not_started = True
            elif not ran_out_of_time(error) or self._stands_still():
                raise
            return BatchReport(left=handed.size, left_reason=Unavailable.__name__)

    def _stands_still(self) -> bool:
        return workflow.time() - self._progress_at > STALL_SECONDS

    def _absorb(self, handed: Range, report: BatchReport) -> bool:
        """Take a report in; True if tasks came back."""
        if report.cancelled:
            raise Cancelled("The job was cancelled: its mark is set in the ledger.")
        self.cursor = absorb(self.cursor, handed, report)
        if report.left and self._left_since is None:
            self._left_since = workflow.time()
        elif not self.cursor.again:
            self._left_since = None
        self._retry_after = max(self._retry_after, report.retry_after)
        if report.ok + report.failed > 0 or report.left == 0:
            self._progress_at = workflow.time()
            self._idle_rounds = 0
        if budget_exceeded(self.cursor.hopeless, self.cursor.tasks, self._step.error_budget):
            # Counts of lost attempts are missing here, so this errs on the side of going on.
            raise Permanent(
                f"Step {self._step.name}: {self.cursor.hopeless} of {self.cursor.tasks} tasks failed for good,"
                f" more than its error budget of {self._step.error_budget:.0%} ({_top(report.errors)}).",
                remedy="See `colony dead-letters`.",
            )
        return report.left > 0

    async def _wait_for_hosts(self) -> None:
        self._idle_rounds += 1
        if self._not_started:
            self._not_started = False
            await self._check_dispatcher()
        if self._stands_still():
            raise Unavailable(
                f"Step {self._step.name} got nothing done for {STALL_SECONDS:.0f} s ({self.cursor.left_reason}).",
                remedy="Look whether hosts run and have room: `colony status`.",
            )
        delay = leave_delay(self.cursor.left_reason, self._idle_rounds, retry_after=self._retry_after)
        self._retry_after = 0.0
        await self._sleep(delay)

    async def _sleep(self, seconds: float) -> None:
        """Wait before the next try, and say so."""
        self._rest_since = workflow.time()
        self._rest_until = self._rest_since + seconds
        try:
            await asyncio.sleep(seconds)
        finally:
            self._rest_since = self._rest_until = None

    async def _check_dispatcher(self) -> None:
        """Raise `Unavailable` if nothing goes on here and no dispatcher lives; else the step only waits its turn."""
        if workflow.time() - self._progress_at < STALL_SECONDS:
            return
        lives = await workflow.execute_activity(
            names.DISPATCHER_LIVES, result_type=bool, **io_options(DISPATCHER_SECONDS, self._turn())
        )
        if not lives:
            raise Unavailable(
                f"Step {self._step.name}: no dispatcher took work for {STALL_SECONDS:.0f} s, and none lives.",
                remedy="Look at `colony status` and `colony logs dispatcher`.",
            )
        self._progress_at = workflow.time()

    def _sweep(self, tally: StepTally) -> None:
        if self.cursor.sweeps >= MAX_SWEEPS:
            raise Permanent(
                f"Step {self._step.name}: {tally.missing} of {tally.tasks} tasks ended without an outcome,"
                f" {MAX_SWEEPS} times over.",
                remedy="This is a fault of Colony: please report it with the logs of the hosts.",
            )
        self.cursor = sweep(self.cursor, tally)

    async def _tally(self) -> StepTally:
        where = StepRef(job=self._plan.job, step=self._step.number)
        options = io_options(priority=self._turn())
        return await workflow.execute_activity(names.TALLY_STEP, where, result_type=StepTally, **options)

    def _counts(self, tally: StepTally) -> StepCounts:
        return StepCounts(
            number=self._step.number,
            name=self._step.name,
            tasks=tally.tasks,
            ok=tally.ok,
            failed=tally.failed,
            errors=tally.errors,
        )


def _over_budget(step: StepPlan, tally: StepTally) -> Permanent:
    return Permanent(
        f"Step {step.name}: {tally.failed} of {tally.tasks} tasks failed, more than its error budget of"
        f" {step.error_budget:.0%} ({_top(tally.errors)}).",
        remedy="See `colony dead-letters`.",
    )


def _top(errors: dict[str, int]) -> str:
    most = sorted(errors.items(), key=lambda item: (-item[1], item[0]))[:3]
    return ", ".join(f"{count} {name}" for name, count in most) or "no error class known"
