"""Durable tasks a second, from the start call to the last fenced outcome, beside bare Temporal on the same server."""

from __future__ import annotations

import time
import uuid

from rich.console import Console
from temporalio.client import Client

from bench import bare_temporal
from bench.result import BenchResult, environment, spread
from colony.contracts import JobState
from colony.errors import Permanent
from colony.ledger.port import Ledger
from control.deploy import deploy
from control.session import endpoints_here, ledger_here, temporal_here
from control.watch import wait_for_job
from workflows.client import await_job, start_job

TASKS = 100_000
INPUT_BYTES = 200
RUNS = 3
PROBES = 100
"""Agents that do nothing, deployed beside the others."""


async def run(console: Console, *, tasks: int = TASKS, runs: int = RUNS) -> BenchResult:
    """Runs and baselines in turn; every job is checked for exactly one outcome a task."""
    durable: list[float] = []
    bare: list[float] = []
    quiet = Console(quiet=True)
    await deploy(None, [f"probe={PROBES}"], None, dry_run=False, console=quiet)
    async with temporal_here() as client, ledger_here() as ledger:
        await _one_job(client, ledger, min(tasks, 2_000))
        for number in range(runs):
            bare.append(await bare_temporal.tasks_per_second(client))
            durable.append(await _one_job(client, ledger, tasks))
            console.print(
                f"  run {number + 1}/{runs}: {durable[-1]:,.0f} durable tasks/s,"
                f" bare Temporal {bare[-1]:,.0f} activities/s",
                highlight=False,
            )
    await deploy(None, ["probe=0"], None, dry_run=False, console=quiet)
    ratios = [ours / theirs for ours, theirs in zip(durable, bare, strict=True)]
    return BenchResult(
        name="durable_tasks",
        metrics={
            "tasks_per_second": spread(durable).model_dump(),
            "tasks": tasks,
            "input_bytes": INPUT_BYTES,
            "profile": endpoints_here().profile,
            "ratio": spread(ratios).model_dump(),
        },
        baseline={
            "name": f"one workflow, {bare_temporal.ACTIVITIES} no-op activities, same server",
            "tasks_per_second": spread(bare).model_dump(),
        },
        ratio=spread(ratios).median,
        environment=environment(),
    )


async def _one_job(client: Client, ledger: Ledger, tasks: int) -> float:
    """Tasks a second from the start call to the closed workflow."""
    started = time.monotonic()
    request = {"tasks": tasks, "bytes": INPUT_BYTES}
    job = await start_job(client, "durable_tasks", request, workflow_id=f"bench-{uuid.uuid4().hex[:12]}")
    await await_job(client, job.workflow_id)
    seconds = time.monotonic() - started
    view = await wait_for_job(ledger, job.key, timeout=10.0)
    if view.state is not JobState.DONE or set((await ledger.outcome_multiplicity(view.job)).values()) != {
        (tasks, tasks)
    }:
        raise Permanent(f"Job {view.job} ended {view.state} without one outcome for each of {tasks} tasks.")
    return tasks / seconds
