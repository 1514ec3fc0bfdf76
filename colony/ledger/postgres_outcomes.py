"""What a host does with a batch, in Postgres: read open tasks, note them as in flight, commit what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from colony.contracts import BatchRequest, OutcomeRow, StateRow, TaskRow
from colony.errors import Fenced
from colony.ids import AgentId
from colony.ledger.postgres_connection import Database
from colony.ledger.validation import check_epochs, kept_outcome, written_agents

# A death counts once for a task, however often that host had it, and not at all once the attempt was settled.
# Crashed incarnations come first: almost always there is none, and then attempts are not read at all.
# The range stands on both sides of the join, because the planner does not carry it over an equality.
_OPEN: Final = """
WITH suspect AS MATERIALIZED (
    SELECT s.seq, count(DISTINCT a.incarnation) AS times
      FROM lease l JOIN attempt a ON a.incarnation = l.incarnation AND a.job = $1 AND a.step = $2,
           unnest(a.seqs) AS s (seq)
     WHERE l.crashed AND a.first_seq < $5 AND a.last_seq >= $4 AND s.seq >= $4 AND s.seq < $5
       AND NOT EXISTS (
           SELECT 1 FROM outcome d
            WHERE d.job = $1 AND d.step = $2 AND d.seq = s.seq AND d.generation = a.generation
              AND d.seq >= $4 AND d.seq < $5)
     GROUP BY s.seq
)
SELECT t.seq, t.agent_id, t.payload, coalesce(s.times, 0)
  FROM task t LEFT JOIN suspect s ON s.seq = t.seq
 WHERE t.job = $1 AND t.step = $2 AND t.seq >= $4 AND t.seq < $5
   AND NOT EXISTS (
       SELECT 1 FROM outcome o
        WHERE o.job = $1 AND o.step = $2 AND o.seq = t.seq AND (o.ok OR o.generation = $3)
          AND o.seq >= $4 AND o.seq < $5)
   {earlier}
 ORDER BY t.seq"""

_FIRST_GENERATION: Final = _OPEN.replace("{earlier}", "")
_LATER_GENERATION: Final = _OPEN.replace(
    "{earlier}",
    """AND coalesce((
       SELECT o.transient FROM outcome o
        WHERE o.job = $1 AND o.step = $2 AND o.seq = t.seq AND o.generation < $3
        ORDER BY o.generation DESC LIMIT 1), true)""",
)


class PostgresOutcomes:
    """See `JobLedger`: the hot path."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open_tasks(self, batch: BatchRequest) -> list[TaskRow]:
        """See `JobLedger`."""
        rows = await self._database.rows(
            _LATER_GENERATION if batch.generation else _FIRST_GENERATION,
            batch.job,
            batch.step,
            batch.generation,
            batch.first,
            batch.end,
        )
        return [
            TaskRow(seq, None if agent_id is None else AgentId(agent_id), payload, times)
            for seq, agent_id, payload, times in rows
        ]

    async def start_tasks(self, batch: BatchRequest, incarnation: str, seqs: Sequence[int]) -> None:
        """See `JobLedger`."""
        if not seqs:
            return
        await self._database.changed(
            """INSERT INTO attempt (job, step, generation, incarnation, first_seq, last_seq, seqs)
               VALUES ($1, $2, $3, $4, $5, $6, $7)""",
            batch.job,
            batch.step,
            batch.generation,
            incarnation,
            min(seqs),
            max(seqs),
            list(seqs),
        )

    async def commit(
        self,
        batch: BatchRequest,
        incarnation: str,
        epochs: Mapping[int, int],
        outcomes: Sequence[OutcomeRow],
        states: Sequence[StateRow] = (),
    ) -> list[int]:
        """See `JobLedger`. One round trip; error messages are kept to 4,000 characters."""
        check_epochs(epochs, written_agents(outcomes, states))
        outcomes = [kept_outcome(row) for row in outcomes]
        saved = dict(states)
        fresh = await self._database.value(
            "SELECT commit_outcomes($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
            batch.job,
            batch.step,
            batch.generation,
            incarnation,
            list(epochs.keys()),
            list(epochs.values()),
            [row.seq for row in outcomes],
            [row.agent_id for row in outcomes],
            [row.ok for row in outcomes],
            [row.error for row in outcomes],
            [row.message for row in outcomes],
            [row.transient for row in outcomes],
            [row.result for row in outcomes],
            [row.micros for row in outcomes],
            list(saved.keys()),
            list(saved.values()),
        )
        if fresh is None:
            raise Fenced(f"Incarnation {incarnation} does not hold all of these shards any more.")
        return fresh

    async def results(self, job: int, step: int, first: int, end: int) -> list[tuple[int, bytes]]:
        """See `JobLedger`."""
        rows = await self._database.rows(
            """SELECT DISTINCT ON (seq) seq, result FROM outcome
                WHERE job = $1 AND step = $2 AND seq >= $3 AND seq < $4 AND ok ORDER BY seq, generation""",
            job,
            step,
            first,
            end,
        )
        return [(seq, result) for seq, result in rows]
