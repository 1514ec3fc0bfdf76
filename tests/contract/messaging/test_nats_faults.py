"""Faults only a real server has."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import nats
import orjson
import pytest

from colony.config.endpoints import read_secret
from colony.errors import ColonyError, NoResponders, NotPermitted, Unavailable
from colony.messaging import link
from colony.messaging.events import ensure_event_stream
from colony.messaging.nats import NatsMessenger, open_messenger
from colony.messaging.port import Envelope
from colony.messaging.subjects import inbox_prefix
from colony.registry.nats_session import open_nats_session
from tests.eventually import assert_eventually
from tests.servers.nats import NatsServer, nats_server

pytestmark = pytest.mark.contract

AGENT = "colony.agent.7.research-00001"


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[NatsServer]:
    monkeypatch.setattr(link, "PROBE_SECONDS", 0.2)
    async with nats_server() as running:
        yield running


@pytest.fixture
async def host(server: NatsServer) -> AsyncGenerator[NatsMessenger]:
    async with open_messenger(server.endpoint, role="host", name="host") as messenger:

        async def handler(subject, envelope):
            return Envelope(kind="ok", payload=envelope.payload)

        await messenger.subscribe("colony.agent.7.*", handler)
        yield messenger


@pytest.fixture
async def client(server: NatsServer) -> AsyncGenerator[NatsMessenger]:
    async with open_messenger(server.endpoint, role="client", name="client") as messenger:
        yield messenger


async def answers(client: NatsMessenger) -> bool:
    try:
        return (await client.ask(AGENT, Envelope(kind="q"), timeout=5)).kind == "ok"
    except ColonyError:
        return False


async def write_raw(messenger: NatsMessenger, data: bytes) -> None:
    """Bytes past all checks, as a broken client would send them."""
    connection = messenger.link.usable
    assert connection is not None
    connection._write(data)


async def tell_much(messenger: NatsMessenger, *, seconds: float) -> None:
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        await messenger.tell("colony.topic.much", Envelope(kind="x", payload={"a": "b" * 100_000}))


async def test_a_server_killed_and_restarted(server, host, client):
    for _ in range(2):
        asking = [asyncio.create_task(client.ask(AGENT, Envelope(kind="q"), timeout=4)) for _ in range(20)]
        await server.kill()
        await server.start()
        ended = await asyncio.wait_for(asyncio.gather(*asking, return_exceptions=True), 12)
        assert all(isinstance(end, Envelope | ColonyError) for end in ended)
        await assert_eventually(lambda: answers(client), timeout=30)
    await assert_eventually(lambda: host.connected and client.connected)


async def test_asks_under_way_in_an_outage_end_by_their_deadline(server, host, client):
    await server.kill()
    started = time.monotonic()
    with pytest.raises(ColonyError):
        await client.ask(AGENT, Envelope(kind="q"), timeout=1)
    assert time.monotonic() - started < 5
    await assert_eventually(lambda: not client.connected)


async def test_what_is_told_in_a_short_outage_arrives(server, host, client):
    got = []
    await host.subscribe_raw("colony.topic.a", lambda subject, envelope, reply: got.append(envelope.payload["n"]))
    await server.kill()
    await assert_eventually(lambda: client.link.usable is None)
    await client.tell("colony.topic.a", Envelope(kind="x", payload={"n": 1}))
    await assert_eventually(lambda: host.link.usable is None)
    with pytest.raises(Unavailable):
        await tell_much(client, seconds=30)
    await server.start()
    await assert_eventually(lambda: answers(client))
    # The receiver may have come back after the sender: at most once, never twice.
    assert got in ([], [1])


async def test_subscribed_during_an_outage(server, host, client):
    got = []
    await server.kill()
    await assert_eventually(lambda: host.link.usable is None)
    await host.subscribe_raw("colony.topic.late", lambda subject, envelope, reply: got.append(1))
    await server.start()

    async def told() -> list[int]:
        await client.tell("colony.topic.late", Envelope(kind="x"))
        return got

    await assert_eventually(told, every=0.1)


async def test_a_server_that_hangs_is_noticed_and_comes_back(server, host, client):
    server.pause()
    try:
        with pytest.raises(ColonyError):
            await client.ask(AGENT, Envelope(kind="q"), timeout=1)
        await assert_eventually(lambda: client.counters["rebuilds"] >= 1, timeout=30)
        assert not client.connected
    finally:
        server.resume()
    await assert_eventually(lambda: answers(client), timeout=30)


async def test_a_hanging_server_fills_no_memory_and_blocks_nobody_for_ever(server, host, client):
    server.pause()
    try:
        with pytest.raises(Unavailable):
            await tell_much(client, seconds=30)
    finally:
        server.resume()
    await assert_eventually(lambda: answers(client), timeout=30)


@pytest.mark.parametrize(
    "garbage",
    [b"PUB colony.topic.a 2097152\r\n", b"NONSENSE\r\n", b"SUB\r\n", b"PUB " + b"a" * 5000 + b" 1\r\nx\r\n"],
    ids=["payload above the limit", "unknown command", "broken command", "line above the limit"],
)
async def test_an_error_of_the_server_closes_nothing_for_good(host, client, garbage):
    await write_raw(host, garbage)
    await assert_eventually(lambda: host.counters["rebuilds"] >= 1)
    await assert_eventually(lambda: answers(client))


async def test_a_reader_that_dies_is_replaced(host, client):
    connection = host.link.usable
    assert connection is not None
    assert connection._reading_task is not None
    connection._reading_task.cancel()
    await assert_eventually(lambda: host.counters["rebuilds"] >= 1)
    await assert_eventually(lambda: answers(client))


async def test_a_connection_that_only_looks_alive_is_replaced(host, client):
    connection = host.link.usable
    assert connection is not None
    connection._direct.clear()  # everything arrives and nothing is handed over
    await assert_eventually(lambda: host.counters["rebuilds"] >= 1, timeout=30)
    await assert_eventually(lambda: answers(client))


async def test_a_subject_that_is_no_text_hurts_nobody(host, client):
    await write_raw(client, b"PUB colony.agent.7.\xff\xfe 24\r\n" + b'{"version":1,"kind":"x"}\r\n')
    await write_raw(client, b"PUB colony.agent.7.x \xff\xfe 24\r\n" + b'{"version":1,"kind":"x"}\r\n')
    await assert_eventually(lambda: host.counters["dropped_undecodable"] + host.counters["rebuilds"] >= 1)
    await assert_eventually(lambda: answers(client))


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"\xff", b"[" * 100_000, b'{"version":9,"kind":"x"}'])
async def test_a_body_that_is_no_envelope_is_dropped_and_counted(host, client, body):
    await write_raw(client, b"PUB colony.agent.7.x %d\r\n%b\r\n" % (len(body), body))
    await assert_eventually(lambda: host.counters["dropped_undecodable"] == 1)
    assert await answers(client)


async def test_an_answer_goes_to_no_address_but_an_inbox(server, host, client):
    leaked = []
    await host.subscribe_raw("colony.topic.>", lambda subject, envelope, reply: leaked.append(subject))
    await write_raw(client, b'PUB colony.agent.7.x colony.topic.victim 24\r\n{"version":1,"kind":"x"}\r\n')
    await assert_eventually(lambda: host.counters["bad_reply_subject"] == 1)
    assert await answers(client)
    assert leaked == []


async def test_no_server(server):
    await server.kill()
    started = time.monotonic()
    with pytest.raises(Unavailable):
        async with open_messenger(server.endpoint, role="client", name="client"):
            pass
    assert time.monotonic() - started < 15


async def test_a_wrong_password_and_none(server):
    (server.folder / "secrets" / "nats-client").write_text("not-the-password-at-all")
    with pytest.raises(NotPermitted) as caught:
        async with open_messenger(server.endpoint, role="client", name="client"):
            pass
    assert "not-the-password" not in str(caught.value)

    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(b"CONNECT {}\r\nPING\r\n")
        said = await asyncio.wait_for(reader.read(), 5)
        assert b"Authorization Violation" in said
        assert b"PONG" not in said
    finally:
        writer.transport.abort()


async def test_hosts_are_seen_as_services(server, host, client):
    announced = await host.announce_service(
        "colony-host",
        version="1.2.3",
        metadata={"host": "colony-host-0"},
        stats=lambda: {"num_requests": 5, "agents": 7},
    )
    seen = await asked(server, "$SRV.PING")
    assert seen["type"] == "io.nats.micro.v1.ping_response"
    assert seen["name"] == "colony-host"
    assert (await asked(server, f"$SRV.INFO.colony-host.{seen['id']}"))["metadata"] == {"host": "colony-host-0"}
    stats = await asked(server, "$SRV.STATS.colony-host")
    assert stats["endpoints"][0]["num_requests"] == 5
    assert stats["endpoints"][0]["data"]["agents"] == 7
    await server.restart()
    await assert_eventually(lambda: answers(client))
    assert (await asked(server, "$SRV.PING"))["id"] == seen["id"]
    await announced.aclose()
    with pytest.raises(nats.errors.NoRespondersError):
        await asked(server, "$SRV.PING")


async def asked(server: NatsServer, subject: str) -> dict:
    """As the plain `nats` command asks: user client, default inbox."""
    connection = await nats.connect(server.endpoint.url, user="client", password=server.passwords["client"])
    try:
        return orjson.loads((await connection.request(subject, b"", timeout=5)).data)
    finally:
        await connection.close()


async def test_the_event_log_keeps_facts_and_answers_no_ask(host, client):
    await ensure_event_stream(host.jetstream())
    await ensure_event_stream(host.jetstream())
    await host.tell("colony.event.task-done.x1", Envelope(kind="task-done"))

    async def kept() -> bool:
        return (await host.jetstream().stream_info("colony_events")).state.messages == 1

    await assert_eventually(kept)
    assert await answers(client)
    reader = await client.jetstream().subscribe("colony.event.>", stream="colony_events", ordered_consumer=True)
    assert (await reader.next_msg(timeout=5)).subject == "colony.event.task-done.x1"
    with pytest.raises((nats.errors.Error, TimeoutError)):
        await client.jetstream(timeout=0.5).purge_stream("colony_events")
    with pytest.raises(NoResponders):
        await client.ask("colony.agent.9.nobody", Envelope(kind="q"), timeout=1)


async def test_the_registry_in_nats_works_within_the_permissions(server):
    url = server.endpoint.url
    async with open_nats_session(url, "host", server.passwords["host"], inbox_prefix("host")) as writer:
        await writer.put("colony_hosts", "colony-host-0", b"alive")
        assert await writer.scan("colony_hosts", ">") == {"colony-host-0": b"alive"}
        async with open_nats_session(url, "client", server.passwords["client"], inbox_prefix("client")) as reader:
            found = await reader.get("colony_hosts", "colony-host-0")
            assert found is not None
            assert found[0] == b"alive"
            assert await reader.scan("colony_hosts", ">") == {"colony-host-0": b"alive"}
            with pytest.raises(NotPermitted):
                await reader.put("colony_hosts", "colony-host-0", b"forged")
        await writer.erase("colony_hosts", "colony-host-0")
        assert await writer.get("colony_hosts", "colony-host-0") is None


async def test_a_message_of_a_trace_says_it_in_a_header_too(server, host, client):
    """For tools that know nothing of our envelopes; and theirs is read where an envelope says nothing."""
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    got: list[tuple[dict[str, str] | None, str]] = []
    traces: list[str] = []
    endpoint = server.endpoint
    plain = await nats.connect(
        endpoint.url,
        user="client",
        password=read_secret(f"{endpoint.credentials}/nats-client"),
        inbox_prefix=inbox_prefix("client"),
    )
    try:

        async def note(message):
            got.append((message.headers, orjson.loads(message.data).get("trace", "")))

        await plain.subscribe("colony.topic.traced", cb=note)
        await host.subscribe_raw("colony.agent.8.*", lambda subject, envelope, reply: traces.append(envelope.trace))
        await plain.flush()
        await client.tell("colony.topic.traced", Envelope(kind="x", trace=trace))
        await client.tell("colony.topic.traced", Envelope(kind="x"))
        await assert_eventually(lambda: len(got) == 2)
        assert got == [({"traceparent": trace}, trace), (None, "")]
        data = orjson.dumps({"version": 1, "kind": "x"})
        await plain.publish("colony.agent.8.a", data, headers={"traceparent": trace})
        await client.tell("colony.agent.8.a", Envelope(kind="x", trace=trace))
        await assert_eventually(lambda: len(traces) == 2)
        assert traces == [trace, trace]
        answer = await client.ask(AGENT, Envelope(kind="q", payload={"n": 1}, trace=trace), timeout=5)
        assert answer.payload == {"n": 1}
    finally:
        await plain.close()
