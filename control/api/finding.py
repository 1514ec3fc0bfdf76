"""A job as the API shows it: from its row in the ledger, or from its submission until it has one."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from colony.contracts import JobView
from colony.errors import ColonyError, NotFound
from colony.ledger.submissions import Submission
from control.api.models import JobAnswer, JobNow, JobStatus
from control.api.parts import Parts
from control.coded import find_rowless
from control.unopened import Unopened, unopened_of
from ray_app.gateway.api.fields import RequestRefused
from workflows.startable import coded_names

Name = Annotated[str, Path(min_length=1, max_length=200, description="Workflow id, number or key of the job.")]


def of_view(view: JobView) -> JobAnswer:
    """A job that has a row."""
    return JobAnswer(
        id=view.workflow_id,
        template=view.template,
        state=JobStatus(view.state.value),
        job=view.job,
        key=view.key,
        opened_at=view.opened_at,
        closed_at=view.closed_at,
        reason=view.reason,
        cancel_requested=view.cancel_requested,
        trace=view.trace,
        steps=view.steps,
    )


def of_unopened(found: Unopened) -> JobAnswer:
    """A job that has none."""
    return JobAnswer(
        id=found.workflow_id,
        template=found.template,
        state=JobStatus(found.state.value),
        key=found.key,
        opened_at=found.accepted_at,
        reason=found.reason,
    )


def of_submission(submission: Submission) -> JobAnswer:
    """A job that has none, as its submission says."""
    return of_unopened(unopened_of(submission))


async def find_job(parts: Parts, name: str) -> JobAnswer:
    """The job called `name`: number, key or workflow id. Raises `NotFound`."""
    try:
        return of_view(await parts.ledger.job(name))
    except NotFound:
        return of_unopened(await find_without_row(parts, name))


async def find_without_row(parts: Parts, name: str) -> Unopened:
    """The same for one that has no row. Raises `NotFound`."""
    return await find_rowless(parts.ledger, parts.engine, parts.engine.failure, coded_names(parts.config), name)


async def now_of(parts: Parts, found: JobAnswer) -> JobNow | None:
    """What a running job says of itself; None for others, and while no worker answers within a second."""
    if found.state is not JobStatus.RUNNING:
        return None
    try:
        told = await parts.engine.progress(found.id)
    except ColonyError:
        return None  # the rest of the answer is true without it, and /why says who does not answer
    return JobNow(
        phase=told.phase,
        step=told.step,
        waiting_for=told.waiting_for,
        since=told.since,
        until=told.until,
        paused=told.paused,
        priority=told.priority,
        approvals=told.approvals,
    )


async def find_running(parts: Parts, name: str) -> JobAnswer:
    """A job that can be steered. Raises `NotFound`, and `RequestRefused` (409) for one that has ended."""
    found = await find_job(parts, name)
    if found.state in (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED):
        raise RequestRefused(f"Job {found.id!r} has ended: it is {found.state.value}.", status=409)
    return found
