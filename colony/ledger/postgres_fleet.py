"""Desired agents, leases, shard ownership and the leader, in Postgres."""

from __future__ import annotations

from collections.abc import Sequence

from colony.contracts import AgentSpec, FleetSize, Lead, Lease, ShardOwner
from colony.errors import AlreadyExists, Fenced
from colony.ids import AgentId, AgentType, shard_of
from colony.ledger.postgres_connection import Database
from colony.ledger.validation import checked_shards


class PostgresFleet:
    """See `FleetLedger`. Leases are measured by the clock of the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_agents(self, agents: Sequence[AgentSpec]) -> int:
        """See `FleetLedger`."""
        specs = {spec.agent_id: spec for spec in agents}.values()
        async with self._database.transaction() as session:
            await session.value("SELECT version FROM fleet FOR UPDATE")
            changed = await session.changed(
                """INSERT INTO agent AS a (agent_id, agent_type, version, shard)
                   SELECT * FROM unnest($1::text[], $2::text[], $3::integer[], $4::integer[])
                   ON CONFLICT (agent_id) DO UPDATE SET agent_type = excluded.agent_type, version = excluded.version
                   WHERE (a.agent_type, a.version) IS DISTINCT FROM (excluded.agent_type, excluded.version)""",
                [spec.agent_id for spec in specs],
                [spec.agent_type for spec in specs],
                [spec.version for spec in specs],
                [shard_of(spec.agent_id) for spec in specs],
            )
            if changed:
                await session.changed("UPDATE fleet SET version = version + 1")
        return changed

    async def remove_agents(self, agent_ids: Sequence[AgentId]) -> int:
        """See `FleetLedger`."""
        async with self._database.transaction() as session:
            await session.value("SELECT version FROM fleet FOR UPDATE")
            changed = await session.changed(
                """WITH gone AS (DELETE FROM agent WHERE agent_id = ANY ($1) RETURNING agent_id)
                   INSERT INTO agent_gone (agent_id) SELECT agent_id FROM gone
                   ON CONFLICT (agent_id) DO UPDATE SET gone_at = excluded.gone_at""",
                list(agent_ids),
            )
            if changed:
                await session.changed("UPDATE fleet SET version = version + 1")
        return changed

    async def agents(self, shards: Sequence[int] | None = None) -> list[AgentSpec]:
        """See `FleetLedger`."""
        rows = await self._database.rows(
            """SELECT agent_id, agent_type, version FROM agent
                WHERE $1::integer[] IS NULL OR shard = ANY ($1) ORDER BY agent_id""",
            None if shards is None else list(shards),
        )
        # Not validated again: the rows were when they were put, and there may be a hundred thousand.
        return [
            AgentSpec.model_construct(agent_id=AgentId(name), agent_type=AgentType(kind), version=version)
            for name, kind, version in rows
        ]

    async def agent_counts(self) -> dict[AgentType, dict[int, int]]:
        """See `FleetLedger`."""
        rows = await self._database.rows("SELECT agent_type, shard, count(*) FROM agent GROUP BY agent_type, shard")
        found: dict[AgentType, dict[int, int]] = {}
        for kind, shard, number in rows:
            found.setdefault(AgentType(kind), {})[shard] = number
        return found

    async def fleet_version(self) -> int:
        """See `FleetLedger`."""
        return await self._database.value("SELECT version FROM fleet")

    async def start_lease(self, incarnation: str, host: str, seconds: float) -> None:
        """See `FleetLedger`."""
        added = await self._database.changed(
            """INSERT INTO lease (incarnation, host, expires_at)
               VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3)) ON CONFLICT DO NOTHING""",
            incarnation,
            host,
            seconds,
        )
        if not added:
            raise AlreadyExists(f"Incarnation {incarnation} had a lease already.")

    async def renew_lease(self, incarnation: str, seconds: float) -> bool:
        """See `FleetLedger`."""
        renewed = await self._database.changed(
            """UPDATE lease SET expires_at = clock_timestamp() + make_interval(secs => $2)
                WHERE incarnation = $1 AND ended_at IS NULL AND expires_at > clock_timestamp()""",
            incarnation,
            seconds,
        )
        return renewed == 1

    async def drain_lease(self, incarnation: str) -> None:
        """See `FleetLedger`."""
        await self._database.changed(
            "UPDATE lease SET draining = true WHERE incarnation = $1 AND ended_at IS NULL AND NOT draining", incarnation
        )

    async def end_lease(self, incarnation: str, *, crashed: bool, lead: Lead | None = None) -> bool:
        """See `FleetLedger`. One round trip; nobody else can take the lead before it is over."""
        if lead is None:
            return await self._database.value("SELECT end_lease($1, $2)", incarnation, crashed)
        ended = await self._database.value(
            """WITH leads AS MATERIALIZED (
                   SELECT 1 FROM leader
                    WHERE name = $3 AND holder = $4 AND term = $5 AND expires_at > clock_timestamp() FOR SHARE)
               SELECT end_lease($1, $2) FROM leads""",
            incarnation,
            crashed,
            *lead,
        )
        if ended is None:
            raise Fenced(f"{lead.holder} does not lead in term {lead.term} any more.")
        return ended

    async def leases(self) -> list[Lease]:
        """See `FleetLedger`."""
        rows = await self._database.rows(
            """SELECT incarnation, host, draining,
                      extract(epoch FROM expires_at - clock_timestamp())::float8 AS left_over
                 FROM lease WHERE ended_at IS NULL ORDER BY host, incarnation"""
        )
        return [
            Lease(
                incarnation=row["incarnation"], host=row["host"], expires_in=row["left_over"], draining=row["draining"]
            )
            for row in rows
        ]

    async def fleet_size(self) -> FleetSize:
        """See `JobLedger`."""
        rows = await self._database.rows(
            """SELECT (SELECT count(*) FROM agent)::int8 AS agents,
                      (SELECT count(*) FROM lease WHERE ended_at IS NULL)::int8 AS hosts"""
        )
        return FleetSize(agents=rows[0]["agents"], hosts=rows[0]["hosts"])

    async def claim_shards(self, incarnation: str, shards: Sequence[int]) -> dict[int, int]:
        """See `FleetLedger`."""
        rows = await self._database.rows("SELECT * FROM claim_shards($1, $2)", incarnation, checked_shards(shards))
        return dict(sorted((shard, epoch) for shard, epoch in rows))

    async def release_shards(self, incarnation: str, shards: Sequence[int]) -> None:
        """See `FleetLedger`."""
        await self._database.value("SELECT release_shards($1, $2)", incarnation, checked_shards(shards))

    async def shard_owners(self) -> list[ShardOwner]:
        """See `FleetLedger`."""
        rows = await self._database.rows("SELECT shard, epoch, incarnation, host FROM shard_owner ORDER BY shard")
        return [ShardOwner(*row) for row in rows]

    async def lead(self, name: str, holder: str, seconds: float) -> int | None:
        """See `FleetLedger`. A holder that let its time run out comes back with a new term."""
        return await self._database.value(
            """INSERT INTO leader AS l (name, term, holder, expires_at)
               VALUES ($1, 1, $2, clock_timestamp() + make_interval(secs => $3))
               ON CONFLICT (name) DO UPDATE
                  SET term = l.term + (l.expires_at <= clock_timestamp())::integer,
                      holder = excluded.holder, expires_at = excluded.expires_at
                WHERE l.holder = excluded.holder OR l.expires_at <= clock_timestamp()
               RETURNING term""",
            name,
            holder,
            seconds,
        )

    async def is_led(self, name: str) -> bool:
        """See `FleetLedger`."""
        return await self._database.value(
            "SELECT EXISTS (SELECT 1 FROM leader WHERE name = $1 AND expires_at > clock_timestamp())", name
        )

    async def leads(self, name: str, holder: str, term: int) -> bool:
        """See `FleetLedger`."""
        return await self._database.value(
            """SELECT EXISTS (SELECT 1 FROM leader
                WHERE name = $1 AND holder = $2 AND term = $3 AND expires_at > clock_timestamp())""",
            name,
            holder,
            term,
        )
