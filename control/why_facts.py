"""Gathers what `control.why` decides from: ledger, Temporal, gateway. Whoever is away is named, not waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from temporalio.client import Client

from colony.config.endpoints import GatewayEndpoint
from colony.contracts import JobState, JobView
from colony.errors import BadInput, ColonyError, NotFound
from colony.ledger.port import Ledger
from colony.llm.gateway_client import open_gateway
from control import session
from control.coded import find_rowless
from control.llm_state import LlmView, parse_view
from control.settings import load_settings, temporal_of
from control.unopened import Unopened, why_unopened
from control.why import why_job, why_task
from control.why_contracts import JobFacts, Reason
from ray_app.reconciler import LEADER
from workflows.client import connect, job_progress
from workflows.contracts import Progress
from workflows.engine import SeenWorkflow, TemporalEngine, reached
from workflows.monitor_contracts import TEMPLATE as MONITOR
from workflows.policies import DISPATCH_QUEUE, IO_QUEUE
from workflows.standing import PendingWork, QueueDepth, pending_work, queue_depth
from workflows.startable import coded_names
from workflows.versions import absent_version

_Found = TypeVar("_Found")

_SECONDS = 5.0
"""How long one who is asked may take."""


class Answered(NamedTuple):
    """What was asked about, and why it waits."""

    job: JobView | Unopened
    task: str
    """`STEP/SEQ`; empty for the whole job."""
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Asked:
    """Who is asked besides the ledger."""

    temporal: Callable[[], AbstractAsyncContextManager[Client]]
    gateway: GatewayEndpoint | None
    deployment: str = "colony"
    """Name of the Worker Deployment."""
    versioning: bool = True
    """Whether workers carry a version."""
    coded: frozenset[str] = frozenset()
    """Types of workflows in code."""


class _Engine(NamedTuple):
    """What is asked of a `JobEngine` here, each over a connection of its own: most jobs need neither."""

    asked: Asked

    async def describe(self, workflow_id: str) -> SeenWorkflow:
        """See `JobEngine`."""
        async with self.asked.temporal() as client:
            return await TemporalEngine(client).describe(workflow_id)

    async def failure(self, workflow_id: str) -> ColonyError | None:
        """See `JobEngine`."""
        async with self.asked.temporal() as client:
            return await TemporalEngine(client).failure(workflow_id)


def asked_here() -> Asked:
    """Those of the stack this command belongs to."""
    endpoints = session.endpoints_here()
    config = load_settings(endpoints).config
    temporal = temporal_of(endpoints, config)
    return Asked(
        lambda: connect(temporal, timeout=_SECONDS),
        endpoints.gateway,
        config.temporal.deployment,
        config.temporal.versioning,
        coded_names(config),
    )


async def explain(name: str) -> Answered:
    """`explained` by the stack this command belongs to."""
    asked = asked_here()
    async with session.ledger_here() as ledger:
        return await explained(ledger, asked, name)


async def explained(ledger: Ledger, asked: Asked, name: str) -> Answered:
    """What a job, or a task `JOB/STEP/SEQ`, waits for. Raises `NotFound`, `BadInput`; `Unavailable` of the ledger."""
    engine = _Engine(asked)

    async def rowless(wanted: str) -> Unopened:
        return await find_rowless(ledger, engine, engine.failure, asked.coded, wanted)

    try:
        view, task = await _named(ledger.job, name)
    except NotFound:
        found, task = await _named(rowless, name)
        return Answered(found, task, (why_unopened(found),))
    facts = await gather(ledger, asked, view)
    if not task:
        return Answered(view, "", why_job(facts))
    number, step, seq = _place(view, task)
    history = await ledger.task_history(view.job, number, seq)
    return Answered(view, task, why_task(facts, step, seq, history))


async def _named(find: Callable[[str], Awaitable[_Found]], name: str) -> tuple[_Found, str]:
    """What `find` finds by that name, and `STEP/SEQ` if a task is meant; workflow ids may hold strokes, too."""
    try:
        return await find(name), ""
    except NotFound:
        job, *task = name.rsplit("/", 2)
        if len(task) != len(("step", "seq")):
            raise
        return await find(job), "/".join(task)


def _place(view: JobView, task: str) -> tuple[int, str, int]:
    named, _, text = task.partition("/")
    step = next((each for each in view.steps if named in (each.name, str(each.number))), None)
    if step is None:
        raise NotFound(f"Job {view.job} has no step {named[:64]!r}.")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadInput(f"{text[:40]!r} is no number of a task.", remedy="Ask for JOB/STEP/SEQ.")
    return step.number, step.name, int(text)


async def gather(ledger: Ledger, asked: Asked, view: JobView) -> JobFacts:
    """The facts about a job."""
    if view.state is not JobState.RUNNING:
        return JobFacts(view=view)
    trouble: list[str] = []
    (progress, pending, queues), llm = await asyncio.gather(
        _temporal(asked, view, trouble), gateway_view(asked.gateway, trouble)
    )
    owners = await ledger.shard_owners()
    monitor = await ledger.monitor_pulse(view.job) if view.template == MONITOR else None
    looked_at = None
    if monitor is not None and 0 < monitor.sites == monitor.paused:
        # None may be left: whoever removes sites does so meanwhile.
        looked_at = max((row.memory.checked_at for row in await ledger.sites(view.job)), default=0.0) or None
    return JobFacts(
        view=view,
        now=time.time(),
        progress=progress,
        trouble=tuple(trouble),
        pending=pending,
        queues=queues,
        leases=tuple(await ledger.leases()),
        unowned=sum(not owner.incarnation for owner in owners),
        dispatcher=await ledger.is_led(LEADER),
        llm=llm,
        monitor=monitor,
        looked_at=looked_at,
    )


async def _temporal(
    asked: Asked, view: JobView, trouble: list[str]
) -> tuple[Progress | None, tuple[PendingWork, ...], tuple[QueueDepth, ...]]:
    progress: Progress | None = None
    pending: tuple[PendingWork, ...] = ()
    queues: tuple[QueueDepth, ...] = ()
    try:
        async with asked.temporal() as client:
            with reached():
                pending = await pending_work(client, view.workflow_id)
                queues = tuple([await queue_depth(client, queue) for queue in (DISPATCH_QUEUE, IO_QUEUE)])
                progress = await _progress(client, asked, view, trouble)
    except ColonyError as error:
        trouble.append(error.message[:200])
    return progress, pending, queues


async def _progress(client: Client, asked: Asked, view: JobView, trouble: list[str]) -> Progress | None:
    try:
        async with asyncio.timeout(_SECONDS):
            return await job_progress(client, view.workflow_id)
    except TimeoutError:
        said = "no worker answered in time"
    except ColonyError as error:
        said = error.message[:200]
    absent = await absent_version(client, asked.deployment, view.workflow_id, versioning=asked.versioning)
    trouble.append(absent or said)
    return None


async def gateway_view(endpoint: GatewayEndpoint | None, trouble: list[str]) -> LlmView:
    """What the gateway tells of itself; nothing where there is none. That it does not answer goes into `trouble`."""
    if endpoint is None:
        return LlmView()
    try:
        async with asyncio.timeout(_SECONDS), open_gateway(endpoint) as gateway:
            return parse_view(await gateway.state())
    except (ColonyError, TimeoutError) as error:
        trouble.append(f"the gateway: {type(error).__name__}")
        return LlmView()
