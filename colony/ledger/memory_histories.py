"""What became of one task, and steps taken over from another job, in memory."""

from __future__ import annotations

from typing import Any

from colony.contracts import StepLoad
from colony.ledger.histories import Keep, TaskAttempt, TaskHistory, TaskOutcome
from colony.ledger.memory_tables import AttemptRow, MemoryTables
from colony.ledger.validation import parse_object


class MemoryHistories:
    """See `HistoryLedger`."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def task_history(self, job: int, step: int, seq: int) -> TaskHistory | None:
        """See `HistoryLedger`."""
        table = self._tables.step(job, step)
        if not 0 <= seq < len(table.tasks):
            return None
        settled = table.outcomes.get(seq, {})
        outcomes = [
            TaskOutcome(
                generation=generation,
                ok=row.ok,
                error=row.error,
                message=row.message,
                agent_id=row.agent_id,
                at=table.committed.get((seq, generation), 0.0),
            )
            for generation, row in sorted(settled.items())
        ]
        open_ones = [row for row in table.attempts if seq in row.seqs and row.generation not in settled]
        return TaskHistory(
            agent_id=table.tasks[seq][0], outcomes=tuple(outcomes), attempts=tuple(map(self._attempt, open_ones))
        )

    def _attempt(self, row: AttemptRow) -> TaskAttempt:
        lease = self._tables.leases.get(row.incarnation)
        return TaskAttempt(
            generation=row.generation,
            host="" if lease is None else lease.host,
            since=row.started_at,
            ended=lease is None or lease.ended,
            crashed=lease is not None and lease.crashed,
        )

    async def copy_step(self, job: int, step: int, origin: int, keep: Keep) -> StepLoad | None:
        """See `HistoryLedger`."""
        self._tables.job(job)
        mine, theirs = self._tables.step(job, step), self._tables.step(origin, step)
        if mine.load is not None or theirs.load is None:
            return mine.load
        mine.tasks, mine.load = list(theirs.tasks), theirs.load
        for seq in theirs.outcomes if keep != "none" else ():
            last = theirs.last(seq)
            if last is not None and (last[1].ok or keep == "all"):
                mine.outcomes[seq] = {0: last[1]._replace(transient=False)}
                mine.committed[seq, 0] = self._tables.clock.wall()
        if theirs.load.bad_rows:
            self._tables.bad_rows.setdefault(job, {}).update(self._tables.bad_rows.get(origin, {}))
        return mine.load

    async def asked_of(self, job: int) -> dict[str, Any]:
        """See `HistoryLedger`."""
        return parse_object(self._tables.job(job).request)
