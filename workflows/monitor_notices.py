"""Tells changes of state, page by page: events on the bus, POSTs to the webhook; neither waits for the other."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from colony.errors import WebhookAway, WebhookRefused
    from workflows import monitor_contracts as contracts
    from workflows.monitor_contracts import NoticesOf, NoticesPublished, NoticesSent, PublishNotices, TickResult
    from workflows.monitor_patience import PATCH, Patience
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
"""About seven minutes; then a page the webhook does not take is given up, so that what comes later is told."""


class Teller:
    """Tells the webhook what there is to tell, one page at a time."""

    def __init__(self, request: NoticesOf) -> None:
        self._request = request
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._patience = Patience(stubborn=True)

    @property
    def busy(self) -> bool:
        """Whether it is telling."""
        return self._task is not None and not self._task.done()

    @property
    def trouble(self) -> str:
        """Why it cannot be asked at all; empty when it can. What a webhook says is in the ledger."""
        return self._patience.trouble

    def wake(self, upto: int, *, publish: bool) -> None:
        """There is something to tell, up to a number (0: all there is); with `publish` it goes to the bus as well."""
        publish = publish or (self.busy and self._request.publish)
        self._request = self._request.model_copy(update={"upto": upto or None, "publish": publish})
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
            request = self._request
            while (await self._page(request)).sent:
                pass

    async def _page(self, request: NoticesOf) -> NoticesSent:
        """Tell the first page of a request. All attempts ask for the same, and so deliver the same."""
        retried: dict[str, Any] = {**io_options(_SECONDS), "retry_policy": _RETRY}
        while True:
            try:
                sent = await workflow.execute_activity(
                    contracts.SEND_NOTICES, request, result_type=NoticesSent, **retried
                )
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                cause = to_colony_error(error)
                if isinstance(cause, WebhookAway | WebhookRefused) or not workflow.patched(PATCH):
                    return await self._give_up(request, str(cause)[:500])
                pause = self._patience.bear(error)
            else:
                self._patience.worked()
                return sent
            await asyncio.sleep(pause)

    async def _give_up(self, request: NoticesOf, reason: str) -> NoticesSent:
        lost = request.model_copy(update={"reason": reason})
        return await self._patience.execute(contracts.DROP_NOTICES, lost, NoticesSent)


class Publisher:
    """Publishes events on the bus, in order, each at least once; it never gives one up."""

    def __init__(self, job: int, key: str, heard: int | None, known: int = 0) -> None:
        """Go on after number `heard` (None: an earlier build told them), up to `known`."""
        self._job = job
        self._key = key
        self._task: asyncio.Task[None] | None = None
        self._patience = Patience(stubborn=True)
        self.heard = heard
        """Number of the last event that the bus has; None until there was one."""
        self.known = known
        """Number of the last event there is."""

    @property
    def busy(self) -> bool:
        """Whether it is publishing."""
        return self._task is not None and not self._task.done()

    @property
    def trouble(self) -> str:
        """Why events cannot be published; empty when they can."""
        return self._patience.trouble

    def wake(self, known: int) -> None:
        """There are events up to a number."""
        self.known = max(self.known, known)
        if self.heard is None:
            # What there is now is told as that build did it.
            self.heard = self.known or None
        elif self.heard < self.known and not self.busy:
            self._task = asyncio.ensure_future(self._publish(self.heard))

    def cancel(self) -> None:
        """Publish no more."""
        if self._task is not None:
            self._task.cancel()

    async def _publish(self, heard: int) -> None:
        while heard < self.known:
            request = PublishNotices(job=self._job, key=self._key, after=heard, upto=self.known)
            done = await self._patience.execute(contracts.PUBLISH_NOTICES, request, NoticesPublished)
            heard = self.heard = max(heard + 1, done.last)


class Telling:
    """Both of them: a bus that is away holds up no webhook, and a webhook that is away no event."""

    def __init__(self, teller: Teller, publisher: Publisher | None) -> None:
        """Without `publisher` events go to the bus together with the webhook, as earlier builds did."""
        self._teller = teller
        self._publisher = publisher

    @property
    def busy(self) -> bool:
        """Whether one of them is at work."""
        return self._teller.busy or (self._publisher is not None and self._publisher.busy)

    @property
    def trouble(self) -> str:
        """What is wrong; empty when nothing is."""
        return self._teller.trouble or ("" if self._publisher is None else self._publisher.trouble)

    @property
    def heard(self) -> tuple[int | None, int]:
        """Numbers of the last event that the bus has, and of the last one there is: for the next run."""
        return (None, 0) if self._publisher is None else (self._publisher.heard, self._publisher.known)

    def wake(self, last: TickResult) -> None:
        """Tell what a round left to be told."""
        apart = self._publisher is not None and self._publisher.heard is not None
        if self._publisher is not None:
            self._publisher.wake(last.last_notice)
        if last.notices:
            # An activity of an earlier build gives no number, and publishes by itself.
            self._teller.wake(last.last_notice, publish=not apart or not last.last_notice)

    def cancel(self) -> None:
        """Tell no more."""
        self._teller.cancel()
        if self._publisher is not None:
            self._publisher.cancel()
