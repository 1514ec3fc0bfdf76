"""What people and processes do with jobs from outside: start, wait, look, cancel."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio.client import (
    Client,
    Interceptor,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import (
    CancelledError,
    TerminatedError,
    WorkflowAlreadyStartedError,
)
from temporalio.service import RPCError, RPCStatusCode

from colony.config.endpoints import TemporalEndpoint
from colony.contracts import Frozen
from colony.errors import (
    AlreadyExists,
    BadInput,
    Cancelled,
    ColonyError,
    DeadlineExceeded,
    NotFound,
    NotPermitted,
    Unavailable,
)
from workflows.contracts import JobResult, Progress
from workflows.encryption import converter_of
from workflows.policies import WORKFLOW_QUEUE
from workflows.translate import to_colony_error

_RPC_SECONDS = 10.0


class StartedJob(Frozen):
    """A job that was started."""

    workflow_id: str
    key: str
    """First execution run id."""


@asynccontextmanager
async def connect(
    endpoint: TemporalEndpoint, *, timeout: float = 60.0, interceptors: Sequence[Interceptor] = ()
) -> AsyncGenerator[Client]:
    """A client once the server answers; waits up to `timeout` seconds for it.

    `interceptors` stand around its calls, and around what workers do that use it. Raises `Unavailable`, and what is
    wrong with the file of keys where one is named.
    """
    converter = converter_of(endpoint)
    deadline = time.monotonic() + timeout
    pause = 0.1
    while True:
        try:
            async with asyncio.timeout(max(1.0, min(_RPC_SECONDS, deadline - time.monotonic()))):
                client = await Client.connect(
                    endpoint.address,
                    namespace=endpoint.namespace,
                    data_converter=converter,
                    interceptors=interceptors,
                )
            break
        except (RPCError, RuntimeError, TimeoutError, OSError) as error:
            if time.monotonic() + pause >= deadline:
                raise Unavailable(
                    f"Temporal at {endpoint.address} does not answer ({type(error).__name__}).",
                    remedy="Look whether it runs: `colony status`.",
                ) from error
        await asyncio.sleep(pause)
        pause = min(1.0, pause * 2)
    # The SDK closes a connection when the last reference goes; there is nothing to close by hand.
    yield client


async def connect_later(endpoint: TemporalEndpoint, *, interceptors: Sequence[Interceptor] = ()) -> Client:
    """A client that connects with its first call, and again after each outage; nothing is waited for now."""
    return await Client.connect(
        endpoint.address,
        namespace=endpoint.namespace,
        data_converter=converter_of(endpoint),
        interceptors=interceptors,
        lazy=True,
    )


async def start_job(
    client: Client,
    template: str,
    input: Mapping[str, Any],  # noqa: A002 -- the word users know
    workflow_id: str | None = None,
    *,
    queue: str = WORKFLOW_QUEUE,
    memo: Mapping[str, Any] | None = None,
) -> StartedJob:
    """Start a job, with notes that stay with it. Raises `AlreadyExists` when the id was used, running or closed."""
    name = workflow_id or f"{template}-{uuid.uuid4().hex[:12]}"
    if not 1 <= len(name) <= 200 or not name.isprintable():
        raise BadInput("A workflow id has 1 to 200 printable characters.")
    with _translated(name):
        handle = await client.start_workflow(
            template,
            dict(input),
            id=name,
            task_queue=queue,
            memo=memo,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
            rpc_timeout=timedelta(seconds=_RPC_SECONDS),
        )
    return StartedJob(workflow_id=name, key=handle.first_execution_run_id or handle.result_run_id or "")


async def await_job(client: Client, workflow_id: str, *, timeout: float | None = None) -> JobResult:
    """Wait for a job to end. Raises the error it failed with, `Cancelled`, or `DeadlineExceeded` (it runs on)."""
    with _translated(workflow_id):
        try:
            async with asyncio.timeout(timeout):
                return await client.get_workflow_handle(workflow_id, result_type=JobResult).result()
        except TimeoutError:
            raise DeadlineExceeded(f"Job {workflow_id} runs on after {timeout} s.") from None


async def cancel_job(client: Client, workflow_id: str) -> None:
    """Ask a job to stop. Raises `NotFound` when there is none or it has ended."""
    deadline = timedelta(seconds=_RPC_SECONDS)
    with _translated(workflow_id):
        handle = client.get_workflow_handle(workflow_id)
        description = await handle.describe(rpc_timeout=deadline)
        if description.status is not WorkflowExecutionStatus.RUNNING:
            # The server takes a request to cancel an ended workflow without a word.
            raise NotFound(f"Job {workflow_id[:200]!r} has ended.", remedy="See it with `colony job`.")
        await handle.cancel(rpc_timeout=deadline)


async def update_job(client: Client, workflow_id: str, update: str, *arguments: Any) -> Any:
    """Ask a running job to change something, and wait until it has; what the update returns.

    Raises what the job refuses it with, `NotFound` when there is none or it has ended, and `DeadlineExceeded` when no
    worker takes it up in time: it may be done later.
    """
    with _translated(workflow_id):
        return await client.get_workflow_handle(workflow_id).execute_update(  # pyright: ignore[reportUnknownMemberType] -- an overload of the SDK
            update, args=arguments, rpc_timeout=timedelta(seconds=_RPC_SECONDS)
        )


async def job_progress(client: Client, workflow_id: str) -> Progress:
    """Where a job stands; also of ended jobs, while a worker runs. Raises `NotFound`, `Unavailable`."""
    with _translated(workflow_id):
        try:
            return await client.get_workflow_handle(workflow_id).query(
                "progress", result_type=Progress, rpc_timeout=timedelta(seconds=_RPC_SECONDS)
            )
        except ValidationError:  # a workflow in code may have a query of that name that says anything
            raise Unavailable(f"Job {workflow_id[:200]!r} does not say where it stands as jobs do.") from None


@contextmanager
def _translated(workflow_id: str) -> Generator[None]:
    try:
        yield
    except ColonyError:
        raise
    except WorkflowAlreadyStartedError:
        raise AlreadyExists(
            f"There is a job with the id {workflow_id[:200]!r} already.", remedy="Choose another id, or leave it out."
        ) from None
    except WorkflowFailureError as error:
        raise _ended(workflow_id, error) from error
    except WorkflowUpdateFailedError as error:
        raise to_colony_error(error.cause) from error
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        raise DeadlineExceeded(f"Job {workflow_id[:200]!r} did not answer in time.") from error
    except WorkflowQueryFailedError as error:
        raise Unavailable(f"Job {workflow_id[:200]!r} did not answer: {str(error)[:300]}.") from error
    except RPCError as error:
        raise _of_rpc(workflow_id, error) from error


def _ended(workflow_id: str, error: WorkflowFailureError) -> ColonyError:
    cause = error.cause
    if isinstance(cause, CancelledError):
        return Cancelled(f"Job {workflow_id[:200]!r} was cancelled.")
    if isinstance(cause, TerminatedError):
        return Cancelled(f"Job {workflow_id[:200]!r} was terminated.")
    return to_colony_error(cause)


def _of_rpc(workflow_id: str, error: RPCError) -> ColonyError:
    detail = error.message[:300]
    if error.status is RPCStatusCode.NOT_FOUND:
        return NotFound(f"There is no running job {workflow_id[:200]!r}: {detail}.")
    if error.status is RPCStatusCode.INVALID_ARGUMENT:
        return BadInput(f"Temporal refused the request: {detail}.")
    if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
        return NotPermitted(f"Temporal refused the request: {detail}.")
    if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
        return DeadlineExceeded(f"Temporal did not answer in time: {detail}.")
    return Unavailable(f"Temporal cannot answer now: {detail}.")
