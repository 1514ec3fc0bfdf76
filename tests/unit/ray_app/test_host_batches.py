from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from colony.contracts import BatchProgress, OutcomeRow
from colony.errors import Fenced, LostShard, NotPermitted
from colony.ids import SHARDS, event_subject, shard_of
from colony.messaging.port import Envelope
from tests.eventually import assert_eventually
from tests.unit.ray_app.fleet_fixture import World


async def test_a_batch_of_quick_tasks_commits_each_once() -> None:
    world = World()
    await world.agents(echo=40)
    _, request = await world.job([{"n": n} for n in range(1000)])
    async with world.one_host() as host:
        report = await host.run_batch(request)
        again = await host.run_batch(request)
    assert (report.ok, report.failed, report.left) == (1000, 0, 0)
    assert (again.ok, again.skipped, again.left) == (0, 1000, 0)
    assert [seq for seq, _ in await world.results(request)] == list(range(1000))


async def test_waiting_tasks_run_at_once_one_per_agent() -> None:
    world = World(concurrency=8)
    await world.agents(echo=20)
    _, request = await world.job([{"do": "wait", "seconds": 0.2} for _ in range(40)])
    async with world.one_host() as host:
        report = await host.run_batch(request)
    assert report.ok == 40
    assert report.seconds < 40 * 0.2 / 2, "the tasks did not overlap"
    assert len({value["by"] for _, value in await world.results(request)}) >= 8


async def test_errors_end_as_outcomes_or_are_left() -> None:
    world = World()
    await world.agents(echo=10)
    kinds = ["", "transient", "permanent", "exit", "overloaded", "large", "hang", "spin"]
    _, request = await world.job([{"do": kind} for kind in kinds], seconds=0.3)
    async with world.one_host() as host:
        report = await host.run_batch(request)
    assert report.ok == 1
    assert report.left == 1
    assert report.left_reason == "Overloaded"
    assert report.errors == {"Unavailable": 1, "ValueError": 1, "SystemExit": 1, "BadInput": 1, "TaskTimeout": 2}
    assert report.transient == 1
    letters = await world.ledger.dead_letters(request.job)
    message = next(letter.message for letter in letters if letter.error == "ValueError")
    assert len(message) <= 500
    assert "\0" not in message


async def test_a_second_attempt_joins_what_is_in_flight() -> None:
    world = World()
    await world.agents(echo=10)
    _, request = await world.job([{"do": "wait", "seconds": 0.2} for _ in range(5)])
    async with world.one_host() as host:
        first = asyncio.create_task(host.run_batch(request))
        await assert_eventually(lambda: host.progress(request))
        overlapping = request.model_copy(update={"end": 3})
        same, part, report = await asyncio.gather(host.run_batch(request), host.run_batch(overlapping), first)
    assert report == same
    assert report.ok == 5
    assert (part.ok, part.skipped) == (0, 3)


async def test_an_asker_that_goes_away_does_not_stop_the_work() -> None:
    world = World()
    await world.agents(echo=10)
    _, request = await world.job([{"do": "wait", "seconds": 0.1} for _ in range(5)])
    async with world.one_host() as host:
        first = asyncio.create_task(host.run_batch(request))
        await assert_eventually(lambda: host.progress(request))
        first.cancel()
        await asyncio.wait({first})
        await assert_eventually(lambda: _count(world, request, 5))


async def _count(world: World, request, wanted: int) -> bool:
    return len(await world.results(request)) == wanted


async def test_stateful_agents_see_the_state_of_the_commit_before() -> None:
    world = World()
    agents = await world.agents(counter=7)
    _, request = await world.job([{} for _ in range(200)], agent="counter")
    async with world.one_host() as host:
        assert (await host.run_batch(request)).ok == 200
    seen: dict[str, list[int]] = defaultdict(list)
    for _, value in await world.results(request):
        seen[value["by"]].append(value["seen"])
    assert set(seen) == set(agents), "some agents had no turn"
    for values in seen.values():
        assert sorted(values) == list(range(len(values))), "a task started before the state was saved"


async def test_bound_tasks_run_on_their_agent_and_only_where_it_lives() -> None:
    world = World()
    agents = await world.agents(echo=30)
    bound = [agents[n % 30] for n in range(90)]
    _, request = await world.job([{"n": n} for n in range(90)], bound=bound)
    mine = [shard for shard in range(SHARDS) if shard % 2]
    async with world.open(0, "incarnation-0") as host:
        await host.assign(mine)
        report = await host.run_batch(request)
    here = [n for n in range(90) if shard_of(bound[n]) % 2]
    assert report.ok == len(here)
    assert (report.left, report.left_reason) == (90 - len(here), LostShard.__name__)
    assert [(seq, value["by"]) for seq, value in await world.results(request)] == [(n, bound[n]) for n in here]


async def test_without_an_agent_of_the_type_all_is_left() -> None:
    world = World()
    _, request = await world.job([{}, {}])
    async with world.one_host() as host:
        report = await host.run_batch(request)
    assert (report.left, report.left_reason, report.ok) == (2, LostShard.__name__, 0)


async def test_a_poison_task_fails_as_host_crashed_and_its_neighbours_succeed() -> None:
    world = World()
    await world.agents(echo=10)
    _, request = await world.job([{"n": n} for n in range(5)])
    for life in range(3):
        await world.ledger.start_lease(f"dead-{life}", "colony-host-9", 10)
        await world.ledger.start_tasks(request, f"dead-{life}", [2] if life else [2, 3])
        await world.ledger.end_lease(f"dead-{life}", crashed=True)
    async with world.one_host() as host:
        report = await host.run_batch(request)
    assert report.ok == 4
    assert report.errors == {"HostCrashed": 1}


async def test_a_task_suspect_twice_runs_alone() -> None:
    world = World()
    await world.agents(echo=10)
    _, request = await world.job([{"n": n} for n in range(5)])
    for life in range(2):
        await world.ledger.start_lease(f"dead-{life}", "colony-host-9", 10)
        await world.ledger.start_tasks(request, f"dead-{life}", [1, 3])
        await world.ledger.end_lease(f"dead-{life}", crashed=True)
    started: list[list[int]] = []
    start_tasks = world.ledger.start_tasks

    async def record(batch, incarnation, seqs) -> None:
        started.append(list(seqs))
        await start_tasks(batch, incarnation, seqs)

    world.ledger.start_tasks = record
    async with world.one_host() as host:
        report = await host.run_batch(request)
    assert report.ok == 5
    assert started == [[0, 2, 4], [1], [3]]


async def test_a_fenced_host_commits_nothing_and_ends() -> None:
    world = World()
    await world.agents(echo=10)
    _, request = await world.job([{"do": "wait", "seconds": 0.3} for _ in range(5)])
    async with world.one_host() as host:
        running = asyncio.create_task(host.run_batch(request))
        await assert_eventually(lambda: host.progress(request))
        await world.ledger.end_lease(host.incarnation, crashed=True)
        report = await running
        assert (report.ok, report.left, report.left_reason) == (0, 5, LostShard.__name__)
        async with asyncio.timeout(10):
            await host.ended
        with pytest.raises(Fenced):
            await host.run_batch(request)
    assert await world.results(request) == []


async def test_losing_some_shards_keeps_the_rest_of_a_chunk() -> None:
    world = World()
    agents = await world.agents(echo=6)
    _, request = await world.job([{"do": "wait", "seconds": 0.3} for _ in agents], bound=agents)
    async with world.one_host() as host:
        running = asyncio.create_task(host.run_batch(request))
        await assert_eventually(lambda: host.progress(request))
        await world.ledger.start_lease("thief", "colony-host-1", 10)
        stolen = shard_of(agents[0])
        await world.ledger.claim_shards("thief", [stolen])
        report = await running
    lost = [agent for agent in agents if shard_of(agent) == stolen]
    assert report.ok == len(agents) - len(lost)
    assert (report.left, report.left_reason) == (len(lost), LostShard.__name__)


async def test_an_outcome_the_ledger_refuses_does_not_take_its_neighbours_along() -> None:
    world = World()
    await world.agents(echo=5)
    _, request = await world.job([{"n": n} for n in range(20)])
    commit = world.ledger.commit

    async def picky(batch, incarnation, epochs, outcomes: list[OutcomeRow], states=()) -> list[int]:
        if any(row.seq == 7 and row.ok for row in outcomes):
            raise NotPermitted("row 7 is refused")
        return await commit(batch, incarnation, epochs, outcomes, states)

    world.ledger.commit = picky
    async with world.one_host() as host:
        report = await host.run_batch(request)
    assert report.ok == 19
    assert report.errors == {"NotPermitted": 1}


async def test_cancel_by_event_and_by_mark() -> None:
    world = World()
    await world.agents(echo=10)
    for key, by_event in (("run-a", True), ("run-b", False)):
        _, request = await world.job([{"do": "hang"} for _ in range(5)] + [{}], key=key)
        async with world.open(0, "incarnation-" + key) as host:
            await host.assign(range(SHARDS))
            running = asyncio.create_task(host.run_batch(request))
            await assert_eventually(lambda host=host, request=request: host.progress(request))
            if by_event:
                await world.messenger("worker").tell(event_subject("cancel", key), Envelope(kind="cancel"))
            else:
                await world.ledger.request_cancel(request.job)
            report = await asyncio.wait_for(running, 10)
            assert report.cancelled
            assert report.left >= 5


async def test_progress_counts_what_is_committed() -> None:
    world = World()
    await world.agents(echo=10)
    _, request = await world.job([{} for _ in range(5)] + [{"do": "hang"}])
    async with world.one_host() as host:
        running = asyncio.create_task(host.run_batch(request))
        await assert_eventually(lambda: host.progress(request) == BatchProgress(done=5, failed=0, total=6))
        running.cancel()


async def test_drain_hands_the_rest_back() -> None:
    world = World(concurrency=2)
    await world.agents(echo=10)
    _, request = await world.job([{"do": "wait", "seconds": 0.2} for _ in range(10)])
    async with world.one_host() as host:
        running = asyncio.create_task(host.run_batch(request))
        await assert_eventually(lambda: host.progress(request))
        await asyncio.sleep(0.05)
        await host.drain(grace=5)
        report = await running
        assert host.ended.result() == "drained"
    assert 0 < report.ok < 10
    assert report.left == 10 - report.ok
    assert report.left_reason == LostShard.__name__
    assert await world.ledger.leases() == []
    assert {owner.incarnation for owner in await world.ledger.shard_owners()} == {""}


async def test_a_released_shard_is_given_up_only_after_its_work() -> None:
    world = World()
    await world.agents(echo=4)
    _, request = await world.job([{"do": "wait", "seconds": 0.3} for _ in range(4)])
    async with world.one_host() as host:
        running = asyncio.create_task(host.run_batch(request))
        await assert_eventually(lambda: host.progress(request))
        await asyncio.sleep(0.05)
        await host.assign([])
        assert (await running).ok == 4
        assert host.status().agents == 0
