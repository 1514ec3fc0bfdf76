"""Workers in their three roles: workflows, activities on the ledger, activities that hand out batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

import structlog
from temporalio.client import Client
from temporalio.worker import PollerBehaviorAutoscaling, Worker, WorkerDeploymentConfig
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from colony.errors import ColonyError, Unavailable
from workflows.activities_cancel import cancel_workflow
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.activities_monitor import MonitorActivities
from workflows.monitor import WebsiteMonitor
from workflows.pipeline import Pipeline
from workflows.policies import DISPATCH_QUEUE, HEARTBEAT_THROTTLE, IO_QUEUE, STICKY_SECONDS, WORKFLOW_QUEUE
from workflows.translate import TranslateErrors
from workflows.versioned import PinnedMonitor, UpgradingPipeline

_log = structlog.get_logger(__name__)

GRACE = timedelta(seconds=10)
"""Time activities under way get to end when a worker shuts down: two batches."""

_TELL_SECONDS: Final = 5.0
"""Time after that to tell the server how they ended, and to leave its queues."""

SANDBOX = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules("colony", "pydantic")
)
"""The sandbox of workflow code; our frozen models pass through, so that they exist once."""


def workflow_worker(
    client: Client,
    *,
    queue: str = WORKFLOW_QUEUE,
    max_cached: int = 500,
    identity: str | None = None,
    coded: Sequence[type] = (),
    version: WorkerDeploymentConfig | None = None,
) -> Worker:
    """Decides: runs `Pipeline` for every template name, but for workflows that have a name of their own.

    `coded` are workflows of users, under names of their own. A worker with a `version` gets jobs once that is current.
    """
    shipped: list[type] = [Pipeline, WebsiteMonitor] if version is None else [UpgradingPipeline, PinnedMonitor]
    return Worker(
        client,
        task_queue=queue,
        workflows=[*shipped, *coded],
        workflow_runner=SANDBOX,
        workflow_failure_exception_types=[ColonyError],
        max_cached_workflows=max_cached,
        max_concurrent_workflow_tasks=20,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=STICKY_SECONDS),
        workflow_task_poller_behavior=_pollers(8),
        graceful_shutdown_timeout=GRACE,
        identity=identity,
        deployment_config=version,
    )


def io_worker(
    client: Client,
    activities: IoActivities,
    *,
    monitor: MonitorActivities | None = None,
    queue: str = IO_QUEUE,
    concurrent: int = 16,
    identity: str | None = None,
    version: WorkerDeploymentConfig | None = None,
) -> Worker:
    """Runs the activities on ledger and sources, and those of `website_monitor`.

    It has the version of the workflows it works for: what they say to each other may change with it.
    """
    every = [*activities.activities, cancel_workflow, *([] if monitor is None else monitor.activities)]
    return _activity_worker(client, every, queue, concurrent, identity, version)


def dispatch_worker(
    client: Client,
    activities: DispatchActivities,
    *,
    queue: str = DISPATCH_QUEUE,
    concurrent: int = 8,
    identity: str | None = None,
) -> Worker:
    """Runs `dispatch_batch`, few at a time, so that a dead dispatcher takes little with it.

    It has no version: hosts are never there twice, and its one contract holds between all of them.
    """
    return _activity_worker(client, activities.activities, queue, concurrent, identity)


async def run_workers(
    workers: Sequence[Worker], shutdown: asyncio.Event, *, patience: float = GRACE.total_seconds() + _TELL_SECONDS
) -> None:
    """Run workers until `shutdown` is set, then end them gracefully, or until one fails.

    A worker that has not ended `patience` seconds after it was told to is left behind: the last step of the SDK
    (`finalize_shutdown`) may never return when a workflow is terminated while one of its activities ends.

    Raises `Unavailable` when a worker cannot go on: the process should end and be started again.
    """
    runs = {asyncio.create_task(worker.run(), name=f"worker {worker.task_queue}"): worker for worker in workers}
    stop = asyncio.create_task(shutdown.wait(), name="wait for shutdown")
    try:
        await asyncio.wait({stop, *runs}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
        ended = await _end(runs, patience)
    for worker, outcome in zip(runs.values(), ended, strict=True):
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise Unavailable(f"The worker of queue {worker.task_queue} stopped: {outcome!r}"[:1000]) from outcome
    if not shutdown.is_set():
        raise Unavailable("A worker ended by itself.")


async def _end(runs: Mapping[asyncio.Task[None], Worker], patience: float) -> list[BaseException | None]:
    """Shut these workers down; how each ended."""
    telling = asyncio.gather(*(worker.shutdown() for run, worker in runs.items() if not run.done()))
    try:
        _, late = await asyncio.wait(runs, timeout=patience)
        for run in late:
            _log.warning("a worker does not end", queue=runs[run].task_queue, seconds=patience)
    finally:
        telling.cancel()
        for run in runs:
            run.cancel()
    ended = await asyncio.gather(*runs, return_exceptions=True)
    await asyncio.gather(telling, return_exceptions=True)
    return ended


def _activity_worker(
    client: Client,
    activities: Sequence[object],
    queue: str,
    concurrent: int,
    identity: str | None,
    version: WorkerDeploymentConfig | None = None,
) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        activities=cast("Sequence[Callable[..., Any]]", activities),
        interceptors=[TranslateErrors()],
        max_concurrent_activities=concurrent,
        activity_task_poller_behavior=_pollers(min(8, concurrent)),
        default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
        graceful_shutdown_timeout=GRACE,
        identity=identity,
        deployment_config=version,
    )


def _pollers(most: int) -> PollerBehaviorAutoscaling:
    return PollerBehaviorAutoscaling(minimum=1, maximum=most, initial=min(2, most))
