"""One suite for the bus and its twin."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from colony.errors import BadInput, DeadlineExceeded, LostShard, NoResponders, NotPermitted, Permanent, Unavailable
from colony.messaging.memory import MemoryBus, MemoryMessenger
from colony.messaging.nats import open_messenger
from colony.messaging.port import MAX_ENVELOPE, Envelope, Messenger
from tests.eventually import assert_eventually
from tests.servers.nats import nats_server

pytestmark = pytest.mark.contract

AGENT = "colony.agent.7.research-00001"
Connect = Callable[..., Awaitable[Messenger]]


@pytest.fixture(params=["memory", "nats"])
async def connect(request: pytest.FixtureRequest) -> AsyncGenerator[Connect]:
    """Makes connections to one bus."""
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            bus = MemoryBus()

            async def make(role: str = "host") -> Messenger:
                return MemoryMessenger(bus, role=role)
        else:
            server = await stack.enter_async_context(nats_server())

            async def make(role: str = "host") -> Messenger:
                return await stack.enter_async_context(open_messenger(server.endpoint, role=role, name=f"test {role}"))

        yield make


async def test_tell_reaches_everybody_who_listens(connect: Connect):
    one, two, sender = await connect(), await connect(), await connect("client")
    got: list[tuple[str, str, dict]] = []

    async def handler(subject, envelope):
        got.append((subject, envelope.kind, envelope.payload))

    await one.subscribe("colony.topic.news", handler)
    await two.subscribe("colony.topic.*", handler)
    await two.subscribe("colony.topic.other", handler)
    await sender.tell("colony.topic.news", Envelope(kind="fact", payload={"a": [1, "ü"]}))
    await assert_eventually(lambda: len(got) == 2)
    assert got == [("colony.topic.news", "fact", {"a": [1, "ü"]})] * 2


async def test_one_sender_is_heard_in_order(connect: Connect):
    host, sender = await connect(), await connect()
    got: list[int] = []
    await host.subscribe_raw("colony.agent.7.*", lambda subject, envelope, reply: got.append(envelope.payload["n"]))
    for n in range(2000):
        await sender.tell(AGENT, Envelope(kind="x", payload={"n": n}))
    await assert_eventually(lambda: len(got) == 2000)
    assert got == list(range(2000))


async def test_a_queue_group_shares_the_work(connect: Connect):
    members = [await connect() for _ in range(3)]
    sender = await connect()
    counts = [0, 0, 0]

    def intake_of(index):
        def intake(subject, envelope, reply):
            counts[index] += 1

        return intake

    for index, member in enumerate(members):
        await member.subscribe_raw("colony.type.research", intake_of(index), queue="hosts")
    for _ in range(300):
        await sender.tell("colony.type.research", Envelope(kind="x"))
    await assert_eventually(lambda: sum(counts) == 300)
    assert all(counts)


async def test_ask_brings_the_answer_to_each_of_many_askers(connect: Connect):
    host, client = await connect(), await connect("client")

    async def handler(subject, envelope):
        await asyncio.sleep(0.001 * (envelope.payload["n"] % 5))
        return Envelope(kind="ok", payload={"n": envelope.payload["n"]})

    await host.subscribe("colony.agent.7.*", handler)
    answers = await asyncio.gather(
        *(client.ask(AGENT, Envelope(kind="q", payload={"n": n}), timeout=10) for n in range(200))
    )
    assert [answer.payload["n"] for answer in answers] == list(range(200))


async def test_a_raw_intake_may_answer_later(connect: Connect):
    host, client = await connect(), await connect("client")
    waiting = []
    await host.subscribe_raw("colony.agent.7.*", lambda subject, envelope, reply: waiting.append(reply))
    asking = asyncio.create_task(client.ask(AGENT, Envelope(kind="q"), timeout=10))
    await assert_eventually(lambda: waiting)
    waiting[0](Envelope(kind="ok"))
    assert (await asking).kind == "ok"
    await client.tell(AGENT, Envelope(kind="fact"))
    await assert_eventually(lambda: len(waiting) == 2)
    assert waiting[1] is None


async def test_an_error_of_the_handler_comes_back_by_name(connect: Connect):
    host, client = await connect(), await connect("client")

    async def handler(subject, envelope):
        if envelope.kind == "lost":
            raise LostShard("not mine any more")
        raise ZeroDivisionError("inside")

    await host.subscribe("colony.agent.7.*", handler)
    with pytest.raises(LostShard, match="not mine"):
        await client.ask(AGENT, Envelope(kind="lost"), timeout=10)
    with pytest.raises(Permanent, match="ZeroDivisionError"):
        await client.ask(AGENT, Envelope(kind="other"), timeout=10)


async def test_handlers_that_fail_or_cancel_do_not_end_the_subscription(connect: Connect):
    host, client = await connect(), await connect("client")

    async def handler(subject, envelope):
        if envelope.kind == "cancel":
            raise asyncio.CancelledError
        if envelope.kind == "raise":
            raise RuntimeError("no")
        return Envelope(kind="ok")

    await host.subscribe("colony.agent.7.*", handler, concurrency=1)
    for kind in ("cancel", "raise", "cancel"):
        await client.tell(AGENT, Envelope(kind=kind))
    with pytest.raises(DeadlineExceeded):
        await client.ask(AGENT, Envelope(kind="cancel"), timeout=10)
    assert (await client.ask(AGENT, Envelope(kind="fine"), timeout=10)).kind == "ok"


async def test_an_intake_that_raises_does_not_end_the_subscription(connect: Connect):
    host, client = await connect(), await connect("client")
    got = []

    def intake(subject, envelope, reply):
        if envelope.kind == "raise":
            raise RuntimeError("no")
        if envelope.kind == "cancel":
            raise asyncio.CancelledError
        got.append(envelope.kind)

    await host.subscribe_raw("colony.agent.7.*", intake)
    for kind in ("raise", "cancel", "fine"):
        await client.tell(AGENT, Envelope(kind=kind))
    await assert_eventually(lambda: got == ["fine"])


async def test_no_responders_is_tried_again_until_the_deadline(connect: Connect):
    client = await connect("client")
    started = time.monotonic()
    with pytest.raises(NoResponders):
        await client.ask(AGENT, Envelope(kind="q"), timeout=0.5)
    assert time.monotonic() - started > 0.1


async def test_a_receiver_that_comes_in_time_answers(connect: Connect):
    host, client = await connect(), await connect("client")

    async def handler(subject, envelope):
        return Envelope(kind="ok")

    asking = asyncio.create_task(client.ask(AGENT, Envelope(kind="q"), timeout=10))
    await asyncio.sleep(0.2)
    assert not asking.done()
    await host.subscribe("colony.agent.7.*", handler)
    assert (await asking).kind == "ok"


async def test_no_answer_ends_at_the_deadline(connect: Connect):
    host, client = await connect(), await connect("client")

    async def handler(subject, envelope):
        return None

    await host.subscribe("colony.agent.7.*", handler)
    with pytest.raises(DeadlineExceeded):
        await client.ask(AGENT, Envelope(kind="q"), timeout=0.3)


async def test_what_nobody_waits_for_is_not_handled(connect: Connect):
    host, client = await connect(), await connect("client")
    got = []

    async def handler(subject, envelope):
        got.append(envelope.kind)

    await host.subscribe("colony.agent.7.*", handler)
    await client.tell(AGENT, Envelope(kind="late", deadline=time.time() - 5))
    await client.tell(AGENT, Envelope(kind="early", deadline=time.time() + 60))
    await assert_eventually(lambda: got == ["early"])


async def test_an_answer_too_large_to_send_comes_back_as_an_error(connect: Connect):
    host, client = await connect(), await connect("client")

    async def handler(subject, envelope):
        return Envelope(kind="ok", payload={"a": "b" * MAX_ENVELOPE})

    await host.subscribe("colony.agent.7.*", handler)
    with pytest.raises(BadInput):
        await client.ask(AGENT, Envelope(kind="q"), timeout=10)


async def test_closed_subscriptions_receive_nothing_and_finish_what_they_took(connect: Connect):
    host, sender = await connect(), await connect()
    handled = []

    async def handler(subject, envelope):
        await asyncio.sleep(0.02)
        handled.append(envelope.kind)

    taken = await host.subscribe("colony.agent.7.*", handler)
    await sender.tell(AGENT, Envelope(kind="before"))
    await assert_eventually(lambda: host.counters["received"] == 1)  # type: ignore[attr-defined]
    await taken.aclose()
    assert handled == ["before"]
    with pytest.raises(NoResponders):
        await sender.ask(AGENT, Envelope(kind="after"), timeout=1)
    assert handled == ["before"]


@pytest.mark.parametrize(
    "subject", ["", "a..b", "a.", "colony.agent.*.x", "colony.>", "a b", "a\r\nPUB b 0\r\n", "$JS.x"]
)
async def test_subjects_are_checked_before_they_are_sent(connect: Connect, subject: str):
    host = await connect()
    with pytest.raises(BadInput):
        await host.tell(subject, Envelope(kind="x"))
    with pytest.raises(BadInput):
        await host.ask(subject, Envelope(kind="x"), timeout=1)


async def test_wrong_subscriptions_are_refused(connect: Connect):
    host = await connect()
    for subject in ("", "colony..x", "colony.>.x", "colony.a*", "$SRV.PING"):
        with pytest.raises(BadInput):
            await host.subscribe_raw(subject, lambda subject, envelope, reply: None)
    with pytest.raises(BadInput):
        await host.subscribe_raw("colony.topic.a", lambda subject, envelope, reply: None, queue="a b")


async def test_a_message_too_large_is_refused_and_hurts_nobody(connect: Connect):
    host = await connect()
    with pytest.raises(BadInput):
        await host.tell(AGENT, Envelope(kind="x", payload={"a": "b" * MAX_ENVELOPE}))
    assert host.connected
    await host.ping()


async def test_a_client_may_not_listen_to_agents(connect: Connect):
    client = await connect("client")
    for subject in ("colony.agent.>", "colony.agent.*.*", ">", "_INBOX_host.>", "colony.type.research"):
        with pytest.raises(NotPermitted):
            await client.subscribe_raw(subject, lambda subject, envelope, reply: None)
    assert client.connected


async def test_a_client_may_not_speak_as_a_host(connect: Connect):
    client = await connect("client")
    with pytest.raises(NotPermitted):
        await client.ask("colony.event.cancel.job", Envelope(kind="x"), timeout=5)

    async def told() -> bool:
        try:
            await client.tell("colony.event.cancel.job", Envelope(kind="x"))
        except NotPermitted:
            return True
        return False

    await assert_eventually(told)


async def test_drain_sends_what_is_left_and_then_nothing_more(connect: Connect):
    host, sender = await connect(), await connect()
    got = []
    await host.subscribe_raw("colony.agent.7.*", lambda subject, envelope, reply: got.append(1))
    for _ in range(500):
        await sender.tell(AGENT, Envelope(kind="x"))
    await sender.drain(10)
    await assert_eventually(lambda: len(got) == 500)
    assert not sender.connected
    with pytest.raises(Unavailable):
        await sender.tell(AGENT, Envelope(kind="x"))


async def test_ping_proves_the_way_through_the_bus(connect: Connect):
    client = await connect("client")
    assert 0 <= await client.ping() < 5
    assert client.connected
