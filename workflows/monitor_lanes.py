"""Checks under way: one range of checks a lane, handed out through the dispatcher like the batches of any job."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from colony.contracts import BatchReport, BatchRequest
    from colony.errors import Cancelled
    from colony.jobs import JobPlan
    from workflows import names
    from workflows.contracts import Range
    from workflows.monitor_contracts import CHECK_STEP, LaneRange
    from workflows.policies import dispatch_options, leave_delay
    from workflows.steering import Steering
    from workflows.translate import to_colony_error

LANES = (0, 1)
"""Quick sites and slow ones: see `workflows.monitoring.lane_of`."""

_ATTEMPTS = 3
"""Times a range of checks is handed out before what is left of it is checked anew."""


class Lanes:
    """The checks of one monitor that are under way."""

    def __init__(self, plan: JobPlan, steering: Steering) -> None:
        """`steering` says the priority of checks from now on."""
        self._plan = plan
        self._steering = steering
        self._running: dict[int, tuple[asyncio.Task[None], LaneRange]] = {}
        self.trouble = ""
        """Why checks could not be made lately; empty when they can."""

    @property
    def free(self) -> tuple[int, ...]:
        """Lanes without checks."""
        return tuple(lane for lane in LANES if lane not in self._running)

    @property
    def ranges(self) -> tuple[LaneRange, ...]:
        """What is under way."""
        return tuple(part for _, part in self._running.values())

    def start(self, part: LaneRange) -> None:
        """Have these checks made."""
        self._running[part.lane] = (asyncio.ensure_future(self._check(part)), part)

    def some_ended(self) -> bool:
        """Whether `collect` would find something."""
        return any(task.done() for task, _ in self._running.values())

    def collect(self) -> tuple[Range, ...]:
        """The ranges that ended since the last time. Raises `Cancelled` when hosts say that the job is."""
        ended: list[Range] = []
        for lane, (task, part) in list(self._running.items()):
            if task.done():
                del self._running[lane]
                ended.append(Range(first=part.first, end=part.end))
                task.result()
        return tuple(ended)

    def cancel(self) -> None:
        """Wait for none of them any more."""
        for task, _ in self._running.values():
            task.cancel()

    async def _check(self, part: LaneRange) -> None:
        """Have a range of checks made. Checks that cannot be made are left to a later round: that ends no monitor."""
        plan = self._plan
        for attempt in range(_ATTEMPTS):
            priority = self._steering.priority
            request = BatchRequest(
                job=plan.job,
                key=plan.key,
                step=CHECK_STEP.number,
                first=part.first,
                end=part.end,
                priority=priority,
                tenant=plan.tenant,
            )
            options = dispatch_options(CHECK_STEP, priority, plan.tenant)
            try:
                report = await workflow.execute_activity(
                    names.DISPATCH_BATCH, request, result_type=BatchReport, **options
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                self.trouble = str(to_colony_error(error))[:300]
                return
            if report.cancelled:
                raise Cancelled("The job was cancelled: its mark is set in the ledger.")
            self.trouble = report.left_reason if report.left else ""
            if not report.left:
                return
            await asyncio.sleep(leave_delay(report.left_reason, attempt + 1, retry_after=report.retry_after))
