"""Two host actors on a Ray of its own, over real Postgres and NATS: work, death, recovery."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import orjson
import psutil
import pytest
import ray

from colony.clock import SystemClock
from colony.config.endpoints import Endpoints, RayEndpoint, RegistryEndpoint, TemporalEndpoint
from colony.config.load import load_config
from colony.contracts import BatchProgress, BatchRequest
from colony.errors import Unavailable
from colony.ids import SHARDS, AgentType, Id
from colony.jobs import StepKind, StepPlan
from colony.ledger.port import Ledger
from colony.ledger.postgres import open_ledger
from colony.lifecycle import task_owner
from colony.messaging.nats import open_messenger
from colony.messaging.port import Messenger
from ray_app.deploy import apply_and_prove, plan_deployment
from ray_app.fleet import HostBatchRunner
from ray_app.ray_hosts import RayHosts
from ray_app.reconciler import open_reconciler
from tests.eventually import assert_eventually
from tests.servers.nats import nats_server
from tests.servers.postgres import postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(400)]
ROOT = str(Path(__file__).resolve().parents[3])
CONFIG = """
fleet:
  hosts: 2
  packages: [agents, tests]
  types:
    waiting: {count: 20, implementation: "tests.integration.ray_app.waiting_agent:Waiting"}
"""


@pytest.fixture
def ray_session() -> Generator[None]:
    folder = tempfile.mkdtemp(prefix="cr-", dir="/tmp")
    ray.init(include_dashboard=False, num_cpus=2, _temp_dir=folder, object_store_memory=80_000_000, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


class Stack:
    def __init__(self, ledger: Ledger, messenger: Messenger, hosts: RayHosts) -> None:
        self.ledger = ledger
        self.messenger = messenger
        self.hosts = hosts

    async def balanced(self) -> bool:
        owners = [owner.incarnation for owner in await self.ledger.shard_owners()]
        return sorted(owners.count(name) for name in set(owners)) == [SHARDS // 2] * 2 and "" not in owners


@asynccontextmanager
async def running_fleet() -> AsyncGenerator[Stack]:
    home = Path(tempfile.mkdtemp(prefix="ch-", dir="/tmp"))
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, home, ignore_errors=True)
        database = await stack.enter_async_context(postgres_server(home))
        where = await database.fresh_database()
        bus = await stack.enter_async_context(nats_server())
        (home / "agent_config.yaml").write_text(CONFIG)
        endpoints = Endpoints(
            home=str(home),
            folder=str(home),
            config_file=str(home / "agent_config.yaml"),
            postgres=where,
            temporal=TemporalEndpoint(address="127.0.0.1:1"),
            nats=bus.endpoint,
            registry=RegistryEndpoint(kind="nats-kv"),
            ray=RayEndpoint(address="local"),
        )
        endpoints.file.write_text(endpoints.model_dump_json())
        ledger = await stack.enter_async_context(open_ledger(where, name="test"))
        messenger = await stack.enter_async_context(open_messenger(bus.endpoint, role="dispatcher", name="test"))
        tasks = await stack.enter_async_context(task_owner())
        hosts = RayHosts(home, tasks, python_path=ROOT)
        shutdown = asyncio.Event()
        config = load_config(home / "agent_config.yaml").config
        reconciler = await stack.enter_async_context(open_reconciler(ledger, hosts, None, messenger, config))
        reconciling = tasks.start(reconciler.run(shutdown), name="reconciler")
        fleet = Stack(ledger, messenger, hosts)
        try:
            await assert_eventually(fleet.balanced, 60)
            plan = plan_deployment({AgentType("waiting"): 20}, config.fleet, [])
            await apply_and_prove(plan, ledger, messenger, None, timeout=20)
            yield fleet
        finally:
            shutdown.set()
            await reconciling
            for slot in list(await hosts.hosts()):
                await hosts.kill_host(slot)


async def batch(ledger: Ledger, key: str, payload: dict[str, object], count: int) -> BatchRequest:
    step = StepPlan(
        number=1, name=Id("work"), kind=StepKind.MAP, over=0, agent_type=AgentType("waiting"), action=Id("wait")
    )
    plan = await ledger.open_job(key, "workflow-" + key, "test", [step], None, {})
    await ledger.load_tasks(plan.job, 1, [(None, orjson.dumps(payload))] * count)
    return BatchRequest(job=plan.job, key=key, step=1, first=0, end=count)


def ignore(progress: BatchProgress) -> None:
    """Progress is not the matter here."""


async def run_to_the_end(runner: HostBatchRunner, request: BatchRequest) -> None:
    async with asyncio.timeout(120):
        while True:
            try:
                if not (await runner.run(request, ignore)).left:
                    return
            except Unavailable:
                pass
            await asyncio.sleep(0.1)


async def pid_of(hosts: RayHosts, slot: int) -> int:
    await hosts.hosts()
    return int(hosts._hosts[slot].identity["pid"])


async def test_a_fleet_on_ray_works_and_outlives_kill_and_freeze(ray_session: None) -> None:
    async with running_fleet() as fleet:
        clock = SystemClock()
        runner = HostBatchRunner(fleet.hosts)
        quick = await batch(fleet.ledger, "quick", {}, 1000)
        report = await runner.run(quick, ignore)
        assert (report.ok, report.left) == (1000, 0), report

        slow = await batch(fleet.ledger, "slow", {"seconds": 0.2}, 300)
        work = asyncio.create_task(run_to_the_end(runner, slow))
        await assert_eventually(lambda: _begun(fleet.ledger, slow), 30)
        began = clock.monotonic()
        for slot in (0, 1):
            os.kill(await pid_of(fleet.hosts, slot), signal.SIGKILL)
        await work
        await assert_eventually(fleet.balanced, 60)
        print(f"work done and fleet whole {clock.monotonic() - began:.1f} s after the death of both hosts")
        assert await fleet.ledger.outcome_multiplicity(slow.job) == {1: (300, 300)}
        assert len(await fleet.ledger.results(slow.job, 1, 0, 300)) == 300

        frozen = await pid_of(fleet.hosts, 0)
        os.kill(frozen, signal.SIGSTOP)
        await assert_eventually(lambda: not psutil.pid_exists(frozen) or _zombie(frozen), 40)
        await assert_eventually(fleet.balanced, 60)
        after = await batch(fleet.ledger, "after", {}, 100)
        await run_to_the_end(runner, after)


async def _begun(ledger: Ledger, request: BatchRequest) -> bool:
    return len(await ledger.results(request.job, 1, 0, request.end)) > 5


def _zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
