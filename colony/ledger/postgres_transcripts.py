"""What was said in a job, in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from colony.ledger.postgres_connection import BULK_SECONDS, Database
from colony.ledger.transcripts import (
    WHOLE,
    TranscriptEntry,
    TranscriptFilter,
    TranscriptPlace,
    TranscriptTotals,
)
from colony.ledger.validation import kept_entry

_TYPES: Final = {"job": "bigint", "at": "double precision", "seconds": "double precision"} | dict.fromkeys(
    ("step", "seq", "generation", "cut", "prompt_tokens", "completion_tokens", "lost"), "integer"
)
_FIELDS: Final = TranscriptEntry._fields
_COLUMNS: Final = ", ".join(_FIELDS)
_ARRAYS: Final = ", ".join(f"${place}::{_TYPES.get(name, 'text')}[]" for place, name in enumerate(_FIELDS, 1))

# The lock keeps jobs from being forgotten between the look and the write: rows of no job would stay for ever.
_WRITE: Final = f"""
WITH there AS (
    SELECT job FROM job WHERE job = ANY ($2::bigint[]) ORDER BY job FOR KEY SHARE)
INSERT INTO transcript ({_COLUMNS})
SELECT {", ".join(f"r.{name}" for name in _FIELDS)} FROM unnest({_ARRAYS}) AS r ({_COLUMNS}) JOIN there USING (job)
ON CONFLICT DO NOTHING"""  # noqa: S608 -- names of columns

_READ: Final = f"""
SELECT {_COLUMNS} FROM transcript
 WHERE job = $1 AND (at, entry_id) > ($2, $3)
   AND ($4::text IS NULL OR agent = $4 OR peer = $4)
   AND ($5::integer IS NULL OR step = $5)
   AND ($6::integer IS NULL OR seq = $6)
 ORDER BY at, entry_id LIMIT $7"""  # noqa: S608 -- names of columns

_TOTALS: Final = """
SELECT count(*) FILTER (WHERE kind <> 'gap'), count(*) FILTER (WHERE kind = 'model'),
       coalesce(sum(prompt_tokens::bigint), 0)::bigint, coalesce(sum(completion_tokens::bigint), 0)::bigint,
       coalesce(sum(lost::bigint), 0)::bigint
  FROM transcript WHERE job = $1"""


class PostgresTranscripts:
    """See `TranscriptLedger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write_transcript(self, entries: Sequence[TranscriptEntry]) -> int:
        """See `TranscriptLedger`. One round trip."""
        if not entries:
            return 0
        # By key, so that two writers of the same rows do not wait for each other in a circle.
        kept = sorted((kept_entry(entry) for entry in entries), key=lambda entry: (entry.job, entry.at, entry.entry_id))
        columns: list[list[Any]] = [list(column) for column in zip(*kept, strict=True)]
        return await self._database.changed(_WRITE, *columns, timeout=BULK_SECONDS)

    async def transcript(
        self,
        job: int,
        limit: int,
        *,
        after: TranscriptPlace | None = None,
        wanted: TranscriptFilter | None = None,
    ) -> list[TranscriptEntry]:
        """See `TranscriptLedger`."""
        place, wanted = after or TranscriptPlace(float("-inf"), ""), wanted or WHOLE
        rows = await self._database.rows(
            _READ, job, *place, wanted.agent or None, wanted.step, wanted.seq, limit, timeout=BULK_SECONDS
        )
        return [TranscriptEntry(*row) for row in rows]

    async def transcript_totals(self, job: int) -> TranscriptTotals:
        """See `TranscriptLedger`."""
        row = await self._database.row(_TOTALS, job, timeout=BULK_SECONDS)
        return TranscriptTotals(*(row or ()))
