"""The activities that tell about changes of state: events on the bus, POSTs to the webhook. Run on `colony-io`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from temporalio import activity

from colony.errors import ColonyError, NotPermitted, Transient, Unavailable, WebhookAway, WebhookRefused
from colony.fetch import FetchedPage
from colony.ids import event_subject
from colony.ledger.port import Ledger
from colony.messaging.port import Envelope, Messenger
from colony.sites import NoticeRow
from workflows import monitor_contracts as contracts
from workflows.beating import beating
from workflows.monitor_contracts import MonitorSettings, NoticesOf, NoticesPublished, NoticesSent, PublishNotices
from workflows.webhooks import body_of, delivery_of, event_of, headers_of

_LONGEST: Final = 60.0
_PAGE: Final = 50
_POST_SECONDS: Final = 10.0
_TELL_SECONDS: Final = 2.0
_PUBLISH_SECONDS: Final = 10.0
_PASSING: Final = frozenset({408, 425, 429})


class Poster(Protocol):
    """The guarded fetcher, as far as webhooks need it."""

    async def post(
        self, url: str, content: bytes, headers: Mapping[str, str], *, timeout: float | None = None
    ) -> FetchedPage:
        """POST once; raises `NotPermitted`, `Unavailable`, `DeadlineExceeded`."""
        ...


class NoticeActivities:
    """They raise `ColonyError`s; `workflows.translate` makes them Temporal's. Each may be repeated."""

    def __init__(self, ledger: Ledger, messenger: Messenger | None, poster: Poster | None) -> None:
        """Without `messenger` nothing is published, without `poster` no webhook is called."""
        self._ledger = ledger
        self._messenger = messenger
        self._poster = poster

    @property
    def activities(self) -> list[object]:
        """All of them, for a worker."""
        return [self.publish_notices, self.send_notices, self.drop_notices]

    @activity.defn(name=contracts.PUBLISH_NOTICES)
    async def publish_notices(self, request: PublishNotices) -> NoticesPublished:
        """Publish the next page of events, and see that the bus has them. Raises `Unavailable` to be tried again.

        An event may be published more than once, each time with the same message id.
        """
        async with beating(_LONGEST):
            page = await self._ledger.notices_between(request.job, request.after, request.upto, _PAGE)
            if page and self._messenger is not None:
                await self._publish(self._messenger, request.job, request.key, page)
            return NoticesPublished(last=page[-1].notice if len(page) == _PAGE else request.upto)

    async def _publish(self, messenger: Messenger, job: int, key: str, page: Sequence[NoticeRow]) -> None:
        try:
            async with asyncio.timeout(_PUBLISH_SECONDS):
                # While the bus is away nothing is left with the connection, which would forget it with its process.
                await messenger.ping()
                for notice in page:
                    await messenger.tell(event_subject(notice.kind, notice.site), _fact(job, key, notice))
                # It answers after all that was sent before.
                await messenger.ping()
        except TimeoutError:
            raise Unavailable(f"The bus did not take events within {_PUBLISH_SECONDS:g} s.") from None

    @activity.defn(name=contracts.SEND_NOTICES)
    async def send_notices(self, request: NoticesOf) -> NoticesSent:
        """POST the next page to the webhook. Raises `WebhookAway` to be tried again, and `WebhookRefused`."""
        async with beating(_LONGEST):
            page = await self._ledger.notices(request.job, _PAGE, request.upto)
            if page:
                await self._send(request, page)
            return NoticesSent(sent=len(page))

    async def _send(self, request: NoticesOf, page: Sequence[NoticeRow]) -> None:
        if request.publish and self._messenger is not None:
            await self._mention(self._messenger, request, page)
        monitor = await self._ledger.monitor(request.job)
        settings = MonitorSettings.model_validate_json(monitor.settings)
        if settings.webhook and self._poster is not None:
            body = body_of(request.job, request.workflow_id, page)
            headers = headers_of(body, monitor.secret, delivery_of(request.job, page), time.time())
            await _post(self._poster, settings.webhook, body, headers)
        await self._ledger.settle_notices(request.job, page[-1].notice)

    async def _mention(self, messenger: Messenger, request: NoticesOf, page: Sequence[NoticeRow]) -> None:
        """Publish for a monitor that an earlier build began: it has no other moment for it."""
        try:
            async with asyncio.timeout(_TELL_SECONDS):
                for notice in page:
                    fact = _fact(request.job, request.key, notice)
                    await messenger.tell(event_subject(notice.kind, notice.site), fact)
        except (ColonyError, TimeoutError) as error:
            activity.logger.warning("events not sent, the ledger and the webhook have them: %s", error)

    @activity.defn(name=contracts.DROP_NOTICES)
    async def drop_notices(self, request: NoticesOf) -> NoticesSent:
        """Give up the next page of notices; the ledger keeps why."""
        async with beating(_LONGEST):
            page = await self._ledger.notices(request.job, _PAGE, request.upto)
            if page:
                await self._ledger.settle_notices(request.job, page[-1].notice, request.reason)
            return NoticesSent(sent=len(page))


def _fact(job: int, key: str, notice: NoticeRow) -> Envelope:
    payload = {"job": job, "key": key, **event_of(notice)}
    return Envelope(kind=notice.kind, payload=payload, message_id=f"site-event-{notice.notice}")


async def _post(poster: Poster, url: str, body: bytes, headers: Mapping[str, str]) -> None:
    try:
        answer = await poster.post(url, body, headers, timeout=_POST_SECONDS)
    except NotPermitted as error:
        raise WebhookRefused(f"The webhook cannot be called: {error}") from error
    except Transient as error:
        raise WebhookAway(f"The webhook does not answer: {error}") from error
    if 200 <= answer.status < 300:
        return
    said = f"The webhook answered with status {answer.status}."
    if answer.status >= 500 or answer.status in _PASSING:
        raise WebhookAway(said)
    raise WebhookRefused(said)
