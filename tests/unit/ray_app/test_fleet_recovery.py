from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from colony.contracts import BatchProgress, BatchRequest
from colony.errors import DeadlineExceeded, Unavailable
from colony.ids import SHARDS, AgentType
from ray_app.deploy import apply_and_prove, plan_deployment
from ray_app.fleet import HostBatchRunner
from ray_app.local_hosts import LocalHosts
from ray_app.reconciler import open_reconciler
from tests.eventually import assert_eventually
from tests.unit.ray_app.fleet_fixture import World


@asynccontextmanager
async def fleet(world: World) -> AsyncGenerator[LocalHosts]:
    shutdown = asyncio.Event()
    messenger = world.messenger("dispatcher")
    async with (
        world.local_hosts() as hosts,
        open_reconciler(world.ledger, hosts, world.registry, messenger, world.config) as reconciler,
    ):
        running = asyncio.create_task(reconciler.run(shutdown))
        try:
            await assert_eventually(lambda: balanced(world), 30)
            yield hosts
        finally:
            shutdown.set()
            await running


async def balanced(world: World) -> bool:
    owners = await world.ledger.shard_owners()
    counts = {name: sum(owner.incarnation == name for owner in owners) for name in {o.incarnation for o in owners}}
    return "" not in counts and sorted(counts.values()) == [SHARDS // world.hosts] * world.hosts


def ignore(progress: BatchProgress) -> None:
    """Progress is not the matter here."""


async def run_to_the_end(runner: HostBatchRunner, request: BatchRequest) -> None:
    """What the workflow does: try again until nothing is left."""
    async with asyncio.timeout(30):
        while True:
            try:
                report = await runner.run(request, ignore)
            except Unavailable:
                await asyncio.sleep(0.1)
                continue
            if not report.left:
                return
            await asyncio.sleep(0.1)


async def test_a_killed_host_is_replaced_and_every_task_ends_once() -> None:
    world = World()
    agents = await world.agents(echo=40, counter=10)
    bound = [agents[n % 40] for n in range(200)]
    _, free = await world.job([{"do": "wait", "seconds": 0.05} for _ in range(200)], key="free")
    _, tied = await world.job([{"do": "wait", "seconds": 0.05} for _ in range(200)], key="tied", bound=bound)
    async with fleet(world) as hosts:
        runner = HostBatchRunner(hosts)
        work = asyncio.gather(run_to_the_end(runner, free), run_to_the_end(runner, tied))
        await assert_eventually(lambda: _some(world, free))
        before = {slot: host.incarnation for slot, host in (await hosts.hosts()).items()}
        await hosts.kill_host(0)
        await work
        await assert_eventually(lambda: balanced(world), 30)
        after = {slot: host.incarnation for slot, host in (await hosts.hosts()).items()}
    assert after[1] == before[1]
    assert after[0] != before[0]
    for request in (free, tied):
        assert await world.ledger.outcome_multiplicity(request.job) == {1: (200, 200)}
        assert len(await world.results(request)) == 200


async def _some(world: World, request: BatchRequest) -> bool:
    return len(await world.results(request)) > 5


async def test_bound_tasks_go_from_host_to_host() -> None:
    world = World()
    agents = await world.agents(echo=50)
    _, request = await world.job([{"n": n} for n in range(50)], bound=agents)
    async with fleet(world) as hosts:
        report = await HostBatchRunner(hosts).run(request, ignore)
    assert (report.ok, report.left, report.skipped) == (50, 0, 0)


async def test_progress_comes_while_a_batch_runs() -> None:
    world = World()
    await world.agents(echo=5)
    _, request = await world.job([{}, {"do": "wait", "seconds": 2.5}])
    heard: list[BatchProgress] = []
    async with fleet(world) as hosts:
        await HostBatchRunner(hosts).run(request, heard.append)
    assert BatchProgress(done=1, failed=0, total=2) in heard


async def test_no_host_is_unavailable() -> None:
    world = World()
    _, request = await world.job([{}])
    async with world.local_hosts() as hosts:
        with pytest.raises(Unavailable):
            await HostBatchRunner(hosts).run(request, ignore)


async def test_a_deployment_is_proven_and_idempotent_up_and_down() -> None:
    world = World()
    client = world.messenger("client")
    async with fleet(world):
        for counts in ({"echo": 300, "counter": 20}, {"echo": 310, "counter": 5}, {"echo": 310, "counter": 5}):
            wanted = {AgentType(name): count for name, count in counts.items()}
            plan = plan_deployment(wanted, world.config.fleet, await world.ledger.agents())
            seen: list[int] = []
            report = await apply_and_prove(
                plan,
                world.ledger,
                client,
                world.registry,
                timeout=20,
                on_progress=lambda progress, seen=seen: seen.append(progress.answered),
            )
            assert report.answered == counts
            assert report.passing == counts
            assert seen[-1] == sum(counts.values())
        assert (report.added, report.removed) == (0, 0)


async def test_a_deployment_that_nobody_answers_says_so() -> None:
    world = World()
    plan = plan_deployment({AgentType("echo"): 3}, world.config.fleet, [])
    with pytest.raises(DeadlineExceeded, match="0 of 3"):
        await apply_and_prove(plan, world.ledger, world.messenger("client"), world.registry, timeout=0.5)
