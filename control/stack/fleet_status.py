"""The fleet as the ledger, the registry and the hosts themselves see it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel

from colony.config.endpoints import Endpoints
from colony.contracts import HostBeat, Lease, ShardOwner
from colony.errors import ColonyError
from colony.ids import AgentType
from colony.ledger.postgres import open_ledger
from colony.messaging.nats import open_messenger
from colony.messaging.port import Envelope, Messenger
from colony.registry.open import open_registry
from ray_app.questions import HOST_QUEUE, HOST_STATUS, HostQueue

HOST_SECONDS: Final = 1.0
"""How long a host may take to answer; one that is silent for longer is shown without its own numbers."""

LINK_SECONDS: Final = 2.0

_Answer = TypeVar("_Answer", bound=BaseModel)

DesiredAgents = Mapping[AgentType, Mapping[int, int]]
"""Agents by type and shard."""

PublishedAgents = tuple[int, int]
"""Agents the registry knows, and those of them that pass."""


async def fleet_status(endpoints: Endpoints) -> dict[str, Any]:
    """The part `fleet` of `colony status`. What does not answer in time is None in it.

    Raises `Unavailable` without the ledger.
    """
    published = asyncio.create_task(_published(endpoints))
    try:
        async with open_ledger(endpoints.postgres, pool_size=1, name="status") as ledger:
            desired, leases, owners = await ledger.agent_counts(), await ledger.leases(), await ledger.shard_owners()
        beats = await _beats(endpoints, owners)
        return summary(desired, leases, owners, await published, beats)
    finally:
        published.cancel()


async def _published(endpoints: Endpoints) -> PublishedAgents | None:
    try:
        async with asyncio.timeout(LINK_SECONDS), open_registry(endpoints, role="client") as registry:
            known, passing = await asyncio.gather(registry.counts(failing=True), registry.counts())
            return sum(known.values()), sum(passing.values())
    except (ColonyError, TimeoutError):
        return None


async def _beats(endpoints: Endpoints, owners: Sequence[ShardOwner]) -> dict[str, HostBeat]:
    """What each host says of itself now, by incarnation."""
    try:
        async with (
            asyncio.timeout(LINK_SECONDS),
            open_messenger(endpoints.nats, role="client", name="status") as messenger,
        ):
            found = await asyncio.gather(*(ask_host(messenger, shard) for shard in one_shard_each(owners).values()))
    except (ColonyError, TimeoutError):
        return {}
    return {beat.incarnation: beat for beat in found if beat is not None}


async def ask_host(messenger: Messenger, shard: int) -> HostBeat | None:
    """The heartbeat of the owner of a shard, as of now; None when it does not answer in time."""
    return await _asked(messenger, shard, HOST_STATUS, HostBeat)


async def ask_queue(messenger: Messenger, shard: int) -> HostQueue | None:
    """What waits on the owner of a shard; None when it does not answer in time, or is of a build that cannot tell."""
    return await _asked(messenger, shard, HOST_QUEUE, HostQueue)


async def _asked(messenger: Messenger, shard: int, kind: str, model: type[_Answer]) -> _Answer | None:
    try:
        question = Envelope(kind=kind, sender="status")
        answer = await messenger.ask(f"colony.agent.{shard}.host", question, timeout=HOST_SECONDS)
        return model.model_validate(answer.payload)
    except (ColonyError, ValueError):
        return None


def one_shard_each(owners: Sequence[ShardOwner]) -> dict[str, int]:
    """A shard of every incarnation that owns one: the way to ask its host. Pure."""
    return {owner.incarnation: owner.shard for owner in owners if owner.incarnation}


def summary(
    desired: DesiredAgents,
    leases: Sequence[Lease],
    owners: Sequence[ShardOwner],
    published: PublishedAgents | None,
    beats: Mapping[str, HostBeat],
) -> dict[str, Any]:
    """Counts for people. Pure."""
    per_shard: Counter[int] = Counter()
    for shards in desired.values():
        per_shard.update(shards)
    hosts = [_host(lease, owners, per_shard, beats.get(lease.incarnation)) for lease in leases]
    registered, passing = published or (None, None)
    return {
        "desired": per_shard.total(),
        "types": {str(name): sum(shards.values()) for name, shards in sorted(desired.items())},
        "owned": sum(host["agents"] for host in hosts),
        "registered": registered,
        "passing": passing,
        "hosts": sorted(hosts, key=lambda host: host["host"]),
    }


def _host(
    lease: Lease, owners: Sequence[ShardOwner], per_shard: Mapping[int, int], beat: HostBeat | None
) -> dict[str, Any]:
    own = [owner for owner in owners if owner.incarnation == lease.incarnation]
    return {
        "host": lease.host,
        "shards": len(own),
        "agents": sum(per_shard.get(owner.shard, 0) for owner in own),
        "awake": None if beat is None else beat.awake,
        "epoch": max((owner.epoch for owner in own), default=0),
        "pss_mb": None if beat is None else beat.pss_mb,
        "lease_seconds": round(lease.expires_in, 1),
        "draining": lease.draining,
    }
