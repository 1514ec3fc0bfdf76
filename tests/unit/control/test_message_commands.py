"""`colony send · listen`, with the twins of bus and ledger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from typer.testing import CliRunner, Result

from colony.clock import ManualClock
from colony.contracts import AgentSpec
from colony.errors import BadInput, DeadlineExceeded, NotFound, NotPermitted
from colony.ids import AgentId, AgentType, agent_subject, shard_of
from colony.ledger.memory import MemoryLedger
from colony.messaging.memory import MemoryBus, MemoryMessenger
from colony.messaging.port import Envelope
from control import session
from control.cli import build_app

AGENT = AgentId("analysis-1")


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> MemoryLedger:
    ledger = MemoryLedger(ManualClock())
    asyncio.run(ledger.put_agents([AgentSpec(agent_id=AGENT, agent_type=AgentType("analysis"))]))

    @asynccontextmanager
    async def ledger_here() -> AsyncGenerator[MemoryLedger]:
        yield ledger

    @asynccontextmanager
    async def messenger_here() -> AsyncGenerator[MemoryMessenger]:
        bus = MemoryBus()
        host, mine = MemoryMessenger(bus, role="host"), MemoryMessenger(bus, role="client")
        subscription = await host.subscribe(agent_subject(AGENT), _answer)
        talking = asyncio.create_task(_talk(host))
        yield mine
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        await subscription.aclose()

    monkeypatch.setattr(session, "ledger_here", ledger_here)
    monkeypatch.setattr(session, "messenger_here", messenger_here)
    return ledger


async def _answer(_: str, envelope: Envelope) -> Envelope:
    return Envelope(kind="answer", payload={"heard": envelope.payload, "from": envelope.sender})


async def _talk(host: MemoryMessenger) -> None:
    number = 0
    while True:
        await host.tell("colony.event.task.a", Envelope(kind="task", payload={"n": number}))
        number += 1
        await asyncio.sleep(0.005)


def colony(*arguments: str) -> Result:
    return CliRunner().invoke(build_app(), list(arguments), catch_exceptions=False, env={"COLUMNS": "80"})


def test_an_ask_prints_the_answer(ledger: MemoryLedger) -> None:
    answer = json.loads(colony("send", "analysis-1", "status", '{"a": 1}').output)
    assert answer == {"heard": {"a": 1}, "from": "person"}
    whole = json.loads(colony("send", "analysis-1", "status", "--ask", "--json").output)
    assert whole["answer"]["heard"] == {}


def test_a_tell_returns_at_once(ledger: MemoryLedger) -> None:
    assert colony("send", "analysis-1", "note", "--tell").output == "Told analysis-1.\n"


def test_a_delivered_message_is_kept_once(ledger: MemoryLedger) -> None:
    assert "is kept" in colony("send", "analysis-1", "note", '{"n": 1}', "--deliver", "--id", "m1").output
    assert "kept before" in colony("send", "analysis-1", "note", '{"n": 1}', "--deliver", "--id", "m1").output
    (kept,) = asyncio.run(ledger.open_messages([shard_of(AGENT)]))
    assert (kept.message_id, kept.payload, kept.sender) == ("m1", {"n": 1}, "person")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("analysis-9", "status"), NotFound),
        (("No Agent", "status"), BadInput),
        (("analysis-1", "a kind"), BadInput),
        (("analysis-1", "status", "[1]"), BadInput),
        (("analysis-1", "status", "{"), BadInput),
        (("analysis-1", "status", "--ask", "--tell"), BadInput),
        (("analysis-1", "status", "--tell", "--id", "m"), BadInput),
    ],
)
def test_what_cannot_be_sent_is_refused(
    ledger: MemoryLedger, arguments: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        colony("send", *arguments)


def test_listening_ends_after_so_many(ledger: MemoryLedger) -> None:
    lines = [json.loads(line) for line in colony("listen", "--count", "3", "--json").output.splitlines()]
    assert [line["subject"] for line in lines] == ["colony.event.task.a"] * 3
    assert [line["payload"]["n"] for line in lines] == sorted(line["payload"]["n"] for line in lines)
    assert 'colony.event.task.a {"n":' in colony("listen", "--count", "1").output


def test_listening_in_vain_ends_in_time(ledger: MemoryLedger) -> None:
    assert colony("listen", "colony.event.other.>", "--timeout", "0.2").exit_code == 0
    with pytest.raises(DeadlineExceeded):
        colony("listen", "colony.event.other.>", "--timeout", "0.2", "--count", "1")


def test_nobody_listens_to_agents(ledger: MemoryLedger) -> None:
    with pytest.raises(NotPermitted):
        colony("listen", "colony.agent.>", "--timeout", "1")
