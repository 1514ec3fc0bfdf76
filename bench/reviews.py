"""`review_analysis` of 100,000 reviews in one job: tasks a second, size of its history, memory of the processes."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from temporalio.client import Client

from bench.result import BenchResult, at_most, environment
from colony.contracts import JobState
from colony.errors import Permanent
from colony.ledger.port import Ledger
from control.demo_data import fetch_reviews
from control.session import endpoints_here, ledger_here, temporal_here
from control.settings import data_roots, load_settings
from control.stack.paths import StackPaths
from control.stack.status import stack_status
from control.watch import wait_for_job
from workflows.client import await_job, start_job

REVIEWS: Final = 100_000
HISTORY_BYTES: Final = 500_000
"""Most that the history of the job may take."""

FLAT: Final = 1.1
"""Memory that grew by less than a tenth counts as flat."""

_SAMPLE_SECONDS: Final = 3.0
_WATCHED: Final = ("worker", "dispatcher", "ray", "postgres", "temporal")


async def run(console: Console, *, quick: bool = False) -> BenchResult:
    """Run one job over the demo's reviews, repeated under new ids; each task is checked for exactly one outcome."""
    count = REVIEWS // 10 if quick else REVIEWS
    endpoints = endpoints_here()
    source = data_roots(endpoints, load_settings(endpoints).config)[0] / f"colony-bench-reviews-{os.getpid()}.csv"
    await asyncio.to_thread(fetch_reviews, source, count)
    samples: list[dict[str, float]] = []
    sampling = asyncio.create_task(_sample(samples), name="memory samples")
    try:
        async with temporal_here() as client, ledger_here() as ledger:
            seconds, tasks, history = await _one_job(client, ledger, source)
    finally:
        sampling.cancel()
        source.unlink(missing_ok=True)
    console.print(f"  {tasks:,} tasks in {seconds:.1f} s, a history of {history:,} bytes", highlight=False)
    quarters = _quarters(samples)
    return BenchResult(
        name="reviews",
        metrics={
            "reviews": count,
            "tasks": tasks,
            "seconds": round(seconds, 2),
            "tasks_per_second": round(tasks / seconds, 1),
            "reviews_per_second": round(count / seconds, 1),
            "history_bytes": history,
            "pss_mb_by_quarter": quarters,
            "profile": endpoints.profile,
        },
        baseline={"name": "the target", "history_bytes": HISTORY_BYTES},
        ratio=round(HISTORY_BYTES / history, 2),
        environment=environment(),
        targets=(
            at_most("longest history of the job, bytes", history, HISTORY_BYTES),
            at_most("worker's memory, last quarter by second", growth(quarters["worker"]), FLAT),
        ),
    )


def growth(quarters: list[float]) -> float:
    """The last quarter by the second: the first one fills caches. 1 where there are fewer than three. Pure."""
    return quarters[-1] / quarters[1] if len(quarters) > 2 and quarters[1] else 1.0


async def _one_job(client: Client, ledger: Ledger, source: Path) -> tuple[float, int, int]:
    """(seconds from the start call to the report, tasks, bytes of the longest history of the job)."""
    began = time.monotonic()
    started = await start_job(client, "review_analysis", {"source": source.name})
    watching = asyncio.create_task(_longest_history(client, started.workflow_id), name="history size")
    await await_job(client, started.workflow_id, timeout=3600)
    seconds = time.monotonic() - began
    history = await watching
    view = await wait_for_job(ledger, started.key, timeout=10.0)
    pairs = await ledger.outcome_multiplicity(view.job)
    if view.state is not JobState.DONE or any(tasks != done for tasks, done in pairs.values()):
        raise Permanent(f"Job {view.job} ended {view.state} with {pairs} (tasks, with an outcome) by step.")
    return seconds, sum(tasks for tasks, _ in pairs.values()), history


async def _longest_history(client: Client, workflow_id: str) -> int:
    """The most bytes one run's history had; a job that continues as new begins an empty one."""
    longest = 0
    while True:
        described = await client.get_workflow_handle(workflow_id).describe()
        longest = max(longest, described.raw_description.workflow_execution_info.history_size_bytes)
        if described.close_time is not None:
            return longest
        await asyncio.sleep(1.0)


async def _sample(samples: list[dict[str, float]]) -> None:
    paths = StackPaths(Path(endpoints_here().home))
    while True:
        status: dict[str, Any] = await asyncio.to_thread(stack_status, paths)
        samples.append({name: float(status["services"].get(name, {}).get("pss_mb") or 0) for name in _WATCHED})
        await asyncio.sleep(_SAMPLE_SECONDS)


def _quarters(samples: list[dict[str, float]]) -> dict[str, list[float]]:
    """Name of a service -> its mean megabytes in each quarter of the time; flat is flat. Fewer where it was short."""
    size = max(1, len(samples) // 4)
    parts = [samples[at : at + size] for at in range(0, len(samples), size)][:4]
    return {name: [round(sum(each[name] for each in part) / len(part), 1) for part in parts] for name in _WATCHED}
