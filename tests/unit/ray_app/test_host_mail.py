from __future__ import annotations

import asyncio
import sys
import uuid
from typing import Any

import orjson
import pytest

from agents.base import AgentContext, AgentResult, AgentTask
from colony.contracts import AgentSpec, DurableMessage, HostBeat
from colony.errors import ColonyError, Fenced, NoResponders, NotFound, Unavailable
from colony.ids import SHARDS, AgentId, AgentType, Id, agent_subject, shard_of
from colony.messaging.port import Envelope
from ray_app.announce import entry_of
from ray_app.population import AgentCell
from ray_app.questions import HOST_QUEUE, HOST_STATUS, PING, PING_ALL, HostQueue
from tests.eventually import assert_eventually
from tests.unit.ray_app import fleet_fixture
from tests.unit.ray_app.fleet_fixture import Counter, Echo, World


def envelope(kind: str = "echo", **payload: object) -> Envelope:
    return Envelope(kind=kind, payload=payload)


async def test_ask_is_answered_and_errors_keep_their_class() -> None:
    world = World()
    agents = await world.agents(echo=2)
    bus = world.messenger("client")
    async with world.one_host():
        answer = await bus.ask(agent_subject(agents[0]), envelope(n=1), timeout=5)
        assert answer.payload == {"by": agents[0], "n": 1}
        with pytest.raises(Unavailable):
            await bus.ask(agent_subject(agents[0]), envelope(do="transient"), timeout=5)
        with pytest.raises(NotFound):
            await bus.ask(agent_subject(AgentId("nobody")), envelope(), timeout=5)
        asked = await bus.ask(agent_subject(agents[0]), envelope(do="ask", who=agents[1]), timeout=5)
        assert asked.payload == {"answer": {"by": agents[1], "n": 7}}
        with pytest.raises(ColonyError):
            await bus.ask(agent_subject(agents[0]), envelope(do="ask", who=agents[0]), timeout=5)


async def test_pings_wake_nobody_and_tell_who_lives_in_a_shard() -> None:
    world = World()
    agents = await world.agents(echo=300)
    bus = world.messenger("client")
    async with world.one_host() as host:
        one = await bus.ask(agent_subject(agents[5]), envelope(PING), timeout=5)
        assert one.payload == {"agent": agents[5], "host": "colony-host-0", "incarnation": "incarnation-0"}
        shard = shard_of(agents[5])
        every = await bus.ask(agent_subject(agents[5]), envelope(PING_ALL), timeout=5)
        assert set(every.payload["agents"]) == {agent for agent in agents if shard_of(agent) == shard}
        beat = await bus.ask(agent_subject(agents[5]), envelope(HOST_STATUS), timeout=5)
        assert HostBeat.model_validate(beat.payload).agents == 300
        assert host.status().awake == 0


async def test_a_host_tells_what_waits_by_priority_and_tenant() -> None:
    world = World(concurrency=1)
    agents = await world.agents(echo=9)
    bus = world.messenger("client")
    _, first = await world.job([{"do": "hang"} for _ in range(5)], key="first")
    _, other = await world.job([{"do": "hang"} for _ in range(3)], key="other")
    asked = (first.model_copy(update={"priority": 4, "tenant": "zoo"}), other.model_copy(update={"priority": 1}))

    async def told() -> HostQueue:
        answer = await bus.ask(agent_subject(agents[0]), envelope(HOST_QUEUE), timeout=5)
        return HostQueue.model_validate(answer.payload)

    async with world.one_host() as host:
        assert await told() == HostQueue(
            host="colony-host-0", incarnation="incarnation-0", places=1, lanes=0, messages=0, keys=()
        )
        running = [asyncio.create_task(host.run_batch(request)) for request in asked]

        async def one_runs() -> bool:
            found = await told()
            return len(found.keys) == 2 and sum(key.tasks for key in found.keys) == 7 and found.lanes > 0

        await assert_eventually(one_runs, 30)
        assert [(key.priority, key.tenant, key.batches) for key in (await told()).keys] == [(1, "", 1), (4, "zoo", 1)]
        await host.close()
        await asyncio.gather(*running)


async def test_messages_and_tasks_of_one_agent_never_overlap() -> None:
    world = World()
    (agent,) = await world.agents(counter=1)
    bus = world.messenger("client")
    _, request = await world.job([{} for _ in range(30)], agent="counter")
    async with world.one_host() as host:
        asks = [bus.ask(agent_subject(agent), envelope(), timeout=10) for _ in range(30)]
        report, *answers = await asyncio.gather(host.run_batch(request), *asks)
    assert report.ok == 30
    seen = [value["seen"] for _, value in await world.results(request)] + [a.payload["seen"] for a in answers]
    assert sorted(seen) == list(range(60))


async def test_a_durable_message_takes_effect_once() -> None:
    world = World()
    (agent,) = await world.agents(counter=1)
    bus = world.messenger("client")
    message = DurableMessage(message_id=str(uuid.uuid4()), agent_id=agent, kind=Id("add"), payload={})
    await world.ledger.put_message(message)
    async with world.one_host() as host:
        sent = Envelope(kind="add", message_id=message.message_id)
        for _ in range(5):
            await bus.tell(agent_subject(agent), sent)
        await assert_eventually(lambda: _state(world, agent, {"n": 1}))
        await bus.tell(agent_subject(agent), sent)
        await host.assign([])
        await host.assign([shard_of(agent)])
        await bus.ask(agent_subject(agent), envelope(), timeout=5)
        assert await _state(world, agent, {"n": 2})
    assert await world.ledger.open_messages([shard_of(agent)]) == []


async def _state(world: World, agent: AgentId, wanted: dict[str, int]) -> bool:
    saved = (await world.ledger.states([agent])).get(agent)
    return saved is not None and orjson.loads(saved) == wanted


async def test_a_message_whose_effect_could_not_be_saved_is_handled_again() -> None:
    world = World()
    (agent,) = await world.agents(counter=1)
    finish, failures = world.ledger.finish_message, [Unavailable("the ledger is away")]

    async def away_once(*arguments: Any, **named: Any) -> bool:
        if failures:
            raise failures.pop()
        return await finish(*arguments, **named)

    world.ledger.finish_message = away_once
    async with world.one_host() as host:
        with pytest.raises(Unavailable):
            await world.messenger("client").ask(agent_subject(agent), envelope(), timeout=5)
        await host._sweep.sweep([shard_of(agent)])
        await assert_eventually(lambda: _state(world, agent, {"n": 1}))


async def test_messages_that_fail_again_and_again_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_app.mail_sweep._SWEEP_ROWS", 2)
    monkeypatch.setattr("ray_app.mail_sweep._SWEEP_SECONDS", 0.02)
    world = World()
    agents = await world.agents(echo=3, counter=1)
    failing = [
        DurableMessage(message_id=f"m-{n}", agent_id=agents[n % 3], kind=Id("add"), payload={}) for n in range(9)
    ]
    for message in failing:
        await world.ledger.put_message(message.model_copy(update={"payload": {"do": "transient"}}))
    await world.ledger.put_message(DurableMessage(message_id="last", agent_id=agents[3], kind=Id("add"), payload={}))
    async with world.one_host() as host:
        host._mail._limit = 3
        await assert_eventually(lambda: _state(world, agents[3], {"n": 1}))
    assert len(await world.ledger.open_messages(list(range(SHARDS)))) == len(failing)


async def _die_of(world: World, agent: AgentId, number: int) -> None:
    """A host takes the shard, begins what is there, and dies of it."""
    async with world.open(number, f"dead-{number}") as host:
        await host.assign([shard_of(agent)])
        await assert_eventually(lambda: host._mail._inside)
        await asyncio.sleep(0.05)
        await world.ledger.end_lease(host.incarnation, crashed=True)
        host._lease._until = world.clock.monotonic() - 1  # it does not come to say goodbye


async def test_a_message_that_kills_its_host_is_given_up_and_seen() -> None:
    world = World()
    (agent, other) = await world.agents(counter=1, echo=1)
    poison = DurableMessage(message_id="poison", agent_id=other, kind=Id("echo"), payload={"do": "hang"})
    await world.ledger.put_message(poison)
    for number in range(3):
        await _die_of(world, other, number)
    await world.ledger.put_message(DurableMessage(message_id="fine", agent_id=agent, kind=Id("add"), payload={}))
    async with world.one_host():
        await assert_eventually(lambda: _state(world, agent, {"n": 1}))

        async def given_up() -> bool:
            return [(dead.message, dead.error) for dead in await world.ledger.dead_messages()] == [
                (poison, "HostCrashed")
            ]

        await assert_eventually(given_up)
    assert await world.ledger.open_messages(list(range(SHARDS))) == []


async def test_suspects_run_one_at_a_time_and_the_others_go_on() -> None:
    world = World()
    agents = await world.agents(echo=4, counter=1)
    for number in range(4):
        payload = {"do": "wait", "seconds": 0.1}
        await world.ledger.put_message(
            DurableMessage(message_id=f"m-{number}", agent_id=agents[number], kind=Id("echo"), payload=payload)
        )
    names = [f"m-{number}" for number in range(4)]
    for number in range(2):
        await world.ledger.start_lease(f"dead-{number}", "colony-host-9", 60)
        await world.ledger.start_messages(names, f"dead-{number}", 2)
        await world.ledger.end_lease(f"dead-{number}", crashed=True)
    noted: list[list[str]] = []
    start = world.ledger.start_messages

    async def seen(ids: Any, incarnation: str, below: int) -> dict[str, int]:
        if below == 3:
            noted.append([key for key, tried in world.ledger._tables.tried_messages.items() if incarnation in tried])
        return await start(ids, incarnation, below)

    world.ledger.start_messages = seen
    async with world.one_host() as host:
        await world.messenger("client").ask(agent_subject(agents[4]), envelope(), timeout=5)
        await assert_eventually(lambda: len(noted) == 4 and host._mail.waiting() + host._mail.running() == 0)
    assert noted == [[], [], [], []], "none is in flight when the next one begins"
    assert await world.ledger.dead_messages() == await world.ledger.open_messages(list(range(SHARDS))) == []


async def test_a_message_handed_back_is_not_held_against_it() -> None:
    world = World()
    (agent,) = await world.agents(echo=1)
    for number in range(3):
        await world.ledger.put_message(
            DurableMessage(message_id="m", agent_id=agent, kind=Id("echo"), payload={"do": "transient"})
        )
        async with world.open(number, f"dead-{number}") as host:
            await host.assign([shard_of(agent)])
            await assert_eventually(lambda: not host._mail.running() and not host._mail._durable)
            await world.ledger.end_lease(host.incarnation, crashed=True)
    await world.ledger.start_lease("last", "colony-host-9", 60)
    assert await world.ledger.start_messages(["m"], "last", 2) == {"m": 0}


async def test_a_message_of_a_ledger_that_is_away_is_taken_later() -> None:
    world = World()
    (agent,) = await world.agents(counter=1)
    start, failures = world.ledger.start_messages, [Unavailable("the ledger is away")]

    async def away_once(*arguments: Any) -> dict[str, int]:
        if failures:
            raise failures.pop()
        return await start(*arguments)

    world.ledger.start_messages = away_once
    await world.ledger.put_message(DurableMessage(message_id="m", agent_id=agent, kind=Id("add"), payload={}))
    async with world.one_host() as host:
        await assert_eventually(lambda: not failures)
        await assert_eventually(lambda: not host._mail._durable)
        await host._sweep.sweep([shard_of(agent)])
        await assert_eventually(lambda: _state(world, agent, {"n": 1}))


class Slow(Counter):
    """Reads its state only after a while."""

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        await asyncio.sleep(task.payload.get("seconds", 0.0))
        return await super().handle(task, ctx)


async def test_a_new_version_of_an_agent_waits_for_what_the_old_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fleet_fixture.CLASSES, "slow", Slow)
    world = World()
    (agent,) = await world.agents(slow=1)
    bus = world.messenger("client")
    async with world.one_host() as host:
        await bus.ask(agent_subject(agent), envelope(), timeout=5)
        first = asyncio.create_task(bus.ask(agent_subject(agent), envelope(seconds=1.0), timeout=5))
        await assert_eventually(lambda: host._mail._inside)
        parked = asyncio.create_task(bus.ask(agent_subject(agent), envelope(), timeout=5))
        await assert_eventually(lambda: host._mail._parked)
        await world.ledger.put_agents([AgentSpec(agent_id=agent, agent_type=AgentType("slow"), version=2)])
        await host.refresh()
        last = await bus.ask(agent_subject(agent), envelope(), timeout=5)
        answers = [(await first).payload["seen"], (await parked).payload["seen"], last.payload["seen"]]
    assert answers == [1, 2, 3]
    assert await _state(world, agent, {"n": 4})


class Restless(Echo):
    """Ends its goodbye in the worst way."""

    async def on_sleep(self, ctx: AgentContext) -> None:
        raise asyncio.CancelledError


async def test_an_agent_that_misbehaves_on_its_way_to_sleep_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fleet_fixture.CLASSES, "restless", Restless)
    monkeypatch.setattr("ray_app.perform._IDLE_SECONDS", 0.02)
    monkeypatch.setattr("ray_app.perform._SLEEP_SECONDS", 0.02)
    world = World()
    agents = await world.agents(restless=2)
    bus = world.messenger("client")
    async with world.one_host() as host:
        for agent in (*agents, *agents):
            await bus.ask(agent_subject(agent), envelope(), timeout=5)
            await assert_eventually(lambda: host.status().awake == 0, 30)
        assert not host.ended.done()


async def test_deliver_reaches_an_agent_whose_host_comes_later() -> None:
    world = World()
    agents = await world.agents(echo=1, counter=20)
    sender = agents[0]
    target = next(agent for agent in agents[1:] if shard_of(agent) != shard_of(sender))
    bus = world.messenger("client")
    async with world.open(0, "incarnation-0") as host:
        await host.assign([shard_of(sender)])
        await bus.ask(agent_subject(sender), envelope(do="deliver", who=target), timeout=5)
        async with world.open(1, "incarnation-1") as other:
            await other.assign([shard_of(target)])
            await assert_eventually(lambda: _state(world, target, {"n": 1}))


async def test_a_host_without_a_lease_is_silent() -> None:
    world = World(lease=1.5)
    agents = await world.agents(echo=2)
    bus = world.messenger("client")
    async with world.one_host() as host:
        await world.ledger.end_lease(host.incarnation, crashed=True)
        await asyncio.wait_for(asyncio.shield(host.ended), 10)
        with pytest.raises((NoResponders, ColonyError)):
            await bus.ask(agent_subject(agents[0]), envelope(PING), timeout=0.3)
        with pytest.raises(Fenced):
            await host.assign([1])


async def test_a_host_that_slept_through_its_lease_says_nothing() -> None:
    world = World()
    agents = await world.agents(echo=2)
    told: list[Envelope] = []
    async with world.one_host() as host:
        host._lease._until = world.clock.monotonic() - 1  # the clock of a process that was stopped
        host._reception.shard(agent_subject(agents[0]), envelope(PING), told.append)
        host._reception.shard(agent_subject(agents[0]), envelope(), told.append)
        with pytest.raises(Fenced):
            host._around.check_lease()
        _, request = await world.job([{}])
        with pytest.raises(Fenced):
            await host.run_batch(request)
    assert told == []


def test_an_idle_agent_costs_less_than_a_kilobyte() -> None:
    import tracemalloc

    from ray_app.population import Population
    from tests.unit.ray_app.fleet_fixture import loader

    population = Population({}, loader)
    for shard in range(1024):
        population.add_shard(shard, 1)
    kind = population.kind(AgentId("echo")).name
    count = 20_000
    tracemalloc.start()
    try:
        for number in range(count):
            population.add_agent(AgentId(f"echo-{number:05d}"), kind, 1)
        population.of_type(kind)
        published = [entry_of(cell, "colony-host-0") for cell in population.agents.values()]
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(published) == count
    assert used / count < 1024
    assert sys.getsizeof(next(iter(population.agents.values()))) < 200
    assert isinstance(next(iter(population.agents.values())), AgentCell)
