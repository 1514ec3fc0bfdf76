"""Desired agents, leases, shard ownership and the leader, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from colony.contracts import AgentSpec, FleetSize, Lead, Lease, ShardOwner
from colony.errors import AlreadyExists, Fenced
from colony.ids import AgentId, AgentType, shard_of
from colony.ledger.memory_tables import LeaderRow, LeaseRow, MemoryTables
from colony.ledger.validation import checked_shards


class MemoryFleet:
    """See `FleetLedger`."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def put_agents(self, agents: Sequence[AgentSpec]) -> int:
        """See `FleetLedger`."""
        wanted = {spec.agent_id: spec for spec in agents}
        changed = {key: spec for key, spec in wanted.items() if self._tables.agents.get(key) != spec}
        self._tables.agents.update(changed)
        self._tables.fleet_version += bool(changed)
        return len(changed)

    async def remove_agents(self, agent_ids: Sequence[AgentId]) -> int:
        """See `FleetLedger`."""
        gone = [key for key in set(agent_ids) if self._tables.agents.pop(key, None) is not None]
        self._tables.gone_agents.update(dict.fromkeys(gone, self._tables.clock.wall()))
        self._tables.fleet_version += bool(gone)
        return len(gone)

    async def agents(self, shards: Sequence[int] | None = None) -> list[AgentSpec]:
        """See `FleetLedger`."""
        wanted = None if shards is None else set(shards)
        found = self._tables.agents.items()
        return [spec for key, spec in sorted(found) if wanted is None or shard_of(key) in wanted]

    async def agent_counts(self) -> dict[AgentType, dict[int, int]]:
        """See `FleetLedger`."""
        found: dict[AgentType, dict[int, int]] = {}
        for key, spec in self._tables.agents.items():
            shards = found.setdefault(spec.agent_type, {})
            shards[shard_of(key)] = shards.get(shard_of(key), 0) + 1
        return found

    async def fleet_version(self) -> int:
        """See `FleetLedger`."""
        return self._tables.fleet_version

    async def start_lease(self, incarnation: str, host: str, seconds: float) -> None:
        """See `FleetLedger`."""
        if incarnation in self._tables.leases:
            raise AlreadyExists(f"Incarnation {incarnation} had a lease already.")
        self._tables.leases[incarnation] = LeaseRow(host, self._now() + seconds)

    async def renew_lease(self, incarnation: str, seconds: float) -> bool:
        """See `FleetLedger`."""
        lease = self._live(incarnation)
        if lease is None:
            return False
        lease.expires_at = self._now() + seconds
        return True

    async def drain_lease(self, incarnation: str) -> None:
        """See `FleetLedger`."""
        lease = self._tables.leases.get(incarnation)
        if lease is not None and not lease.ended:
            lease.draining = True

    async def end_lease(self, incarnation: str, *, crashed: bool, lead: Lead | None = None) -> bool:
        """See `FleetLedger`."""
        if lead is not None and not await self.leads(*lead):
            raise Fenced(f"{lead.holder} does not lead in term {lead.term} any more.")
        lease = self._tables.leases.get(incarnation)
        if lease is None or lease.ended:
            return False
        lease.ended = True
        lease.crashed = crashed
        self._release(incarnation, range(len(self._tables.owners)))
        return True

    async def fleet_size(self) -> FleetSize:
        """See `JobLedger`."""
        hosts = sum(not row.ended for row in self._tables.leases.values())
        return FleetSize(agents=len(self._tables.agents), hosts=hosts)

    async def leases(self) -> list[Lease]:
        """See `FleetLedger`."""
        return [
            Lease(
                incarnation=incarnation,
                host=row.host,
                expires_in=row.expires_at - self._now(),
                draining=row.draining,
            )
            for incarnation, row in sorted(self._tables.leases.items(), key=lambda entry: (entry[1].host, entry[0]))
            if not row.ended
        ]

    async def claim_shards(self, incarnation: str, shards: Sequence[int]) -> dict[int, int]:
        """See `FleetLedger`."""
        wanted = checked_shards(shards)
        lease = self._live(incarnation)
        if lease is None:
            raise Fenced("The incarnation has no live lease.")
        owners = self._tables.owners
        for shard in wanted:
            owners[shard] = ShardOwner(shard, owners[shard].epoch + 1, incarnation, lease.host)
        return {shard: owners[shard].epoch for shard in wanted}

    async def release_shards(self, incarnation: str, shards: Sequence[int]) -> None:
        """See `FleetLedger`."""
        self._release(incarnation, checked_shards(shards))

    async def shard_owners(self) -> list[ShardOwner]:
        """See `FleetLedger`."""
        return list(self._tables.owners)

    async def lead(self, name: str, holder: str, seconds: float) -> int | None:
        """See `FleetLedger`. A holder that let its time run out comes back with a new term."""
        row = self._tables.leaders.get(name)
        if row is None:
            row = self._tables.leaders[name] = LeaderRow(0, "", self._now())
        expired = row.expires_at <= self._now()
        if not expired and row.holder != holder:
            return None
        row.term += expired
        row.holder = holder
        row.expires_at = self._now() + seconds
        return row.term

    async def is_led(self, name: str) -> bool:
        """See `FleetLedger`."""
        row = self._tables.leaders.get(name)
        return row is not None and row.expires_at > self._now()

    async def leads(self, name: str, holder: str, term: int) -> bool:
        """See `FleetLedger`."""
        row = self._tables.leaders.get(name)
        return row is not None and (row.holder, row.term) == (holder, term) and row.expires_at > self._now()

    def _now(self) -> float:
        return self._tables.clock.monotonic()

    def _live(self, incarnation: str) -> LeaseRow | None:
        lease = self._tables.leases.get(incarnation)
        return None if lease is None or lease.ended or lease.expires_at <= self._now() else lease

    def _release(self, incarnation: str, shards: Sequence[int]) -> None:
        owners = self._tables.owners
        for shard in shards:
            if owners[shard].incarnation == incarnation:
                owners[shard] = ShardOwner(shard, owners[shard].epoch + 1, "", "")
