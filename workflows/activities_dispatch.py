"""The one activity of the dispatcher process: hand a batch to whoever runs it."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from colony.contracts import BatchProgress, BatchReport, BatchRequest
from colony.dispatch import BatchRunner
from colony.errors import Overloaded, Transient, Unavailable
from workflows import names
from workflows.policies import SILENCE_SECONDS, leave_delay
from workflows.translate import bounded


class DispatchActivities:
    """Activities on `colony-dispatch`."""

    def __init__(self, runner: BatchRunner, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        self._runner = runner
        self._silence_seconds = silence_seconds

    @property
    def activities(self) -> list[object]:
        """All of them, for a worker."""
        return [self.dispatch_batch]

    @activity.defn(name=names.DISPATCH_BATCH)
    async def dispatch_batch(self, request: BatchRequest) -> BatchReport:
        """Run a batch; heartbeats carry the real progress of the hosts.

        An attempt that ends no task (no host, overload, lost shard, silence) is tried again by the server after a
        delay: that adds nothing to the history and is no attempt of a task.
        """
        try:
            report = await self._watched(request)
        except Transient as error:
            wait = error.retry_after if isinstance(error, Overloaded) else None
            raise _later(type(error).__name__, str(error), wait or 0.0) from None
        if report.left > 0 and report.ok + report.failed == 0 and not report.cancelled:
            reason = report.left_reason or "Unavailable"
            told = f"{report.left} tasks came back without an outcome ({reason})."
            raise _later(reason, told, report.retry_after)
        return report

    async def _watched(self, request: BatchRequest) -> BatchReport:
        """Run the batch, but give up on a silent host: its call may never end, and would hold this slot for ever."""
        loop = asyncio.get_running_loop()

        def on_progress(progress: BatchProgress) -> None:
            activity.heartbeat(progress)
            if not watch.expired():
                watch.reschedule(loop.time() + self._silence_seconds)

        watch = asyncio.timeout(self._silence_seconds)
        try:
            async with watch:
                return await self._runner.run(request, on_progress)
        except TimeoutError:
            raise Unavailable(f"The host reported no progress for {self._silence_seconds:.0f} s.") from None


def _later(reason: str, message: str, retry_after: float = 0.0) -> ApplicationError:
    jitter = random.random()  # noqa: S311 -- spreads retries, no secret
    delay = leave_delay(reason, activity.info().attempt, jitter, retry_after)
    # Benign: part of normal running, so the SDK logs no traceback for it.
    return ApplicationError(
        bounded(message),
        type=reason,
        next_retry_delay=timedelta(seconds=delay),
        category=ApplicationErrorCategory.BENIGN,
    )
