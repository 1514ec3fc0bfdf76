"""Writing the tasks of a step, in Postgres. Every load may be repeated, also while another one still runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from colony.contracts import BadRow, StepLoad
from colony.errors import NotFound
from colony.ids import AgentId
from colony.ledger.postgres_connection import BULK_SECONDS, Database, Session
from colony.ledger.validation import clean_text

_MAP: Final = """
INSERT INTO task (job, step, seq, payload)
SELECT $1, $2, row_number() OVER (ORDER BY seq) - 1, result FROM (
    SELECT DISTINCT ON (seq) seq, result FROM outcome
     WHERE job = $1 AND step = $3 AND ok ORDER BY seq, generation) good
ON CONFLICT DO NOTHING"""

_REDUCE: Final = """
INSERT INTO task (job, step, seq, payload)
SELECT $1, $2, g, convert_to(format('{"step":%s,"first":%s,"end":%s}',
                                    $3::integer, g * $5::bigint, least((g + 1) * $5::bigint, $4)), 'UTF8')
  FROM generate_series(0, ($4::bigint + $5 - 1) / $5 - 1) AS g
ON CONFLICT DO NOTHING"""


_LOADED: Final = """
SELECT j.job, l.tasks, l.bad_rows FROM job j LEFT JOIN step_load l ON l.job = j.job AND l.step = $2 WHERE j.job = $1"""


class PostgresLoads:
    """See `JobLedger`: how tasks get in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load_source(
        self, job: int, step: int, rows: AsyncIterator[Sequence[tuple[int, bytes]]], bad: Sequence[BadRow]
    ) -> StepLoad:
        """See `JobLedger`. Waits for the caller's chunks outside of any transaction. Raises `NotFound`."""
        done = await self._loaded(job, step)
        if done is not None:
            return done
        async with self._database.session() as session:
            try:
                await session.changed("DROP TABLE IF EXISTS pg_temp.incoming")
                await session.changed("CREATE TEMPORARY TABLE incoming (seq integer NOT NULL, payload bytea NOT NULL)")
                async for chunk in rows:
                    await session.copy("incoming", ("seq", "payload"), chunk)
                return await self._finish_source(session, job, step, bad)
            finally:
                await session.discard("DROP TABLE IF EXISTS pg_temp.incoming")

    async def _finish_source(self, session: Session, job: int, step: int, bad: Sequence[BadRow]) -> StepLoad:
        async with session.transaction():
            done = await lock_step(session, job, step)
            if done is not None:
                return done
            await session.changed(
                """INSERT INTO task (job, step, seq, payload)
                   SELECT $1, $2, seq, payload FROM incoming ORDER BY seq ON CONFLICT DO NOTHING""",
                job,
                step,
                timeout=BULK_SECONDS,
            )
            await session.changed(
                """INSERT INTO bad_row (job, line, reason)
                   SELECT $1, line, reason FROM unnest($2::bigint[], $3::text[]) AS b (line, reason) ORDER BY line
                   ON CONFLICT DO NOTHING""",
                job,
                [row.line for row in bad],
                [clean_text(row.reason) for row in bad],
                timeout=BULK_SECONDS,
            )
            return await note_load(session, job, step, len(bad))

    async def load_map(self, job: int, step: int, over: int) -> StepLoad:
        """See `JobLedger`."""
        done = await self._loaded(job, step)
        if done is not None:
            return done
        async with self._database.transaction() as session:
            done = await lock_step(session, job, step)
            if done is not None:
                return done
            await session.changed(_MAP, job, step, over, timeout=BULK_SECONDS)
            return await note_load(session, job, step, 0)

    async def load_reduce(self, job: int, step: int, over: int, group: int) -> StepLoad:
        """See `JobLedger`. Raises `NotFound` when step `over` is not loaded."""
        done = await self._loaded(job, step)
        if done is not None:
            return done
        tasks = await self.task_count(job, over)
        if tasks is None:
            raise NotFound(f"Step {over} of job {job} is not loaded.")
        async with self._database.transaction() as session:
            done = await lock_step(session, job, step)
            if done is not None:
                return done
            await session.changed(_REDUCE, job, step, over, tasks, group, timeout=BULK_SECONDS)
            return await note_load(session, job, step, 0)

    async def load_tasks(self, job: int, step: int, tasks: Sequence[tuple[AgentId | None, bytes]]) -> StepLoad:
        """See `JobLedger`."""
        done = await self._loaded(job, step)
        if done is not None:
            return done
        async with self._database.transaction() as session:
            done = await lock_step(session, job, step)
            if done is not None:
                return done
            await session.changed(
                """INSERT INTO task (job, step, seq, agent_id, payload)
                   SELECT $1, $2, number - 1, agent_id, payload
                     FROM unnest($3::text[], $4::bytea[]) WITH ORDINALITY AS t (agent_id, payload, number)
                   ON CONFLICT DO NOTHING""",
                job,
                step,
                [agent_id for agent_id, _ in tasks],
                [payload for _, payload in tasks],
                timeout=BULK_SECONDS,
            )
            return await note_load(session, job, step, 0)

    async def task_count(self, job: int, step: int) -> int | None:
        """See `JobLedger`."""
        return await self._database.value("SELECT tasks FROM step_load WHERE job = $1 AND step = $2", job, step)

    async def bad_rows(self, job: int, limit: int = 100) -> tuple[int, list[BadRow]]:
        """See `JobLedger`."""
        rows = await self._database.rows(
            "SELECT line, reason FROM bad_row WHERE job = $1 ORDER BY line LIMIT $2", job, limit
        )
        count = len(rows)
        if count >= limit:
            count = await self._database.value("SELECT count(*) FROM bad_row WHERE job = $1", job)
        return count, [BadRow(line=line, reason=reason) for line, reason in rows]

    async def _loaded(self, job: int, step: int) -> StepLoad | None:
        return _load_of(await self._database.row(_LOADED, job, step), job)


def _load_of(row: Any | None, job: int) -> StepLoad | None:
    if row is None:
        raise NotFound(f"There is no job {job}.")
    return None if row["tasks"] is None else StepLoad(tasks=row["tasks"], bad_rows=row["bad_rows"])


async def lock_step(session: Session, job: int, step: int) -> StepLoad | None:
    """Wait for any other load of the step to end; what it loaded, if it did. The job stays until we are done."""
    await session.value("SELECT pg_advisory_xact_lock(($1::bigint << 12) | $2::integer)", job, step)
    row = await session.row(_LOADED + " FOR KEY SHARE OF j", job, step)
    return _load_of(row, job)


async def note_load(session: Session, job: int, step: int, bad_rows: int) -> StepLoad:
    """Note that the tasks of a step are all there; how many."""
    tasks = await session.value(
        """INSERT INTO step_load (job, step, tasks, bad_rows)
           SELECT $1, $2, count(*), $3 FROM task WHERE job = $1 AND step = $2 RETURNING tasks""",
        job,
        step,
        bad_rows,
        timeout=BULK_SECONDS,
    )
    return StepLoad(tasks=tasks, bad_rows=bad_rows)
