"""How a monitor lives through times without ledger or workers: the trouble is noted, the same is tried again later."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from workflows.monitoring import pause_after
    from workflows.policies import io_options
    from workflows.translate import never_passes, to_colony_error

Answer = TypeVar("Answer")

PATCH = "monitor-lives-on"
"""Histories of earlier builds, which ended with the first such trouble, replay as they were."""

SHORT_SECONDS = 60.0
"""Seconds an activity may take that only touches rows."""

_SEEN_SECONDS = 120.0
"""Seconds until trouble is noted: an activity that is tried again and again by the server tells nobody."""


def patient_options(priority: Priority = Priority.default) -> dict[str, Any]:
    """Options of an activity that is tried again after whatever befalls it."""
    whole = timedelta(seconds=SHORT_SECONDS + _SEEN_SECONDS)
    soon = {"schedule_to_start_timeout": timedelta(seconds=_SEEN_SECONDS), "schedule_to_close_timeout": whole}
    return {**io_options(SHORT_SECONDS, priority), **soon}


class Patience:
    """Bears what passes: time-outs and errors that the server has tried again for as long as it may."""

    def __init__(self, *, stubborn: bool = False) -> None:
        """`stubborn`: bears also what the activity says never to pass."""
        self._stubborn = stubborn
        self.trouble = ""
        """What is wrong since the last success; empty when nothing is."""
        self._failures = 0

    @property
    def failing(self) -> bool:
        """Whether the last try failed."""
        return self._failures > 0

    def worked(self) -> None:
        """The last try was a success."""
        self.trouble, self._failures = "", 0

    def bear(self, error: ActivityError) -> float:
        """Note an error; seconds to wait before the next try.

        Raises it when waiting does not help: the job is cancelled, or the activity says that it never will succeed.
        """
        for_ever = never_passes(error) and not self._stubborn
        if is_cancelled_exception(error) or for_ever or not workflow.patched(PATCH):
            raise error
        self._failures += 1
        self.trouble = str(to_colony_error(error))[:300]
        return pause_after(self._failures)

    async def execute(self, activity: str, request: Any, result_type: type[Answer]) -> Answer:
        """What the activity answers, however long that takes. Raises the `ActivityError` that `bear` raises."""
        while True:
            try:
                answer: Answer = await workflow.execute_activity(
                    activity, request, result_type=result_type, **patient_options()
                )
            except ActivityError as error:
                pause = self.bear(error)
            else:
                self.worked()
                return answer
            await asyncio.sleep(pause)
