"""What Temporal knows of a job that waits: its activities, and how long the queues are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from temporalio.api.enums.v1 import PendingActivityState, TaskQueueType
from temporalio.api.failure.v1 import Failure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.exceptions import FailureError
from temporalio.service import RPCError, RPCStatusCode

from colony.contracts import Frozen
from colony.errors import ColonyError, NotFound, Unavailable

_RPC: Final = timedelta(seconds=5)
_UNREAD: Final = "Failure error"
"""What the SDK says for a failure without a message."""


class PendingWork(Frozen):
    """An activity of a job that has not ended."""

    name: str
    running: bool
    """False while it waits: for its turn, or for its next try."""
    attempt: int = 1
    since: float
    """Wall-clock seconds: when this attempt began, or was put in the queue."""
    next_at: float | None = None
    """When it is tried again; None for one that only waits for its turn."""
    failure: str = ""
    """What the last attempt ended with."""


class QueueDepth(Frozen):
    """How much waits in a task queue."""

    queue: str
    activities: bool = True
    """False for a queue of workflows."""
    pollers: int
    """Processes that take from it."""
    backlog: int
    """Tasks that wait; an estimate of the server."""
    oldest_seconds: float
    by_priority: dict[int, int]
    """Priority -> tasks that wait."""


async def pending_work(client: Client, workflow_id: str) -> tuple[PendingWork, ...]:
    """The activities of a job that have not ended. Raises `NotFound`, `Unavailable`."""
    try:
        found = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=_RPC)
    except RPCError as error:
        raise _error(error) from error
    return tuple([await pending_of(each, client.data_converter) for each in found.raw_description.pending_activities])


async def pending_of(info: Any, converter: DataConverter) -> PendingWork:
    """One `PendingActivityInfo` of Temporal; `converter` reads what its last attempt failed with."""
    running = info.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    again = None
    if not running and info.attempt > 1 and info.HasField("next_attempt_schedule_time"):
        again = info.next_attempt_schedule_time.ToMicroseconds() / 1e6
    began = info.last_started_time if running else info.scheduled_time
    return PendingWork(
        name=info.activity_type.name,
        running=running,
        attempt=max(1, info.attempt),
        since=began.ToMicroseconds() / 1e6,
        next_at=again,
        failure=(await _said(info.last_failure, converter))[:200] if info.HasField("last_failure") else "",
    )


async def _said(failure: Failure, converter: DataConverter) -> str:
    """The message of a failure; its type where the message cannot be read here."""
    if not failure.HasField("encoded_attributes"):
        return failure.message
    # Without the details: nobody asks for them, and they may be of a kind that is not known here.
    sealed = Failure(encoded_attributes=failure.encoded_attributes)
    try:
        decoded = await converter.decode_failure(sealed)
    except (ColonyError, RuntimeError, TypeError, ValueError):
        decoded = None  # of a key that is not at hand
    if isinstance(decoded, FailureError) and decoded.message != _UNREAD:
        return decoded.message
    kind = failure.WhichOneof("failure_info") or "failure"
    return failure.application_failure_info.type or kind.removesuffix("_failure_info")


async def queue_depth(client: Client, queue: str, *, activities: bool = True) -> QueueDepth:
    """How much waits in a queue of activities, or of workflows. Raises `Unavailable`."""
    kind = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY if activities else TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind, report_stats=True
    )
    try:
        found = await client.workflow_service.describe_task_queue(request, timeout=_RPC)
    except RPCError as error:
        raise _error(error) from error
    stats = found.stats_by_priority_key
    return QueueDepth(
        queue=queue,
        activities=activities,
        pollers=len(found.pollers),
        backlog=found.stats.approximate_backlog_count,
        oldest_seconds=found.stats.approximate_backlog_age.ToMicroseconds() / 1e6,
        by_priority={key: value.approximate_backlog_count for key, value in sorted(stats.items())},
    )


def _error(error: RPCError) -> NotFound | Unavailable:
    if error.status is RPCStatusCode.NOT_FOUND:
        return NotFound("Temporal knows no such job.")
    return Unavailable(f"Temporal cannot answer now: {error.message[:200]}.")
