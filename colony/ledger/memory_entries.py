"""One thing that agents remember, as the in-memory ledger keeps it."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from colony.memory.contracts import MemoryRow, Remembered, Scope


@dataclass
class MemoryEntry:
    """One entry; `added` and `used` put entries in order, whatever the clock does."""

    scope: Scope
    embedder: str
    row: MemoryRow
    vector: tuple[float, ...]
    """As single precision, which is what Postgres keeps."""
    mark: int
    """Hash of the vector: equal ones have equal scores, worked out once in a search."""
    added_at: float
    added: int
    used: int

    def shown(self, score: float = 0.0) -> Remembered:
        """For readers."""
        row = self.row
        return Remembered(
            id=row.memory.hex(),
            scope=str(self.scope),
            text=row.text,
            label=row.label,
            data=orjson.loads(row.data),
            agent_id=row.agent_id,
            added_at=self.added_at,
            score=score,
        )
