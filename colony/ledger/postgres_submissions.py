"""Submissions of jobs, in Postgres."""

from __future__ import annotations

from typing import Any, Final

from colony.errors import Unavailable
from colony.ledger.postgres_connection import Database
from colony.ledger.submissions import OPENING_SECONDS, Kept, Submission, SubmissionState
from colony.ledger.validation import clean_text

_FIELDS: Final = """workflow_id, mark, template, input, digest, coalesce(idempotency_key, '') AS idempotency_key, state,
                    key, error, reason, number, extract(epoch FROM accepted_at)::float8 AS accepted_at"""

_TRIES: Final = 3
"""The row that stood in the way may be forgotten before it is read."""


class PostgresSubmissions:
    """See `SubmissionLedger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def submit(self, submission: Submission) -> Kept:
        """See `SubmissionLedger`."""
        for _ in range(_TRIES):
            row = await self._database.row(
                f"""INSERT INTO submission (workflow_id, mark, template, input, digest, idempotency_key)
                    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING {_FIELDS}""",  # noqa: S608 -- a constant
                submission.workflow_id,
                submission.mark,
                submission.template,
                submission.input,
                submission.digest,
                submission.idempotency_key or None,
            )
            if row is not None:
                return Kept(_submission(row), fresh=True)
            row = await self._database.row(
                f"""SELECT {_FIELDS} FROM submission WHERE idempotency_key = $2 OR workflow_id = $1
                    ORDER BY idempotency_key IS NOT DISTINCT FROM $2 DESC LIMIT 1""",  # noqa: S608 -- a constant
                submission.workflow_id,
                submission.idempotency_key or None,
            )
            if row is not None:
                return Kept(_submission(row), fresh=False)
        raise Unavailable("The submission could not be kept: others with its name come and go.")

    async def submission(self, workflow_id: str) -> Submission | None:
        """See `SubmissionLedger`."""
        row = await self._database.row(
            f"SELECT {_FIELDS} FROM submission WHERE workflow_id = $1",  # noqa: S608 -- a constant
            clean_text(workflow_id),
        )
        return None if row is None else _submission(row)

    async def submissions(
        self, limit: int, *, state: SubmissionState | None = None, before: int | None = None
    ) -> list[Submission]:
        """See `SubmissionLedger`."""
        rows = await self._database.rows(
            f"""SELECT {_FIELDS} FROM submission
                 WHERE ($2::text IS NULL OR state = $2) AND ($3::bigint IS NULL OR number < $3)
                 ORDER BY number DESC LIMIT $1""",  # noqa: S608 -- a constant
            limit,
            None if state is None else state.value,
            before,
        )
        return [_submission(row) for row in rows]

    async def unopened_submissions(self, limit: int, *, before: int | None = None) -> list[Submission]:
        """See `SubmissionLedger`."""
        # Two questions with an index each, instead of one that reads all there ever were.
        rows = await self._database.rows(
            f"""SELECT * FROM (
                    SELECT {_FIELDS} FROM submission WHERE state = 'accepted'
                    UNION ALL
                    SELECT {_FIELDS} FROM submission s
                     WHERE s.state = 'started' AND s.settled_at > clock_timestamp() - make_interval(secs => $3)
                       AND NOT EXISTS (SELECT FROM job j WHERE j.workflow_id = s.workflow_id COLLATE "default")) u
                 WHERE $2::bigint IS NULL OR number < $2 ORDER BY number DESC LIMIT $1""",  # noqa: S608 -- a constant
            limit,
            before,
            OPENING_SECONDS,
        )
        return [_submission(row) for row in rows]

    async def open_submissions(self, limit: int) -> list[Submission]:
        """See `SubmissionLedger`."""
        rows = await self._database.rows(
            f"SELECT {_FIELDS} FROM submission WHERE state = 'accepted' ORDER BY number LIMIT $1",  # noqa: S608 -- a constant
            limit,
        )
        return [_submission(row) for row in rows]

    async def settle_submission(
        self, workflow_id: str, state: SubmissionState, *, key: str = "", error: str = "", reason: str = ""
    ) -> bool:
        """See `SubmissionLedger`."""
        changed = await self._database.changed(
            """UPDATE submission SET state = $2, key = $3, error = $4, reason = $5, settled_at = clock_timestamp()
                WHERE workflow_id = $1 AND state = 'accepted'""",
            workflow_id,
            state.value,
            key,
            error,
            clean_text(reason),
        )
        return changed > 0

    async def prune_submissions(self, seconds: float) -> int:
        """See `SubmissionLedger`."""
        return await self._database.changed(
            "DELETE FROM submission WHERE settled_at < clock_timestamp() - make_interval(secs => $1)", seconds
        )


def _submission(row: Any) -> Submission:
    return Submission(**dict(row))
