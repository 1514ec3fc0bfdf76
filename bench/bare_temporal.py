"""The baseline: bare Temporal, one workflow with 1,000 no-op activities, one activity a task, on the same server."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

ACTIVITIES = 1_000
INPUT_BYTES = 200


@activity.defn(name="bare_noop")
async def bare_noop(value: str) -> int:
    """Do nothing with 200 bytes."""
    return len(value)


@workflow.defn(name="BareFanOut", sandboxed=False)
class BareFanOut:
    """Start all activities at once and wait for them."""

    @workflow.run
    async def run(self, tasks: int) -> int:
        """Return how many ended."""
        value = "x" * INPUT_BYTES
        results = await asyncio.gather(
            *(
                workflow.execute_activity(bare_noop, value, start_to_close_timeout=timedelta(seconds=60))
                for _ in range(tasks)
            )
        )
        return len(results)


async def tasks_per_second(client: Client, tasks: int = ACTIVITIES) -> float:
    """Run it once with a worker of its own in this process."""
    queue = f"bench-bare-{uuid.uuid4().hex[:8]}"
    async with Worker(client, task_queue=queue, workflows=[BareFanOut], activities=[bare_noop]):
        started = time.monotonic()
        done = await client.execute_workflow(
            BareFanOut.run, tasks, id=queue, task_queue=queue, execution_timeout=timedelta(minutes=10)
        )
        seconds = time.monotonic() - started
    if done != tasks:
        raise RuntimeError(f"bare Temporal ended {done} of {tasks} activities")
    return tasks / seconds
