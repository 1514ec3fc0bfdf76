"""How much waits, and where: in Temporal's task queues, on hosts, at the gateway. Whoever is away is named."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from colony.contracts import Frozen
from colony.errors import ColonyError
from colony.ledger.port import FleetLedger
from colony.messaging.port import Messenger
from control import session
from control.stack.fleet_status import LINK_SECONDS, ask_queue, one_shard_each
from control.why_facts import Asked, asked_here, gateway_view
from ray_app.questions import KeyDepth
from workflows.engine import reached
from workflows.policies import DISPATCH_QUEUE, IO_QUEUE, WORKFLOW_QUEUE
from workflows.standing import QueueDepth, queue_depth

_SECONDS: Final = 5.0
_QUEUES: Final = ((WORKFLOW_QUEUE, False), (IO_QUEUE, True), (DISPATCH_QUEUE, True))


class HostWaiting(Frozen):
    """What waits on one host."""

    host: str
    told: bool
    """False for one that does not answer: then the rest says nothing."""
    places: int = 0
    """Lanes that may run agents at once."""
    lanes: int = 0
    """Lanes that wait for a place."""
    messages: int = 0
    """Messages not begun yet."""
    keys: tuple[KeyDepth, ...] = ()
    """Tasks that do not run yet, by priority and tenant."""


class LaneWaiting(Frozen):
    """What waits for one backend of the gateway."""

    backend: str
    waiting: int
    length: int
    """Most that may wait."""
    running: int
    oldest_seconds: float
    by_priority: dict[int, int]
    """Class -> calls that wait; age has lifted some of them."""


class Queues(Frozen):
    """All queues there are."""

    tasks: tuple[QueueDepth, ...] = ()
    """Temporal's task queues, with priorities; it does not tell of tenants."""
    hosts: tuple[HostWaiting, ...] = ()
    models: tuple[LaneWaiting, ...] = ()
    trouble: tuple[str, ...] = ()
    """Who did not answer."""


async def read_queues(ledger: FleetLedger, asked: Asked, messenger: Messenger | None) -> Queues:
    """How much waits now. Raises `Unavailable` of the ledger; others who are away are named in `trouble`."""
    trouble: list[str] = []
    tasks, hosts, llm = await asyncio.gather(
        _tasks(asked, trouble), _hosts(ledger, messenger), gateway_view(asked.gateway, trouble)
    )
    models = tuple(
        LaneWaiting(
            backend=name,
            waiting=backend.waiting,
            length=backend.length,
            running=backend.in_flight,
            oldest_seconds=backend.oldest_seconds,
            by_priority={level: count for level, count in sorted(backend.by_priority.items()) if count},
        )
        for name, backend in sorted(llm.backends.items())
    )
    return Queues(tasks=tasks, hosts=hosts, models=models, trouble=tuple(trouble))


async def queues_here() -> Queues:
    """`read_queues` of the stack this command belongs to; the bus is waited for only shortly."""
    asked = asked_here()
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(session.ledger_here())
        messenger = None
        try:
            async with asyncio.timeout(LINK_SECONDS):
                messenger = await stack.enter_async_context(session.messenger_here())
        except (ColonyError, TimeoutError):
            pass  # then hosts cannot tell, and are shown so
        return await read_queues(ledger, asked, messenger)


async def _tasks(asked: Asked, trouble: list[str]) -> tuple[QueueDepth, ...]:
    try:
        async with asyncio.timeout(_SECONDS), asked.temporal() as client:
            with reached():
                found = [queue_depth(client, queue, activities=activities) for queue, activities in _QUEUES]
                return tuple(await asyncio.gather(*found))
    except (ColonyError, TimeoutError) as error:
        trouble.append(error.message[:200] if isinstance(error, ColonyError) else "Temporal does not answer in time")
        return ()


async def _hosts(ledger: FleetLedger, messenger: Messenger | None) -> tuple[HostWaiting, ...]:
    leases = [lease for lease in await ledger.leases() if lease.expires_in > 0]
    shards = one_shard_each(await ledger.shard_owners())
    asked = [lease.incarnation for lease in leases if lease.incarnation in shards]
    answers = {}
    if messenger is not None:
        told = await asyncio.gather(*(ask_queue(messenger, shards[incarnation]) for incarnation in asked))
        answers = dict(zip(asked, told, strict=True))
    found: list[HostWaiting] = []
    for lease in leases:
        answer = answers.get(lease.incarnation)
        if answer is None:
            found.append(HostWaiting(host=lease.host, told=False))
            continue
        found.append(
            HostWaiting(
                host=lease.host,
                told=True,
                places=answer.places,
                lanes=answer.lanes,
                messages=answer.messages,
                keys=answer.keys,
            )
        )
    return tuple(sorted(found, key=lambda each: each.host))
