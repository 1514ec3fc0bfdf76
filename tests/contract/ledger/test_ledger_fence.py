"""The fence on a real Postgres, one interleaving at a time, and the twin against the real ledger."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest

from colony.clock import ManualClock
from colony.config.endpoints import PostgresEndpoint
from colony.contracts import OutcomeRow, StateRow
from colony.errors import Fenced
from colony.ledger.memory import MemoryLedger
from colony.ledger.port import Ledger
from colony.ledger.postgres import PostgresLedger, open_ledger
from colony.ledger.postgres_connection import Database, open_database
from tests.contract.ledger.fleet_of_one import (
    AGENTS,
    SHARDS_OF_AGENTS,
    Host,
    bad,
    batch_of,
    good,
    loaded_job,
    open_seqs,
    start_host,
)
from tests.eventually import assert_eventually

pytestmark = pytest.mark.contract


@pytest.fixture
async def real(ledger_endpoint: PostgresEndpoint) -> AsyncGenerator[PostgresLedger]:
    async with open_ledger(ledger_endpoint, name="under-test") as ledger:
        yield ledger


@pytest.fixture
async def database(ledger_endpoint: PostgresEndpoint) -> AsyncGenerator[Database]:
    async with open_database(ledger_endpoint, pool_size=2, name="test") as opened:
        yield opened


async def somebody_waits(database: Database) -> None:
    async def waiting() -> Any:
        return await database.value(
            """SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'under-test' AND wait_event_type = 'Lock'"""
        )

    await assert_eventually(waiting)


async def test_a_claim_waits_for_a_commit_that_has_passed_the_fence(real: PostgresLedger, database: Database) -> None:
    host = await start_host(real)
    await real.start_lease("new", "colony-host-1", 600)
    async with database.transaction() as commit:
        assert await commit.value(
            "SELECT holds_shards($1, $2, $3)", host.incarnation, list(host.epochs), list(host.epochs.values())
        )
        claim = asyncio.create_task(real.claim_shards("new", SHARDS_OF_AGENTS))
        await somebody_waits(database)
        assert not claim.done()
    assert await claim == {shard: epoch + 1 for shard, epoch in host.epochs.items()}


async def test_a_commit_waits_for_a_claim_under_way_and_is_fenced(real: PostgresLedger, database: Database) -> None:
    plan = await loaded_job(real, 1)
    host = await start_host(real)
    await real.start_lease("new", "colony-host-1", 600)
    async with database.transaction() as claim:
        await claim.row("SELECT * FROM claim_shards($1, $2)", "new", SHARDS_OF_AGENTS)
        commit = asyncio.create_task(host.commit(batch_of(plan, 0, 1), [good(0)], [StateRow(AGENTS[0], b"late")]))
        await somebody_waits(database)
    with pytest.raises(Fenced):
        await commit
    assert await open_seqs(real, batch_of(plan, 0, 1)) == [0]
    assert await real.states(AGENTS) == {}


async def test_a_claim_waits_for_the_end_of_its_lease(real: PostgresLedger, database: Database) -> None:
    await real.start_lease("doomed", "colony-host-0", 600)
    async with database.transaction() as end:
        assert await end.value("SELECT end_lease('doomed', true)")
        claim = asyncio.create_task(real.claim_shards("doomed", [1]))
        renewal = asyncio.create_task(real.renew_lease("doomed", 600))
        await somebody_waits(database)
    with pytest.raises(Fenced):
        await claim
    assert not await renewal


@pytest.mark.parametrize("seed", range(6))
async def test_twin_and_real_ledger_agree_after_random_work(real: PostgresLedger, seed: int) -> None:
    twin = MemoryLedger(ManualClock())
    assert await _random_work(twin, random.Random(seed)) == await _random_work(real, random.Random(seed))


async def _random_work(ledger: Ledger, chance: random.Random) -> Mapping[str, object]:
    """Commits, crashes and generations drawn from `chance`; everything that can be read afterwards."""
    plan = await loaded_job(ledger, 40)
    seen: dict[str, object] = {}
    for turn in range(12):
        host = await start_host(ledger, f"host-{turn}")
        generation = chance.randint(0, 3)
        first = chance.randrange(30)
        batch = batch_of(plan, first, first + chance.randint(1, 20), generation=generation)
        tasks = await ledger.open_tasks(batch)
        seen[f"open {turn}"] = tasks
        await ledger.start_tasks(batch, host.incarnation, [task.seq for task in tasks])
        some = [_outcome(chance, task.seq) for task in tasks if chance.random() < 0.7]
        seen[f"new {turn}"] = await _commit(host, batch, some, [StateRow(AGENTS[turn % 8], b"%d" % turn)])
        await ledger.end_lease(host.incarnation, crashed=chance.random() < 0.5)
    await ledger.load_map(plan.job, 2, 1)
    await ledger.load_reduce(plan.job, 3, 2, 7)
    # Each ledger has a clock of its own.
    job = [step.model_copy(update={"seconds": 0.0}) for step in (await ledger.job(plan.key)).steps]
    letters = [letter.model_copy(update={"job": 0}) for letter in await ledger.dead_letters(plan.job)]
    mapped = await ledger.open_tasks(batch_of(plan, 0, 99, step=2))
    reduced = await ledger.open_tasks(batch_of(plan, 0, 99, step=3))
    return seen | {
        "steps": job,
        "letters": letters,
        "mapped": mapped,
        "reduced": reduced,
        "results": await ledger.results(plan.job, 1, 0, 99),
        "counts": await ledger.step_counts(plan.job, 1),
        "multiplicity": await ledger.outcome_multiplicity(plan.job),
        "states": await ledger.states(AGENTS),
    }


async def _commit(host: Host, batch: Any, outcomes: list[OutcomeRow], states: list[StateRow]) -> list[int]:
    repeated = outcomes[::-1] + outcomes[:1]
    fresh = await host.commit(batch, repeated, states)
    assert await host.commit(batch, outcomes, [StateRow(row.agent_id, b"never") for row in states]) == []
    return fresh


def _outcome(chance: random.Random, seq: int) -> OutcomeRow:
    draw = chance.random()
    return good(seq) if draw < 0.4 else bad(seq, transient=draw < 0.8, error=chance.choice(["A", "B"]))
