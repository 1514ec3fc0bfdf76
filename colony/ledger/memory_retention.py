"""Forgetting what is old, in memory."""

from __future__ import annotations

from colony.contracts import JobState
from colony.ids import AgentId
from colony.ledger.memory_tables import MemoryTables
from colony.ledger.retention import Pruned
from colony.ledger.validation import encode_object
from colony.memory.contracts import ScopeKind


class MemoryRetention:
    """See `RetentionLedger`."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def prunable(self, jobs_age: float | None, calls_age: float | None) -> Pruned:
        """See `RetentionLedger`."""
        return self._prune(jobs_age, calls_age, really=False)

    async def prune(self, jobs_age: float | None, calls_age: float | None) -> Pruned:
        """See `RetentionLedger`."""
        return self._prune(jobs_age, calls_age, really=True)

    async def prune_calls(self, seconds: float) -> int:
        """See `LlmLedger`."""
        return self._prune(None, seconds, really=True).llm_calls

    def _prune(self, jobs_age: float | None, calls_age: float | None, *, really: bool) -> Pruned:
        found = Pruned()
        if jobs_age is not None:
            before = self._tables.clock.wall() - jobs_age
            found = (
                self._old_jobs(before, really)
                .plus(self._old_messages(before, really))
                .plus(self._old_states(before, really))
            )
            found = found.plus(Pruned(memories=self._orphans(before, really)))
        if calls_age is not None:
            found = found.plus(self._old_calls(self._tables.clock.wall() - calls_age, really))
        return found

    def _old_jobs(self, before: float, really: bool) -> Pruned:
        tables = self._tables
        unfinished = self._unfinished()
        found = Pruned()
        for number, row in list(tables.jobs.items()):
            if row.closed_at is None or row.closed_at > before or row.plan.key in unfinished:
                continue
            steps = [table for (job, _), table in tables.steps.items() if job == number]
            payloads = [payload for table in steps for _, payload in table.tasks]
            outcomes = [one for table in steps for each in table.outcomes.values() for one in each.values()]
            artifacts = tables.artifacts.get(number, {}).values()
            said = tables.transcripts.get(number, {}).values()
            size = sum(map(len, payloads)) + sum(len(one.result) + len(one.message.encode()) for one in outcomes)
            size += sum(len(artifact.content) for artifact in artifacts)
            size += sum(len(entry.request.encode()) + len(entry.answer.encode()) for entry in said)
            counts = Pruned(jobs=1, tasks=len(payloads), outcomes=len(outcomes), artifacts=len(artifacts), bytes=size)
            found = found.plus(counts._replace(transcripts=len(said)))
            if really:
                del tables.jobs[number]
                for key in [key for key in tables.steps if key[0] == number]:
                    del tables.steps[key]
                tables.artifacts.pop(number, None)
                tables.transcripts.pop(number, None)
                tables.bad_rows.pop(number, None)
                tables.monitors.pop(number, None)
                if row.plan.key not in self._counted():
                    tables.llm_jobs.pop(row.plan.key, None)
        return found

    def _old_messages(self, before: float, really: bool) -> Pruned:
        tables, found = self._tables, Pruned()
        for key, message in list(tables.messages.items()):
            done = tables.done_messages.get(key)
            lost = done is None and tables.put_at[key] <= before and self._is_gone(message.agent_id, before)
            if not lost and (done is None or done > before):
                continue
            found = found.plus(Pruned(messages=1, bytes=len(encode_object(message.payload))))
            if really:
                del tables.messages[key], tables.put_at[key]
                tables.done_messages.pop(key, None)
                tables.failed_messages.pop(key, None)
                tables.tried_messages.pop(key, None)
        return found

    def _old_states(self, before: float, really: bool) -> Pruned:
        tables = self._tables
        gone = [agent_id for agent_id in tables.states if self._is_gone(agent_id, before)]
        size = sum(len(tables.states[agent_id]) for agent_id in gone)
        if really:
            for agent_id in gone:
                del tables.states[agent_id]
        return Pruned(states=len(gone), bytes=size)

    def _is_gone(self, agent_id: AgentId, before: float) -> bool:
        gone_at = self._tables.gone_agents.get(agent_id)
        return agent_id not in self._tables.agents and gone_at is not None and gone_at <= before

    def _old_calls(self, before: float, really: bool) -> Pruned:
        counted = self._counted()
        old = [key for key, row in self._tables.llm_calls.items() if row.ended_at < before and row.job not in counted]
        if really:
            for key in old:
                del self._tables.llm_calls[key]
        return Pruned(llm_calls=len(old))

    def _orphans(self, before: float, really: bool) -> int:
        """Entries of jobs that are gone, or would be."""
        tables, unfinished = self._tables, self._unfinished()
        kept = {
            row.plan.key
            for row in tables.jobs.values()
            if row.closed_at is None or row.closed_at > before or row.plan.key in unfinished
        }
        gone = [
            key
            for key, entry in tables.memories.items()
            if entry.scope.kind is ScopeKind.JOB and entry.scope.name not in kept
        ]
        if really:
            for key in gone:
                del tables.memories[key]
        return len(gone)

    def _unfinished(self) -> set[str]:
        """Keys of the jobs that run and of all above them."""
        found: set[str] = set()
        waiting = [row.plan.key for row in self._tables.jobs.values() if row.state is JobState.RUNNING]
        while waiting:
            key = waiting.pop()
            if key and key not in found:
                found.add(key)
                above = self._tables.llm_jobs.get(key)
                waiting += [] if above is None else [above.parent]
        return found

    def _counted(self) -> set[str]:
        """Those, and all they started."""
        found: set[str] = set()
        waiting = list(self._unfinished())
        while waiting:
            key = waiting.pop()
            if key not in found:
                found.add(key)
                waiting += [child for child, row in self._tables.llm_jobs.items() if row.parent == key]
        return found
