from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from colony.errors import Unavailable
from colony.ids import SHARDS
from ray_app.fleet_plan import Assign
from ray_app.reconciler import open_reconciler
from tests.eventually import assert_eventually
from tests.unit.ray_app.fleet_fixture import World


def failing_once(call: Callable[..., Any], *, after: bool = False) -> Callable[..., Any]:
    """`call`, but the ledger is away the first time: before the call took effect, or `after` it."""
    failures = [Unavailable("the ledger is away")]

    async def attempt(*arguments: Any) -> Any:
        if failures and not after:
            raise failures.pop()
        value = await call(*arguments)
        if failures:
            raise failures.pop()
        return value

    return attempt


async def owned(world: World, incarnation: str) -> set[int]:
    return {owner.shard for owner in await world.ledger.shard_owners() if owner.incarnation == incarnation}


async def test_agents_that_could_not_be_read_after_a_claim_are_read_later() -> None:
    world = World()
    await world.agents(echo=40)
    async with world.open(0, "incarnation-0") as host:
        await host.assign(range(SHARDS // 2))
        await host.refresh()
        world.ledger.agents = failing_once(world.ledger.agents)
        with pytest.raises(Unavailable):
            await host.assign(range(SHARDS))
        await host.assign(range(SHARDS))
        await assert_eventually(lambda: host.status().agents == 40)


@pytest.mark.parametrize("after", [False, True])
async def test_a_release_that_failed_is_made_good(after: bool) -> None:
    world = World()
    agents = await world.agents(echo=40)
    async with world.one_host() as host:
        world.ledger.release_shards = failing_once(world.ledger.release_shards, after=after)
        with pytest.raises(Unavailable):
            await host.assign(range(SHARDS // 2))
        await host.assign(range(SHARDS // 2))
        assert await owned(world, host.incarnation) == set(range(SHARDS // 2)) == set(host._population.shards)
        # And if they are wanted after all, they work again.
        world.ledger.release_shards = failing_once(world.ledger.release_shards, after=after)
        with pytest.raises(Unavailable):
            await host.assign([])
        await host.assign(range(SHARDS))
        assert await owned(world, host.incarnation) == set(range(SHARDS))
        _, request = await world.job([{} for _ in agents], bound=agents)
        assert (await host.run_batch(request)).ok == 40
        for agent in agents:
            shard = host._population.agents[agent].shard
            assert shard.subscription is not None


async def test_a_claim_without_an_answer_strands_no_shard() -> None:
    world = World()
    async with world.open(0, "incarnation-0") as host:
        world.ledger.claim_shards = failing_once(world.ledger.claim_shards, after=True)
        with pytest.raises(Unavailable):
            await host.assign([1, 2, 3])
        await host.assign([3])
        assert await owned(world, host.incarnation) == {3}


async def test_an_assignment_that_fails_or_changes_nothing_is_not_repeated_at_once() -> None:
    world = World(hosts=1)
    async with (
        world.local_hosts() as hosts,
        open_reconciler(world.ledger, hosts, world.registry, None, world.config) as made,
    ):
        await hosts.start_host(0)
        await made.round()
        await assert_eventually(lambda: _settled(world))
        host = (await hosts.hosts())[0]
        action = Assign(0, host.incarnation, (1, 2), changes=True)
        world.ledger.release_shards = failing_once(world.ledger.release_shards)
        poked: list[bool] = []
        for _ in range(3):
            made._poked.clear()
            await made._assign(action)
            poked.append(made._poked.is_set())
    assert poked == [False, True, False]


async def _settled(world: World) -> bool:
    return "" not in {owner.incarnation for owner in await world.ledger.shard_owners()}
