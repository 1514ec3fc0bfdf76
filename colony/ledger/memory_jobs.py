"""Jobs, their artifacts and their counts, in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from colony.contracts import Artifact, ArtifactNote, BadRow, DeadLetter, JobState, JobView, StepCounts
from colony.errors import BadInput, NotFound
from colony.ids import Id
from colony.jobs import JobPlan, Origin, SourcePin, StepPlan
from colony.ledger.durations import with_seconds
from colony.ledger.memory_tables import JobRow, MemoryTables
from colony.ledger.validation import clean_text, encode_object, parse_object


class MemoryJobs:
    """See `JobLedger`: the job itself."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def open_job(
        self,
        key: str,
        workflow_id: str,
        template: str,
        steps: Sequence[StepPlan],
        source: SourcePin | None,
        request: Mapping[str, Any],
        origin: Origin | None = None,
        *,
        trace: str = "",
    ) -> JobPlan:
        """See `JobLedger`."""
        asked = encode_object(request)
        for row in self._tables.jobs.values():
            if row.plan.key == key:
                return row.plan
        number = self._tables.last_job = self._tables.last_job + 1
        plan = JobPlan(
            job=number,
            key=key,
            workflow_id=workflow_id,
            template=Id(template),
            steps=tuple(steps),
            source=source,
            origin=origin,
            trace=trace,
        )
        self._tables.jobs[number] = JobRow(plan, self._tables.clock.wall(), request=asked)
        return plan

    async def plan(self, job: int) -> JobPlan:
        """See `JobLedger`."""
        return self._tables.job(job).plan

    async def request_cancel(self, job: int) -> None:
        """See `JobLedger`. Raises `NotFound`."""
        self._tables.job(job).cancel_requested = True

    async def cancel_requested(self, job: int) -> bool:
        """See `JobLedger`. Raises `NotFound`."""
        row = self._tables.job(job)
        return row.cancel_requested or row.state is not JobState.RUNNING

    async def close_job(self, job: int, state: JobState, reason: str = "") -> None:
        """See `JobLedger`."""
        if state is JobState.RUNNING:
            raise BadInput("A job cannot be closed as running.")
        row = self._tables.jobs.get(job)
        if row is not None and row.state is JobState.RUNNING:
            row.state = state
            row.reason = clean_text(reason)
            row.closed_at = self._tables.clock.wall()

    async def jobs(self, limit: int = 50, *, running_only: bool = False, before: int | None = None) -> list[JobView]:
        """See `JobLedger`."""
        newest = sorted(self._tables.jobs.items(), reverse=True)
        wanted = [row for job, row in newest if before is None or job < before]
        found = [row for row in wanted if row.state is JobState.RUNNING or not running_only]
        return [_view(row, ()) for row in found[:limit]]

    async def job(self, name: str) -> JobView:
        """See `JobLedger`."""
        newest = [row for _, row in sorted(self._tables.jobs.items(), reverse=True)]
        found = (
            [row for row in newest if str(row.plan.job) == name]
            + [row for row in newest if row.plan.key == name]
            + [row for row in newest if row.plan.workflow_id == name]
        )
        if not found:
            raise NotFound(f"There is no job {name[:80]!r}.", remedy="`colony jobs` lists them.")
        plan = found[0].plan
        counts: list[StepCounts] = []
        for step in plan.steps:
            ok, failed, _, errors = await self.step_counts(plan.job, step.number)
            table = self._tables.step(plan.job, step.number)
            tasks = 0 if table.load is None else table.load.tasks
            count = StepCounts(number=step.number, name=step.name, tasks=tasks, ok=ok, failed=failed, errors=errors)
            begun = min((attempt.started_at for attempt in table.attempts), default=None)
            ended = max(table.committed.values(), default=None)
            counts.append(with_seconds(count, begun, ended, found[0].closed_at or self._tables.clock.wall()))
        return _view(found[0], tuple(counts))

    async def step_counts(self, job: int, step: int) -> tuple[int, int, int, dict[str, int]]:
        """See `JobLedger`."""
        table = self._tables.step(job, step)
        last = [found[1] for seq in table.outcomes if (found := table.last(seq)) is not None]
        failed = [row for row in last if not row.ok]
        errors = Counter(row.error for row in failed)
        return len(last) - len(failed), len(failed), sum(row.transient for row in failed), dict(sorted(errors.items()))

    async def outcome_multiplicity(self, job: int) -> dict[int, tuple[int, int]]:
        """See `JobLedger`."""
        return {
            step: (len(table.tasks), len(table.outcomes))
            for (owner, step), table in sorted(self._tables.steps.items())
            if owner == job and table.tasks
        }

    async def bad_rows(self, job: int, limit: int = 100) -> tuple[int, list[BadRow]]:
        """See `JobLedger`."""
        found = [row for _, row in sorted(self._tables.bad_rows.get(job, {}).items())]
        return len(found), found[:limit]

    async def put_artifacts(self, job: int, artifacts: Sequence[Artifact]) -> bool:
        """See `JobLedger`."""
        row = self._tables.jobs.get(job)
        if row is None or row.state is not JobState.RUNNING:
            return False
        self._tables.artifacts.setdefault(job, {}).update({artifact.name: artifact for artifact in artifacts})
        return True

    async def artifacts(self, job: int) -> list[Artifact]:
        """See `JobLedger`."""
        return [artifact for _, artifact in sorted(self._tables.artifacts.get(job, {}).items())]

    async def artifact_notes(self, job: int) -> list[ArtifactNote]:
        """See `JobLedger`."""
        found = await self.artifacts(job)
        return [ArtifactNote(name=each.name, media_type=each.media_type, bytes=len(each.content)) for each in found]

    async def artifact(self, job: int, name: str) -> Artifact | None:
        """See `JobLedger`."""
        return self._tables.artifacts.get(job, {}).get(name)

    async def dead_letters(
        self, job: int | None = None, limit: int = 100, *, after: tuple[int, int, int] | None = None
    ) -> list[DeadLetter]:
        """See `JobLedger`."""
        behind = None if after is None else (-after[0], after[1], after[2])
        found: list[DeadLetter] = []
        for (owner, step), table in sorted(self._tables.steps.items(), key=lambda entry: (-entry[0][0], entry[0][1])):
            if job is not None and owner != job:
                continue
            for seq in sorted(table.outcomes):
                last = table.last(seq)
                if last is None or last[1].ok or seq >= len(table.tasks):
                    continue
                if behind is not None and (-owner, step, seq) <= behind:
                    continue
                found.append(
                    DeadLetter(
                        job=owner,
                        step=step,
                        generation=last[0],
                        seq=seq,
                        agent_id=last[1].agent_id,
                        error=last[1].error,
                        message=last[1].message,
                        payload=parse_object(table.tasks[seq][1]),
                    )
                )
        return found[:limit]


def _view(row: JobRow, steps: tuple[StepCounts, ...]) -> JobView:
    return JobView(
        job=row.plan.job,
        key=row.plan.key,
        workflow_id=row.plan.workflow_id,
        template=row.plan.template,
        state=row.state,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        reason=row.reason,
        cancel_requested=row.cancel_requested,
        trace=row.plan.trace,
        steps=steps,
    )
