"""What only the ledger on a real Postgres has: migrations, restarts, partitions, refusals."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import colony.ledger.migrate
from colony.config.endpoints import PostgresEndpoint
from colony.contracts import JobState
from colony.errors import ColonyError, DeadlineExceeded, NotFound, NotPermitted, Permanent, Transient, Unavailable
from colony.ids import SHARDS
from colony.ledger.migrate import known_migrations, migrate
from colony.ledger.postgres import open_ledger
from colony.ledger.postgres_connection import open_database
from tests.contract.ledger.fleet_of_one import batch_of, good, loaded_job, open_job, start_host
from tests.contract.ledger.test_ledger_transcripts_contract import said
from tests.eventually import assert_eventually
from tests.servers.ports import free_port
from tests.servers.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.contract

ALL = [path.name for _, path in known_migrations()]


async def test_migrations_are_applied_once_also_by_several_at_once(ledger_server: PostgresServer) -> None:
    endpoint = await ledger_server.empty_database()
    done = await asyncio.gather(*(migrate(endpoint) for _ in range(3)))
    assert sorted(done, key=len) == [[], [], ALL]
    assert await migrate(endpoint) == []
    async with open_ledger(endpoint) as ledger:
        assert len(await ledger.shard_owners()) == SHARDS


async def test_a_ledger_with_other_shards_is_refused(ledger_server: PostgresServer) -> None:
    endpoint = await ledger_server.empty_database()
    await migrate(endpoint, shards=16)
    with pytest.raises(Permanent, match="16 shards"):
        await migrate(endpoint)
    with pytest.raises(Permanent, match="16 shards"):
        async with open_ledger(endpoint):
            pass


async def test_a_newer_or_missing_schema_is_refused(
    ledger_server: PostgresServer, ledger_endpoint: PostgresEndpoint
) -> None:
    await ledger_server.admin(
        "INSERT INTO migration (number, name) VALUES (9999, '9999_future.sql')", ledger_endpoint.database
    )
    for attempt in (migrate(ledger_endpoint), _open(ledger_endpoint)):
        with pytest.raises(Permanent, match="9999"):
            await attempt
    with pytest.raises(Permanent, match="Migrate"):
        await _open(await ledger_server.empty_database())


async def test_opening_says_what_is_wrong(
    ledger_server: PostgresServer, ledger_endpoint: PostgresEndpoint, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable):
        await _open(ledger_endpoint.model_copy(update={"port": free_port()}))
    with pytest.raises(NotFound):
        await _open(ledger_endpoint.model_copy(update={"database": "nowhere"}))
    wrong = tmp_path / "wrong"
    wrong.write_text("not-the-password")
    with pytest.raises(NotPermitted) as refused:
        await _open(ledger_endpoint.model_copy(update={"password_file": str(wrong)}))
    assert "not-the-password" not in repr(refused.value)


async def test_the_pool_outlives_a_restart_of_postgres(tmp_path: Path) -> None:
    async with postgres_server(tmp_path) as server, open_ledger(await server.fresh_database()) as ledger:
        plan = await loaded_job(ledger, 10)
        host = await start_host(ledger)
        await asyncio.gather(*(ledger.ping() for _ in range(8)))
        await server.stop()
        with pytest.raises(Transient):
            await host.commit(batch_of(plan, 0, 10), [good(0)])
        await server.start()

        async def works() -> bool:
            try:
                return await host.commit(batch_of(plan, 0, 10), [good(0)]) == [0]
            except Transient:
                return False

        await assert_eventually(works, timeout=30)
        assert await ledger.outcome_multiplicity(plan.job) == {1: (10, 1)}


async def test_work_under_way_when_postgres_restarts_ends_in_an_error_that_may_pass(tmp_path: Path) -> None:
    async with postgres_server(tmp_path) as server, open_ledger(await server.fresh_database()) as ledger:
        plan = await loaded_job(ledger, 500)
        host = await start_host(ledger)
        errors: list[ColonyError] = []
        committed: set[int] = set()

        async def work(seq: int) -> None:
            while seq not in committed:
                try:
                    await host.commit(batch_of(plan, 0, 500), [good(seq)])
                    committed.add(seq)
                except ColonyError as error:
                    errors.append(error)
                    await asyncio.sleep(0.02)

        async def restart() -> None:
            await server.stop()
            await server.start()

        await asyncio.gather(restart(), *(work(seq) for seq in range(500)))
        assert {type(error) for error in errors} <= {Unavailable, DeadlineExceeded}
        assert await ledger.step_counts(plan.job, 1) == (500, 0, 0, {})


async def test_a_server_that_hangs_runs_into_the_deadline_and_may_come_back(tmp_path: Path) -> None:
    async with postgres_server(tmp_path) as server:
        endpoint = await server.fresh_database()
        async with open_database(endpoint, pool_size=2, name="test") as database:
            assert await database.value("SELECT 1") == 1
            server.freeze()
            try:
                answers = await asyncio.gather(
                    *(database.value("SELECT 1", timeout=0.2) for _ in range(4)), return_exceptions=True
                )
            finally:
                server.thaw()
            assert {type(answer) for answer in answers} == {DeadlineExceeded}

            async def works() -> bool:
                try:
                    return await database.value("SELECT 1", timeout=1.0) == 1
                except Transient:
                    return False

            await assert_eventually(works, timeout=30)


async def test_jobs_far_apart_get_partitions_of_their_own(
    ledger_server: PostgresServer, ledger_endpoint: PostgresEndpoint
) -> None:
    async with open_ledger(ledger_endpoint) as ledger:
        await ledger_server.admin("ALTER SEQUENCE job_job_seq RESTART WITH 998", ledger_endpoint.database)
        plans = await asyncio.gather(*(loaded_job(ledger, 3) for _ in range(6)))
        host = await start_host(ledger)
        for plan in plans:
            assert await host.commit(batch_of(plan, 0, 3), [good(0)]) == [0]
        assert {plan.job // 1000 for plan in plans} == {0, 1}


async def test_a_cancelled_call_gives_its_connection_back(
    ledger_server: PostgresServer, ledger_endpoint: PostgresEndpoint
) -> None:
    async with open_ledger(ledger_endpoint, pool_size=1) as ledger:
        plan = await open_job(ledger)
        for _ in range(5):
            call = asyncio.create_task(ledger.close_job(plan.job, JobState.DONE))
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert (await ledger.job(plan.key)).key == plan.key


async def _open(endpoint: PostgresEndpoint) -> None:
    async with open_ledger(endpoint):
        pass


async def test_a_large_step_is_counted_without_statistics(ledger_endpoint: PostgresEndpoint) -> None:
    """A fresh partition has no statistics: the count must not turn into a quadratic join and run into its deadline."""
    async with open_ledger(ledger_endpoint) as ledger:
        host = await start_host(ledger, "one")
        plan = await loaded_job(ledger, 60_000)
        for first in range(0, 60_000, 1_000):
            rows = [good(seq) for seq in range(first, first + 1_000)]
            await ledger.commit(batch_of(plan, first, first + 1_000), "one", host.epochs, rows)
        assert await ledger.step_counts(plan.job, 1) == (60_000, 0, 0, {})
        assert (await ledger.job(plan.key)).steps[1].ok == 60_000


async def test_partitions_go_whole_when_all_their_jobs_do(
    ledger_server: PostgresServer, ledger_endpoint: PostgresEndpoint
) -> None:
    async with open_ledger(ledger_endpoint) as ledger, open_database(ledger_endpoint, pool_size=1, name="t") as other:
        host = await start_host(ledger)
        await ledger_server.admin("ALTER SEQUENCE job_job_seq RESTART WITH 998", ledger_endpoint.database)
        plans = [await loaded_job(ledger, 3) for _ in range(4)]
        for plan in plans:
            await host.commit(batch_of(plan, 0, 3), [good(seq) for seq in range(3)])
            assert await ledger.write_transcript([said(plan.job, seq) for seq in range(2)]) == 2
            await ledger.close_job(plan.job, JobState.DONE)
        running = await loaded_job(ledger, 3)
        partitions = """SELECT string_agg(inhrelid::regclass::text, ' ' ORDER BY inhrelid::regclass::text)
                          FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent
                         WHERE c.relname IN ('task', 'outcome', 'transcript')"""
        async with other.transaction() as held:
            # A reader that has not ended holds the partitions, and a job being opened the jobs: nobody waits for long.
            await held.value("SELECT count(*) FROM outcome WHERE job = 998")
            first = await asyncio.wait_for(ledger.prune(0, None), 20)
        assert (first.jobs, first.waiting, first.tasks, first.transcripts) == (4, 2, 6, 4)
        assert "outcome_0" in await other.value(partitions)
        second = await ledger.prune(0, None)
        assert (second.jobs, second.tasks, second.outcomes, second.transcripts, second.waiting) == (0, 6, 6, 4, 0)
        assert await other.value(partitions) == "outcome_1000 task_1000 transcript_1000"
        assert await ledger.write_transcript([said(plans[0].job, 9), said(running.job, 9)]) == 1, "the old job is gone"
        assert await host.commit(batch_of(running, 0, 3), [good(0)]) == [0]
        assert await other.value("SELECT count(*) FROM pruned_job") == 0
        assert await other.value("SELECT count(*) FROM attempt") == 0


async def test_jobs_from_before_there_were_transcripts_speak_on(
    ledger_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, path in known_migrations():
        if number < 10:
            (tmp_path / path.name).write_text(path.read_text("utf-8"), "utf-8")
    endpoint = await ledger_server.empty_database()
    with monkeypatch.context() as before:
        before.setattr(colony.ledger.migrate, "FOLDER", tmp_path)
        assert len(await migrate(endpoint)) == 9
        async with open_ledger(endpoint) as ledger:
            first = await open_job(ledger)
            await ledger_server.admin("ALTER SEQUENCE job_job_seq RESTART WITH 7001", endpoint.database)
            second = await open_job(ledger)
    assert len(await migrate(endpoint)) == len(ALL) - 9
    async with open_ledger(endpoint) as ledger:
        later = await open_job(ledger)
        assert await ledger.write_transcript([said(plan.job, 0) for plan in (first, second, later)]) == 3
        for plan in (first, second, later):
            await ledger.close_job(plan.job, JobState.DONE)
        assert (await ledger.prune(0, None)).transcripts == 3
    await ledger_server.drop_database(endpoint)


async def test_a_partition_stays_while_jobs_of_it_may_still_be_opened(
    ledger_server: PostgresServer, ledger_endpoint: PostgresEndpoint
) -> None:
    async with open_ledger(ledger_endpoint) as ledger:
        for _ in range(3):
            plan = await loaded_job(ledger, 3)
            await ledger.close_job(plan.job, JobState.DONE)
            opened, pruned = await asyncio.gather(open_job(ledger), ledger.prune(0, None))
            assert pruned.waiting == 0
            await ledger.load_tasks(opened.job, 1, [(None, b"{}")])
            await ledger.close_job(opened.job, JobState.DONE)


async def test_crashed_leases_stay_as_long_as_a_job_may_ask_for_them(
    ledger_server: PostgresServer, ledger_endpoint: PostgresEndpoint
) -> None:
    async with open_ledger(ledger_endpoint) as ledger, open_database(ledger_endpoint, pool_size=1, name="t") as other:
        plan = await loaded_job(ledger, 2)
        host = await start_host(ledger)
        await ledger.start_tasks(batch_of(plan, 0, 2), host.incarnation, [0])
        await ledger.end_lease(host.incarnation, crashed=True)
        await ledger.prune(0, None)
        assert [task.suspect for task in await ledger.open_tasks(batch_of(plan, 0, 2))] == [1, 0]
        await ledger.close_job(plan.job, JobState.DONE)
        await ledger.prune(0, None)
        assert await other.value("SELECT count(*) FROM lease") == 0
