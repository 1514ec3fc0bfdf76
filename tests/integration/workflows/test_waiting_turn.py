"""A step whose batches wait for a busy dispatcher.

On the real server with a short stall: the one that skips time skips none while an activity waits to be taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client

from agents.probe import Probe
from colony.clock import SystemClock
from colony.config.endpoints import TemporalEndpoint
from colony.config.model import Config
from colony.contracts import JobState
from colony.errors import Unavailable
from colony.ids import AgentType
from colony.jobs import StepPlan
from colony.ledger.memory import MemoryLedger
from tests.eventually import assert_eventually
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.client import StartedJob, await_job, connect, job_progress, start_job
from workflows.local_runner import local_runner
from workflows.policies import dispatch_options
from workflows.worker import dispatch_worker, io_worker, run_workers, workflow_worker

pytestmark = [pytest.mark.asyncio(loop_scope="session")]

STALL = 1.0


class World:
    """A ledger, and what its dispatcher would say if asked whether it lives."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.folder = folder
        self.ledger = MemoryLedger(SystemClock())
        self.asked = 0

    @asynccontextmanager
    async def working(self, lives: Callable[[int], bool]) -> AsyncGenerator[None]:
        async def dispatching() -> bool:
            self.asked += 1
            return lives(self.asked)

        activities = IoActivities(self.ledger, Config(), [self.folder], dispatching=dispatching)
        async with _running(workflow_worker(self.client), io_worker(self.client, activities)):
            yield

    @asynccontextmanager
    async def dispatching(self) -> AsyncGenerator[None]:
        async with (
            local_runner(self.ledger, {AgentType("probe"): Probe}) as runner,
            _running(dispatch_worker(self.client, DispatchActivities(runner))),
        ):
            yield

    async def started_job(self) -> StartedJob:
        """A job whose batches are handed out, and taken by nobody."""
        started = await start_job(self.client, "durable_tasks", {"tasks": 300})
        await assert_eventually(lambda: _handed_out(self, started), 30)
        return started

    async def stalled(self, times: int) -> None:
        """So often no batch was taken in time, and the dispatcher was asked for."""
        await assert_eventually(lambda: self.asked >= times, 60)


def soon_given_up(step: StepPlan, priority: int, tenant: str) -> dict[str, Any]:
    """Options of a batch that waits only shortly; what its job asks of the ledger may wait as long as ever."""
    return {**dispatch_options(step, priority, tenant), "schedule_to_start_timeout": timedelta(seconds=STALL)}


@asynccontextmanager
async def _running(*workers: object) -> AsyncGenerator[None]:
    stop = asyncio.Event()
    running = asyncio.create_task(run_workers(workers, stop))  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        stop.set()
        await running


@pytest_asyncio.fixture(loop_scope="session")
async def world(temporal: TemporalEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[World]:
    monkeypatch.setattr("workflows.activities_io._LOOK_SECONDS", 0.01)
    monkeypatch.setattr("workflows.steps.STALL_SECONDS", STALL)
    monkeypatch.setattr("workflows.steps.dispatch_options", soon_given_up)
    async with connect(temporal) as client:
        yield World(client, tmp_path)


async def test_waiting_for_a_turn_is_no_failure(world: World) -> None:
    """Nobody takes the batches for four times the stall, though a dispatcher lives; then one has room."""
    async with world.working(lambda asked: True):
        started = await world.started_job()
        await world.stalled(4)
        await assert_eventually(lambda: _handed_out(world, started), 30)
        async with world.dispatching():
            await await_job(world.client, started.workflow_id, timeout=60)
    view = await world.ledger.job(started.key)
    assert (view.state, view.steps[1].ok) == (JobState.DONE, 300)


async def test_without_any_dispatcher_the_job_fails_and_says_so(world: World) -> None:
    async with world.working(lambda asked: False):
        started = await world.started_job()
        with pytest.raises(Unavailable, match=f"no dispatcher took work for {STALL:.0f} s"):
            await await_job(world.client, started.workflow_id, timeout=60)
    assert (await world.ledger.job(started.key)).state is JobState.FAILED
    assert world.asked == 10, "it may just be starting again"


async def test_a_dispatcher_that_was_only_being_restarted_is_waited_for(world: World) -> None:
    async with world.working(lambda asked: asked > 3):
        started = await world.started_job()
        await world.stalled(4)
        async with world.dispatching():
            await await_job(world.client, started.workflow_id, timeout=60)
    assert (await world.ledger.job(started.key)).state is JobState.DONE


async def _handed_out(world: World, started: StartedJob) -> bool:
    return (await job_progress(world.client, started.workflow_id)).batches > 0
