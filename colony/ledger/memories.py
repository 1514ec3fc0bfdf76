"""What agents remember, in the ledger: the port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from colony.memory.contracts import Keep, MemoryRow, Remembered, Scope, ScopeSize, Vector


class MemoriesLedger(Protocol):
    """Entries with vectors, in scopes. Raises as `Ledger`, and `NoMemory` where Postgres has no pgvector."""

    async def put_memories(self, scope: Scope, embedder: str, rows: Sequence[MemoryRow], keep: Keep) -> int:
        """Add entries, all or none; returns how many were new.

        An id that is there is written anew; its age and use count from now. Then forgets what is beyond `keep`, once
        there are more than `keep.most`: of equal use or age the last ones added stay. The vectors must have one length.
        """
        ...

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
        """The entries nearest to `vector`, nearest first, with a score of at least `least`; finding one is using it.

        Only entries of this embedder with vectors of this length are compared, only those of the label if one is
        given, and only those added less than `age` seconds ago.
        """
        ...

    async def memory_scopes(self, limit: int = 100) -> list[ScopeSize]:
        """The largest scopes, by embedder."""
        ...

    async def memories(self, scope: Scope, limit: int = 50) -> list[Remembered]:
        """Entries of a scope whatever their embedder, last added first."""
        ...

    async def forget_memories(
        self, scope: Scope | None = None, *, memory: bytes | None = None, age: float | None = None
    ) -> int:
        """Forget what fits all that is given (a scope, an id, an age in seconds); returns how many."""
        ...

    async def forget_orphans(self) -> int:
        """Forget the scopes of jobs that the ledger has forgotten; returns how many entries. 0 without pgvector."""
        ...
