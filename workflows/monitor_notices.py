"""Telling the world about changes of state: page by page, tried again with patience, given up in the end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from workflows import monitor_contracts as contracts
    from workflows.monitor_contracts import NoticesOf, NoticesSent
    from workflows.policies import io_options
    from workflows.translate import to_colony_error

_SECONDS = 30.0
"""Most one attempt may take."""

_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=60),
    maximum_attempts=12,
)
"""About seven minutes; then the page is given up, so that what comes later is told."""


class Teller:
    """Tells what there is to tell, one page at a time."""

    def __init__(self, request: NoticesOf) -> None:
        self._request = request
        self._task: asyncio.Task[None] | None = None
        self._again = False

    @property
    def busy(self) -> bool:
        """Whether it is telling."""
        return self._task is not None and not self._task.done()

    def wake(self) -> None:
        """There is something to tell."""
        self._again = True
        if not self.busy:
            self._task = asyncio.ensure_future(self._tell())

    def cancel(self) -> None:
        """Tell no more."""
        if self._task is not None:
            self._task.cancel()

    async def _tell(self) -> None:
        while self._again:
            self._again = False
            while (await self._page()).sent:
                pass

    async def _page(self) -> NoticesSent:
        retried: dict[str, Any] = {**io_options(_SECONDS), "retry_policy": _RETRY}
        try:
            return await workflow.execute_activity(
                contracts.SEND_NOTICES, self._request, result_type=NoticesSent, **retried
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            reason = str(to_colony_error(error))[:500]
        lost = self._request.model_copy(update={"reason": reason})
        return await workflow.execute_activity(
            contracts.DROP_NOTICES, lost, result_type=NoticesSent, **io_options(_SECONDS)
        )
