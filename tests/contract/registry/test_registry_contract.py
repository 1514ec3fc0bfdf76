"""What every registry promises: the same on the twin, on NATS and on Consul."""

from __future__ import annotations

import asyncio
import time

import pytest

from colony.errors import BadInput, Fenced, NotFound, Unavailable
from colony.ids import AgentId, AgentType, agent_name, host_name, shard_of
from colony.registry.port import AgentEntry, HostEntry, Registry
from tests.contract.registry.conftest import World
from tests.eventually import assert_eventually

pytestmark = pytest.mark.contract

HOST = host_name(0)
OTHER = host_name(1)


def agents(
    count: int, *, kind: str = "research", host: str = HOST, start: int = 0, version: int = 1
) -> list[AgentEntry]:
    names = [agent_name(AgentType(kind), number) for number in range(start, start + count)]
    return [
        AgentEntry(
            agent_id=name,
            agent_type=AgentType(kind),
            host=host,
            shard=shard_of(name),
            version=version,
            tags=("find", "summarise"),
        )
        for name in names
    ]


def same(found: list[AgentEntry], wanted: list[AgentEntry]) -> bool:
    return sorted(found, key=lambda agent: agent.agent_id) == sorted(wanted, key=lambda agent: agent.agent_id)


async def test_a_joined_host_passes_with_its_agents(registry: Registry) -> None:
    assert await registry.hosts() == []
    assert await registry.counts() == {}
    await registry.join(HOST, "first", {"node": "a"})
    assert await registry.hosts() == [HostEntry(host=HOST, incarnation="first", passing=True)]
    wanted = [*agents(3), *agents(2, kind="analysis")]
    assert await registry.publish(HOST, wanted) == 5
    assert same(await registry.passing(), wanted)
    assert same(await registry.passing(AgentType("analysis")), wanted[3:])
    assert await registry.counts() == {"analysis": 2, "research": 3}
    assert await registry.lookup(wanted[1].agent_id) == wanted[1]
    assert await registry.lookup(AgentId("nobody")) is None
    assert await registry.ping() >= 0


async def test_publishing_writes_only_the_difference(registry: Registry, world: World) -> None:
    await registry.join(HOST, "first", {})
    before = agents(10)
    assert await registry.publish(HOST, before) == 10
    assert await registry.publish(HOST, before) == 0
    changed = [*agents(7), *agents(1, start=7, version=2), *agents(2, start=20)]
    assert await registry.publish(HOST, changed) == 5  # one new version, two new, two gone
    assert same(await registry.passing(), changed)
    assert await registry.counts() == {"research": 10}
    async with world.client("host") as somebody_else:  # knows nothing and reads what is there
        assert await somebody_else.publish(HOST, changed) == 0
        assert await somebody_else.publish(HOST, changed[:4]) == 6
    assert await registry.counts() == {"research": 4}


async def test_an_agent_may_change_its_type(registry: Registry) -> None:
    await registry.join(HOST, "first", {})
    await registry.publish(HOST, agents(2))
    moved = agents(2)[0].model_copy(update={"agent_type": AgentType("analysis")})
    assert await registry.publish(HOST, [moved, agents(2)[1]]) == 1
    assert await registry.counts() == {"analysis": 1, "research": 1}
    assert await registry.passing(AgentType("analysis")) == [moved]


async def test_two_thousand_agents_of_two_hosts(registry: Registry) -> None:
    mine, others = agents(1_200), agents(800, host=OTHER, start=1_200)
    await registry.join(HOST, "first", {})
    await registry.join(OTHER, "second", {})
    written = await asyncio.gather(registry.publish(HOST, mine), registry.publish(OTHER, others))
    assert written == [1_200, 800]
    assert await registry.counts() == {"research": 2_000}
    assert same(await registry.passing(), mine + others)
    assert await registry.lookup(others[-1].agent_id) == others[-1]
    await registry.fail(OTHER, "second")
    assert await registry.counts() == {"research": 1_200}
    assert await registry.lookup(others[-1].agent_id) is None
    assert await registry.publish(HOST, mine[:100]) == 1_100
    assert same(await registry.passing(), mine[:100])


async def test_a_failed_host_takes_all_its_agents_with_it_until_it_joins_again(registry: Registry) -> None:
    await registry.join(HOST, "first", {})
    await registry.publish(HOST, agents(5))
    await registry.fail(HOST, "first")
    await registry.beat(HOST, "first")  # whoever was declared dead does not come back by beating
    assert await registry.hosts() == [HostEntry(host=HOST, incarnation="first", passing=False)]
    assert await registry.passing() == []
    assert await registry.counts() == {}
    assert await registry.counts(failing=True) == {"research": 5}
    await registry.join(HOST, "first", {})
    assert await registry.counts() == {"research": 5}
    assert await registry.publish(HOST, agents(5)) == 0


async def test_a_newer_incarnation_replaces_the_former_and_is_left_alone_by_it(
    registry: Registry, world: World
) -> None:
    await registry.join(HOST, "first", {})
    await registry.publish(HOST, agents(5))
    async with world.client("host") as newer:
        await newer.join(HOST, "second", {})
        assert await newer.counts() == {}
        await newer.publish(HOST, agents(2))
        await registry.fail(HOST, "first")
        await registry.leave(HOST, "first")
        with pytest.raises(Fenced):
            await registry.beat(HOST, "first")
        assert await newer.hosts() == [HostEntry(host=HOST, incarnation="second", passing=True)]
        assert await newer.counts() == {"research": 2}


@pytest.mark.parametrize("time_to_live", [3.0])
async def test_a_host_that_stops_beating_stops_passing(registry: Registry, time_to_live: float) -> None:
    await registry.join(HOST, "first", {})
    await registry.publish(HOST, agents(5))

    async def passes() -> bool:
        return (await registry.hosts())[0].passing

    until = time.monotonic() + 2 * time_to_live
    while time.monotonic() < until:  # beats keep it alive beyond its time
        await registry.beat(HOST, "first")
        await asyncio.sleep(time_to_live / 8)
    assert await passes()

    async def fails() -> bool:
        return not await passes()

    await assert_eventually(fails, timeout=5 * time_to_live)
    assert await registry.counts() == {}
    await registry.beat(HOST, "first")
    await assert_eventually(passes)
    assert await registry.counts() == {"research": 5}


async def test_a_host_that_was_forgotten_comes_back_by_beating(registry: Registry, world: World) -> None:
    async with world.client("host") as host:
        await host.join(HOST, "first", {})
        await registry.leave(HOST, "first")
        await assert_eventually(_nobody(registry))
        await host.beat(HOST, "first")
        assert await registry.hosts() == [HostEntry(host=HOST, incarnation="first", passing=True)]


async def test_leaving_leaves_nothing(registry: Registry) -> None:
    await registry.join(HOST, "first", {})
    await registry.publish(HOST, agents(300))
    await registry.leave(HOST, "first")
    assert await registry.hosts() == []
    assert await registry.passing() == []
    assert await registry.counts() == {}
    await registry.leave(HOST, "first")
    await registry.join(HOST, "first", {})
    assert await registry.counts() == {}
    assert await registry.passing() == []


async def test_what_cannot_be_published_is_refused(registry: Registry) -> None:
    with pytest.raises(NotFound):
        await registry.publish(HOST, agents(1))
    await registry.join(HOST, "first", {})
    for wrong in (agents(1, host=OTHER), agents(1) + agents(1), agents(1, kind="colony-host")):
        with pytest.raises(BadInput):
            await registry.publish(HOST, wrong)
    assert await registry.counts() == {}


async def test_configuration_is_kept(registry: Registry) -> None:
    assert await registry.get_config("limits/rate") is None
    await registry.put_config("limits/rate", "10 • 20")
    await registry.put_config("limits/rate", "")
    assert await registry.get_config("limits/rate") == ""
    await registry.put_config("limits/rate", "ä" * 1000)
    assert await registry.get_config("limits/rate") == "ä" * 1000
    for wrong in ("", "../acl", "a//b", "a b", "a?b", "/a", "ä"):
        with pytest.raises(BadInput):
            await registry.put_config(wrong, "x")


async def test_without_the_server_calls_end_and_work_goes_on_when_it_returns(registry: Registry, world: World) -> None:
    await registry.join(HOST, "first", {})
    await registry.publish(HOST, agents(50))
    await world.stop()
    async with asyncio.timeout(20):
        for call in (registry.hosts(), registry.beat(HOST, "first"), registry.publish(HOST, []), registry.ping()):
            with pytest.raises(Unavailable):
                await call
    await world.start()

    async def back() -> bool:
        try:
            await registry.beat(HOST, "first")
            return await registry.counts() == {"research": 50}
        except Unavailable:
            return False

    await assert_eventually(back, timeout=30)


def _nobody(registry: Registry):
    async def check() -> bool:
        return await registry.hosts() == []

    return check
