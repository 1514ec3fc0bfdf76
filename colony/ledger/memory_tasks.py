"""Loads, batches and commits, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from colony.contracts import BadRow, BatchRequest, OutcomeRow, StateRow, StepLoad, TaskRow
from colony.errors import NotFound
from colony.ids import AgentId
from colony.ledger.memory_tables import AttemptRow, MemoryTables, StepTable
from colony.ledger.validation import check_epochs, clean_text, kept_outcome, reduce_payload, written_agents


class MemoryTasks:
    """See `JobLedger`: tasks and outcomes."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def load_source(
        self, job: int, step: int, rows: AsyncIterator[Sequence[tuple[int, bytes]]], bad: Sequence[BadRow]
    ) -> StepLoad:
        """See `JobLedger`."""
        self._tables.job(job)
        table = self._tables.step(job, step)
        if table.load is not None:
            return table.load
        incoming: dict[int, bytes] = {}
        async for chunk in rows:
            for seq, payload in chunk:
                incoming.setdefault(seq, payload)
        if table.load is not None:
            return table.load
        kept = self._tables.bad_rows.setdefault(job, {})
        for row in bad:
            kept.setdefault(row.line, row.model_copy(update={"reason": clean_text(row.reason)}))
        return _fill(table, [(None, incoming[seq]) for seq in sorted(incoming)], len(bad))

    async def load_map(self, job: int, step: int, over: int) -> StepLoad:
        """See `JobLedger`."""
        self._tables.job(job)
        source = self._tables.step(job, over)
        good = (source.good(seq) for seq in sorted(source.outcomes))
        return _fill(self._tables.step(job, step), [(None, row.result) for row in good if row is not None])

    async def load_reduce(self, job: int, step: int, over: int, group: int) -> StepLoad:
        """See `JobLedger`. Raises `NotFound` when step `over` is not loaded."""
        self._tables.job(job)
        source = self._tables.step(job, over).load
        if source is None:
            raise NotFound(f"Step {over} of job {job} is not loaded.")
        ranges = ((first, min(first + group, source.tasks)) for first in range(0, source.tasks, group))
        return _fill(self._tables.step(job, step), [(None, reduce_payload(over, *pair)) for pair in ranges])

    async def load_tasks(self, job: int, step: int, tasks: Sequence[tuple[AgentId | None, bytes]]) -> StepLoad:
        """See `JobLedger`."""
        self._tables.job(job)
        return _fill(self._tables.step(job, step), tasks)

    async def task_count(self, job: int, step: int) -> int | None:
        """See `JobLedger`."""
        load = self._tables.step(job, step).load
        return None if load is None else load.tasks

    async def open_tasks(self, batch: BatchRequest) -> list[TaskRow]:
        """See `JobLedger`."""
        table = self._tables.step(batch.job, batch.step)
        crashed = [
            row for row in table.attempts if (lease := self._tables.leases.get(row.incarnation)) and lease.crashed
        ]

        def suspect(seq: int) -> int:
            settled = table.outcomes.get(seq, {})
            return len({row.incarnation for row in crashed if seq in row.seqs and row.generation not in settled})

        return [
            TaskRow(seq, *table.tasks[seq], suspect(seq))
            for seq in range(max(batch.first, 0), min(batch.end, len(table.tasks)))
            if _is_open(table.outcomes.get(seq, {}), batch.generation)
        ]

    async def start_tasks(self, batch: BatchRequest, incarnation: str, seqs: Sequence[int]) -> None:
        """See `JobLedger`."""
        self._tables.step(batch.job, batch.step).attempts.append(
            AttemptRow(incarnation, batch.generation, frozenset(seqs), self._tables.clock.wall())
        )

    async def commit(
        self,
        batch: BatchRequest,
        incarnation: str,
        epochs: Mapping[int, int],
        outcomes: Sequence[OutcomeRow],
        states: Sequence[StateRow] = (),
    ) -> list[int]:
        """See `JobLedger`."""
        check_epochs(epochs, written_agents(outcomes, states))
        self._tables.check_fence(incarnation, epochs)
        table = self._tables.step(batch.job, batch.step)
        fresh: list[int] = []
        for row in sorted(outcomes, key=lambda outcome: outcome.seq):
            found = table.outcomes.setdefault(row.seq, {})
            if batch.generation not in found:
                found[batch.generation] = kept_outcome(row)
                fresh.append(row.seq)
                table.committed[row.seq, batch.generation] = self._tables.clock.wall()
        new = set(fresh)
        stale = {row.agent_id for row in outcomes if row.seq not in new}
        told = {row.agent_id for row in outcomes} - stale
        self._tables.states.update((row.agent_id, row.state) for row in states if row.agent_id in told)
        return fresh

    async def results(self, job: int, step: int, first: int, end: int) -> list[tuple[int, bytes]]:
        """See `JobLedger`."""
        table = self._tables.step(job, step)
        good = ((seq, table.good(seq)) for seq in sorted(table.outcomes) if first <= seq < end)
        return [(seq, row.result) for seq, row in good if row is not None]


def _fill(table: StepTable, tasks: Sequence[tuple[AgentId | None, bytes]], bad_rows: int = 0) -> StepLoad:
    """Write the tasks of a step unless it has them; what is loaded."""
    if table.load is None:
        table.tasks = list(tasks)
        table.load = StepLoad(tasks=len(tasks), bad_rows=bad_rows)
    return table.load


def _is_open(outcomes: Mapping[int, OutcomeRow], generation: int) -> bool:
    """Whether a task with these outcomes (by generation) should run in `generation`."""
    if generation in outcomes or any(row.ok for row in outcomes.values()):
        return False
    earlier = [number for number in outcomes if number < generation]
    return not earlier or outcomes[max(earlier)].transient
