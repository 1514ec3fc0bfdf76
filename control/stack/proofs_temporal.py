"""Proofs of the workflow engine and of the workers behind it: a real task through them, and who asks for tasks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Final

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest, DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from colony.config.endpoints import Endpoints
from colony.errors import Permanent, Unavailable
from control.settings import configured_temporal
from workflows.client import await_job, connect, start_job
from workflows.policies import DISPATCH_QUEUE, IO_QUEUE, WORKFLOW_QUEUE
from workflows.versions import POLL_SECONDS

NO_TEMPLATE: Final = "colony proof"
"""No template can have this name: workflow worker and activities on the ledger refuse such a job, without a row."""

_QUEUES: Final = (
    (WORKFLOW_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
    (IO_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
    (DISPATCH_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
)


async def temporal_answers(endpoints: Endpoints) -> str:
    """Temporal answers and has the namespace."""
    async with connect(configured_temporal(endpoints), timeout=5.0) as client:
        if not await client.service_client.check_health():
            raise Unavailable("Temporal says that it is not healthy.")
    return f"namespace {endpoints.temporal.namespace}"


async def workers_ask_for_tasks(endpoints: Endpoints) -> str:
    """Each task queue has a worker that asked for tasks lately."""
    async with connect(endpoints.temporal, timeout=5.0) as client:
        ages = {queue: await _youngest_poll(client, queue, kind) for queue, kind in _QUEUES}
    deserted = deserted_queues(ages)
    if deserted:
        raise Unavailable(
            f"Nobody takes tasks from {', '.join(deserted)}.", remedy="See `colony logs worker` and `logs dispatcher`."
        )
    return ", ".join(f"{queue} {age:.0f} s ago" for queue, age in ages.items())


def deserted_queues(ages: dict[str, float]) -> list[str]:
    """The queues nobody has asked for tasks lately, by the seconds since somebody did. Pure."""
    return [queue for queue, age in ages.items() if age > POLL_SECONDS]


async def _youngest_poll(client: Client, queue: str, kind: TaskQueueType.ValueType) -> float:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
    )
    try:
        answer = await client.workflow_service.describe_task_queue(request)
    except RPCError as error:
        raise Unavailable(f"Temporal does not describe {queue}: {error.message[:200]}.") from error
    return youngest((poller.last_access_time.seconds for poller in answer.pollers), time.time())


def youngest(moments: Iterable[float], now: float) -> float:
    """Seconds since the last of some moments; infinite when there is none. Pure."""
    return min((max(0.0, now - moment) for moment in moments), default=float("inf"))


async def worker_works(endpoints: Endpoints) -> str:
    """A job that no template fits is refused: the worker decided it, and its activities looked it up.

    It leaves nothing behind: a job of such a name gets no row in the ledger, and its workflow is deleted.
    """
    name = f"proof-{uuid.uuid4().hex[:12]}"
    async with connect(configured_temporal(endpoints), timeout=5.0) as client:
        began = time.monotonic()
        await start_job(client, NO_TEMPLATE, {}, workflow_id=name)
        try:
            await await_job(client, name, timeout=8.0)
        except Permanent:
            return f"workflow and activity in {(time.monotonic() - began) * 1000:.0f} ms"
        finally:
            await _delete(client, name)
    raise Unavailable("A job without a template was not refused.")


async def _delete(client: Client, name: str) -> None:
    request = DeleteWorkflowExecutionRequest(
        namespace=client.namespace, workflow_execution=WorkflowExecution(workflow_id=name)
    )
    try:
        await client.workflow_service.delete_workflow_execution(request)
    except RPCError as error:
        raise Unavailable(f"The workflow {name} could not be deleted: {error.message[:200]}.") from error
