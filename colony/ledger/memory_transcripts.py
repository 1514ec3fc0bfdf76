"""What was said in a job, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from colony.ledger.memory_tables import MemoryTables
from colony.ledger.transcripts import (
    WHOLE,
    Said,
    TranscriptEntry,
    TranscriptFilter,
    TranscriptPlace,
    TranscriptTotals,
    wants,
)
from colony.ledger.validation import kept_entry


class MemoryTranscripts:
    """See `TranscriptLedger`."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def write_transcript(self, entries: Sequence[TranscriptEntry]) -> int:
        """See `TranscriptLedger`."""
        fresh = 0
        for entry in map(kept_entry, entries):
            if entry.job not in self._tables.jobs:
                continue
            said = self._tables.transcripts.setdefault(entry.job, {})
            place = TranscriptPlace(entry.at, entry.entry_id)
            fresh += place not in said
            said.setdefault(place, entry)
        return fresh

    async def transcript(
        self,
        job: int,
        limit: int,
        *,
        after: TranscriptPlace | None = None,
        wanted: TranscriptFilter | None = None,
    ) -> list[TranscriptEntry]:
        """See `TranscriptLedger`."""
        said = sorted(self._tables.transcripts.get(job, {}).items())
        behind = [entry for place, entry in said if after is None or place > after]
        return [entry for entry in behind if wants(wanted or WHOLE, entry)][:limit]

    async def transcript_totals(self, job: int) -> TranscriptTotals:
        """See `TranscriptLedger`."""
        said = list(self._tables.transcripts.get(job, {}).values())
        return TranscriptTotals(
            entries=sum(entry.kind != Said.GAP for entry in said),
            calls=sum(entry.kind == Said.MODEL for entry in said),
            prompt_tokens=sum(entry.prompt_tokens for entry in said),
            completion_tokens=sum(entry.completion_tokens for entry in said),
            lost=sum(entry.lost for entry in said),
        )
