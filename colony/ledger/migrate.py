"""Brings the ledger's schema up to date."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from colony.config.endpoints import PostgresEndpoint
from colony.errors import Permanent
from colony.ids import SHARDS
from colony.ledger.postgres_connection import BULK_SECONDS, COMMAND_SECONDS, connect, translated

FOLDER: Final = Path(__file__).parent / "migrations"
"""Where the numbered SQL files are."""

_LOCK: Final = 4851001

_BASE: Final = """
CREATE TABLE IF NOT EXISTS meta (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE IF NOT EXISTS migration (
    number integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
);
"""


def known_migrations() -> list[tuple[int, Path]]:
    """(number, file) of the migrations this version knows, in order."""
    return sorted((int(path.name[:4]), path) for path in FOLDER.glob("[0-9][0-9][0-9][0-9]_*.sql"))


async def migrate(endpoint: PostgresEndpoint, *, shards: int = SHARDS) -> list[str]:
    """Apply what is missing, all in one transaction; returns the names of the files applied.

    May run at the same time in several processes, and again at any time. The user of `endpoint` must own the
    database, and becomes the owner of the tables. Raises `Permanent` when the schema is newer than this version or
    counts other shards.
    """
    connection = await connect(endpoint, name="colony-migrate")
    try:
        with translated():
            async with asyncio.timeout(BULK_SECONDS), connection.transaction():
                return await _apply(connection, shards)
    finally:
        connection.terminate()


async def _apply(connection: Any, shards: int) -> list[str]:
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK, timeout=BULK_SECONDS)
    await connection.execute(_BASE, timeout=COMMAND_SECONDS)
    applied = {row["number"] for row in await connection.fetch("SELECT number FROM migration", timeout=COMMAND_SECONDS)}
    known = known_migrations()
    check_schema(applied, None, shards)
    done: list[str] = []
    for number, path in known:
        if number not in applied:
            await connection.execute(path.read_text("utf-8"), timeout=BULK_SECONDS)
            await connection.execute("INSERT INTO migration (number, name) VALUES ($1, $2)", number, path.name)
            done.append(path.name)
    kept = await connection.fetchval("SELECT value FROM meta WHERE name = 'shards'", timeout=COMMAND_SECONDS)
    # Each time: an extension that was not there before may be there now.
    await connection.fetchval("SELECT prepare_memory()", timeout=COMMAND_SECONDS)
    if kept is None:
        await connection.execute("INSERT INTO meta (name, value) VALUES ('shards', $1)", str(shards))
        await connection.execute("INSERT INTO shard_owner (shard) SELECT generate_series(0, $1::integer - 1)", shards)
    else:
        check_schema(applied, kept, shards)
    return done


def check_schema(applied: set[int], kept_shards: str | None, shards: int) -> None:
    """Raise `Permanent` when a ledger with these migrations and shards is not for this version."""
    newest = known_migrations()[-1][0]
    if applied and max(applied) > newest:
        raise Permanent(
            f"The ledger's schema is at {max(applied)}, but this version knows {newest}.",
            remedy="Use the version that migrated it, or a newer one.",
        )
    if kept_shards is not None and kept_shards != str(shards):
        raise Permanent(
            f"The ledger counts {kept_shards} shards, but this version {shards}.",
            remedy="The number of shards is fixed for the life of a ledger.",
        )
