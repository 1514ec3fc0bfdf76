"""What agents remember, in memory."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import mul

from colony.ledger.memory_entries import MemoryEntry
from colony.ledger.memory_tables import MemoryTables
from colony.memory.contracts import Keep, MemoryRow, Remembered, Scope, ScopeKind, ScopeSize, Vector


class MemoryMemories:
    """See `MemoriesLedger`."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def put_memories(self, scope: Scope, embedder: str, rows: Sequence[MemoryRow], keep: Keep) -> int:
        """See `MemoriesLedger`."""
        table, now = self._tables.memories, self._tables.clock.wall()
        fresh = 0
        for row in {row.memory: row for row in rows}.values():
            fresh += row.memory not in table
            number = self._next()
            vector = _single(row.vector)
            table[row.memory] = MemoryEntry(scope, embedder, row, vector, hash(vector), now, number, number)
        if keep.age is not None:
            await self.forget_memories(scope, age=keep.age)
        mine = [entry for entry in table.values() if entry.scope == scope]
        mine.sort(key=lambda entry: entry.used if keep.least_used else entry.added, reverse=True)
        for entry in mine[keep.entries :] if len(mine) > keep.most else ():
            del table[entry.row.memory]
        return fresh

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
        asked, now = _single(vector), self._tables.clock.wall()
        found: list[tuple[float, bytes, MemoryEntry]] = []
        scores: dict[int, float] = {}
        for entry in self._tables.memories.values():
            fits = entry.scope in scopes and entry.embedder == embedder and len(entry.vector) == len(asked)
            if fits and label in ("", entry.row.label) and (age is None or now - entry.added_at < age):
                score = scores.get(entry.mark)
                if score is None:
                    score = scores[entry.mark] = sum(map(mul, entry.vector, asked))
                if score >= least:
                    found.append((-score, entry.row.memory, entry))
        found.sort(key=lambda each: each[:2])
        for _, _, entry in reversed(found[:limit]):
            entry.used = self._next()
        return [entry.shown(-score) for score, _, entry in found[:limit]]

    async def memory_scopes(self, limit: int = 100) -> list[ScopeSize]:
        """See `MemoriesLedger`."""
        sizes: dict[tuple[Scope, str, int], ScopeSize] = {}
        for entry in self._tables.memories.values():
            key = entry.scope, entry.embedder, len(entry.vector)
            size = sizes.get(key) or ScopeSize(*key, entries=0, characters=0, newest=0.0)
            sizes[key] = size._replace(
                entries=size.entries + 1,
                characters=size.characters + len(entry.row.text),
                newest=max(size.newest, entry.added_at),
            )
        return sorted(sizes.values(), key=lambda size: (-size.entries, size))[:limit]

    async def memories(self, scope: Scope, limit: int = 50) -> list[Remembered]:
        """See `MemoriesLedger`."""
        mine = [entry for entry in self._tables.memories.values() if entry.scope == scope]
        return [entry.shown() for entry in sorted(mine, key=lambda entry: -entry.added)[:limit]]

    async def forget_memories(
        self, scope: Scope | None = None, *, memory: bytes | None = None, age: float | None = None
    ) -> int:
        """See `MemoriesLedger`."""
        table, now = self._tables.memories, self._tables.clock.wall()
        gone = [
            key
            for key, entry in table.items()
            if (scope is None or entry.scope == scope)
            and (memory is None or key == memory)
            and (age is None or now - entry.added_at >= age)
        ]
        for key in gone:
            del table[key]
        return len(gone)

    async def forget_orphans(self) -> int:
        """See `MemoriesLedger`."""
        kept = {row.plan.key for row in self._tables.jobs.values()}
        scopes = {entry.scope for entry in self._tables.memories.values() if entry.scope.kind is ScopeKind.JOB}
        return sum([await self.forget_memories(scope) for scope in scopes if scope.name not in kept])

    def _next(self) -> int:
        self._tables.last_memory += 1
        return self._tables.last_memory


def _single(vector: Vector) -> tuple[float, ...]:
    form = f"<{len(vector)}f"
    return struct.unpack(form, struct.pack(form, *vector))
