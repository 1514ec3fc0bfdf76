"""Versions of the workers as Temporal knows them: who is current, who polls, what waits for whom; and changing it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from google.protobuf.field_mask_pb2 import FieldMask
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import TaskQueueType, VersioningBehavior, WorkerDeploymentVersionStatus
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentVersionRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    UpdateWorkflowExecutionOptionsRequest,
)
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from colony.contracts import Frozen
from colony.errors import DeadlineExceeded, NotFound, NotPermitted, Unavailable
from workflows.names import VERSIONS_CHANGED
from workflows.policies import IO_QUEUE, WORKFLOW_QUEUE

POLL_SECONDS: Final = 75.0
"""A worker that waits for tasks asks again at least every 60 to 70 s; an older sign of life is none."""

_RPC: Final = timedelta(seconds=10)
_VERSION: Final = "TemporalWorkerDeploymentVersion"
_VERSION_KEY: Final = SearchAttributeKey.for_keyword(_VERSION)
_QUEUES: Final = (
    (WORKFLOW_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
    (IO_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
)
"""The queues of a versioned worker process."""


class Version(Frozen):
    """One version of the workers."""

    build: str
    status: str
    """`current`, `ramping`, `draining`, `drained`, `inactive` or `created`."""
    pollers: int = 0
    """Workers that asked for workflow tasks within the last 75 s."""
    polled: float | None = None
    """Seconds since the last one asked; None when none did within 5 minutes."""
    pinned: int = 0
    """Running jobs that wait for this version alone."""
    created_at: float = 0.0
    was_current: bool = False
    """Whether it ever was the current one."""


class Deployment(Frozen):
    """All versions of the workers, newest first."""

    name: str
    current: str = ""
    """Build that takes new jobs; empty while workers without a version do."""
    versions: tuple[Version, ...] = ()

    def version(self, build: str) -> Version:
        """The version with this build. Raises `NotFound`."""
        for each in self.versions:
            if each.build == build:
                return each
        raise NotFound(f"There is no build {build[:120]!r} of {self.name}.", remedy="`colony worker list` lists them.")

    @property
    def deserted(self) -> bool:
        """Whether the current version has nobody who polls: new jobs would wait for ever."""
        return any(each.build == self.current and not each.pollers for each in self.versions)


async def read_deployment(client: Client, name: str) -> Deployment:
    """What Temporal knows of the versions; one without any where no versioned worker was ever here."""
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=name)
    with _reached():
        try:
            answer = await client.workflow_service.describe_worker_deployment(request, timeout=_RPC)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return Deployment(name=name)
            raise
        info = answer.worker_deployment_info
        polls = await _polls(client, name)
        pinned = await _pins(client, name)
    now = time.time()
    versions = [
        _version(each.deployment_version.build_id, each.status, polls, now).model_copy(
            update={
                "pinned": pinned[each.deployment_version.build_id],
                "created_at": each.create_time.seconds + each.create_time.nanos / 1e9,
                "was_current": each.HasField("last_current_time"),
            }
        )
        for each in info.version_summaries
    ]
    versions.sort(key=lambda each: each.created_at, reverse=True)
    current = info.routing_config.current_deployment_version.build_id
    return Deployment(name=name, current=current, versions=tuple(versions))


async def polls_all_queues(client: Client, name: str, build: str) -> bool:
    """Whether Temporal has seen this version ask for workflows and for activities."""
    version = WorkerDeploymentVersion(deployment_name=name, build_id=build)
    request = DescribeWorkerDeploymentVersionRequest(namespace=client.namespace, deployment_version=version)
    with _reached():
        try:
            answer = await client.workflow_service.describe_worker_deployment_version(request, timeout=_RPC)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
    seen = {(queue.name, queue.type) for queue in answer.version_task_queues}
    return seen.issuperset(_QUEUES)


async def absent_version(client: Client, name: str, workflow_id: str) -> str:
    """Which version a job waits for that has no workers, in words; empty when its version is there."""
    with _reached():
        found = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=_RPC)
    info = found.raw_description.workflow_execution_info.versioning_info
    pinned = info.behavior == VersioningBehavior.VERSIONING_BEHAVIOR_PINNED and not info.HasField("versioning_override")
    seen = await read_deployment(client, name)
    build = info.deployment_version.build_id if pinned else seen.current
    if any(each.build == build and not each.pollers for each in seen.versions):
        return (
            f"no worker of the build {build} runs, which it is pinned to"
            if pinned
            else (f"no worker of the current build {build} runs")
        )
    return ""


async def make_current(client: Client, name: str, build: str) -> None:
    """Give new jobs, and those that follow the current version, to this build; empty for workers without a version.

    Raises `NotFound` for a version Temporal has never seen, `Unavailable` when nobody polls for it.
    """
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=client.namespace, deployment_name=name, build_id=build, identity=client.identity
    )
    with _reached():
        try:
            await client.workflow_service.set_worker_deployment_current_version(request, timeout=_RPC)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise NotFound(
                    f"There is no build {build[:120]!r} of {name}.", remedy="`colony worker list` lists them."
                ) from error
            raise


async def move_pinned(client: Client, name: str, build: str) -> int:
    """Let the jobs that wait for `build` alone follow the current version; how many there were.

    Their histories must replay with its code: those of shipped workflows do.
    """
    moved = 0
    with _reached():
        async for workflow_id, run_id in _pinned(client, name, build):
            options = WorkflowExecutionOptions(versioning_override=VersioningOverride(auto_upgrade=True))
            request = UpdateWorkflowExecutionOptionsRequest(
                namespace=client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
                workflow_execution_options=options,
                update_mask=FieldMask(paths=["versioning_override"]),
            )
            try:
                await client.workflow_service.update_workflow_execution_options(request, timeout=_RPC)
                await _nudge(client, workflow_id, run_id)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # it ended meanwhile
                    raise
            else:
                moved += 1
    return moved


async def nudge_pinned(client: Client, name: str, build: str) -> None:
    """Have the jobs that wait for `build` look up, so that those that can change over do it now."""
    with _reached():
        async for workflow_id, run_id in _pinned(client, name, build):
            try:
                await _nudge(client, workflow_id, run_id)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise


async def _nudge(client: Client, workflow_id: str, run_id: str) -> None:
    await client.get_workflow_handle(workflow_id, run_id=run_id).signal(VERSIONS_CHANGED, rpc_timeout=_RPC)


async def _pinned(client: Client, name: str, build: str) -> AsyncGenerator[tuple[str, str]]:
    query = (
        f"{_VERSION} = '{name}:{build}' AND TemporalWorkflowVersioningBehavior = 'Pinned' "
        "AND ExecutionStatus = 'Running'"
    )
    async for each in client.list_workflows(query, rpc_timeout=_RPC):
        yield each.id, each.run_id


async def _pins(client: Client, name: str) -> Counter[str]:
    """Build -> running jobs that wait for it alone."""
    query = (
        f"TemporalWorkerDeployment = '{name}' AND TemporalWorkflowVersioningBehavior = 'Pinned' "
        "AND ExecutionStatus = 'Running'"
    )
    found: Counter[str] = Counter()
    async for each in client.list_workflows(query, rpc_timeout=_RPC):
        found[(each.typed_search_attributes.get(_VERSION_KEY) or "").partition(":")[2]] += 1
    return found


async def running_jobs(client: Client, name: str, build: str) -> int:
    """Running jobs whose last decision `build` made, pinned to it or not."""
    with _reached():
        query = f"{_VERSION} = '{name}:{build}' AND ExecutionStatus = 'Running'"
        return (await client.count_workflows(query, rpc_timeout=_RPC)).count


async def _polls(client: Client, name: str) -> dict[str, list[float]]:
    """Build -> moments of the last polls for workflow tasks, one for each worker."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=WORKFLOW_QUEUE),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    answer = await client.workflow_service.describe_task_queue(request, timeout=_RPC)
    return polls_by_build(answer.pollers, name)


def polls_by_build(pollers: Iterable[PollerInfo], name: str) -> dict[str, list[float]]:
    """Build -> moments of the last polls, of one deployment. Pure."""
    found: dict[str, list[float]] = {}
    for poller in pollers:
        if poller.deployment_options.deployment_name == name:
            moment = poller.last_access_time.seconds + poller.last_access_time.nanos / 1e9
            found.setdefault(poller.deployment_options.build_id, []).append(moment)
    return found


def _version(build: str, status: int, polls: dict[str, list[float]], now: float) -> Version:
    ages = [max(0.0, now - moment) for moment in polls.get(build, [])]
    known = WorkerDeploymentVersionStatus.Name(status)  # pyright: ignore[reportArgumentType] -- an int on the wire
    return Version(
        build=build,
        status=known.removeprefix("WORKER_DEPLOYMENT_VERSION_STATUS_").lower(),
        pollers=sum(age <= POLL_SECONDS for age in ages),
        polled=min(ages, default=None),
    )


@contextmanager
def _reached() -> Generator[None]:
    try:
        yield
    except RPCError as error:
        detail = error.message[:300]
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
            raise NotPermitted(f"Temporal refused the request: {detail}.") from error
        if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            raise DeadlineExceeded(f"Temporal did not answer in time: {detail}.") from error
        raise Unavailable(f"Temporal cannot answer now: {detail}.") from error
