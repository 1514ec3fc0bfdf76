"""Contract: what a host does with a batch, and the fence around it."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from colony.contracts import MAX_PAYLOAD, OutcomeRow, StateRow
from colony.errors import Fenced
from colony.ids import shard_of
from colony.ledger.port import Ledger
from tests.contract.ledger.fleet_of_one import (
    AGENTS,
    SHARDS_OF_AGENTS,
    Host,
    agent_for,
    bad,
    batch_of,
    good,
    loaded_job,
    open_seqs,
    start_host,
)

pytestmark = pytest.mark.contract


async def test_a_task_has_one_outcome_in_a_generation_and_the_first_stays(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 4)
    host = await start_host(ledger)
    batch = batch_of(plan, 0, 4)
    assert await host.commit(batch, [good(2), good(0)]) == [0, 2]
    assert await host.commit(batch, [good(1), bad(2, transient=False), good(0, b'{"second":1}')]) == [1]
    assert await ledger.results(plan.job, 1, 0, 9) == [(0, b'{"n":0}'), (1, b'{"n":1}'), (2, b'{"n":2}')]
    assert await open_seqs(ledger, batch) == [3]
    assert await host.commit(batch, []) == []


async def test_an_old_epoch_commits_nothing(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 4)
    old = await start_host(ledger, "old")
    taken = shard_of(agent_for(1))
    await ledger.start_lease("new", "colony-host-1", 600)
    await ledger.claim_shards("new", [taken])
    with pytest.raises(Fenced):
        await old.commit(batch_of(plan, 0, 4), [good(0), good(1)], [StateRow(agent_for(0), b"lost")])
    assert await open_seqs(ledger, batch_of(plan, 0, 4)) == [0, 1, 2, 3]
    assert await ledger.states(AGENTS) == {}
    # What it still owns it may still write.
    kept = Host(ledger, "old", {shard: epoch for shard, epoch in old.epochs.items() if shard != taken})
    assert await kept.commit(batch_of(plan, 0, 4), [good(0)]) == [0]


async def test_the_right_epoch_of_another_incarnation_commits_nothing(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 1)
    host = await start_host(ledger)
    with pytest.raises(Fenced):
        await Host(ledger, "stranger", host.epochs).commit(batch_of(plan, 0, 1), [good(0)])
    await ledger.end_lease(host.incarnation, crashed=True)
    with pytest.raises(Fenced):
        await host.commit(batch_of(plan, 0, 1), [good(0)])


async def test_a_shard_missing_from_the_epochs_is_fenced(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 2)
    host = await start_host(ledger)
    partly = Host(ledger, host.incarnation, {shard_of(agent_for(0)): host.epochs[shard_of(agent_for(0))]})
    with pytest.raises(Fenced):
        await partly.commit(batch_of(plan, 0, 2), [good(0), good(1)])
    assert await open_seqs(ledger, batch_of(plan, 0, 2)) == [0, 1]


async def test_committers_of_the_same_rows_in_opposite_orders_give_one_outcome_each(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 200)
    host = await start_host(ledger)
    batch = batch_of(plan, 0, 200)
    states = [StateRow(agent_id, b"s") for agent_id in AGENTS]
    for first in range(0, 200, 40):
        rows = [good(seq) for seq in range(first, first + 40)]
        fresh = await asyncio.gather(
            host.commit(batch, rows, states),
            host.commit(batch, rows[::-1], states[::-1]),
            host.commit(batch, rows[20:] + rows[:20], states),
        )
        assert Counter(seq for part in fresh for seq in part) == Counter(range(first, first + 40))
    assert await ledger.outcome_multiplicity(plan.job) == {1: (200, 200)}


async def test_claims_and_commits_at_once_never_deadlock_and_never_pass_the_fence(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 300)
    first = await start_host(ledger, "first")
    await ledger.start_lease("second", "colony-host-1", 600)
    committed: dict[str, list[int]] = {"first": [], "second": []}

    async def work(host: Host, seqs: range) -> None:
        for seq in seqs:
            try:
                committed[host.incarnation] += await host.commit(batch_of(plan, 0, 300), [good(seq), good(seq + 1)])
            except Fenced:
                return

    async def take() -> Host:
        return Host(ledger, "second", await ledger.claim_shards("second", SHARDS_OF_AGENTS[::-1]))

    workers = [asyncio.create_task(work(first, range(start, 299, 3))) for start in range(3)]
    await asyncio.sleep(0.01)
    second = await take()
    before = len(committed["first"])
    await asyncio.gather(*workers)
    with pytest.raises(Fenced):
        await first.commit(batch_of(plan, 0, 300), [good(299)])
    # Commits that were answered after the claim had passed the fence before it: at most one each worker.
    assert len(committed["first"]) - before <= 2 * len(workers)
    await work(second, range(299))
    assert sorted(committed["first"] + committed["second"]) == list(range(300))


async def test_hosts_that_fight_for_shards_never_wait_in_a_circle(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 400)

    async def fight(name: str, chance: random.Random) -> int:
        fenced = 0
        await ledger.start_lease(name, "colony-host-0", 600)
        for turn in range(25):
            wanted = chance.sample(range(64), 48) + SHARDS_OF_AGENTS
            host = Host(ledger, name, await ledger.claim_shards(name, wanted))
            seqs = chance.sample(range(400), 8)
            try:
                await host.commit(batch_of(plan, 0, 400, generation=turn), [good(seq) for seq in seqs])
            except Fenced:
                fenced += 1
            await ledger.release_shards(name, wanted[:40])
        await ledger.end_lease(name, crashed=True)
        return fenced

    await asyncio.gather(*(fight(f"host-{number}", random.Random(number)) for number in range(6)))
    assert {owner.incarnation for owner in await ledger.shard_owners()} == {""}


async def test_states_are_saved_only_with_new_outcomes(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 3)
    host = await start_host(ledger)
    batch = batch_of(plan, 0, 3)
    await host.commit(batch, [good(0)], [StateRow(agent_for(0), b"first"), StateRow(agent_for(5), b"no outcome")])
    assert await ledger.states([agent_for(0), agent_for(1), agent_for(5)]) == {agent_for(0): b"first"}
    await host.commit(
        batch, [good(0), good(1)], [StateRow(agent_for(0), b"twice"), StateRow(agent_for(1), b"\x00\xff")]
    )
    assert await ledger.states(AGENTS) == {agent_for(0): b"first", agent_for(1): b"\x00\xff"}
    assert await ledger.states([]) == {}


async def test_the_last_state_given_for_an_agent_counts(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 1)
    host = await start_host(ledger)
    await host.commit(batch_of(plan, 0, 1), [good(0)], [StateRow(agent_for(0), b"a"), StateRow(agent_for(0), b"b")])
    assert await ledger.states([agent_for(0)]) == {agent_for(0): b"b"}


async def test_a_later_generation_runs_what_may_pass_and_what_never_ended(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 5)
    host = await start_host(ledger)
    await host.commit(
        batch_of(plan, 0, 5), [good(0), bad(1, transient=True), bad(2, transient=False), bad(3, transient=True)]
    )
    assert await open_seqs(ledger, batch_of(plan, 0, 5)) == [4]
    second = batch_of(plan, 0, 5, generation=1)
    assert await open_seqs(ledger, second) == [1, 3, 4]
    await host.commit(second, [bad(1, transient=False), bad(3, transient=True)])
    assert await open_seqs(ledger, second) == [4]
    assert await open_seqs(ledger, batch_of(plan, 0, 5, generation=2)) == [3, 4]
    # A batch of the first generation that comes late finds nothing that has succeeded since.
    await host.commit(batch_of(plan, 0, 5, generation=2), [good(4)])
    assert await open_seqs(ledger, batch_of(plan, 0, 5)) == []


async def test_only_tasks_in_flight_when_their_host_crashed_are_suspect(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 6)
    batch = batch_of(plan, 0, 6)
    for incarnation, seqs, crashed in (("a", [0, 1], True), ("b", [1, 2], True), ("c", [0, 3], False)):
        await start_host(ledger, incarnation)
        await ledger.start_tasks(batch, incarnation, seqs)
        await ledger.end_lease(incarnation, crashed=crashed)
    await start_host(ledger, "alive")
    await ledger.start_tasks(batch, "alive", [1, 4])
    assert {task.seq: task.suspect for task in await ledger.open_tasks(batch)} == {0: 1, 1: 2, 2: 1, 3: 0, 4: 0, 5: 0}
    assert [task.suspect for task in await ledger.open_tasks(batch_of(plan, 1, 2, generation=1))] == [2]
    other = await loaded_job(ledger, 2)
    assert {task.suspect for task in await ledger.open_tasks(batch_of(other, 0, 2))} == {0}


async def test_one_death_makes_a_task_suspect_once_and_a_settled_attempt_never(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 3)
    batch = batch_of(plan, 0, 3)
    host = await start_host(ledger, "overloaded")
    for _ in range(3):
        await ledger.start_tasks(batch, "overloaded", [0, 1])
    await host.commit(batch, [bad(1, transient=True)])
    await ledger.end_lease("overloaded", crashed=True)
    assert {task.seq: task.suspect for task in await ledger.open_tasks(batch)} == {0: 1, 2: 0}
    again = await ledger.open_tasks(batch_of(plan, 0, 3, generation=1))
    assert {task.seq: task.suspect for task in again} == {0: 1, 1: 0, 2: 0}


async def test_the_largest_result_and_the_ugliest_message_are_kept(ledger: Ledger) -> None:
    plan = await loaded_job(ledger, 2)
    host = await start_host(ledger)
    large = b'{"text":"' + b"x" * (MAX_PAYLOAD - 11) + b'"}'
    ugly = OutcomeRow(1, agent_for(1), False, "Permanent", "a\x00b\ud800c" * 2000, False, b"{}", 2**40)
    await host.commit(batch_of(plan, 0, 2), [good(0, large), ugly])
    assert await ledger.results(plan.job, 1, 0, 2) == [(0, large)]
    (letter,) = await ledger.dead_letters(plan.job)
    assert letter.message.startswith("a\ufffdb")
    assert len(letter.message) == 4000
    letter.message.encode()
