"""Many jobs at once; how soon a job and its tasks begin on an idle stack; how many tasks run at the same moment."""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections.abc import Sequence
from typing import Any, Final

import orjson
from rich.console import Console
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from bench.result import BenchResult, at_least, at_most, environment, spread
from colony.contracts import JobState, JobView
from colony.errors import Permanent
from colony.ledger.port import Ledger
from control.deploy import deploy
from control.session import endpoints_here, ledger_here, temporal_here
from control.settings import load_settings
from control.watch import wait_for_job
from workflows.client import await_job, start_job
from workflows.inline import INLINE
from workflows.names import DISPATCH_BATCH

JOBS: Final = 100
TASKS: Final = 620
AGENTS: Final = 620
RUNS: Final = 3
SINGLES: Final = 100
"""Jobs of one task, one after the other, for the two latencies."""

TARGET_SECONDS: Final = 30.0
TARGET_START_MS: Final = 500.0
TARGET_ASSIGNMENT_MS: Final = 100.0
HELD_SECONDS: Final = 3.0
"""How long each task of the last part waits."""

WORK_STEP: Final = 1


async def run(console: Console, *, quick: bool = False) -> BenchResult:
    """Measure the running stack; every job is checked for exactly one outcome a task."""
    quiet = Console(quiet=True)
    await deploy(None, [f"probe={AGENTS}"], None, dry_run=False, console=quiet)
    async with temporal_here() as client, ledger_here() as ledger:
        await _one(client, ledger, "durable_tasks", {"tasks": 1_000})
        starts, assignments = await _latencies(client, ledger, SINGLES // 5 if quick else SINGLES)
        console.print(f"  start p99 {_p99(starts):.0f} ms, assignment p99 {_p99(assignments):.0f} ms", highlight=False)
        seconds = [await _burst(client, ledger) for _ in range(1 if quick else RUNS)]
        console.print(
            f"  {JOBS} jobs of {TASKS} tasks: {', '.join(f'{each:.1f} s' for each in seconds)}", highlight=False
        )
        most = await _same_moment(client, ledger)
        console.print(f"  {most} tasks at the same moment", highlight=False)
    await deploy(None, ["probe=0"], None, dry_run=False, console=quiet)
    endpoints = endpoints_here()
    fleet = load_settings(endpoints).config.fleet
    return BenchResult(
        name="jobs",
        metrics={
            "seconds": spread(seconds).model_dump(),
            "jobs": JOBS,
            "tasks_each": TASKS,
            "start_ms": {**spread(starts).model_dump(), "p99": round(_p99(starts), 1)},
            "assignment_ms": {**spread(assignments).model_dump(), "p99": round(_p99(assignments), 1)},
            "tasks_at_the_same_moment": most,
            "places": fleet.hosts * fleet.task_concurrency,
            "profile": endpoints.profile,
        },
        baseline={"name": "the target", "seconds": TARGET_SECONDS},
        ratio=round(TARGET_SECONDS / spread(seconds).median, 2),
        environment=environment(),
        targets=(
            at_most(f"{JOBS} jobs of {TASKS} tasks at once, s", spread(seconds).median, TARGET_SECONDS),
            at_most("start of a job, p99, ms", _p99(starts), TARGET_START_MS),
            at_most("assignment of a task, p99, ms", _p99(assignments), TARGET_ASSIGNMENT_MS),
            at_least("tasks at the same moment", most, TASKS),
        ),
    )


def _waiting(tasks: int, seconds: float) -> dict[str, Any]:
    """The input of a job whose tasks wait and tell from when until when."""
    work = {"name": "work", "kind": "map", "over": "load", "agent": "probe", "action": "wait"}
    steps = [{"name": "load", "kind": "load"}, {**work, "parameters": {"seconds": seconds}}]
    return {"template": {"steps": steps}, "tasks": tasks}


async def _one(client: Client, ledger: Ledger, template: str, given: dict[str, Any]) -> JobView:
    """A job that was done, with exactly one outcome a task."""
    started = await start_job(client, template, given, workflow_id=f"bench-{uuid.uuid4().hex[:12]}")
    await await_job(client, started.workflow_id, timeout=300)
    view = await wait_for_job(ledger, started.key, timeout=10.0)
    pairs = await ledger.outcome_multiplicity(view.job)
    if view.state is not JobState.DONE or pairs != {WORK_STEP: (given["tasks"], given["tasks"])}:
        raise Permanent(f"Job {view.job} ended {view.state} with {pairs} (tasks, with an outcome) by step.")
    return view


async def _latencies(client: Client, ledger: Ledger, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds from the start call to the open job, and from a batch's schedule to its agent at work."""
    starts: list[float] = []
    assignments: list[float] = []
    for _ in range(count):
        called = time.time()
        view = await _one(client, ledger, INLINE, _waiting(1, 0.0))
        starts.append((view.opened_at - called) * 1000)
        [(_, result)] = await ledger.results(view.job, WORK_STEP, 0, 1)
        handed = await _scheduled_at(client, view.workflow_id)
        assignments.append((orjson.loads(result)["began"] - handed) * 1000)
    return starts, assignments


async def _scheduled_at(client: Client, workflow_id: str) -> float:
    """When Temporal was asked to hand out the first batch, seconds since 1970."""
    async for event in client.get_workflow_handle(workflow_id).fetch_history_events():
        scheduled = event.activity_task_scheduled_event_attributes
        wanted = event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        if wanted and scheduled.activity_type.name == DISPATCH_BATCH:
            return event.event_time.ToNanoseconds() / 1e9
    raise Permanent(f"The history of {workflow_id} hands out no batch.")


async def _burst(client: Client, ledger: Ledger) -> float:
    """Seconds from the first start call until all jobs are done."""
    began = time.monotonic()
    await asyncio.gather(*(_one(client, ledger, "durable_tasks", {"tasks": TASKS}) for _ in range(JOBS)))
    return time.monotonic() - began


async def _same_moment(client: Client, ledger: Ledger) -> int:
    """The most tasks of one job that were at work at one moment."""
    view = await _one(client, ledger, INLINE, _waiting(TASKS, HELD_SECONDS))
    found = [orjson.loads(result) for _, result in await ledger.results(view.job, WORK_STEP, 0, TASKS)]
    return most_at_once([(each["began"], each["ended"]) for each in found])


def most_at_once(spans: Sequence[tuple[float, float]]) -> int:
    """The most spans that overlap at one moment; those that touch do not. Pure."""
    changes = sorted([(end, -1) for _, end in spans] + [(begin, 1) for begin, _ in spans])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[max(0, math.ceil(0.99 * len(values)) - 1)]
