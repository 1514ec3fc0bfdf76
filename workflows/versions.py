"""Versions of the workers as Temporal knows them: who is current, who polls, what waits for whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import TaskQueueType, VersioningBehavior, WorkerDeploymentVersionStatus
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkerDeploymentRequest,
    DescribeWorkerDeploymentVersionRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from colony.contracts import Frozen
from colony.errors import DeadlineExceeded, NotFound, NotPermitted, Unavailable
from workflows.policies import IO_QUEUE, WORKFLOW_QUEUE

POLL_SECONDS: Final = 75.0
"""A worker that waits for tasks asks again at least every 60 to 70 s; an older sign of life is none."""

RPC_TIMEOUT: Final = timedelta(seconds=10)

_QUEUES: Final = (
    (WORKFLOW_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW),
    (IO_QUEUE, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY),
)
"""The queues of a versioned worker process."""


class Version(Frozen):
    """One version of the workers."""

    build: str
    status: str
    """`current`, `ramping`, `draining`, `drained`, `inactive`, `created`, or the number of one not known here."""
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

    @property
    def undecided(self) -> bool:
        """Whether there are workers with a version and none of their versions is current: they get no new jobs."""
        return not self.current and any(each.pollers for each in self.versions)


async def read_deployment(client: Client, name: str) -> Deployment:
    """What Temporal knows of the versions; one without any where no versioned worker was ever here."""
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=name)
    with asked():
        try:
            answer = await client.workflow_service.describe_worker_deployment(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return Deployment(name=name)
            raise
        info = answer.worker_deployment_info
        polls = await _polls(client, name)
        builds = [each.deployment_version.build_id for each in info.version_summaries]
        pinned = await _pins(client, name, builds)
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
    with asked():
        try:
            answer = await client.workflow_service.describe_worker_deployment_version(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise
    seen = {(queue.name, queue.type) for queue in answer.version_task_queues}
    return seen.issuperset(_QUEUES)


async def absent_version(client: Client, name: str, workflow_id: str, *, versioning: bool = True) -> str:
    """Which version a job waits for that has no workers, in words; empty when its version is there.

    `versioning` says that the workers here carry versions, so that without a current one nobody takes jobs.
    """
    with asked():
        found = await client.get_workflow_handle(workflow_id).describe(rpc_timeout=RPC_TIMEOUT)
    info = found.raw_description.workflow_execution_info.versioning_info
    pinned = info.behavior == VersioningBehavior.VERSIONING_BEHAVIOR_PINNED and not info.HasField("versioning_override")
    seen = await read_deployment(client, name)
    if versioning and not pinned and seen.undecided:
        return "no build is current, so that workers with a version get no jobs: `colony worker promote BUILD`"
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
    with asked():
        try:
            await client.workflow_service.set_worker_deployment_current_version(request, timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise NotFound(
                    f"There is no build {build[:120]!r} of {name}.", remedy="`colony worker list` lists them."
                ) from error
            raise


def jobs_of(name: str, build: str, behavior: str = "") -> str:
    """The query for running jobs whose last decision `build` made; `Pinned` to it, `AutoUpgrade`, or all."""
    query = f"TemporalWorkerDeploymentVersion = '{name}:{build}' AND ExecutionStatus = 'Running'"
    return f"{query} AND TemporalWorkflowVersioningBehavior = '{behavior}'" if behavior else query


async def running_jobs(client: Client, name: str, build: str) -> int:
    """Running jobs whose last decision `build` made, pinned to it or not."""
    with asked():
        return (await client.count_workflows(jobs_of(name, build), rpc_timeout=RPC_TIMEOUT)).count


async def _pins(client: Client, name: str, builds: Sequence[str]) -> dict[str, int]:
    """Build -> running jobs that wait for it alone. They are counted by the server: there may be many."""
    queries = [jobs_of(name, build, "Pinned") for build in builds]
    found = await asyncio.gather(*(client.count_workflows(query, rpc_timeout=RPC_TIMEOUT) for query in queries))
    return {build: each.count for build, each in zip(builds, found, strict=True)}


async def _polls(client: Client, name: str) -> dict[str, list[float]]:
    """Build -> moments of the last polls for workflow tasks, one for each worker."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=WORKFLOW_QUEUE),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    answer = await client.workflow_service.describe_task_queue(request, timeout=RPC_TIMEOUT)
    return polls_by_build(answer.pollers, name)


def polls_by_build(pollers: Iterable[PollerInfo], name: str) -> dict[str, list[float]]:
    """Build -> moments of the last polls, of one deployment. Pure."""
    found: dict[str, list[float]] = {}
    for poller in pollers:
        if poller.deployment_options.deployment_name == name:
            moment = poller.last_access_time.seconds + poller.last_access_time.nanos / 1e9
            found.setdefault(poller.deployment_options.build_id, []).append(moment)
    return found


def status_named(status: int) -> str:
    """The word for a number on the wire; the number itself where a newer server has one not known here. Pure."""
    if status not in WorkerDeploymentVersionStatus.values():
        return str(status)
    known = WorkerDeploymentVersionStatus.Name(status)  # pyright: ignore[reportArgumentType] -- an int on the wire
    return known.removeprefix("WORKER_DEPLOYMENT_VERSION_STATUS_").lower()


def _version(build: str, status: int, polls: dict[str, list[float]], now: float) -> Version:
    ages = [max(0.0, now - moment) for moment in polls.get(build, [])]
    return Version(
        build=build,
        status=status_named(status),
        pollers=sum(age <= POLL_SECONDS for age in ages),
        polled=min(ages, default=None),
    )


@contextmanager
def asked() -> Generator[None]:
    """What Temporal answers with becomes ours: `NotPermitted`, `DeadlineExceeded`, `Unavailable`."""
    try:
        yield
    except RPCError as error:
        detail = error.message[:300]
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
            raise NotPermitted(f"Temporal refused the request: {detail}.") from error
        if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            raise DeadlineExceeded(f"Temporal did not answer in time: {detail}.") from error
        raise Unavailable(f"Temporal cannot answer now: {detail}.") from error
