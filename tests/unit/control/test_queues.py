"""How much waits, and where: gathered from the twins, and as `colony queues` shows it."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from rich.console import Console
from temporalio.client import Client
from typer.testing import CliRunner

from colony.clock import ManualClock
from colony.errors import Unavailable
from colony.ledger.memory import MemoryLedger
from colony.messaging.memory import MemoryBus, MemoryMessenger
from colony.messaging.port import Envelope
from control import queues
from control.cli import build_app
from control.queues import HostWaiting, LaneWaiting, Queues, read_queues
from control.queues_view import render_queues
from control.why_facts import Asked
from ray_app.questions import HOST_QUEUE, HostQueue, KeyDepth
from workflows.standing import QueueDepth

FULL = Queues(
    tasks=(
        QueueDepth(queue="colony", activities=False, pollers=4, backlog=0, oldest_seconds=0, by_priority={3: 0}),
        QueueDepth(
            queue="colony-dispatch", pollers=0, backlog=1234, oldest_seconds=61.25, by_priority={1: 34, 3: 1200}
        ),
    ),
    hosts=(
        HostWaiting(
            host="colony-host-0",
            told=True,
            places=16,
            lanes=40,
            messages=3,
            keys=(
                KeyDepth(priority=1, tenant="", tasks=20, batches=1),
                KeyDepth(priority=3, tenant="a-tenant-with-a-name-far-too-long-for-a-table", tasks=12_000, batches=12),
            ),
        ),
        HostWaiting(host="colony-host-1", told=True, places=16),
        HostWaiting(host="colony-host-2", told=False),
    ),
    models=(
        LaneWaiting(
            backend="local", waiting=17, length=1000, running=10, oldest_seconds=4.5, by_priority={1: 2, 2: 5, 3: 10}
        ),
    ),
    trouble=("the gateway: Unavailable",),
)


def shown(found: Queues) -> list[str]:
    console = Console(file=io.StringIO(), width=80)
    console.print(render_queues(found))
    return console.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue] -- a StringIO


def test_all_fits_a_terminal() -> None:
    lines = shown(FULL)
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for words in ("1: 34, 3: 1,200", "61.2 s", "12,000", "17 of 1,000", "does not tell", "the gateway: Unavailable"):
        assert words in text
    assert len([line for line in lines if line.startswith("colony-host-0")]) == 1


def test_nothing_that_answers_is_said_so() -> None:
    assert shown(Queues(trouble=("Temporal does not answer.",))) == [
        "No host lives: see `colony status`.",
        "Not answered: Temporal does not answer.",
    ]


@asynccontextmanager
async def away() -> AsyncGenerator[Client]:
    raise Unavailable("Temporal does not answer.")
    yield


async def test_hosts_are_asked_and_those_away_are_named() -> None:
    ledger, bus = MemoryLedger(ManualClock()), MemoryBus()
    for number, incarnation in enumerate("ab"):
        await ledger.start_lease(incarnation, f"colony-host-{number}", 10)
        await ledger.claim_shards(incarnation, [number])
    await ledger.start_lease("c", "colony-host-2", 10)  # owns nothing yet
    told = HostQueue(
        host="colony-host-0",
        places=4,
        lanes=2,
        messages=1,
        keys=(KeyDepth(priority=2, tenant="zoo", tasks=9, batches=1),),
    )
    host = MemoryMessenger(bus, role="host")

    def answer(subject: str, envelope: Envelope, reply: object) -> None:
        assert (envelope.kind, callable(reply)) == (HOST_QUEUE, True)
        newer = {**told.model_dump(mode="json"), "of_a_newer_build": 1}
        reply(Envelope(kind="pong", payload=newer))  # pyright: ignore[reportCallIssue] -- it is one

    await host.subscribe_raw("colony.agent.0.host", answer)
    found = await read_queues(ledger, Asked(away, None), MemoryMessenger(bus, role="client"))
    assert [(each.host, each.told) for each in found.hosts] == [
        ("colony-host-0", True),
        ("colony-host-1", False),
        ("colony-host-2", False),
    ]
    assert (found.hosts[0].keys, found.hosts[0].lanes) == (told.keys, 2)
    assert found.tasks == ()
    assert found.trouble == ("Temporal does not answer.",)
    without = await read_queues(ledger, Asked(away, None), None)
    assert not any(each.told for each in without.hosts)


def test_the_command_prints_a_table_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    async def queues_here() -> Queues:
        return FULL

    monkeypatch.setattr(queues, "queues_here", queues_here)
    told = CliRunner().invoke(build_app(), ["queues", "--json"], catch_exceptions=False)
    assert Queues.model_validate(json.loads(told.output)) == FULL
    told = CliRunner().invoke(build_app(), ["queues"], catch_exceptions=False)
    assert "colony-dispatch" in told.output
