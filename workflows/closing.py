"""Closes jobs whose workflow ended without doing it: terminated, timed out, or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from temporalio.client import (
    Client,
    WorkflowContinuedAsNewError,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.service import RPCError, RPCStatusCode

from colony.contracts import JobState, JobView
from colony.errors import Cancelled, ColonyError, Unavailable
from colony.ledger.port import JobLedger
from workflows.translate import to_colony_error

_AT_ONCE: Final = 8
"""Questions to Temporal under way at the same moment."""

_RPC_TIMEOUT: Final = timedelta(seconds=10)
_GONE: Final = (JobState.FAILED, "its workflow is gone from Temporal")

ENDINGS: Final = {
    WorkflowExecutionStatus.COMPLETED: (JobState.DONE, ""),
    WorkflowExecutionStatus.FAILED: (JobState.FAILED, "its workflow failed"),
    WorkflowExecutionStatus.CANCELED: (JobState.CANCELLED, "its workflow was cancelled"),
    WorkflowExecutionStatus.TERMINATED: (JobState.CANCELLED, "its workflow was terminated"),
    WorkflowExecutionStatus.TIMED_OUT: (JobState.FAILED, "its workflow ran into its time-out"),
}
"""Status of a closed workflow -> how its job is closed. Continued-as-new is not closed."""


class OrphanCloser:
    """Closes every running job whose workflow runs no more, some in each round.

    A round looks at `most` running jobs at most and asks Temporal for few at a time; the next one goes on where it
    ended, so that all have their turn however many there are.
    """

    def __init__(self, client: Client, ledger: JobLedger, *, page: int = 200, most: int = 1_000) -> None:
        self._client = client
        self._ledger = ledger
        self._page = page
        self._most = most
        self._before: int | None = None

    async def round(self) -> list[int]:
        """Look once; the numbers of the jobs closed. Call it every few seconds.

        Raises `Unavailable` when Temporal or the ledger does not answer: nothing is closed on a guess.
        """
        closed: list[int] = []
        for _ in range(max(1, self._most // self._page)):
            page = await self._ledger.jobs(self._page, running_only=True, before=self._before)
            # Moved on before the page is looked at: a job nobody can tell about must not hide those behind it.
            self._before = page[-1].job if len(page) == self._page else None
            closed += await self._close(page)
            if self._before is None:
                break
        return closed

    async def _close(self, page: Sequence[JobView]) -> list[int]:
        room = asyncio.Semaphore(_AT_ONCE)

        async def look(job: JobView) -> tuple[JobState, str] | None:
            async with room:
                return await _ending(self._client, job)

        closed: list[int] = []
        endings = await asyncio.gather(*(look(job) for job in page), return_exceptions=True)
        for job, ending in zip(page, endings, strict=True):
            if isinstance(ending, tuple):
                await self._ledger.close_job(job.job, *ending)
                closed.append(job.job)
        for ending in endings:
            if isinstance(ending, BaseException):
                raise ending
        return closed


async def _ending(client: Client, job: JobView) -> tuple[JobState, str] | None:
    """How to close a job; None while its workflow runs.

    The workflow id may belong to a later job by now, so the chain of runs is what counts: all runs of one chain share
    a first run id, and the key of a job is the run its chain began with.
    """
    latest = await _describe(client, job.workflow_id, None)
    if latest is None:
        return _GONE
    if job.key in (_first_run(latest), latest.run_id):
        return await _of_status(client, latest)
    own = await _describe(client, job.workflow_id, job.key)
    if own is None:
        return _GONE
    if own.status is WorkflowExecutionStatus.CONTINUED_AS_NEW and _first_run(own) == _first_run(latest):
        return await _of_status(client, latest)
    return await _of_status(client, own)


async def _of_status(client: Client, description: WorkflowExecutionDescription) -> tuple[JobState, str] | None:
    if description.status is WorkflowExecutionStatus.FAILED:
        state, what = ENDINGS[description.status]
        why = await _why_failed(client, description)
        if isinstance(why, Cancelled):  # told to stop by a signal or update, before it had a row to close
            return JobState.CANCELLED, str(why)[:1000]
        return state, (what if why is None else f"{what}: {why}")[:1000]
    return None if description.status is None else ENDINGS.get(description.status)


async def _why_failed(client: Client, description: WorkflowExecutionDescription) -> ColonyError | None:
    """What a workflow failed with that did not come to write it down itself; None where that cannot be read."""
    handle = client.get_workflow_handle(description.id, run_id=description.run_id)
    try:
        await handle.result(follow_runs=False, rpc_timeout=_RPC_TIMEOUT)
    except WorkflowFailureError as error:
        return to_colony_error(error.cause)
    except WorkflowContinuedAsNewError:
        return None
    except RPCError as error:
        raise Unavailable(f"Temporal cannot say why {description.id[:100]!r} failed: {error.message[:200]}.") from error
    except ColonyError:
        return None  # encrypted, and the key is not at hand
    return None


def _first_run(description: WorkflowExecutionDescription) -> str:
    return description.raw_description.workflow_execution_info.first_run_id


async def _describe(client: Client, workflow_id: str, run_id: str | None) -> WorkflowExecutionDescription | None:
    try:
        return await client.get_workflow_handle(workflow_id, run_id=run_id).describe(rpc_timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
            return None
        raise Unavailable(f"Temporal cannot say whether {workflow_id[:100]!r} runs: {error.message[:200]}.") from error
