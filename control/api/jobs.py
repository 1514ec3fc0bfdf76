"""Routes of jobs."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response
from starlette.responses import StreamingResponse

from colony.errors import AlreadyExists, NotFound, Transient
from colony.ledger.submissions import Submission, SubmissionState
from control.api import paging
from control.api.finding import (
    Name,
    find_job,
    find_running,
    find_without_row,
    now_of,
    of_submission,
    of_unopened,
    of_view,
)
from control.api.models import (
    Decide,
    JobAnswer,
    JobPage,
    JobStatus,
    SetPriority,
    SubmitJob,
    WhyAnswer,
)
from control.api.parts import Parts
from control.api.problems import documented
from control.api.retry_models import RetriedJob, RetryJob
from control.api.streams import Streams
from control.api.submissions import judged, refusal, submission_of, submission_of_retry
from control.coded import told_by_engine
from control.retrying import Retrial, retrial, retried_already
from control.unopened import cancel_unopened, unopened_jobs, why_unopened
from control.why_facts import explained
from ray_app.gateway.api.fields import RequestRefused
from workflows.startable import coded_names, startable

START_SECONDS: Final = 2.0
"""Longest wait for the workflow engine before a job is answered as accepted."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="The same key and the same body again give the same job.",
    ),
]

LastEventId = Annotated[
    str | None, Header(alias="Last-Event-ID", max_length=200, description="The `id` of the last event that came.")
]
Task = Annotated[
    str, Query(pattern=r"^$|^[A-Za-z0-9_-]{1,64}/[0-9]{1,9}$", description="`STEP/SEQ`; the whole job when left out.")
]

PLAIN: Final = RetryJob()
"""A retry of which nothing is said."""


class JobRoutes:
    """See the paths below `/v1/jobs`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._streams = Streams(parts)

    def router(self) -> APIRouter:
        """The paths."""
        router = APIRouter(prefix="/v1", tags=["jobs"])
        one = "/jobs/{name}"
        not_found = documented(404)
        steering: dict[str, Any] = {"responses": documented(400, 404, 409, 413, 415), "status_code": 202}
        router.add_api_route(
            "/jobs",
            self.submit,
            methods=["POST"],
            status_code=202,
            responses=documented(400, 404, 409, 413, 415),
            response_model=JobAnswer,
        )
        router.add_api_route("/jobs", self.list, methods=["GET"], responses=documented())
        router.add_api_route(one, self.get, methods=["GET"], responses=not_found)
        stream: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
        router.add_api_route(
            f"{one}/events",
            self.events,
            methods=["GET"],
            responses={**not_found, **stream, 204: {"description": "It ended, and `Last-Event-ID` is its end."}},
            response_class=StreamingResponse,
        )
        router.add_api_route(f"{one}/cancel", self.cancel, methods=["POST"], **steering)
        router.add_api_route(f"{one}/pause", self.pause, methods=["POST"], **steering)
        router.add_api_route(f"{one}/resume", self.resume, methods=["POST"], **steering)
        router.add_api_route(f"{one}/priority", self.priority, methods=["POST"], **steering)
        router.add_api_route(f"{one}/approve", self.approve, methods=["POST"], **steering)
        router.add_api_route(f"{one}/retry", self.retry, methods=["POST"], **steering)
        router.add_api_route(f"{one}/why", self.why, methods=["GET"], responses=not_found)
        return router

    async def submit(self, asked: SubmitJob, response: Response, idempotency_key: IdempotencyKey = None) -> JobAnswer:
        """Keep a job, and start it if the workflow engine answers; otherwise it is started once that does."""
        return await self._take(submission_of(asked, idempotency_key or "", startable(self._parts.config)), response)

    async def retry(
        self, name: Name, response: Response, asked: RetryJob = PLAIN, idempotency_key: IdempotencyKey = None
    ) -> RetriedJob:
        """Do the failed tasks of a job that ended again, in a new job, then all steps after them.

        Good outcomes are taken over. Waits, approvals and calls of other jobs happen again.
        """
        found = await retrial(self._parts.ledger, name, **asked.wanted())
        if asked.id is None:
            found = await self._freely_named(found)
        try:
            job = await self._take(submission_of_retry(found, asked, idempotency_key or ""), response)
        except AlreadyExists:
            raise retried_already(found, started=not await self._never_started(found.workflow_id)) from None
        return RetriedJob(job=job, retry_of=found.before.job, step=found.step, tasks=found.again)

    async def _freely_named(self, found: Retrial) -> Retrial:
        """With the next name, as long as the one before belongs to a retry that never started."""
        name, number = found.workflow_id, 1
        while await self._never_started(name):
            number += 1
            name = f"{found.workflow_id}-{number}"
        return found._replace(workflow_id=name)

    async def _never_started(self, workflow_id: str) -> bool:
        """Whether a submission has this name and no job ever will: it cannot be retried in turn."""
        kept = await self._parts.ledger.submission(workflow_id)
        if kept is None or kept.state not in (SubmissionState.CANCELLED, SubmissionState.REFUSED):
            return False
        if kept.error == AlreadyExists.__name__:
            return False  # somebody else started it
        try:
            await self._parts.ledger.job(workflow_id)
        except NotFound:
            return True
        return False

    async def why(self, name: Name, task: Task = "") -> WhyAnswer:
        """What a job or a task waits for, since when, and what would free it."""
        found = await find_job(self._parts, name)
        if found.job is None:
            waits = await find_without_row(self._parts, found.id)
            return WhyAnswer(id=found.id, state=of_unopened(waits).state, reasons=(why_unopened(waits),))
        answered = await explained(
            self._parts.ledger, self._parts.asked, f"{found.job}/{task}" if task else str(found.job)
        )
        return WhyAnswer(id=found.id, job=found.job, state=found.state, task=answered.task, reasons=answered.reasons)

    async def _take(self, wanted: Submission, response: Response) -> JobAnswer:
        """Keep what is asked for, and start it if the workflow engine answers."""
        kept = await self._parts.ledger.submit(wanted)
        found = judged(wanted, kept)
        if found.state is SubmissionState.ACCEPTED:
            found = await self._start(found)
        if found.state is SubmissionState.REFUSED:
            raise refusal(found)
        response.headers["Location"] = f"/v1/jobs/{found.workflow_id}"
        if not kept.fresh:
            response.headers["Idempotency-Replayed"] = "true"
            return await find_job(self._parts, found.workflow_id)
        return of_submission(found)

    async def _start(self, found: Submission) -> Submission:
        outbox = self._parts.outbox
        if outbox.away:
            outbox.poke()
            return found
        try:
            async with asyncio.timeout(START_SECONDS):
                return await outbox.start(found)
        except (Transient, TimeoutError):
            outbox.away = True
            outbox.poke()
            return found

    async def list(self, limit: paging.Limit = 50, cursor: paging.JobCursor = None) -> JobPage:
        """Jobs, newest first: those not started or not open yet, then those that are."""
        ledger = self._parts.ledger
        kind, before = paging.job_cursor(cursor)
        items: list[JobAnswer] = []
        if kind == paging.WAITING:
            waiting, last = await unopened_jobs(ledger, self._parts.engine.failure, limit, before=before)
            coded = coded_names(self._parts.config)
            known = await asyncio.gather(*(told_by_engine(self._parts.engine, coded, one) for one in waiting))
            items = [of_unopened(one) for one in known]
            if last is not None:
                return JobPage(items=tuple(items), next=f"{paging.WAITING}{last}")
            before = None
        room = limit - len(items)
        views = await ledger.jobs(room, before=before)
        items += [of_view(view) for view in views]
        more = f"{paging.OPENED}{views[-1].job}" if views and len(views) == room else None
        return JobPage(items=tuple(items), next=more)

    async def get(self, name: Name) -> JobAnswer:
        """One job; while it runs, with what it says of itself: whether it is paused, and who is to approve what."""
        found = await find_job(self._parts, name)
        return found.model_copy(update={"now": await now_of(self._parts, found)})

    async def events(self, name: Name, last_event_id: LastEventId = None) -> Response:
        """Server-sent events: `progress` with the whole job whenever it changes, then `end`.

        A client that comes back with `Last-Event-ID` hears what changed since; nothing if that was the end.
        """
        return self._streams.of_job(await find_job(self._parts, name), last_event_id or "")

    async def cancel(self, name: Name) -> JobAnswer:
        """Stop a job: its agents stop, what is done stays. One that is not started yet never will be."""
        found = await find_running(self._parts, name)
        engine = self._parts.engine
        if found.job is None:
            waits = await find_without_row(self._parts, found.id)
            await cancel_unopened(self._parts.ledger, engine.cancel, waits)
            return await find_job(self._parts, found.id)
        await engine.cancel(found.id)
        return await find_job(self._parts, name)

    async def pause(self, name: Name) -> JobAnswer:
        """Hand out no more tasks; those under way end."""
        return await self._updated(name, "pause")

    async def resume(self, name: Name) -> JobAnswer:
        """Go on after a pause."""
        return await self._updated(name, "resume")

    async def priority(self, name: Name, asked: SetPriority) -> JobAnswer:
        """Change the priority of all that is handed out from now on."""
        return await self._updated(name, "set_priority", asked.priority)

    async def approve(self, name: Name, asked: Decide) -> JobAnswer:
        """Approve or reject what waits for a person."""
        return await self._updated(name, "approve", asked.model_dump())

    async def _updated(self, name: str, update: str, *arguments: Any) -> JobAnswer:
        found = await find_running(self._parts, name)
        if found.state is JobStatus.ACCEPTED:
            raise RequestRefused(f"Job {found.id!r} waits for the workflow engine.", status=409)
        await self._parts.engine.update(found.id, update, *arguments)
        return await find_job(self._parts, name)
