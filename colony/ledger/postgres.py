"""The ledger on Postgres."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from colony.config.endpoints import PostgresEndpoint
from colony.errors import Permanent
from colony.ids import SHARDS
from colony.ledger.migrate import check_schema, known_migrations
from colony.ledger.postgres_connection import Database, open_database
from colony.ledger.postgres_fleet import PostgresFleet
from colony.ledger.postgres_histories import PostgresHistories
from colony.ledger.postgres_jobs import PostgresJobs
from colony.ledger.postgres_llm import PostgresLlm
from colony.ledger.postgres_loads import PostgresLoads
from colony.ledger.postgres_memories import PostgresMemories
from colony.ledger.postgres_messages import PostgresMessages
from colony.ledger.postgres_outcomes import PostgresOutcomes
from colony.ledger.postgres_retention import PostgresRetention
from colony.ledger.postgres_sites import PostgresSites
from colony.ledger.postgres_submissions import PostgresSubmissions
from colony.ledger.postgres_transcripts import PostgresTranscripts


class PostgresLedger(
    PostgresFleet,
    PostgresJobs,
    PostgresLoads,
    PostgresHistories,
    PostgresOutcomes,
    PostgresMemories,
    PostgresMessages,
    PostgresLlm,
    PostgresRetention,
    PostgresSites,
    PostgresSubmissions,
    PostgresTranscripts,
):
    """See `Ledger`. Open it with `open_ledger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ping(self) -> float:
        """See `Ledger`."""
        started = time.perf_counter()
        await self._database.value("SELECT 1", timeout=5.0)
        return time.perf_counter() - started


@asynccontextmanager
async def open_ledger(
    endpoint: PostgresEndpoint, *, pool_size: int = 4, name: str = "colony"
) -> AsyncGenerator[PostgresLedger]:
    """The ledger at `endpoint`, with at most `pool_size` connections, named `name` in `pg_stat_activity`.

    It outlives restarts of Postgres: calls raise `Unavailable` meanwhile and work again afterwards. Raises
    `Unavailable` when Postgres cannot be reached now, `NotPermitted` when it refuses the password and `Permanent`
    when the schema is missing, behind, newer, or counts other shards.
    """
    async with open_database(endpoint, pool_size=pool_size, name=name) as database:
        await _check(database)
        yield PostgresLedger(database)


async def _check(database: Database) -> None:
    rows = await database.rows("SELECT number FROM migration")
    applied = {row["number"] for row in rows}
    check_schema(applied, await database.value("SELECT value FROM meta WHERE name = 'shards'"), SHARDS)
    missing = [path.name for number, path in known_migrations() if number not in applied]
    if missing:
        raise Permanent(f"The ledger lacks the migration {missing[0]}.", remedy="Migrate the database.")
