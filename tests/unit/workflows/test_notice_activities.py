"""What is told about changes of state: none lost, and each attempt tells the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.testing import ActivityEnvironment

from colony.clock import SystemClock
from colony.errors import ColonyError, DeadlineExceeded, NotPermitted, Unavailable, WebhookAway, WebhookRefused
from colony.fetch import FetchedPage
from colony.ids import Id
from colony.ledger.memory import MemoryLedger
from colony.ledger.sites import TickRows
from colony.messaging.memory import MemoryBus, MemoryMessenger
from colony.messaging.port import Envelope
from colony.sites import NoticeRow, SiteMemory, SiteRow, SiteSpec
from tests.eventually import assert_eventually
from workflows.activities_notices import NoticeActivities
from workflows.monitor_contracts import MonitorSettings, NoticesOf, NoticesPublished, PublishNotices
from workflows.monitoring import pause_after
from workflows.webhooks import DELIVERY

HOOK = "https://hooks.example/colony"


class Hook:
    """A webhook: answers as told, keeps what it gets."""

    def __init__(self, answer: int | ColonyError = 200) -> None:
        self.answer = answer
        self.posts: list[tuple[str, list[int]]] = []
        """Delivery id, numbers of the events."""

    async def post(
        self, url: str, content: bytes, headers: Mapping[str, str], *, timeout: float | None = None
    ) -> FetchedPage:
        self.posts.append((headers[DELIVERY], [event["event"] for event in json.loads(content)["events"]]))
        if isinstance(self.answer, ColonyError):
            raise self.answer
        return FetchedPage(url=url, status=self.answer, content=b"", content_type="", seconds=0.0)


class Told:
    """A monitor with one site, a bus, a webhook."""

    def __init__(self, hook: Hook | None = None) -> None:
        self.ledger = MemoryLedger(SystemClock())
        self.bus = MemoryBus()
        self.hook = hook or Hook()
        self.heard: list[tuple[str, Envelope]] = []
        self.job = 0
        self._tick = 0
        clock = SystemClock()
        self.activities = NoticeActivities(
            self.ledger, MemoryMessenger(self.bus, role="worker", clock=clock), self.hook
        )

    async def open(self) -> Told:
        async def keep(subject: str, fact: Envelope) -> None:
            self.heard.append((subject, fact))

        self.job = (await self.ledger.open_job("k", "w", "website_monitor", (), None, {})).job
        site = SiteRow(SiteSpec(site=Id("a"), url="http://a.example/"), SiteMemory(), 0.0)
        settings = MonitorSettings(webhook=HOOK).model_dump_json().encode()
        await self.ledger.open_monitor(self.job, "secret", settings, [site])
        await MemoryMessenger(self.bus, role="client").subscribe("colony.event.>", keep)
        return self

    async def happens(self, *kinds: str) -> None:
        self._tick += 1
        notices = [NoticeRow(0, Id("a"), kind, 1.0, "http://a.example/", "up", "why") for kind in kinds]
        rows: dict[str, Any] = dict.fromkeys(("updates", "checks", "opened", "closed", "tasks"), ())
        await self.ledger.save_tick(
            TickRows(job=self.job, step=0, tick=self._tick, notices=notices, next_seq=0, reply=b"{}", **rows)
        )

    async def publish(self, after: int, upto: int) -> NoticesPublished:
        request = PublishNotices(job=self.job, key="k", after=after, upto=upto)
        return await ActivityEnvironment().run(self.activities.publish_notices, request)

    async def send(self, upto: int | None = None, *, publish: bool = False) -> int:
        request = NoticesOf(job=self.job, key="k", workflow_id="w", upto=upto, publish=publish)
        return (await ActivityEnvironment().run(self.activities.send_notices, request)).sent


async def test_an_event_is_not_lost_when_the_bus_is_away_at_first() -> None:
    told = await Told().open()
    await told.happens("site-down", "site-up")
    told.bus.available = False
    with pytest.raises(Unavailable):
        await told.publish(0, 2)
    # The webhook does not wait for the bus, and what it got is published nevertheless.
    assert await told.send() == 2
    assert not await told.ledger.notices(told.job, 9)
    told.bus.available = True
    assert await told.publish(0, 2) == NoticesPublished(last=2)
    await assert_eventually(lambda: len(told.heard) >= 2)
    assert [subject for subject, _ in told.heard] == ["colony.event.site-down.a", "colony.event.site-up.a"]
    assert [fact.message_id for _, fact in told.heard] == ["site-event-1", "site-event-2"]


async def test_an_event_published_again_has_the_same_id() -> None:
    told = await Told().open()
    await told.happens("site-down")
    await told.publish(0, 1)
    await told.publish(0, 1)
    await assert_eventually(lambda: len(told.heard) == 2)
    assert {fact.message_id for _, fact in told.heard} == {"site-event-1"}
    assert told.heard[0][1].payload["event"] == 1


async def test_events_are_published_page_by_page() -> None:
    told = await Told().open()
    await told.happens(*["site-down"] * 60)
    assert await told.publish(0, 60) == NoticesPublished(last=50)
    assert await told.publish(50, 60) == NoticesPublished(last=60)
    assert await told.publish(60, 61) == NoticesPublished(last=61), "what is forgotten holds nothing up"
    await assert_eventually(lambda: len(told.heard) == 60)


async def test_attempts_deliver_the_same_when_more_happens_in_between() -> None:
    told = await Told(Hook(503)).open()
    await told.happens("site-down", "site-changed")
    with pytest.raises(WebhookAway):
        await told.send(2)
    await told.happens("site-up")
    told.hook.answer = 200
    assert await told.send(2) == 2
    assert await told.send(2) == 0
    assert await told.send(3) == 1
    assert told.hook.posts == [(f"{told.job}-1-2", [1, 2])] * 2 + [(f"{told.job}-3-3", [3])]


async def test_a_monitor_of_an_earlier_build_publishes_with_each_attempt() -> None:
    told = await Told(Hook(503)).open()
    await told.happens("site-down")
    for _ in range(2):
        with pytest.raises(WebhookAway):
            await told.send(publish=True)
    await assert_eventually(lambda: len(told.heard) == 2)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (500, WebhookAway),
        (429, WebhookAway),
        (Unavailable("away"), WebhookAway),
        (DeadlineExceeded("slow"), WebhookAway),
        (404, WebhookRefused),
        (301, WebhookRefused),
        (NotPermitted("private"), WebhookRefused),
    ],
)
async def test_what_a_webhook_says_is_told_from_trouble_of_our_own(
    answer: int | ColonyError, error: type[ColonyError]
) -> None:
    told = await Told(Hook(answer)).open()
    await told.happens("site-down")
    with pytest.raises(error):
        await told.send()
    assert len(await told.ledger.notices(told.job, 9)) == 1


@given(st.integers(1, 10**6))
def test_pauses_grow_and_are_bounded(failures: int) -> None:
    assert 5 <= pause_after(failures) <= pause_after(failures + 1) <= 60
