"""The ledger in memory: the twin of the one on Postgres, for tests and simulations. It ends with its process."""

from __future__ import annotations

from colony.clock import Clock
from colony.ledger.memory_fleet import MemoryFleet
from colony.ledger.memory_histories import MemoryHistories
from colony.ledger.memory_jobs import MemoryJobs
from colony.ledger.memory_llm import MemoryLlm
from colony.ledger.memory_memories import MemoryMemories
from colony.ledger.memory_messages import MemoryMessages
from colony.ledger.memory_retention import MemoryRetention
from colony.ledger.memory_sites import MemorySites
from colony.ledger.memory_submissions import MemorySubmissions
from colony.ledger.memory_tables import MemoryTables
from colony.ledger.memory_tasks import MemoryTasks
from colony.ledger.memory_transcripts import MemoryTranscripts


class MemoryLedger(
    MemorySites,
    MemoryFleet,
    MemoryJobs,
    MemoryTasks,
    MemoryHistories,
    MemoryMemories,
    MemoryMessages,
    MemoryLlm,
    MemoryRetention,
    MemorySubmissions,
    MemoryTranscripts,
):
    """See `Ledger`. Leases run by the monotonic time of `clock`; all who would share a database share one object."""

    def __init__(self, clock: Clock) -> None:
        self._tables = MemoryTables(clock)

    async def ping(self) -> float:
        """See `Ledger`."""
        return 0.0
