"""Forgetting what is old, in Postgres: whole partitions where all their jobs are gone, else rows in batches."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from colony.errors import DeadlineExceeded, Unavailable
from colony.ledger.postgres_connection import BULK_SECONDS, Database
from colony.ledger.postgres_memories import PostgresMemories
from colony.ledger.retention import Pruned

_JOBS_AT_ONCE: Final = 500
_ROWS_AT_ONCE: Final = 5_000
_LOCK_TRIES: Final = 5
_LOCK_PAUSE: Final = 0.2

_PRUNABLE: Final = """
WITH old AS MATERIALIZED (
    SELECT j.job FROM job j
     WHERE j.closed_at < $1 AND j.state <> 'running'
       AND NOT EXISTS (SELECT 1 FROM unfinished_jobs() u WHERE u.key = j.key)),
left_over AS MATERIALIZED (SELECT job FROM old UNION ALL SELECT job FROM pruned_job WHERE NOT empty),
tasks AS (SELECT count(*) AS rows, coalesce(sum(octet_length(payload)), 0) AS size
            FROM task t JOIN left_over USING (job)),
outcomes AS (SELECT count(*) AS rows, coalesce(sum(octet_length(result) + octet_length(message)), 0) AS size
               FROM outcome o JOIN left_over USING (job)),
artifacts AS (SELECT count(*) AS rows, coalesce(sum(octet_length(content)), 0) AS size
                FROM artifact a JOIN left_over USING (job)),
transcripts AS (SELECT count(*) AS rows, coalesce(sum(octet_length(request) + octet_length(answer)), 0) AS size
                  FROM transcript t JOIN left_over USING (job)),
gone AS MATERIALIZED (
    SELECT g.agent_id FROM agent_gone g
     WHERE g.gone_at < $1 AND NOT EXISTS (SELECT 1 FROM agent a WHERE a.agent_id = g.agent_id)),
messages AS (
    SELECT count(*) AS rows, coalesce(sum(octet_length(m.payload)), 0) AS size
      FROM message m LEFT JOIN message_done d USING (message_id)
     WHERE d.done_at < $1
        OR (d.message_id IS NULL AND m.put_at < $1 AND EXISTS (SELECT 1 FROM gone g WHERE g.agent_id = m.agent_id))),
states AS (SELECT count(*) AS rows, coalesce(sum(octet_length(state)), 0) AS size
             FROM agent_state s JOIN gone USING (agent_id))
SELECT (SELECT count(*) FROM old), tasks.rows, outcomes.rows, messages.rows, artifacts.rows, states.rows,
       transcripts.rows,
       (tasks.size + outcomes.size + artifacts.size + messages.size + states.size + transcripts.size)::bigint
  FROM tasks, outcomes, artifacts, messages, states, transcripts"""

_PRUNABLE_CALLS: Final = """
SELECT count(*) FROM llm_call c
 WHERE c.ended_at < clock_timestamp() - make_interval(secs => $1)
   AND NOT EXISTS (SELECT 1 FROM counted_jobs() j WHERE j.key = c.job)"""

_PRUNABLE_MEMORIES: Final = """
SELECT count(*) FROM memory m
 WHERE m.scope_kind = 'job'
   AND NOT EXISTS (
       SELECT 1 FROM job j WHERE j.key = m.scope_name
          AND NOT (coalesce(j.closed_at < $1, false) AND j.state <> 'running'
                   AND NOT EXISTS (SELECT 1 FROM unfinished_jobs() u WHERE u.key = j.key)))"""


class PostgresRetention:
    """See `RetentionLedger`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prunable(self, jobs_age: float | None, calls_age: float | None) -> Pruned:
        """See `RetentionLedger`."""
        found = Pruned()
        if jobs_age is not None:
            row = await self._database.row(_PRUNABLE, await self._before(jobs_age), timeout=BULK_SECONDS)
            jobs, tasks, outcomes, messages, artifacts, states, said, size = row or (0,) * 8
            found = Pruned(jobs, tasks, outcomes, messages, artifacts, states, transcripts=said, bytes=size)
        if jobs_age is not None and not await self._database.value("SELECT to_regclass('memory') IS NULL"):
            before = await self._before(jobs_age)
            memories = await self._database.value(_PRUNABLE_MEMORIES, before, timeout=BULK_SECONDS)
            found = found._replace(memories=memories)
        if calls_age is not None:
            calls = await self._database.value(_PRUNABLE_CALLS, calls_age, timeout=BULK_SECONDS)
            found = found._replace(llm_calls=calls)
        return found

    async def prune(self, jobs_age: float | None, calls_age: float | None) -> Pruned:
        """See `RetentionLedger`."""
        found = Pruned()
        if jobs_age is not None:
            before = await self._before(jobs_age)
            found = Pruned(jobs=await self._forget_jobs(before))
            found = found.plus(await self._remove_rows())
            found = found.plus(await self._prune_messages(before)).plus(await self._prune_states(before))
            await self._database.value("SELECT prune_leases($1)", before)
            found = found.plus(Pruned(memories=await PostgresMemories(self._database).forget_orphans()))
        if calls_age is not None:
            found = found.plus(Pruned(llm_calls=await self.prune_calls(calls_age)))
        await self._database.value("SELECT forget_places()")
        return found

    async def _before(self, age: float) -> Any:
        """The time so many seconds ago, by the clock of the database."""
        return await self._database.value("SELECT clock_timestamp() - make_interval(secs => $1)", age)

    async def _forget_jobs(self, before: Any) -> int:
        jobs, last = 0, _JOBS_AT_ONCE
        while last >= _JOBS_AT_ONCE:
            last = await self._database.value("SELECT forget_jobs($1, $2)", before, _JOBS_AT_ONCE)
            jobs += last
        return jobs

    async def _remove_rows(self) -> Pruned:
        found = Pruned()
        ranges = await self._database.rows(
            """SELECT job / 1000 * 1000 AS first, array_agg(job ORDER BY job) AS jobs
                 FROM pruned_job WHERE NOT empty GROUP BY 1 ORDER BY 1"""
        )
        for first, jobs in ranges:
            dropped = await self._drop(first)
            if dropped is None:
                found = found.plus(Pruned(waiting=len(jobs)))
                continue
            found = found.plus(dropped)
            for job in jobs:
                found = found.plus(await self._remove_job(job))
        return found

    async def _drop(self, first: int) -> Pruned | None:
        """Drop the partitions of a range if all its jobs are gone; None when others hold them."""
        for _ in range(_LOCK_TRIES):
            try:
                row = await self._database.row("SELECT * FROM drop_partitions($1)", first, timeout=BULK_SECONDS)
            except (Unavailable, DeadlineExceeded):
                await asyncio.sleep(_LOCK_PAUSE)
                continue
            if row is None or row["tasks"] is None:
                return Pruned()
            tasks, outcomes, transcripts, size = row
            return Pruned(tasks=tasks, outcomes=outcomes, transcripts=transcripts, bytes=size)
        return None

    async def _remove_job(self, job: int) -> Pruned:
        found, more = await self._remove_transcript(job), True
        while more:
            row = await self._database.row("SELECT * FROM delete_job_rows($1, $2)", job, _ROWS_AT_ONCE)
            tasks, outcomes, artifacts, size, more = row or (0, 0, 0, 0, False)
            found = found.plus(Pruned(tasks=tasks, outcomes=outcomes, artifacts=artifacts, bytes=size))
        return found

    async def _remove_transcript(self, job: int) -> Pruned:
        # Before the other rows: with the last of those the job is forgotten for good.
        found, last = Pruned(), _ROWS_AT_ONCE
        while last >= _ROWS_AT_ONCE:
            row = await self._database.row("SELECT * FROM delete_transcript($1, $2)", job, _ROWS_AT_ONCE)
            last, size = row or (0, 0)
            found = found.plus(Pruned(transcripts=last, bytes=size))
        return found

    async def _prune_messages(self, before: Any) -> Pruned:
        found, last = Pruned(), _ROWS_AT_ONCE
        while last >= _ROWS_AT_ONCE:
            row = await self._database.row("SELECT * FROM prune_messages($1, $2)", before, _ROWS_AT_ONCE)
            last, size = row or (0, 0)
            found = found.plus(Pruned(messages=last, bytes=size))
        return found

    async def _prune_states(self, before: Any) -> Pruned:
        found, more = Pruned(), True
        while more:
            row = await self._database.row("SELECT * FROM prune_states($1, $2)", before, _ROWS_AT_ONCE)
            states, size, more = row or (0, 0, False)
            found = found.plus(Pruned(states=states, bytes=size))
        return found

    async def prune_calls(self, seconds: float) -> int:
        """See `LlmLedger`. In batches, each a transaction of its own."""
        before = await self._before(seconds)
        calls, last = 0, _ROWS_AT_ONCE
        while last >= _ROWS_AT_ONCE:
            last = await self._database.changed(
                """DELETE FROM llm_call WHERE ctid = ANY (ARRAY(
                       SELECT c.ctid FROM llm_call c
                        WHERE c.ended_at < $1
                          AND NOT EXISTS (SELECT 1 FROM counted_jobs() j WHERE j.key = c.job)
                        LIMIT $2))""",
                before,
                _ROWS_AT_ONCE,
            )
            calls += last
        return calls
