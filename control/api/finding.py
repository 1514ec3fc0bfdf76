"""A job as the API shows it: from its row in the ledger, or from its submission until it has one."""

from __future__ import annotations

from colony.contracts import JobView
from colony.errors import Cancelled, ColonyError, NotFound
from colony.ledger.submissions import Submission, SubmissionState
from control.api.models import JobAnswer, JobStatus
from control.api.parts import Parts
from control.api.submissions import missing
from control.why import Reason
from ray_app.gateway.api.fields import RequestRefused

_STATES = {
    SubmissionState.ACCEPTED: JobStatus.ACCEPTED,
    SubmissionState.STARTED: JobStatus.OPENING,
    SubmissionState.REFUSED: JobStatus.FAILED,
    SubmissionState.CANCELLED: JobStatus.CANCELLED,
}


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


def of_submission(submission: Submission) -> JobAnswer:
    """A job that has none."""
    return JobAnswer(
        id=submission.workflow_id,
        template=submission.template,
        state=_STATES[submission.state],
        key=submission.key,
        opened_at=submission.accepted_at,
        reason=submission.reason,
    )


def unopened(found: JobAnswer) -> Reason:
    """Why a job has no row yet, or never will."""
    if found.state is JobStatus.ACCEPTED:
        return Reason(
            code="engine",
            what="Temporal to answer; it is started once that does",
            since=found.opened_at,
            frees="see `colony status`",
        )
    if found.state is JobStatus.OPENING:
        what, frees = "a worker to open it", "see `colony status` and `colony logs worker`"
        return Reason(code="worker", what=what, since=found.opened_at, frees=frees)
    return Reason(code="ended", what=f"nothing: it is {found.state.value}{found.reason and f' ({found.reason})'}")


async def find_job(parts: Parts, name: str) -> JobAnswer:
    """The job called `name`: number, key or workflow id. Raises `NotFound`."""
    try:
        return of_view(await parts.ledger.job(name))
    except NotFound:
        submission = await parts.ledger.submission(name)
    if submission is None:
        raise missing(name)
    found = of_submission(submission)
    if submission.state is not SubmissionState.STARTED:
        return found
    # A workflow may end before it has a row: then the engine alone knows.
    try:
        failure = await parts.engine.failure(submission.workflow_id)
    except ColonyError:
        return found
    if failure is None:
        return found
    state = JobStatus.CANCELLED if isinstance(failure, Cancelled) else JobStatus.FAILED
    return found.model_copy(update={"state": state, "reason": str(failure)})


async def find_running(parts: Parts, name: str) -> JobAnswer:
    """A job that can be steered. Raises `NotFound`, and `RequestRefused` (409) for one that has ended."""
    found = await find_job(parts, name)
    if found.state in (JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED):
        raise RequestRefused(f"Job {found.id!r} has ended: it is {found.state.value}.", status=409)
    return found
