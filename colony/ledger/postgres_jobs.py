"""Jobs, their artifacts and their counts, in Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from colony.contracts import Artifact, ArtifactNote, DeadLetter, JobState, JobView, StepCounts
from colony.errors import BadInput, NotFound
from colony.ids import Id
from colony.jobs import JobPlan, Origin, SourcePin, StepPlan
from colony.ledger.durations import with_seconds
from colony.ledger.postgres_connection import BULK_SECONDS, Database
from colony.ledger.validation import clean_text, encode_object, parse_object

_VIEW = """SELECT job, key, workflow_id, template, state, reason, cancel_requested, plan,
                  coalesce(plan::json ->> 'trace', '') AS trace,
                  extract(epoch FROM opened_at)::float8 AS opened_at,
                  extract(epoch FROM closed_at)::float8 AS closed_at FROM job """

_LAST: Final = 2**63 - 1

_STEPS: Final = """
SELECT l.step, l.tasks, extract(epoch FROM min(a.started_at))::float8 AS begun,
       extract(epoch FROM clock_timestamp())::float8 AS now
  FROM step_load l LEFT JOIN attempt a USING (job, step) WHERE l.job = $1 GROUP BY l.step, l.tasks"""

_PUT_ARTIFACT: Final = """
INSERT INTO artifact (job, name, media_type, content) VALUES ($1, $2, $3, $4)
ON CONFLICT (job, name) DO UPDATE SET media_type = excluded.media_type, content = excluded.content"""

_BY_NAME = (
    _VIEW  # noqa: S608 -- both parts are constants
    + """WHERE job = (
        SELECT job FROM (
            SELECT 1 AS choice, job FROM job WHERE job = $1
            UNION ALL SELECT 2, job FROM job WHERE key = $2
            UNION ALL (SELECT 3, job FROM job WHERE workflow_id = $2 ORDER BY job DESC LIMIT 1)
        ) found ORDER BY choice LIMIT 1)"""
)


class PostgresJobs:
    """See `JobLedger`: the job itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        """See `JobLedger`. Also makes the partitions that the job needs."""
        draft = JobPlan(
            job=0,
            key=key,
            workflow_id=workflow_id,
            template=Id(template),
            steps=tuple(steps),
            source=source,
            origin=origin,
            trace=trace,
        )
        async with self._database.transaction() as session:
            job = await session.value(
                """INSERT INTO job (key, workflow_id, template, plan, request) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (key) DO NOTHING RETURNING job""",
                key,
                workflow_id,
                template,
                draft.model_dump_json(),
                encode_object(request).decode(),
            )
            if job is not None:
                await session.value("SELECT ensure_partitions($1)", job)
                return draft.model_copy(update={"job": job})
        row = await self._database.row("SELECT job, plan FROM job WHERE key = $1", key)
        if row is None:
            raise NotFound(f"Job {key} was removed while it was opened.")
        return _plan(row)

    async def plan(self, job: int) -> JobPlan:
        """See `JobLedger`."""
        row = await self._database.row("SELECT job, plan FROM job WHERE job = $1", job)
        if row is None:
            raise NotFound(f"There is no job {job}.")
        return _plan(row)

    async def request_cancel(self, job: int) -> None:
        """See `JobLedger`. Raises `NotFound`."""
        if not await self._database.changed("UPDATE job SET cancel_requested = true WHERE job = $1", job):
            raise NotFound(f"There is no job {job}.")

    async def cancel_requested(self, job: int) -> bool:
        """See `JobLedger`. Raises `NotFound`."""
        found = await self._database.value("SELECT cancel_requested OR state <> 'running' FROM job WHERE job = $1", job)
        if found is None:
            raise NotFound(f"There is no job {job}.")
        return found

    async def close_job(self, job: int, state: JobState, reason: str = "") -> None:
        """See `JobLedger`."""
        if state is JobState.RUNNING:
            raise BadInput("A job cannot be closed as running.")
        await self._database.changed(
            """UPDATE job SET state = $2, reason = $3, closed_at = clock_timestamp()
                WHERE job = $1 AND state = 'running'""",
            job,
            state.value,
            clean_text(reason),
        )

    async def jobs(self, limit: int = 50, *, running_only: bool = False, before: int | None = None) -> list[JobView]:
        """See `JobLedger`."""
        running = "AND state = 'running'" if running_only else ""
        rows = await self._database.rows(
            f"{_VIEW} WHERE job < $2 {running} ORDER BY job DESC LIMIT $1", limit, _LAST if before is None else before
        )
        return [_view(row, ()) for row in rows]

    async def job(self, name: str) -> JobView:
        """See `JobLedger`."""
        number = int(name) if name.isascii() and name.isdigit() and len(name) < 19 else -1
        row = await self._database.row(_BY_NAME, number, clean_text(name))
        if row is None:
            raise NotFound(f"There is no job {name[:80]!r}.", remedy="`colony jobs` lists them.")
        return _view(row, await self._counts(_plan(row), row["closed_at"]))

    async def _counts(self, plan: JobPlan, closed_at: float | None) -> tuple[StepCounts, ...]:
        rows = await self._database.rows(_STEPS, plan.job)
        steps = {row["step"]: row for row in rows}
        found: list[StepCounts] = []
        for step in plan.steps:
            (ok, failed, _, errors), ended = await self._last_outcomes(plan.job, step.number)
            row = steps.get(step.number)
            tasks = 0 if row is None else row["tasks"]
            counts = StepCounts(number=step.number, name=step.name, tasks=tasks, ok=ok, failed=failed, errors=errors)
            if row is not None:
                counts = with_seconds(counts, row["begun"], ended, closed_at or row["now"])
            found.append(counts)
        return tuple(found)

    async def step_counts(self, job: int, step: int) -> tuple[int, int, int, dict[str, int]]:
        """See `JobLedger`."""
        return (await self._last_outcomes(job, step))[0]

    async def _last_outcomes(self, job: int, step: int) -> tuple[tuple[int, int, int, dict[str, int]], float | None]:
        """The counts of a step, and when the last of these outcomes was committed."""
        # A sort, not an anti-join: on a partition without statistics the planner makes that one quadratic.
        rows = await self._database.rows(
            """SELECT ok, transient, error, count(*), extract(epoch FROM max(committed_at))::float8
                 FROM (SELECT DISTINCT ON (seq) ok, transient, error, committed_at FROM outcome
                        WHERE job = $1 AND step = $2 ORDER BY seq, generation DESC) AS last
                GROUP BY ok, transient, error""",
            job,
            step,
            timeout=BULK_SECONDS,
        )
        good = failed = passing = 0
        errors: dict[str, int] = {}
        for ok, transient, error, count, _ in rows:
            if ok:
                good += count
                continue
            failed += count
            passing += count if transient else 0
            errors[error] = errors.get(error, 0) + count
        ended = max((row[4] for row in rows), default=None)
        return (good, failed, passing, dict(sorted(errors.items()))), ended

    async def outcome_multiplicity(self, job: int) -> dict[int, tuple[int, int]]:
        """See `JobLedger`."""
        rows = await self._database.rows(
            """SELECT t.step, t.tasks, coalesce(o.done, 0)
                 FROM (SELECT step, count(*) AS tasks FROM task WHERE job = $1 GROUP BY step) t
                 LEFT JOIN (SELECT step, count(DISTINCT seq) AS done FROM outcome WHERE job = $1 GROUP BY step) o
                        USING (step) ORDER BY t.step""",
            job,
        )
        return {step: (tasks, done) for step, tasks, done in rows}

    async def put_artifacts(self, job: int, artifacts: Sequence[Artifact]) -> bool:
        """See `JobLedger`."""
        async with self._database.transaction() as session:
            # Nobody closes the job meanwhile, and of two that write the same names one is first with all of them.
            if await session.value("SELECT job FROM job WHERE job = $1 AND state = 'running' FOR UPDATE", job) is None:
                return False
            for artifact in artifacts:
                await session.changed(_PUT_ARTIFACT, job, artifact.name, artifact.media_type, artifact.content)
        return True

    async def artifacts(self, job: int) -> list[Artifact]:
        """See `JobLedger`."""
        rows = await self._database.rows(
            """SELECT name, media_type, content FROM artifact WHERE job = $1 ORDER BY name COLLATE "C" """, job
        )
        return [Artifact(name=name, media_type=kind, content=content) for name, kind, content in rows]

    async def artifact_notes(self, job: int) -> list[ArtifactNote]:
        """See `JobLedger`."""
        rows = await self._database.rows(
            """SELECT name, media_type, octet_length(content) FROM artifact
                WHERE job = $1 ORDER BY name COLLATE "C" """,
            job,
        )
        return [ArtifactNote(name=name, media_type=kind, bytes=size) for name, kind, size in rows]

    async def artifact(self, job: int, name: str) -> Artifact | None:
        """See `JobLedger`."""
        row = await self._database.row(
            "SELECT name, media_type, content FROM artifact WHERE job = $1 AND name = $2", job, clean_text(name)
        )
        return None if row is None else Artifact(**dict(row))

    async def dead_letters(
        self, job: int | None = None, limit: int = 100, *, after: tuple[int, int, int] | None = None
    ) -> list[DeadLetter]:
        """See `JobLedger`."""
        conditions, given = ["true"], list[int]()
        if job is not None:
            given.append(job)
            conditions.append("d.job = $2")
        if after is not None:
            first = len(given) + 2
            given += after
            conditions.append(f"d.job <= ${first}")  # for the index
            conditions.append(f"(d.job < ${first} OR (d.step, d.seq) > (${first + 1}, ${first + 2}))")
        where = " AND ".join(conditions)
        rows = await self._database.rows(
            f"""SELECT d.*, t.payload FROM (
                    SELECT * FROM dead_letter d WHERE {where} ORDER BY job DESC, step, seq LIMIT $1) d
                  JOIN task t USING (job, step, seq) ORDER BY d.job DESC, d.step, d.seq""",  # noqa: S608 -- no input
            limit,
            *given,
        )
        return [
            DeadLetter(
                job=row["job"],
                step=row["step"],
                generation=row["generation"],
                seq=row["seq"],
                agent_id=row["agent_id"],
                error=row["error"],
                message=row["message"],
                payload=parse_object(row["payload"]),
            )
            for row in rows
        ]


def _plan(row: Any) -> JobPlan:
    return JobPlan.model_validate_json(row["plan"]).model_copy(update={"job": row["job"]})


def _view(row: Any, steps: tuple[StepCounts, ...]) -> JobView:
    return JobView(
        job=row["job"],
        key=row["key"],
        workflow_id=row["workflow_id"],
        template=row["template"],
        state=JobState(row["state"]),
        opened_at=row["opened_at"],
        closed_at=row["closed_at"],
        reason=row["reason"],
        cancel_requested=row["cancel_requested"],
        trace=row["trace"],
        steps=steps,
    )
