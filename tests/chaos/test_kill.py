"""SIGKILL (or SIGSTOP) of each process in the middle of a job: it finishes, each task has exactly one outcome."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest

from colony.config.endpoints import read_endpoints
from colony.contracts import JobState, JobView
from colony.errors import NotFound, Transient
from colony.ledger.port import Ledger
from colony.ledger.postgres import open_ledger
from control.stack.paths import StackPaths
from control.stack.state import read_state
from tests.processes import command_line
from tests.running_stack import RunningStack, wait_for

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

TASKS = 3_000


@asynccontextmanager
async def ledger_of(stack: RunningStack) -> AsyncGenerator[Ledger]:
    endpoints = await asyncio.to_thread(read_endpoints, stack.home)
    async with open_ledger(endpoints.postgres, pool_size=2, name="chaos-test") as ledger:
        yield ledger


async def start(stack: RunningStack, template: str, tasks: int) -> str:
    workflow_id = f"chaos-{uuid.uuid4().hex[:10]}"
    await asyncio.to_thread(
        stack.temporal,
        *("workflow", "start", "--type", template, "--task-queue", "colony", "--workflow-id", workflow_id),
        *("--input", f'{{"tasks": {tasks}, "bytes": 20}}'),
    )
    return workflow_id


async def view_of(ledger: Ledger, workflow_id: str) -> JobView | None:
    try:
        return await ledger.job(workflow_id)
    except (Transient, NotFound):
        return None


def done_tasks(view: JobView | None) -> int:
    return 0 if view is None else sum(step.ok + step.failed for step in view.steps)


async def until_done(ledger: Ledger, workflow_id: str, more_than: int, timeout: float) -> JobView:
    """The job once more than so many tasks are done, or it is closed."""
    deadline = time.monotonic() + timeout
    while True:
        view = await view_of(ledger, workflow_id)
        if view is not None and (done_tasks(view) > more_than or view.state is not JobState.RUNNING):
            return view
        assert time.monotonic() < deadline, f"{done_tasks(view)} tasks done, wanted > {more_than} in {timeout} s"
        await asyncio.sleep(0.05)


async def until_closed(ledger: Ledger, workflow_id: str, timeout: float) -> JobView:
    return await until_done(ledger, workflow_id, 10**9, timeout)


async def longest_pause(ledger: Ledger, workflow_id: str, timeout: float) -> tuple[float, JobView]:
    """Follow a job to its end; the longest stretch of seconds in which nothing new was committed."""
    deadline = time.monotonic() + timeout
    moved, longest, seen = time.monotonic(), 0.0, -1
    while True:
        view = await view_of(ledger, workflow_id)
        now = time.monotonic()
        if done_tasks(view) > seen and view is not None:
            moved, seen = now, done_tasks(view)
        longest = max(longest, now - moved)
        if view is not None and view.state is not JobState.RUNNING:
            return longest, view
        assert now < deadline, f"{seen} tasks done in {timeout} s"
        await asyncio.sleep(0.05)


async def whole(stack: RunningStack) -> None:
    """Every service is ready, every host serves."""

    def check() -> bool:
        status = stack.status()
        ready = all(service["state"] == "ready" for service in status["services"].values())
        fleet = status["fleet"]  # nobody can say while a server it is asked of comes back
        return ready and fleet is not None and len(fleet["hosts"]) == 2 and fleet["passing"] == fleet["desired"]

    await wait_for(check, 180.0, "the stack is whole")


def has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pids_of(stack: RunningStack, victim: str) -> list[int]:
    """Processes of this stack by role: as the supervisor wrote them down; hosts below the raylet it started."""
    record = read_state(StackPaths(stack.home).state_file)
    assert record is not None
    if victim == "supervisor":
        return [record.supervisor.pid]
    if victim in ("gcs", "raylet", "host"):
        ray = record.service("ray")
        assert ray is not None
        if victim != "host":
            return [identity.pid for name, identity in ray.processes.items() if name.startswith(victim)]
        raylet = psutil.Process(next(one.pid for name, one in ray.processes.items() if name.startswith("raylet")))
        return [child.pid for child in raylet.children(recursive=True) if b"HostActor" in command_line(child.pid)]
    service = record.service(victim)
    assert service is not None
    return [identity.pid for identity in service.processes.values()]


async def check_whole_job(ledger: Ledger, view: JobView) -> None:
    assert view.state is JobState.DONE, view
    pairs = await ledger.outcome_multiplicity(view.job)
    assert pairs
    for step, (tasks, with_outcome) in pairs.items():
        assert (tasks, with_outcome) == (TASKS, TASKS), f"step {step}: {with_outcome} of {tasks} tasks have an outcome"


VICTIMS = ["host", "worker", "dispatcher", "nats", "consul", "temporal", "postgres", "gcs", "raylet", "supervisor"]


@pytest.mark.parametrize("victim", VICTIMS)
async def test_kill_in_mid_job_loses_nothing(chaos_stack: RunningStack, victim: str) -> None:
    await whole(chaos_stack)
    async with ledger_of(chaos_stack) as ledger:
        workflow_id = await start(chaos_stack, "slow_tasks", TASKS)
        before = await until_done(ledger, workflow_id, TASKS // 10, 60.0)
        assert before.state is JobState.RUNNING
        pids = await asyncio.to_thread(pids_of, chaos_stack, victim)
        assert pids, f"no process found for {victim}"
        os.kill(pids[0], signal.SIGKILL)
        killed = time.monotonic()
        if victim == "supervisor":
            await asyncio.to_thread(chaos_stack.colony, "up", "--profile", "full")
        pause, view = await longest_pause(ledger, workflow_id, 200.0)
        await check_whole_job(ledger, view)
        print(f"\n{victim}: longest pause {pause:.1f} s, job done {time.monotonic() - killed:.1f} s after SIGKILL")
    await whole(chaos_stack)


async def test_a_frozen_host_is_replaced_and_commits_nothing_when_it_wakes(chaos_stack: RunningStack) -> None:
    await whole(chaos_stack)
    async with ledger_of(chaos_stack) as ledger:
        workflow_id = await start(chaos_stack, "slow_tasks", TASKS)
        await until_done(ledger, workflow_id, TASKS // 10, 60.0)
        victim = psutil.Process((await asyncio.to_thread(pids_of, chaos_stack, "host"))[0])
        stopped = time.monotonic()
        victim.suspend()
        pause, view = await longest_pause(ledger, workflow_id, 200.0)
        print(f"\nfrozen host: longest pause {pause:.1f} s, job done {time.monotonic() - stopped:.1f} s after SIGSTOP")
        await check_whole_job(ledger, view)
        with suppress(psutil.NoSuchProcess):
            victim.resume()
        await wait_for(lambda: has_ended(victim), 60.0, "the woken host ends")
        assert await ledger.outcome_multiplicity(view.job) is not None
        await check_whole_job(ledger, await ledger.job(workflow_id))
    await whole(chaos_stack)


async def test_a_task_that_kills_its_host_fails_alone(chaos_stack: RunningStack) -> None:
    await whole(chaos_stack)
    async with ledger_of(chaos_stack) as ledger:
        workflow_id = await start(chaos_stack, "poisoned_tasks", 200)
        view = await until_closed(ledger, workflow_id, 240.0)
        assert view.state is JobState.DONE, view
        assert view.steps[-1].ok == 199
        letters = await ledger.dead_letters(view.job)
        assert [(letter.seq, letter.error) for letter in letters] == [(17, "HostCrashed")]
    await whole(chaos_stack)


async def test_cancel_reaches_the_agents(chaos_stack: RunningStack) -> None:
    await whole(chaos_stack)
    async with ledger_of(chaos_stack) as ledger:
        workflow_id = await start(chaos_stack, "slow_tasks", TASKS)
        await until_done(ledger, workflow_id, TASKS // 10, 60.0)
        await asyncio.to_thread(chaos_stack.temporal, "workflow", "cancel", "--workflow-id", workflow_id)
        view = await until_closed(ledger, workflow_id, 60.0)
        assert view.state is JobState.CANCELLED
        assert done_tasks(view) < TASKS
        after = done_tasks(await ledger.job(workflow_id))
        await asyncio.sleep(1.0)
        assert done_tasks(await ledger.job(workflow_id)) == after


async def test_terminate_closes_the_job(chaos_stack: RunningStack) -> None:
    await whole(chaos_stack)
    async with ledger_of(chaos_stack) as ledger:
        workflow_id = await start(chaos_stack, "slow_tasks", TASKS)
        await until_done(ledger, workflow_id, TASKS // 10, 60.0)
        await asyncio.to_thread(chaos_stack.temporal, "workflow", "terminate", "--workflow-id", workflow_id)
        view = await until_closed(ledger, workflow_id, 60.0)
        assert view.state in (JobState.CANCELLED, JobState.FAILED)


async def test_down_and_up_in_mid_job_loses_nothing(chaos_stack: RunningStack) -> None:
    await whole(chaos_stack)
    async with ledger_of(chaos_stack) as ledger:
        workflow_id = await start(chaos_stack, "slow_tasks", TASKS)
        await until_done(ledger, workflow_id, TASKS // 10, 60.0)
        down = await asyncio.to_thread(chaos_stack.colony, "down")
        assert down.returncode == 0
        await asyncio.to_thread(chaos_stack.colony, "up", "--profile", "full")
        started = time.monotonic()
        _, view = await longest_pause(ledger, workflow_id, 200.0)
        print(f"\ndown and up: job done {time.monotonic() - started:.1f} s after the stack was up again")
        await check_whole_job(ledger, view)
    await whole(chaos_stack)


def test_home_is_not_shared(chaos_stack: RunningStack, tmp_path: Path) -> None:
    """A command in another folder does not see this stack."""
    other = RunningStack(tmp_path / "other", tmp_path)
    done = other.colony("jobs", check=False)
    assert done.returncode != 0
    assert "colony up" in done.stdout + done.stderr
