"""What agents remember, in Postgres with pgvector."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import asyncpg
import orjson

from colony.errors import NoMemory, Permanent
from colony.ledger.postgres_connection import BULK_SECONDS, Database
from colony.ledger.validation import clean_text
from colony.memory.contracts import Keep, MemoryRow, Remembered, Scope, ScopeKind, ScopeSize, Vector

_BATCH: Final = 5_000

_COLUMNS: Final = """m.memory, m.scope_kind, m.scope_name, m.label, m.agent_id, m.text, m.data,
       extract(epoch FROM m.added_at)::double precision AS added_at"""

# What is asked is parsed once, in a query of its own. Vectors have length 1, so the inner product is the cosine; those
# of another embedder or length are left out before it is taken. Rows that another search uses now are not waited for.
_SEARCH: Final = f"""
WITH asked AS MATERIALIZED (SELECT $1::text::vector AS vector),
near AS MATERIALIZED (
    SELECT {_COLUMNS}, -(m.embedding <#> (SELECT asked.vector FROM asked)) AS score
      FROM memory m JOIN unnest($2::text[], $3::text[]) AS s (kind, name)
           ON m.scope_kind = s.kind AND m.scope_name = s.name
     WHERE m.embedder = $4 AND m.dimensions = $5 AND ($6::text = '' OR m.label = $6)
       AND ($7::double precision IS NULL OR m.added_at > clock_timestamp() - make_interval(secs => $7))
     ORDER BY score DESC, m.memory LIMIT $8),
hits AS (SELECT * FROM near WHERE score >= $9),
used AS (
    UPDATE memory SET used_at = clock_timestamp()
     WHERE memory.memory = ANY (ARRAY(
        SELECT m.memory FROM memory m JOIN hits USING (memory) FOR UPDATE OF m SKIP LOCKED)))
SELECT * FROM hits ORDER BY score DESC, memory"""  # noqa: S608 -- names of columns, written above

_FORGET: Final = """
DELETE FROM memory WHERE memory.memory = ANY (ARRAY(
    SELECT m.memory FROM memory m
     WHERE ($1::text IS NULL OR (m.scope_kind = $1 AND m.scope_name = $2))
       AND ($3::bytea IS NULL OR m.memory = $3)
       AND ($4::double precision IS NULL OR m.added_at <= clock_timestamp() - make_interval(secs => $4))
     LIMIT $5))"""

_FORGET_ORPHANS: Final = """
DELETE FROM memory WHERE memory.memory = ANY (ARRAY(
    SELECT m.memory FROM memory m
     WHERE m.scope_kind = 'job' AND NOT EXISTS (SELECT 1 FROM job j WHERE j.key = m.scope_name)
     LIMIT $1))"""

_ABSENT: Final = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedObjectError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedColumnError,
)


class PostgresMemories:
    """See `MemoriesLedger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_memories(self, scope: Scope, embedder: str, rows: Sequence[MemoryRow], keep: Keep) -> int:
        """See `MemoriesLedger`."""
        once = list({row.memory: row for row in rows}.values())
        with _has_vectors():
            return await self._database.value(
                "SELECT put_memories($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
                scope.kind.value,
                scope.name,
                embedder,
                len(once[0].vector) if once else 0,
                [row.memory for row in once],
                [row.label for row in once],
                [row.agent_id for row in once],
                [row.text for row in once],
                [row.data for row in once],
                [_literal(row.vector) for row in once],
                keep.entries,
                keep.least_used,
                keep.age,
            )

    async def search_memories(
        self,
        scopes: Sequence[Scope],
        embedder: str,
        vector: Vector,
        *,
        limit: int,
        label: str = "",
        least: float = -1.0,
        age: float | None = None,
    ) -> list[Remembered]:
        """See `MemoriesLedger`."""
        each = dict.fromkeys(scopes)
        with _has_vectors():
            rows = await self._database.rows(
                _SEARCH,
                _literal(vector),
                [scope.kind.value for scope in each],
                [scope.name for scope in each],
                embedder,
                len(vector),
                label,
                age,
                limit,
                least,
            )
        return [_shown(row, row["score"]) for row in rows]

    async def memory_scopes(self, limit: int = 100) -> list[ScopeSize]:
        """See `MemoriesLedger`. Reads all of it."""
        with _has_vectors():
            rows = await self._database.rows(
                """SELECT scope_kind, scope_name, embedder, dimensions, count(*) AS entries,
                          sum(length(text))::bigint AS characters,
                          extract(epoch FROM max(added_at))::double precision AS newest
                     FROM memory GROUP BY 1, 2, 3, 4 ORDER BY entries DESC, 1, 2, 3, 4 LIMIT $1""",
                limit,
                timeout=BULK_SECONDS,
            )
        return [ScopeSize(Scope(ScopeKind(kind), name), *rest) for kind, name, *rest in rows]

    async def memories(self, scope: Scope, limit: int = 50) -> list[Remembered]:
        """See `MemoriesLedger`."""
        with _has_vectors():
            rows = await self._database.rows(
                f"""SELECT {_COLUMNS} FROM memory m WHERE m.scope_kind = $1 AND m.scope_name = $2
                     ORDER BY m.added_at DESC, m.memory LIMIT $3""",  # noqa: S608 -- names of columns
                scope.kind.value,
                clean_text(scope.name),
                limit,
            )
        return [_shown(row) for row in rows]

    async def forget_memories(
        self, scope: Scope | None = None, *, memory: bytes | None = None, age: float | None = None
    ) -> int:
        """See `MemoriesLedger`. In batches, each a transaction of its own."""
        kind, name = (None, None) if scope is None else (scope.kind.value, clean_text(scope.name))
        with _has_vectors():
            return await self._all(_FORGET, kind, name, memory, age)

    async def forget_orphans(self) -> int:
        """See `MemoriesLedger`."""
        if await self._database.value("SELECT to_regclass('memory') IS NULL"):
            return 0
        return await self._all(_FORGET_ORPHANS)

    async def _all(self, command: str, *arguments: Any) -> int:
        gone, last = 0, _BATCH
        while last >= _BATCH:
            last = await self._database.changed(command, *arguments, _BATCH)
            gone += last
        return gone


@contextmanager
def _has_vectors() -> Generator[None]:
    """Say in a word of its own that the table, or the type of its vectors, is not there."""
    try:
        yield
    except Permanent as error:
        if not isinstance(error.__cause__, _ABSENT):
            raise
        raise NoMemory(
            "The Postgres of the ledger has no pgvector, so agents have no memory.",
            remedy="Run CREATE EXTENSION vector in the ledger's database as its superuser, then migrate it.",
        ) from error


def _literal(vector: Vector) -> str:
    return orjson.dumps(list(vector)).decode("ascii")


def _shown(row: Any, score: float = 0.0) -> Remembered:
    return Remembered(
        id=row["memory"].hex(),
        scope=str(Scope(ScopeKind(row["scope_kind"]), row["scope_name"])),
        text=row["text"],
        label=row["label"],
        data=orjson.loads(row["data"]),
        agent_id=row["agent_id"],
        added_at=row["added_at"],
        score=score,
    )
