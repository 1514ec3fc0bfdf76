"""The `worker` process: decides (workflows) and does the activities that need no Ray. Run as a module."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
from temporalio.client import Client
from temporalio.worker import WorkerDeploymentConfig

from colony.config.endpoints import home_from_environment, read_endpoints
from colony.config.temporal import TemporalConfig
from colony.errors import ColonyError
from colony.fetch import open_fetcher
from colony.ledger.port import Ledger
from colony.ledger.postgres import open_ledger
from colony.lifecycle import TaskOwner, task_owner
from colony.messaging.nats import open_messenger
from control.exit import serve_and_leave
from control.processes.logs import log_to_stdout
from control.processes.opening import enter_when_available
from control.processes.ready import ready_and_beating
from control.processes.signals import stop_on_signals
from control.processes.tracing import open_tracing
from control.retention import retain
from control.settings import data_roots, load_settings, temporal_of
from ray_app.reconciler import LEADER
from workflows.activities_io import IoActivities
from workflows.activities_monitor import MonitorActivities
from workflows.attributes import registered_attributes
from workflows.builds import deployment_of
from workflows.client import connect
from workflows.closing import OrphanCloser
from workflows.coded import load_workflow_classes
from workflows.job_events import JobEvents
from workflows.promotion import Leaver, Promoter, Rounds
from workflows.worker import io_worker, run_workers, workflow_worker

_log = structlog.get_logger(__name__)

CLOSE_EVERY = 10.0
"""Seconds between two looks for jobs whose workflow was terminated."""


async def close_orphans(client: Client, ledger: Ledger, events: JobEvents) -> None:
    """Close the rows of jobs whose workflow is closed or gone, for ever."""
    closer = OrphanCloser(client, ledger)
    while True:
        await asyncio.sleep(CLOSE_EVERY * random.uniform(0.8, 1.2))  # noqa: S311 -- jitter
        try:
            closed = await closer.round()
        except ColonyError as error:
            _log.warning("orphaned jobs not looked at", error=str(error))
        else:
            if closed:
                _log.info("orphaned jobs closed", jobs=closed)
            for job in closed:
                await events.closed(job)


async def search_attributes(client: Client) -> frozenset[str]:
    """The search attributes jobs may set; none when Temporal does not say: jobs run without them."""
    try:
        return await registered_attributes(client)
    except ColonyError as error:
        _log.warning("jobs set no search attributes", error=str(error))
        return frozenset()


async def take_jobs(
    client: Client, config: TemporalConfig, version: WorkerDeploymentConfig | None, owner: TaskOwner, *, alone: bool
) -> None:
    """Have new jobs come to the workers of this process; returns once they do, or another version rightly gets them."""
    rounds: Rounds
    if version is None:
        rounds = Leaver(client, config.deployment, alone=alone)
    elif config.promote == "auto":
        rounds = Promoter(client, config.deployment, version.version.build_id, alone=alone)
    else:
        return
    owner.start(rounds.run(), name="promotion")
    await rounds.wait()


async def until_ended(
    home: Path, running: asyncio.Task[None], decided: asyncio.Task[None], owner: TaskOwner, stop: asyncio.Event
) -> None:
    """Say that the worker is ready once that is `decided`, and stay so until it stops.

    Raises what a background task of `owner` failed with: nobody would do its work any more, so the process is to be
    started anew; and what the workers failed with.
    """
    ends = {running, owner.failed}
    await asyncio.wait({*ends, decided}, return_when=asyncio.FIRST_COMPLETED)
    async with ready_and_beating(home, "worker"):
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        await running
    if owner.failed.done():
        raise owner.failed.result()


async def main() -> None:
    """Run until SIGTERM; end with an error when a background task does, to be started anew."""
    home = home_from_environment()
    log_to_stdout("worker")
    endpoints = read_endpoints(home)
    config = load_settings(endpoints).config
    temporal = temporal_of(endpoints, config)
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        ledger = await enter_when_available(
            stack, "postgres", lambda: open_ledger(endpoints.postgres, pool_size=4, name="worker")
        )
        messenger = await enter_when_available(
            stack, "nats", lambda: open_messenger(endpoints.nats, role="worker", name="worker")
        )
        tracing = await stack.enter_async_context(open_tracing(endpoints, config, "worker"))
        client = await enter_when_available(
            stack, "temporal", lambda: connect(temporal, interceptors=tracing.interceptors)
        )
        attributes, deployment = await search_attributes(client), Path(endpoints.folder).name
        activities = IoActivities(
            ledger=ledger,
            config=config,
            messenger=messenger,
            data_roots=data_roots(endpoints, config),
            fleet=ledger,
            dispatching=lambda: ledger.is_led(LEADER),
            attributes=attributes,
            deployment=deployment,
            tracer=tracing.tracer,
        )
        poster = await stack.enter_async_context(open_fetcher(config.fetch))
        monitor = MonitorActivities(
            ledger,
            data_roots(endpoints, config),
            messenger=messenger,
            poster=poster,
            check_fleet=True,
            tracer=tracing.tracer,
            attributes=attributes,
            deployment=deployment,
        )
        owner = await stack.enter_async_context(task_owner())
        owner.start(close_orphans(client, ledger, JobEvents(ledger, messenger)), name="close-orphaned-jobs")
        owner.start(retain(ledger, config.ledger, config.memory), name="retention")
        coded = load_workflow_classes(config.workflow_classes, config.fleet.packages)
        version = deployment_of(config, coded)
        workers = [
            workflow_worker(client, coded=coded, version=version),
            io_worker(client, activities, monitor=monitor, version=version),
        ]
        running = asyncio.create_task(run_workers(workers, stop), name="workers")
        decided = owner.start(
            take_jobs(client, config.temporal, version, owner, alone=endpoints.temporal.own), name="version"
        )
        await until_ended(home, running, decided, owner, stop)


if __name__ == "__main__":
    serve_and_leave(main)
