"""What the HTTP API asks of the workflow engine: a port, and the real one on Temporal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Final, NamedTuple, Protocol

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from colony.contracts import JobState
from colony.errors import AlreadyExists, ColonyError, DeadlineExceeded, NotFound, Unavailable
from workflows.client import await_job, cancel_job, job_progress, start_job, update_job
from workflows.contracts import Progress

MARK: Final = "submission"
"""Name of the memo with the mark of the submission that started a job."""

_PING: Final = timedelta(seconds=2)
_ANSWER: Final = timedelta(seconds=10)
_LOOK_SECONDS: Final = 5.0
_PROGRESS_SECONDS: Final = 1.0
_BAD_ENDS: Final = frozenset(
    {
        WorkflowExecutionStatus.FAILED,
        WorkflowExecutionStatus.CANCELED,
        WorkflowExecutionStatus.TERMINATED,
        WorkflowExecutionStatus.TIMED_OUT,
    }
)


_STATES: Final = {
    WorkflowExecutionStatus.COMPLETED: JobState.DONE,
    WorkflowExecutionStatus.FAILED: JobState.FAILED,
    WorkflowExecutionStatus.TIMED_OUT: JobState.FAILED,
    WorkflowExecutionStatus.CANCELED: JobState.CANCELLED,
    WorkflowExecutionStatus.TERMINATED: JobState.CANCELLED,
}


class SeenWorkflow(NamedTuple):
    """A workflow as the engine describes it."""

    template: str
    """Its type."""
    key: str
    """First execution run id."""
    state: JobState
    opened_at: float
    """Wall-clock seconds: when its present run began."""


class JobEngine(Protocol):
    """Starts and steers jobs. All methods raise `Unavailable` or `DeadlineExceeded` while the engine is away."""

    async def start(self, template: str, given: Mapping[str, Any], workflow_id: str, mark: str) -> str:
        """Start a job that carries `mark`; returns its key. Again with the same mark changes nothing.

        Raises `AlreadyExists` when the id was used by anybody else, `BadInput` for what the engine cannot take.
        """
        ...

    async def cancel(self, workflow_id: str) -> None:
        """Ask a job to stop. Raises `NotFound` when there is none or it has ended."""
        ...

    async def update(self, workflow_id: str, name: str, *arguments: Any) -> Any:
        """Have a running job change something: `pause`, `resume`, `approve`, `set_priority`.

        Raises `NotFound` when there is none or it has ended, and what it refuses the change with.
        """
        ...

    async def failure(self, workflow_id: str) -> ColonyError | None:
        """The error a job ended with; None while it runs and when it ended well. Raises `NotFound`."""
        ...

    async def describe(self, workflow_id: str) -> SeenWorkflow:
        """What the engine knows of a workflow, whether it is a job or not. Raises `NotFound`."""
        ...

    async def progress(self, workflow_id: str) -> Progress:
        """Where a job stands, as it says itself; asked with little patience, since a worker must run it for that.

        Raises `NotFound`, and `DeadlineExceeded` or `Unavailable` where no worker answers.
        """
        ...

    async def ping(self) -> float:
        """Seconds of one round trip to a service that can start jobs."""
        ...


class TemporalEngine:
    """See `JobEngine`. The client may be one that connects later."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, template: str, given: Mapping[str, Any], workflow_id: str, mark: str) -> str:
        """See `JobEngine`."""
        with reached():
            try:
                return (await start_job(self._client, template, given, workflow_id, memo={MARK: mark})).key
            except AlreadyExists:
                # Perhaps by an earlier attempt whose answer was lost.
                found = await self._described(workflow_id)
                if await found.memo_value(MARK, None) != mark:
                    raise
                return found.raw_description.workflow_execution_info.first_run_id or found.run_id

    async def cancel(self, workflow_id: str) -> None:
        """See `JobEngine`."""
        with reached():
            await cancel_job(self._client, workflow_id)

    async def update(self, workflow_id: str, name: str, *arguments: Any) -> Any:
        """See `JobEngine`."""
        with reached():
            return await update_job(self._client, workflow_id, name, *arguments)

    async def failure(self, workflow_id: str) -> ColonyError | None:
        """See `JobEngine`."""
        with reached():
            found = await self._described(workflow_id)
            if found.status not in _BAD_ENDS:
                return None
            try:
                await await_job(self._client, workflow_id, timeout=_LOOK_SECONDS)
            except ColonyError as error:
                return error
        return None

    async def describe(self, workflow_id: str) -> SeenWorkflow:
        """See `JobEngine`."""
        with reached():
            found = await self._described(workflow_id)
        return SeenWorkflow(
            template=found.workflow_type,
            key=found.raw_description.workflow_execution_info.first_run_id or found.run_id,
            state=JobState.RUNNING if found.status is None else _STATES.get(found.status, JobState.RUNNING),
            opened_at=found.start_time.timestamp(),
        )

    async def progress(self, workflow_id: str) -> Progress:
        """See `JobEngine`."""
        with reached():
            try:
                async with asyncio.timeout(_PROGRESS_SECONDS):
                    return await job_progress(self._client, workflow_id)
            except TimeoutError:
                raise DeadlineExceeded(f"No worker answered for job {workflow_id[:200]!r}.") from None

    async def ping(self) -> float:
        """See `JobEngine`. Asks for a job that nobody starts: the answer comes from behind the database."""
        started = time.perf_counter()
        with suppress(NotFound), reached():
            await self._described("colony-ready", timeout=_PING)
        return time.perf_counter() - started

    async def _described(self, workflow_id: str, *, timeout: timedelta = _ANSWER) -> WorkflowExecutionDescription:
        return await self._client.get_workflow_handle(workflow_id).describe(rpc_timeout=timeout)


@contextmanager
def reached() -> Generator[None]:
    """What a client raises becomes ours: `NotFound`, `Unavailable`."""
    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise NotFound("Temporal knows no such job.") from error
        raise Unavailable(f"Temporal cannot answer now: {error.message[:200]}.") from error
    except RuntimeError as error:
        # What the client raises when its first connection fails.
        raise Unavailable(f"Temporal does not answer: {str(error)[:200]}.") from error
