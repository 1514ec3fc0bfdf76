"""What became of one task, and steps taken over from another job, in Postgres."""

from __future__ import annotations

from typing import Any, Final

from colony.contracts import StepLoad
from colony.errors import NotFound
from colony.ledger.histories import Keep, TaskAttempt, TaskHistory, TaskOutcome
from colony.ledger.postgres_connection import BULK_SECONDS, Database
from colony.ledger.postgres_loads import lock_step, note_load
from colony.ledger.validation import parse_object

_OUTCOMES: Final = """
SELECT generation, ok, error, message, agent_id, extract(epoch FROM committed_at)::float8
  FROM outcome WHERE job = $1 AND step = $2 AND seq = $3 ORDER BY generation"""

_ATTEMPTS: Final = """
SELECT a.generation, coalesce(l.host, ''), extract(epoch FROM a.started_at)::float8,
       l.ended_at IS NOT NULL OR l.incarnation IS NULL, coalesce(l.crashed, false)
  FROM attempt a LEFT JOIN lease l ON l.incarnation = a.incarnation
 WHERE a.job = $1 AND a.step = $2 AND a.first_seq <= $3 AND a.last_seq >= $3 AND $3 = ANY (a.seqs)
   AND NOT EXISTS (SELECT 1 FROM outcome o
                    WHERE o.job = $1 AND o.step = $2 AND o.seq = $3 AND o.generation = a.generation)
 ORDER BY a.started_at"""

_COPY_TASKS: Final = """
INSERT INTO task (job, step, seq, agent_id, payload)
SELECT $1, step, seq, agent_id, payload FROM task WHERE job = $3 AND step = $2 ORDER BY seq
ON CONFLICT DO NOTHING"""

_COPY_OUTCOMES: Final = """
INSERT INTO outcome (job, step, seq, generation, micros, ok, transient, agent_id, error, message, result)
SELECT $1, $2, seq, 0, micros, ok, false, agent_id, error, message, result FROM (
    SELECT DISTINCT ON (seq) seq, micros, ok, agent_id, error, message, result FROM outcome
     WHERE job = $3 AND step = $2 ORDER BY seq, generation DESC) AS last
 WHERE ok OR $4
ON CONFLICT DO NOTHING"""

_COPY_BAD_ROWS: Final = """
INSERT INTO bad_row (job, line, reason) SELECT $1, line, reason FROM bad_row WHERE job = $2 ON CONFLICT DO NOTHING"""


class PostgresHistories:
    """See `HistoryLedger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def task_history(self, job: int, step: int, seq: int) -> TaskHistory | None:
        """See `HistoryLedger`."""
        where = (job, step, seq)
        task = await self._database.row("SELECT agent_id FROM task WHERE job = $1 AND step = $2 AND seq = $3", *where)
        if task is None:
            return None
        outcomes = await self._database.rows(_OUTCOMES, *where)
        attempts = await self._database.rows(_ATTEMPTS, *where)
        return TaskHistory(
            agent_id=task["agent_id"],
            outcomes=tuple(TaskOutcome(**dict(zip(TaskOutcome.model_fields, row, strict=True))) for row in outcomes),
            attempts=tuple(TaskAttempt(**dict(zip(TaskAttempt.model_fields, row, strict=True))) for row in attempts),
        )

    async def copy_step(self, job: int, step: int, origin: int, keep: Keep) -> StepLoad | None:
        """See `HistoryLedger`."""
        async with self._database.transaction() as session:
            done = await lock_step(session, job, step)
            if done is not None:
                return done
            bad = await session.value("SELECT bad_rows FROM step_load WHERE job = $1 AND step = $2", origin, step)
            if bad is None:
                return None
            await session.changed(_COPY_TASKS, job, step, origin, timeout=BULK_SECONDS)
            if keep != "none":
                await session.changed(_COPY_OUTCOMES, job, step, origin, keep == "all", timeout=BULK_SECONDS)
            if bad:
                await session.changed(_COPY_BAD_ROWS, job, origin, timeout=BULK_SECONDS)
            return await note_load(session, job, step, bad)

    async def asked_of(self, job: int) -> dict[str, Any]:
        """See `HistoryLedger`."""
        found = await self._database.value("SELECT request FROM job WHERE job = $1", job)
        if found is None:
            raise NotFound(f"There is no job {job}.")
        return parse_object(found.encode())
