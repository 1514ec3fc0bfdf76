from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from colony.config.model import Config
from colony.contracts import Lease
from colony.errors import Unavailable
from colony.ids import SHARDS
from colony.ledger.memory import MemoryLedger
from ray_app.fleet_plan import KillHost
from ray_app.local_hosts import LocalHosts
from ray_app.reconciler import LEADER, Reconciler, open_reconciler
from tests.eventually import assert_eventually
from tests.unit.ray_app.fleet_fixture import World


class SlowLedger(MemoryLedger):
    """Something happens between reading the leases and handing them out."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def leases(self) -> list[Lease]:
        found = await super().leases()
        if self.meanwhile is not None:
            happening, self.meanwhile = self.meanwhile, None
            await happening()
        return found


def with_hosts(world: World, count: int) -> Config:
    return world.config.model_copy(update={"fleet": world.config.fleet.model_copy(update={"hosts": count})})


@asynccontextmanager
async def reconciler(world: World, hosts: LocalHosts, holder: str, count: int = 2) -> AsyncGenerator[Reconciler]:
    async with open_reconciler(
        world.ledger, hosts, world.registry, world.messenger("dispatcher"), with_hosts(world, count), holder=holder
    ) as made:
        yield made


@asynccontextmanager
async def running(made: Reconciler) -> AsyncGenerator[None]:
    shutdown = asyncio.Event()
    task = asyncio.create_task(made.run(shutdown))
    try:
        yield
    finally:
        shutdown.set()
        await task


async def lives(hosts: LocalHosts) -> dict[int, str]:
    return {slot: host.incarnation for slot, host in (await hosts.hosts()).items()}


async def owned_by(world: World, hosts: LocalHosts, count: int) -> bool:
    """Whether `count` living hosts own all shards in even parts."""
    alive = set((await lives(hosts)).values())
    owners = [owner.incarnation for owner in await world.ledger.shard_owners()]
    return len(alive) == count and sorted(owners.count(name) for name in alive) == [SHARDS // count] * count


async def test_a_host_whose_lease_came_after_the_leases_were_read_is_left_alone() -> None:
    world = World()
    ledger = world.ledger = SlowLedger(world.clock)
    async with world.local_hosts() as hosts, reconciler(world, hosts, "one", count=1) as first:

        async def another_starts_it() -> None:
            await hosts.start_host(0)

        ledger.meanwhile = another_starts_it
        actions = await first.round()
        incarnation = (await lives(hosts))[0]
        actions += await first.round()
        assert not [action for action in actions if isinstance(action, KillHost)]
        assert (await lives(hosts))[0] == incarnation


async def test_a_host_too_many_leaves_without_losing_or_repeating_anything() -> None:
    world = World()
    await world.agents(echo=40)
    _, request = await world.job([{"do": "wait", "seconds": 0.02} for _ in range(300)])
    async with world.local_hosts() as hosts:
        async with reconciler(world, hosts, "one") as first, running(first):
            await assert_eventually(lambda: owned_by(world, hosts, 2), 30)
        leaving = (await hosts.hosts())[1]
        work = asyncio.create_task(leaving.run_batch(request))
        async with reconciler(world, hosts, "two", count=1) as second, running(second):
            report = await work
            await assert_eventually(lambda: owned_by(world, hosts, 1), 30)
            assert list(await lives(hosts)) == [0]
            rest = await (await hosts.hosts())[0].run_batch(request)
        assert report.ok + rest.ok == 300
        assert rest.skipped == report.ok
        assert await world.ledger.outcome_multiplicity(request.job) == {1: (300, 300)}
        leases = await world.ledger.leases()
        assert [lease.host for lease in leases] == ["colony-host-0"]
        assert not [entry for entry in await world.registry.hosts() if entry.host == "colony-host-1"]


async def test_the_next_leader_adopts_the_fleet_as_it_is() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        hosts = await stack.enter_async_context(world.local_hosts())
        first = await stack.enter_async_context(reconciler(world, hosts, "one"))
        second = await stack.enter_async_context(reconciler(world, hosts, "two"))
        async with running(first):
            await assert_eventually(lambda: owned_by(world, hosts, 2), 30)
            before = await lives(hosts)
            assert await second.round() == []
        # The first resigned as it stopped: nobody has to wait for its time to run out.
        async with running(second):

            async def second_leads() -> bool:
                return await world.ledger.leads(LEADER, "two", second._term)

            await assert_eventually(second_leads, 6)
            await hosts.kill_host(0)
            await assert_eventually(lambda: owned_by(world, hosts, 2), 30)
        after = await lives(hosts)
        assert after[1] == before[1]
        assert after[0] != before[0]


async def test_a_leader_of_the_past_may_not_kill() -> None:
    world = World()
    async with AsyncExitStack() as stack:
        hosts = await stack.enter_async_context(world.local_hosts())
        first = await stack.enter_async_context(reconciler(world, hosts, "one"))
        await first.round()
        await assert_eventually(lambda: _count(hosts, 2))
        await world.ledger.lead(LEADER, "one", 0.0)
        assert await world.ledger.lead(LEADER, "two", 60.0) is not None
        with pytest.raises(Unavailable):
            await first._act(KillHost(0, "a decision of the past"))
        assert await first.round() == []
        assert sorted(await lives(hosts)) == [0, 1]


async def _count(hosts: LocalHosts, count: int) -> bool:
    return len([name for name in (await lives(hosts)).values() if name]) == count
