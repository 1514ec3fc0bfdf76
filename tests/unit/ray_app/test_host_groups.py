from __future__ import annotations

import asyncio
from collections import Counter

import orjson
import pytest

from colony.config.model import AgentTypeConfig
from colony.contracts import BatchRequest
from colony.errors import ColonyError, NoResponders
from colony.ids import SHARDS, AgentType, Id, agent_subject, topic_subject, type_subject
from colony.jobs import StepKind, StepPlan
from colony.messaging.port import Envelope
from ray_app.host import Host
from ray_app.questions import PING_ALL
from tests.eventually import assert_eventually
from tests.unit.ray_app.fleet_fixture import World


async def halves(one: Host, other: Host) -> None:
    await one.assign(range(0, SHARDS, 2))
    await other.assign(range(1, SHARDS, 2))


async def test_a_message_to_a_type_reaches_one_agent_of_it_on_some_host() -> None:
    world = World()
    agents = await world.agents(echo=30, counter=3)
    bus = world.messenger("client")
    subject = type_subject(AgentType("echo"))
    async with world.open(0, "incarnation-0") as one, world.open(1, "incarnation-1") as other:
        await halves(one, other)
        await assert_eventually(lambda: _answers(world, subject))
        asks = [bus.ask(subject, Envelope(kind="echo", payload={"n": n}), timeout=5) for n in range(60)]
        answers = await asyncio.gather(*asks)
        by = Counter(answer.payload["by"] for answer in answers)
        assert sorted(answer.payload["n"] for answer in answers) == list(range(60))
        assert set(by) <= {agent for agent in agents if agent.startswith("echo")}
        assert len(by) > 5
        await one.drain(1)
        for _ in range(5):
            await bus.ask(subject, Envelope(kind="echo"), timeout=5)
        with pytest.raises((NoResponders, ColonyError)):
            await bus.ask(type_subject(AgentType("nobody")), Envelope(kind="echo"), timeout=0.2)


async def _answers(world: World, subject: str) -> bool:
    try:
        await world.messenger("client").ask(subject, Envelope(kind="echo"), timeout=0.2)
    except ColonyError:
        return False
    return True


async def test_a_topic_reaches_every_agent_of_the_types_that_want_it() -> None:
    world = World()
    agents = await world.agents(echo=5, counter=12)
    counters = [agent for agent in agents if agent.startswith("counter")]
    bus = world.messenger("client")
    async with world.open(0, "incarnation-0") as one, world.open(1, "incarnation-1") as other:
        await halves(one, other)
        for host in (one, other):
            await assert_eventually(lambda host=host: topic_subject("news") in host._groups._running)
        # An id on a broadcast must not make one agent's copy hide the next one's.
        await bus.tell(topic_subject("news"), Envelope(kind="add", message_id="same-for-all"))

        async def all_counted() -> bool:
            states = await world.ledger.states(counters)
            return [orjson.loads(state) for state in states.values()] == [{"n": 1}] * 12

        await assert_eventually(all_counted)


async def test_agents_of_a_new_type_are_subscribed_and_the_last_one_takes_the_subscription_along() -> None:
    world = World()
    agents = await world.agents(echo=1)
    subject = type_subject(AgentType("counter"))
    async with world.one_host() as host:
        (counter,) = await world.agents(counter=1)
        await assert_eventually(lambda: subject in host._groups._running)
        await world.ledger.remove_agents([counter])
        await assert_eventually(lambda: subject not in host._groups._running)
        assert type_subject(AgentType("echo")) in host._groups._running
        assert list(host._population.agents) == agents


async def test_a_host_that_hears_of_a_newer_fleet_reads_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_app.shards._REFRESH_SECONDS", 3600.0)
    world = World()
    (agent,) = await world.agents(echo=1)
    bus = world.messenger("client")
    async with world.one_host() as host:
        await host.refresh()
        await world.agents(echo=50)
        version = await world.ledger.fleet_version()
        await bus.ask(agent_subject(agent), Envelope(kind=PING_ALL, payload={"version": version}), timeout=5)
        await assert_eventually(lambda: len(host._population.agents) == 50)


async def test_facts_of_a_hosts_life_are_told() -> None:
    world = World()
    bus = world.messenger("client")
    heard: list[str] = []
    await bus.subscribe_raw("colony.event.>", lambda subject, envelope, reply: heard.append(subject))
    async with world.open(0, "incarnation-0") as host:
        await assert_eventually(lambda: "colony.event.host-joined.colony-host-0" in heard)
        await host.drain(1)
        await assert_eventually(lambda: heard[-1] == "colony.event.host-left.colony-host-0")
    async with world.open(1, "incarnation-1") as host:
        await host.fence("a test")
        await assert_eventually(lambda: heard[-1] == "colony.event.host-fenced.colony-host-1")


async def test_options_of_a_type_lie_under_the_parameters_of_the_step() -> None:
    world = World()
    kind = AgentTypeConfig(count=1, options={"depth": 1, "style": "short"})
    fleet = world.config.fleet.model_copy(update={"types": {AgentType("echo"): kind}})
    world.config = world.config.model_copy(update={"fleet": fleet})
    await world.agents(echo=1)
    step = StepPlan(
        number=1,
        name=Id("work"),
        kind=StepKind.MAP,
        over=0,
        agent_type=AgentType("echo"),
        action=Id("work"),
        parameters={"depth": 2, "more": True},
    )
    plan = await world.ledger.open_job("run-1", "workflow", "test", [step], None, {})
    await world.ledger.load_tasks(plan.job, 1, [(None, orjson.dumps({"do": "parameters"}))])
    request = BatchRequest(job=plan.job, key=plan.key, step=1, first=0, end=1)
    async with world.one_host() as host:
        await host.run_batch(request)
    assert await world.results(request) == [(0, {"depth": 2, "style": "short", "more": True})]
