"""The fleet as ledger and registry see it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

from colony.config.endpoints import Endpoints
from colony.contracts import AgentSpec, Lease, ShardOwner
from colony.errors import ColonyError
from colony.ids import shard_of
from colony.ledger.postgres import open_ledger
from colony.registry.open import open_registry


async def fleet_status(endpoints: Endpoints) -> dict[str, Any]:
    """The part `fleet` of `colony status`. Registry counts are None where the registry does not answer.

    Raises `Unavailable` without the ledger.
    """
    async with open_ledger(endpoints.postgres, pool_size=1, name="status") as ledger:
        agents, leases, owners = await ledger.agents(), await ledger.leases(), await ledger.shard_owners()
    registered: int | None = None
    with suppress(ColonyError):
        async with open_registry(endpoints, role="client") as registry:
            registered = sum((await registry.counts()).values())
    return summary(agents, leases, owners, registered)


def summary(
    agents: list[AgentSpec], leases: list[Lease], owners: list[ShardOwner], passing: int | None
) -> dict[str, Any]:
    """Counts for people. Pure."""
    per_shard = Counter(shard_of(agent.agent_id) for agent in agents)
    hosts: list[dict[str, Any]] = []
    for lease in sorted(leases, key=lambda lease: lease.host):
        own = [owner for owner in owners if owner.incarnation == lease.incarnation]
        hosts.append(
            {
                "host": lease.host,
                "shards": len(own),
                "agents": sum(per_shard[owner.shard] for owner in own),
                "epoch": max((owner.epoch for owner in own), default=0),
                "lease_seconds": round(lease.expires_in, 1),
                "draining": lease.draining,
            }
        )
    by_type = Counter(str(agent.agent_type) for agent in agents)
    return {
        "desired": len(agents),
        "types": dict(sorted(by_type.items())),
        "owned": sum(host["agents"] for host in hosts),
        "passing": passing,
        "hosts": hosts,
    }
