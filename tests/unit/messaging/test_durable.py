from __future__ import annotations

import uuid

import pytest

from colony.clock import SystemClock
from colony.contracts import AgentSpec, DurableMessage
from colony.errors import BadInput, NotFound
from colony.ids import AgentId, AgentType, Id, agent_subject, shard_of
from colony.ledger.memory import MemoryLedger
from colony.messaging.durable import deliver
from colony.messaging.memory import MemoryBus, MemoryMessenger
from colony.messaging.outage import OUTAGE_BYTES
from colony.messaging.port import MAX_ENVELOPE, Envelope
from tests.eventually import assert_eventually

AGENT = AgentId("research-00001")


def message(**changes) -> DurableMessage:
    fields = {
        "message_id": uuid.uuid4().hex,
        "agent_id": AGENT,
        "kind": Id("note"),
        "payload": {"a": 1},
        "sender": "me",
    }
    return DurableMessage(**{**fields, **changes})


@pytest.fixture
async def ledger() -> MemoryLedger:
    ledger = MemoryLedger(SystemClock())
    await ledger.put_agents([AgentSpec(agent_id=AGENT, agent_type=AgentType("research"))])
    return ledger


async def test_a_message_is_kept_and_sent_with_its_id(ledger):
    bus = MemoryBus()
    got: list[Envelope] = []
    await MemoryMessenger(bus).subscribe_raw(
        agent_subject(AGENT), lambda subject, envelope, reply: got.append(envelope)
    )
    wanted = message()
    assert await deliver(ledger, MemoryMessenger(bus), wanted)
    assert not await deliver(ledger, MemoryMessenger(bus), wanted)
    await assert_eventually(lambda: len(got) == 2)
    assert {(one.kind, one.message_id, one.sender) for one in got} == {("note", wanted.message_id, "me")}
    assert await ledger.open_messages([shard_of(AGENT)]) == [wanted]


async def test_a_bus_that_is_away_is_no_error_once_the_message_is_kept(ledger):
    bus = MemoryBus()
    bus.available = False
    messenger = MemoryMessenger(bus)
    large = "b" * (MAX_ENVELOPE // 2)
    count = OUTAGE_BYTES // len(large) + 2
    for _ in range(count):
        assert await deliver(ledger, messenger, message(payload={"a": large}))
    assert len(await ledger.open_messages([shard_of(AGENT)])) == count


async def test_what_is_not_kept_is_not_sent(ledger):
    bus = MemoryBus()
    got: list[str] = []
    await MemoryMessenger(bus).subscribe_raw("colony.agent.>", lambda subject, envelope, reply: got.append(subject))
    messenger = MemoryMessenger(bus)
    with pytest.raises(NotFound):
        await deliver(ledger, messenger, message(agent_id=AgentId("nobody-00001")))
    with pytest.raises(BadInput):
        await deliver(ledger, messenger, message(payload={"a": "b" * MAX_ENVELOPE}))
    assert await ledger.open_messages([shard_of(AGENT)]) == []
    await messenger.ping()
    assert got == []


async def test_what_is_told_in_an_outage_arrives_after_it():
    bus = MemoryBus()
    got: list[int] = []
    await MemoryMessenger(bus).subscribe_raw(
        "colony.topic.a", lambda to, envelope, reply: got.append(envelope.payload["n"])
    )
    sender = MemoryMessenger(bus)
    bus.available = False
    assert not sender.connected
    for n in range(3):
        await sender.tell("colony.topic.a", Envelope(kind="x", payload={"n": n}))
    bus.available = True
    await assert_eventually(lambda: got == [0, 1, 2])
