"""The report of each day, written after midnight UTC."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from workflows import monitor_contracts as contracts
    from workflows.monitor_contracts import ReportMonitor
    from workflows.monitor_patience import SHORT_SECONDS
    from workflows.monitoring import DAY
    from workflows.policies import io_options
    from workflows.translate import to_colony_error


class Daily:
    """Which days have their report."""

    def __init__(self, reported: int) -> None:
        """Days since 1970-01-01 UTC up to `reported` have theirs."""
        self.reported = reported
        self.trouble = ""
        """Why the last one could not be written; empty when it could."""

    def due_in(self, now: float) -> float:
        """Seconds until the next report."""
        return (self.reported + 2) * DAY - now

    async def write(self, job: int) -> None:
        """Write the report of yesterday, unless it was. One that cannot be written ends no monitor."""
        day = int(workflow.now().timestamp() // DAY) - 1
        if day <= self.reported:
            return
        self.reported = day
        name = workflow.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
        request = ReportMonitor(job=job, since=day * DAY, until=(day + 1) * DAY, day=name.strftime("%Y-%m-%d"))
        try:
            await workflow.execute_activity(
                contracts.REPORT_MONITOR, request, result_type=list[str], **io_options(SHORT_SECONDS)
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            self.trouble = str(to_colony_error(error))[:300]
        else:
            self.trouble = ""
