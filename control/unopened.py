"""Jobs without a row in the ledger: kept while the workflow engine is away, started a moment ago, or never to start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any, Final

from colony.contracts import Frozen, JobView
from colony.errors import Cancelled, ColonyError, NotFound
from colony.ledger.port import Ledger
from colony.ledger.submissions import Submission, SubmissionState
from control.why_contracts import Reason

_ASK_SECONDS: Final = 2.0
"""Longest wait for the workflow engine when jobs are listed."""

AskFailure = Callable[[str], Awaitable[ColonyError | None]]
"""The error a workflow ended with, as `JobEngine.failure`: None while it runs."""


class UnopenedState(StrEnum):
    """Where a job without a row stands."""

    ACCEPTED = "accepted"
    """Kept; the workflow engine has not confirmed it."""
    OPENING = "opening"
    """Started; no worker has opened it yet."""
    RUNNING = "running"
    """A workflow in code, which never has a row."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


_STATES = {
    SubmissionState.ACCEPTED: UnopenedState.ACCEPTED,
    SubmissionState.STARTED: UnopenedState.OPENING,
    SubmissionState.REFUSED: UnopenedState.FAILED,
    SubmissionState.CANCELLED: UnopenedState.CANCELLED,
}


class Unopened(Frozen):
    """A job without a row."""

    job: None = None
    """It has no number."""
    workflow_id: str
    template: str
    state: UnopenedState
    key: str = ""
    """Empty until it is started."""
    accepted_at: float
    """Wall-clock seconds."""
    reason: str = ""
    """Why it failed, if it did."""

    @property
    def ended(self) -> bool:
        """Whether it never will have a row."""
        return self.state in (UnopenedState.DONE, UnopenedState.FAILED, UnopenedState.CANCELLED)

    def as_job(self) -> dict[str, Any]:
        """The fields a `JobView` has, as JSON; `job` is null."""
        return {
            "job": None,
            "key": self.key,
            "workflow_id": self.workflow_id,
            "template": self.template,
            "state": self.state.value,
            "opened_at": self.accepted_at,
            "closed_at": None,
            "reason": self.reason,
            "cancel_requested": False,
            "trace": "",
            "steps": [],
        }


def unopened_of(submission: Submission) -> Unopened:
    """As its submission says; the workflow engine may know more."""
    return Unopened(
        workflow_id=submission.workflow_id,
        template=submission.template,
        state=_STATES[submission.state],
        key=submission.key,
        accepted_at=submission.accepted_at,
        reason=submission.reason,
    )


async def find_unopened(ledger: Ledger, ask: AskFailure, name: str) -> Unopened:
    """The job of that workflow id, for one that has no row. Raises `NotFound`."""
    submission = await ledger.submission(name)
    if submission is None:
        raise NotFound(f"There is no job {name[:200]!r}.", remedy="`colony jobs` and GET /v1/jobs list them.")
    return await looked_up(unopened_of(submission), ask)


async def job_or_unopened(ledger: Ledger, ask: AskFailure, name: str) -> JobView | Unopened:
    """The job called so (number, key, workflow id), with or without a row. Raises `NotFound`."""
    try:
        return await ledger.job(name)
    except NotFound:
        return await find_unopened(ledger, ask, name)


async def looked_up(found: Unopened, ask: AskFailure) -> Unopened:
    """With what the workflow engine knows: a workflow may end before it has a row. As it was while that is away."""
    if found.state is not UnopenedState.OPENING:
        return found
    try:
        failure = await ask(found.workflow_id)
    except ColonyError:
        return found
    if failure is None:
        return found
    state = UnopenedState.CANCELLED if isinstance(failure, Cancelled) else UnopenedState.FAILED
    return found.model_copy(update={"state": state, "reason": str(failure)})


async def unopened_jobs(
    ledger: Ledger, ask: AskFailure, limit: int, *, before: int | None = None
) -> tuple[list[Unopened], int | None]:
    """Jobs that have no row yet, newest first, and the number to go on below; None at the end of the list.

    The workflow engine is asked about those that are started, and not waited for.
    """
    waiting = await ledger.unopened_submissions(limit, before=before)
    found = await all_looked_up([unopened_of(each) for each in waiting], ask, _ASK_SECONDS)
    return found, waiting[-1].number if len(waiting) == limit else None


async def all_looked_up(found: Sequence[Unopened], ask: AskFailure, seconds: float) -> list[Unopened]:
    """Each as `looked_up`, all together; as they were when that takes longer."""
    try:
        async with asyncio.timeout(seconds):
            return list(await asyncio.gather(*(looked_up(each, ask) for each in found)))
    except TimeoutError:
        return list(found)


def why_unopened(found: Unopened) -> Reason:
    """Why a job has no row yet, or never will. Pure."""
    if found.state is UnopenedState.ACCEPTED:
        return Reason(
            code="engine",
            what="Temporal to answer; it is started once that does",
            since=found.accepted_at,
            frees="see `colony status`",
        )
    if found.state is UnopenedState.OPENING:
        what, frees = "a worker to open it", "see `colony status` and `colony logs worker`"
        return Reason(code="worker", what=what, since=found.accepted_at, frees=frees)
    if found.state is UnopenedState.RUNNING:
        what = "its code, or what that started: jobs, a timer, a person; the query `progress` says more"
        return Reason(code="working", what=what, since=found.accepted_at, frees="see `colony jobs`")
    return Reason(code="ended", what=f"nothing: it is {found.state.value}{found.reason and f' ({found.reason})'}")


async def cancel_unopened(ledger: Ledger, cancel: Callable[[str], Awaitable[None]], found: Unopened) -> None:
    """Give up a job that is not started, or `cancel` it if it is. Raises `NotFound` for one that has ended."""
    if found.ended:
        raise NotFound(f"Job {found.workflow_id!r} has ended: it is {found.state.value}.")
    if found.state is UnopenedState.ACCEPTED and await ledger.settle_submission(
        found.workflow_id, SubmissionState.CANCELLED, reason="cancelled before it was started"
    ):
        return
    await cancel(found.workflow_id)
