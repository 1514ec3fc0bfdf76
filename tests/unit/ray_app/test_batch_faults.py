from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from agents.base import AgentContext, AgentResult, AgentTask
from colony.contracts import OutcomeRow
from colony.errors import Fenced, NotPermitted, Unavailable
from colony.ids import agent_subject
from colony.messaging.port import Envelope
from ray_app.host import Host
from tests.eventually import assert_eventually
from tests.unit.ray_app import fleet_fixture
from tests.unit.ray_app.fleet_fixture import Echo, World


class Stubborn(Echo):
    """Takes an interruption for the end of its work, and goes on with the next."""

    async def handle(self, task: AgentTask, ctx: AgentContext) -> AgentResult:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return AgentResult(value={})
        return AgentResult(value={})


def in_use(host: Host) -> int:
    return sum(shard.in_use for shard in host._population.shards.values())


async def test_a_ledger_away_for_a_moment_does_not_end_a_batch() -> None:
    world = World()
    await world.agents(echo=4)
    _, request = await world.job([{} for _ in range(300)])
    start_tasks, calls = world.ledger.start_tasks, 0

    async def away_once(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Unavailable("the ledger is away")
        await start_tasks(*arguments)

    world.ledger.start_tasks = away_once
    async with world.one_host() as host:
        assert (await host.run_batch(request)).ok == 300


async def test_a_batch_that_fails_still_commits_what_finished() -> None:
    world = World()
    await world.agents(echo=4)
    _, request = await world.job([{} for _ in range(300)])
    start_tasks, noted = world.ledger.start_tasks, 0

    async def refused_later(batch: Any, incarnation: str, seqs: Sequence[int]) -> None:
        nonlocal noted
        if noted:
            raise NotPermitted("no more")
        noted = len(seqs)
        await start_tasks(batch, incarnation, seqs)

    world.ledger.start_tasks = refused_later
    async with world.one_host() as host:
        with pytest.raises(NotPermitted):
            await host.run_batch(request)
        assert in_use(host) == 0
    done = len(await world.results(request))
    assert noted // 2 <= done <= noted


async def test_a_batch_whose_commits_fail_for_good_ends_with_that_error() -> None:
    world = World()
    await world.agents(counter=4)
    _, request = await world.job([{} for _ in range(40)], agent="counter")

    async def fenced(*_arguments: Any) -> list[int]:
        raise Fenced("another epoch")

    async def refused() -> list[Any]:
        raise NotPermitted("no")

    world.ledger.commit = fenced
    async with world.one_host() as host:
        world.ledger.shard_owners = refused
        with pytest.raises(NotPermitted):
            await asyncio.wait_for(host.run_batch(request), 5)
        assert in_use(host) == 0


async def test_a_host_ends_whatever_its_agents_swallow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(fleet_fixture.CLASSES, "stubborn", Stubborn)
    world = World()
    agents = await world.agents(stubborn=3)
    _, request = await world.job([{} for _ in range(100)], agent="stubborn", seconds=3600)
    async with asyncio.timeout(10), world.one_host() as host:
        running = asyncio.create_task(host.run_batch(request))
        for _ in range(3):
            await world.messenger("client").tell(agent_subject(agents[0]), Envelope(kind="work"))
        await assert_eventually(lambda: host._mail.running() and host.progress(request))
    await asyncio.wait({running})
    assert not [task for task in asyncio.all_tasks() if task.get_name() in ("lane", "mail lane")]


async def test_an_agent_of_a_cancelled_task_goes_on_only_after_its_commit() -> None:
    world = World()
    (agent,) = await world.agents(counter=1)
    _, request = await world.job([{}], agent="counter", bound=[agent])
    commit, begun, may_end = world.ledger.commit, asyncio.Event(), asyncio.Event()

    async def slow(*arguments: Any) -> list[int]:
        begun.set()
        await may_end.wait()
        return await commit(*arguments)

    world.ledger.commit = slow
    async with world.one_host() as host:
        running = asyncio.create_task(host.run_batch(request))
        await begun.wait()
        host._batches.cancel(request.key)
        ask = world.messenger("client").ask(agent_subject(agent), Envelope(kind="echo"), timeout=5)
        asking = asyncio.create_task(ask)
        await assert_eventually(lambda: host._mail.waiting() or asking.done())
        may_end.set()
        assert (await asking).payload["seen"] == 1
        assert (await running).ok == 1
    assert orjson.loads((await world.ledger.states([agent]))[agent]) == {"n": 2}


async def test_large_outcomes_are_committed_in_smaller_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray_app.outbox.CHUNK_BYTES", 10_000)
    world = World()
    await world.agents(echo=4)
    _, request = await world.job([{"text": "x" * 3_000} for _ in range(50)])
    commit, sizes = world.ledger.commit, list[int]()

    async def record(batch: Any, incarnation: str, epochs: Any, outcomes: list[OutcomeRow], states: Any = ()) -> Any:
        sizes.append(sum(len(row.result) for row in outcomes))
        return await commit(batch, incarnation, epochs, outcomes, states)

    world.ledger.commit = record
    async with world.one_host() as host:
        assert (await host.run_batch(request)).ok == 50
    assert max(sizes) < 10_000 + 4_000
