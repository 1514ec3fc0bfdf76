"""Versions of the workers on a real Temporal server: who gets jobs, who keeps them, and how they change over."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from agents.monitoring import Monitoring
from agents.probe import Probe
from colony.clock import SystemClock
from colony.config.endpoints import TemporalEndpoint
from colony.config.model import Config
from colony.config.templates import TemplateConfig
from colony.config.temporal import TemporalConfig
from colony.contracts import JobState
from colony.errors import DeadlineExceeded, NotFound, Unavailable, Unreadable
from colony.ids import AgentType, Id
from colony.ledger.memory import MemoryLedger
from colony.lifecycle import task_owner
from control import worker_versions
from control.cli import build_app, run_app
from control.exit import NOT_NOW
from tests.eventually import assert_eventually
from tests.integration.workflows.conftest import end_running
from tests.servers.temporal import temporal_cli, temporal_server
from workflows import moving
from workflows.activities_dispatch import DispatchActivities
from workflows.activities_io import IoActivities
from workflows.activities_monitor import MonitorActivities
from workflows.builds import deployment_of
from workflows.client import await_job, cancel_job, connect, start_job
from workflows.closing import OrphanCloser
from workflows.local_runner import LocalRunner, local_runner
from workflows.moving import nudge_pinned
from workflows.promotion import Leaver, Promoter, Rounds, leave_versions
from workflows.schedules import TemporalSchedules, Timing
from workflows.versions import absent_version, make_current, polls_all_queues, read_deployment
from workflows.worker import dispatch_worker, io_worker, run_workers, workflow_worker

pytestmark = [pytest.mark.asyncio(loop_scope="module")]


@workflow.defn(name="patient", sandboxed=False)
class Patient:
    """A user's workflow that says nothing about versions."""

    def __init__(self) -> None:
        self._told = False

    @workflow.signal(name="go")
    def go(self) -> None:
        self._told = True

    @workflow.run
    async def run(self, *_: object) -> str:
        await workflow.wait_condition(lambda: self._told)
        return workflow.info().get_current_build_id()


@workflow.defn(name="garbled", sandboxed=False)
class Garbled:
    """Goes on as a pipeline, and hands over what no build can read."""

    @workflow.run
    async def run(self, *_: object) -> str:
        workflow.continue_as_new(args=[{"resume": "colony-1", "plan": 7}], workflow="durable_tasks")


CALLER = TemplateConfig.model_validate(
    {
        "steps": [
            {"name": "load", "kind": "load", "rows": [{"size": 0}]},
            {"name": "sub", "kind": "call", "template": "durable_tasks", "input": {"tasks": 30_000}},
            {"name": "after", "over": "load", "agent": "probe", "action": "noop"},
        ]
    }
)


@dataclass
class World:
    client: Client
    endpoint: TemporalEndpoint
    ledger: MemoryLedger
    runner: LocalRunner
    folder: Path
    name: str

    @asynccontextmanager
    async def worker(self, build: str, *, alone: bool = False, promote: bool = True) -> AsyncGenerator[Rounds]:
        """A worker process of version `build`; no version when that is empty."""
        config = Config(
            temporal=TemporalConfig(deployment=self.name, build_id=build, versioning=bool(build)),
            workflows={Id("caller"): CALLER},
        )
        version = deployment_of(config, [Patient, Garbled])
        monitor = MonitorActivities(self.ledger, [self.folder])
        shutdown = asyncio.Event()
        async with connect(self.endpoint) as client, task_owner() as owner:
            workers = [
                workflow_worker(client, coded=[Patient, Garbled], version=version),
                io_worker(client, IoActivities(self.ledger, config, [self.folder]), monitor=monitor, version=version),
            ]
            running = asyncio.create_task(run_workers(workers, shutdown))
            leaver = Leaver(client, self.name, alone=alone)
            rounds = Promoter(client, self.name, build, alone=alone) if build else leaver
            if promote:
                owner.start(rounds.run(), name="promotion")
            try:
                yield rounds
            finally:
                shutdown.set()
                await running

    async def build_of(self, workflow_id: str) -> str:
        described = await self.client.get_workflow_handle(workflow_id).describe()
        info = described.raw_description.workflow_execution_info.versioning_info
        return info.deployment_version.build_id

    async def moved(self, workflow_id: str, build: str) -> None:
        async def there() -> bool:
            return await self.build_of(workflow_id) == build

        await assert_eventually(there, 40)

    async def current(self) -> str:
        return (await read_deployment(self.client, self.name)).current


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def versioned_server() -> AsyncGenerator[TemporalEndpoint]:
    async with temporal_server() as endpoint:
        yield endpoint


@pytest_asyncio.fixture(loop_scope="module")
async def world(versioned_server: TemporalEndpoint, tmp_path: Path) -> AsyncGenerator[World]:
    ledger = MemoryLedger(SystemClock())
    agents = {AgentType("probe"): Probe, AgentType("monitoring"): Monitoring}
    shutdown = asyncio.Event()
    async with connect(versioned_server) as client, local_runner(ledger, agents, roots=[tmp_path]) as runner:
        running = asyncio.create_task(run_workers([dispatch_worker(client, DispatchActivities(runner))], shutdown))
        name = f"colony-{uuid.uuid4().hex[:12]}"
        try:
            yield World(client, versioned_server, ledger, runner, tmp_path, name)
        finally:
            await leave_versions(client, name)
            await end_running(client)
            shutdown.set()
            await running


async def test_jobs_of_the_plain_command_run_once_a_version_is_current(world: World) -> None:
    async with world.worker("one") as promoter:
        await promoter.wait()
        assert await world.current() == "one"
        given = json.dumps({"tasks": 500})
        code, output = await temporal_cli(
            world.endpoint, "workflow", "execute", "--type", "durable_tasks", "--task-queue", "colony",
            "--workflow-id", "plain", "--input", given,
        )  # fmt: skip
        assert code == 0, output
        assert (await world.ledger.job("plain")).state is JobState.DONE
        assert await world.build_of("plain") == "one"
        seen = await read_deployment(world.client, world.name)
        assert (seen.version("one").status, seen.deserted) == ("current", False)
        assert seen.version("one").pollers >= 1
        schedules = TemporalSchedules(world.client)
        await schedules.create("nightly", Timing(template="durable_tasks", every=3600), {"tasks": 10})
        await schedules.trigger("nightly")

        async def done() -> bool:
            jobs = [view for view in await world.ledger.jobs(10) if "nightly" in view.workflow_id]
            return any(view.state is JobState.DONE for view in jobs)

        await assert_eventually(done, 30)
        await schedules.delete("nightly")


async def test_a_job_under_way_follows_the_new_version(world: World) -> None:
    async with world.worker("one") as first, world.worker("two", promote=False):
        await first.wait()
        await assert_eventually(lambda: _polls(world, "two"), 30)
        started = await start_job(world.client, "durable_tasks", {"tasks": 40_000})
        await world.moved(started.workflow_id, "one")
        await make_current(world.client, world.name, "two")
        result = await await_job(world.client, started.workflow_id, timeout=60)
        assert result.steps[1].ok == 40_000
        assert await world.build_of(started.workflow_id) == "two"


async def test_a_job_that_calls_one_with_a_long_history_changes_versions_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflows.policies.MAX_EVENTS", 40)
    async with world.worker("one") as first, world.worker("two", promote=False):
        await first.wait()
        await assert_eventually(lambda: _polls(world, "two"), 30)
        started = await start_job(world.client, "caller", {})

        async def called() -> str:
            jobs = await world.ledger.jobs(10)
            return next((view.workflow_id for view in jobs if view.template == "durable_tasks"), "")

        child = await assert_eventually(called, 30)
        await make_current(world.client, world.name, "two")
        result = await await_job(world.client, started.workflow_id, timeout=90)
        assert result.state is JobState.DONE
        described = await world.client.get_workflow_handle(child).describe()
        assert described.run_id != described.raw_description.workflow_execution_info.first_run_id, "it went on as new"
        assert {await world.build_of(name) for name in (started.workflow_id, child)} == {"two"}


async def test_jobs_of_before_there_were_versions_go_on(world: World) -> None:
    async with world.worker(""):
        started = await start_job(world.client, "durable_tasks", {"tasks": 30_000})

        async def opened() -> bool:
            return bool(await world.ledger.jobs(1))

        await assert_eventually(opened, 30)
    async with world.worker("one") as promoter:
        await promoter.wait()
        assert (await await_job(world.client, started.workflow_id, timeout=60)).steps[1].ok == 30_000
    # And back: a worker without a version gets jobs once none is current.
    await leave_versions(world.client, world.name)
    async with world.worker(""):
        again = await start_job(world.client, "durable_tasks", {"tasks": 10})
        assert (await await_job(world.client, again.workflow_id, timeout=60)).state is JobState.DONE


async def test_a_monitor_keeps_its_version_until_it_goes_on_as_new(world: World) -> None:
    async with world.worker("one") as first:
        await first.wait()
        sites = {"sites": [{"url": "http://127.0.0.1:9/"}], "interval": 3600}
        started = await start_job(world.client, "website_monitor", sites)
        await world.moved(started.workflow_id, "one")
        async with world.worker("two") as second:
            await second.wait()
            assert await world.current() == "two"

            async def pinned() -> bool:
                return (await read_deployment(world.client, world.name)).version("one").pinned == 1

            await assert_eventually(pinned, 30)
            await nudge_pinned(world.client, world.name, "one")
            await world.moved(started.workflow_id, "two")
            await assert_eventually(lambda: _none_pinned(world, "one"), 30)
            handle = world.client.get_workflow_handle(started.workflow_id)
            assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
            assert len(await world.ledger.jobs(10)) == 1, "the same job goes on"
            await cancel_job(world.client, started.workflow_id)


async def _none_pinned(world: World, build: str) -> bool:
    return (await read_deployment(world.client, world.name)).version(build).pinned == 0


async def _two_pinned(world: World) -> tuple[str, str]:
    """A monitor and a user's job, both pinned to a version that is gone."""
    async with world.worker("one", alone=True) as first:
        await first.wait()
        sites = {"sites": [{"url": "http://127.0.0.1:9/"}], "interval": 3600}
        monitor = (await start_job(world.client, "website_monitor", sites)).workflow_id
        patient = (await start_job(world.client, "patient", {})).workflow_id
        await world.moved(monitor, "one")
        await world.moved(patient, "one")

        async def both() -> bool:
            return (await read_deployment(world.client, world.name)).version("one").pinned == 2

        await assert_eventually(both, 30)
    return monitor, patient


async def test_jobs_of_a_version_that_is_gone_go_on_where_no_other_worker_can_be(world: World) -> None:
    monitor, patient = await _two_pinned(world)
    async with world.worker("two", alone=True) as second:
        await second.wait()
        await world.moved(monitor, "two")
        handle = world.client.get_workflow_handle(patient)
        await handle.signal("go")
        assert await handle.result() == "two"
        await cancel_job(world.client, monitor)


async def test_workers_without_a_version_take_over_the_jobs_of_one_that_is_gone(world: World) -> None:
    monitor, patient = await _two_pinned(world)
    assert await world.current() == "one"
    async with world.worker("", alone=True) as plain:
        await plain.wait()
        assert await world.current() == ""
        handle = world.client.get_workflow_handle(patient)
        await handle.signal("go")
        async with asyncio.timeout(40):
            await handle.result()
        await assert_eventually(lambda: _none_pinned(world, "one"), 30)
        await cancel_job(world.client, monitor)

        async def closed() -> bool:
            return (await world.ledger.job(monitor)).state is JobState.CANCELLED

        await assert_eventually(closed, 40)


async def test_taking_the_current_version_away_is_tried_until_it_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.worker("one") as first:
        await first.wait()
    tried = 0

    async def refused_once(client: Client, name: str, build: str) -> None:
        nonlocal tried
        tried += 1
        if tried == 1:
            raise Unavailable("not now")
        await make_current(client, name, build)

    monkeypatch.setattr("workflows.promotion.make_current", refused_once)
    async with world.worker("") as plain:
        await plain.wait()
        assert await world.current() == ""
        again = await start_job(world.client, "durable_tasks", {"tasks": 10})
        assert (await await_job(world.client, again.workflow_id, timeout=60)).state is JobState.DONE
    assert tried == 2


@pytest.mark.parametrize("lost", ["_let_follow", "_nudge"])
async def test_a_job_the_server_refuses_holds_up_no_other_and_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monitor, patient = await _two_pinned(world)
    real = getattr(moving, lost)

    async def refused(client: Client, workflow_id: str, run_id: str) -> None:
        if workflow_id == patient:
            raise RPCError("not now", RPCStatusCode.UNAVAILABLE, b"")
        await real(client, workflow_id, run_id)

    async with world.worker("two", alone=True) as second:
        monkeypatch.setattr(moving, lost, refused)
        await second.wait()
        assert second.decided.is_set()
        await world.moved(monitor, "two")
        assert await world.build_of(patient) == "one"
    monkeypatch.undo()
    # Another process: it knows nothing of what the one before it could not do.
    async with world.worker("two", alone=True):
        await world.moved(patient, "two")
        await world.client.get_workflow_handle(patient).signal("go")
        assert await world.client.get_workflow_handle(patient).result() == "two"
        await cancel_job(world.client, monitor)


async def test_a_hand_over_that_cannot_be_read_fails_its_job_with_its_reason(world: World) -> None:
    async with world.worker("one") as first:
        await first.wait()
        started = await start_job(world.client, "garbled", {})
        job = await world.ledger.open_job(started.key, started.workflow_id, "durable_tasks", [], None, {})
        with pytest.raises(Unreadable, match="cannot be read by this build"):
            await await_job(world.client, started.workflow_id, timeout=60)
        assert await OrphanCloser(world.client, world.ledger).round() == [job.job]
        closed = await world.ledger.job(started.key)
        assert closed.state is JobState.FAILED
        assert "cannot be read by this build" in closed.reason


async def test_a_job_says_that_no_version_is_current(world: World) -> None:
    async with world.worker("one", promote=False):

        async def polls() -> bool:
            return (await read_deployment(world.client, world.name)).undecided

        await assert_eventually(polls, 30)
        waiting = await start_job(world.client, "durable_tasks", {"tasks": 10})
        said = await absent_version(world.client, world.name, waiting.workflow_id)
        assert "colony worker promote BUILD" in said
        assert await absent_version(world.client, world.name, waiting.workflow_id, versioning=False) == ""
        await make_current(world.client, world.name, "one")
        assert (await await_job(world.client, waiting.workflow_id, timeout=60)).state is JobState.DONE


async def test_a_job_says_that_no_worker_of_its_version_runs(world: World) -> None:
    async with world.worker("one") as first:
        await first.wait()
        patient = await start_job(world.client, "patient", {})
        await world.moved(patient.workflow_id, "one")
        assert await absent_version(world.client, world.name, patient.workflow_id) == ""
    async with world.worker("two") as second:
        await second.wait()
        # The server knows the last poll of a worker that is gone for some time: played here by a clock that is ahead.
        with pytest.MonkeyPatch.context() as clock:
            clock.setattr("workflows.versions.POLL_SECONDS", -1.0)
            said = await absent_version(world.client, world.name, patient.workflow_id)
        assert said == "no worker of the build one runs, which it is pinned to"


async def test_an_old_worker_that_starts_again_undoes_no_upgrade(world: World) -> None:
    async with world.worker("one") as first:
        await first.wait()
    async with world.worker("two") as second:
        await second.wait()
        assert await world.current() == "two"
        async with world.worker("one") as again:
            await again.wait()
            assert await world.current() == "two"
            waiting = await start_job(world.client, "patient", {})
            await world.moved(waiting.workflow_id, "two")


@pytest.fixture
def commands(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """`colony worker` speaks to this world; each command has a client of its own, since it may run in a thread."""

    def here() -> AbstractAsyncContextManager[Client]:
        return connect(world.endpoint)

    monkeypatch.setattr(worker_versions, "temporal_here", here)
    monkeypatch.setattr(worker_versions, "_name", lambda: world.name)


def colony(*arguments: str) -> int:
    """Exit code of the command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["colony", *arguments])
        try:
            with pytest.raises(SystemExit) as ended:
                run_app(build_app())
        finally:
            structlog.reset_defaults()
    return int(ended.value.code or 0)


@pytest.mark.usefixtures("commands")
async def test_drain_waits_until_a_monitor_went_on_as_new(world: World) -> None:
    async with world.worker("one") as first:
        await first.wait()
        sites = {"sites": [{"url": "http://127.0.0.1:9/"}], "interval": 3600}
        monitor = (await start_job(world.client, "website_monitor", sites)).workflow_id
        await world.moved(monitor, "one")
        async with world.worker("two") as second:
            await second.wait()
            await assert_eventually(lambda: _one_pinned(world, "one"), 30)
            seen: list[dict[str, int]] = []
            assert await worker_versions.drain("", move=False, timeout=60, show=seen.append) == ["one"]
            assert (seen[0], seen[-1]) == ({"one": 1}, {"one": 0})
            assert await world.build_of(monitor) == "two"
            await cancel_job(world.client, monitor)


async def _one_pinned(world: World, build: str) -> bool:
    return (await read_deployment(world.client, world.name)).version(build).pinned == 1


@pytest.mark.usefixtures("commands")
async def test_drain_gives_up_in_time_on_a_job_that_stays_and_moves_it_when_told(world: World) -> None:
    async with world.worker("one") as first:
        await first.wait()
        patient = (await start_job(world.client, "patient", {})).workflow_id
        await world.moved(patient, "one")
        async with world.worker("two") as second:
            await second.wait()
            await assert_eventually(lambda: _one_pinned(world, "one"), 30)
            with pytest.raises(DeadlineExceeded, match="1 jobs still wait for one"):
                await worker_versions.drain("one", move=False, timeout=0.1, show=lambda _: None)
            assert await asyncio.to_thread(colony, "worker", "drain", "one", "--timeout", "0") == NOT_NOW
            assert await asyncio.to_thread(colony, "worker", "drain", "two") == 2, "the current version"
            assert await world.build_of(patient) == "one"
            assert await worker_versions.drain("one", move=True, timeout=60, show=lambda _: None) == ["one"]
            handle = world.client.get_workflow_handle(patient)
            await handle.signal("go")
            assert await handle.result() == "two"
            assert await asyncio.to_thread(colony, "worker", "drain") == 0


@pytest.mark.usefixtures("commands")
async def test_promote_gives_new_jobs_to_a_version_and_back(world: World) -> None:
    async with world.worker("one") as first, world.worker("two", promote=False):
        await first.wait()
        for build in ("two", "one"):
            await assert_eventually(lambda build=build: _polls(world, build), 30)
            assert (await worker_versions.promote(build)).current == build
            patient = await start_job(world.client, "patient", {})
            await world.moved(patient.workflow_id, build)
        with pytest.raises(NotFound):
            await worker_versions.promote("three")
        assert await world.current() == "one"


async def _polls(world: World, build: str) -> bool:
    return await polls_all_queues(world.client, world.name, build)
