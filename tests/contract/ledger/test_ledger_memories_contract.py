"""Contract: what agents remember."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest

from colony.config.endpoints import PostgresEndpoint
from colony.contracts import JobState
from colony.errors import NoMemory
from colony.ledger.migrate import migrate
from colony.ledger.port import Ledger
from colony.ledger.postgres import open_ledger
from colony.memory.contracts import Keep, MemoryRow, Note, Scope, ScopeKind, memory_id, normalised
from tests.contract.ledger.fleet_of_one import LetTimePass, open_job
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.contract

SHARED = Scope(ScopeKind.SHARED)
MINE = Scope(ScopeKind.AGENT, "research-00001")
PLENTY = Keep(entries=100)
EMBEDDER = "by-hand"


def row(text: str, vector: Sequence[float], *, scope: Scope = SHARED, label: str = "", key: str = "") -> MemoryRow:
    note = Note(text=text, label=label, key=key)
    return MemoryRow(memory_id(scope, note), label, text, b'{"n":1}', "research-00001", normalised(vector))


def clock_hand(hour: float) -> list[float]:
    """Vectors that turn like a hand: neighbours are near each other."""
    return [math.cos(hour / 2), math.sin(hour / 2)]


async def put(ledger: Ledger, rows: Sequence[MemoryRow], *, scope: Scope = SHARED, keep: Keep = PLENTY) -> int:
    return await ledger.put_memories(scope, EMBEDDER, rows, keep)


async def found(ledger: Ledger, vector: Sequence[float], *, limit: int = 10, **more: object) -> list[str]:
    given: dict[str, object] = {"scopes": (SHARED,), "embedder": EMBEDDER, "limit": limit, **more}
    scopes, embedder = given.pop("scopes"), given.pop("embedder")
    hits = await ledger.search_memories(scopes, embedder, normalised(vector), **given)  # pyright: ignore
    return [hit.text for hit in hits]


async def test_what_was_added_is_found_nearest_first(ledger: Ledger) -> None:
    rows = [row(f"at {hour}", clock_hand(hour), label="hour") for hour in range(6)]
    assert await put(ledger, rows) == 6
    hits = await ledger.search_memories([SHARED], EMBEDDER, clock_hand(2), limit=3)
    assert hits[0].text == "at 2"
    assert {hit.text for hit in hits} == {"at 1", "at 2", "at 3"}
    best = hits[0]
    assert best.score == pytest.approx(1.0, abs=1e-6)
    assert hits[1].score == pytest.approx(math.cos(0.5), abs=1e-6)
    assert (best.id, best.scope, best.label) == (rows[2].memory.hex(), "shared", "hour")
    assert (best.data, best.agent_id) == ({"n": 1}, "research-00001")
    assert best.added_at > 0


async def test_adding_again_adds_nothing(ledger: Ledger) -> None:
    entry = row("once", clock_hand(1))
    assert await put(ledger, [entry, entry]) == 1
    assert await put(ledger, [entry, row("more", clock_hand(2))]) == 1
    assert sorted(await found(ledger, clock_hand(1))) == ["more", "once"]
    assert await put(ledger, []) == 0


async def test_a_key_holds_what_was_added_last(ledger: Ledger) -> None:
    await put(ledger, [row("first try", clock_hand(1), key="task 7")])
    assert await put(ledger, [row("second try", clock_hand(2), key="task 7", label="post")]) == 0
    hits = await ledger.search_memories([SHARED], EMBEDDER, clock_hand(2), limit=5)
    assert [(hit.text, hit.label) for hit in hits] == [("second try", "post")]
    assert hits[0].score == pytest.approx(1.0, abs=1e-6)


async def test_scopes_labels_and_scores_keep_apart(ledger: Ledger) -> None:
    await put(ledger, [row("ours", clock_hand(1)), row("a post", clock_hand(1.2), label="post")])
    await put(ledger, [row("mine", clock_hand(1), scope=MINE)], scope=MINE)
    assert await found(ledger, clock_hand(1), scopes=(MINE,)) == ["mine"]
    assert sorted(await found(ledger, clock_hand(1), scopes=(MINE, SHARED, MINE))) == ["a post", "mine", "ours"]
    assert await found(ledger, clock_hand(1), label="post") == ["a post"]
    assert await found(ledger, clock_hand(1), label="none") == []
    assert await found(ledger, clock_hand(1), least=0.999) == ["ours"]
    assert await found(ledger, clock_hand(4), limit=1) == ["a post"]
    assert await found(ledger, clock_hand(1), scopes=(Scope(ScopeKind.JOB, "nobody"),)) == []


async def test_vectors_of_different_embedders_are_never_compared(ledger: Ledger) -> None:
    await put(ledger, [row("by hand", clock_hand(1))])
    await ledger.put_memories(SHARED, "another", [row("by another", clock_hand(1))], PLENTY)
    await ledger.put_memories(SHARED, EMBEDDER, [row("longer", [1.0, 2.0, 3.0])], PLENTY)
    assert await found(ledger, clock_hand(1)) == ["by hand"]
    assert await found(ledger, clock_hand(1), embedder="another") == ["by another"]
    assert await found(ledger, [1.0, 2.0, 3.0]) == ["longer"]
    sizes = {(size.embedder, size.dimensions): size.entries for size in await ledger.memory_scopes()}
    assert sizes == {(EMBEDDER, 2): 1, ("another", 2): 1, (EMBEDDER, 3): 1}
    # Added again by another embedder, an entry is found by that one alone.
    await ledger.put_memories(SHARED, "another", [row("by hand", clock_hand(1))], PLENTY)
    assert await found(ledger, clock_hand(1)) == []
    assert sorted(await found(ledger, clock_hand(1), embedder="another")) == ["by another", "by hand"]


async def test_a_full_scope_forgets_what_was_not_used_for_longest(ledger: Ledger) -> None:
    keep = Keep(entries=3)
    for hour in range(3):
        await put(ledger, [row(f"at {hour}", clock_hand(hour))], keep=keep)
    assert await found(ledger, clock_hand(0), limit=1) == ["at 0"]
    await put(ledger, [row("at 3", clock_hand(3))], keep=keep)
    assert sorted(await found(ledger, clock_hand(0))) == ["at 0", "at 2", "at 3"]


async def test_or_what_was_added_first(ledger: Ledger) -> None:
    keep = Keep(entries=3, least_used=False)
    for hour in range(3):
        await put(ledger, [row(f"at {hour}", clock_hand(hour))], keep=keep)
    assert await found(ledger, clock_hand(0), limit=1) == ["at 0"]
    await put(ledger, [row("at 3", clock_hand(3)), row("at 4", clock_hand(4))], keep=keep)
    assert sorted(await found(ledger, clock_hand(0))) == ["at 2", "at 3", "at 4"]


async def test_a_full_scope_is_trimmed_once_it_is_a_twentieth_above_its_bound(ledger: Ledger) -> None:
    keep = Keep(entries=40, least_used=False)
    held: list[int] = []
    for hour in range(44):
        await put(ledger, [row(f"at {hour}", clock_hand(hour))], keep=keep)
        held.append(len(await ledger.memories(SHARED, 100)))
    assert held == [*range(1, 43), 40, 41]
    assert {entry.text for entry in await ledger.memories(SHARED, 100)} == {f"at {hour}" for hour in range(3, 44)}


async def test_a_bound_is_that_of_one_scope(ledger: Ledger) -> None:
    keep = Keep(entries=2)
    await put(ledger, [row("mine", clock_hand(1), scope=MINE)], scope=MINE, keep=keep)
    assert await put(ledger, [row(f"at {hour}", clock_hand(hour)) for hour in range(5)], keep=keep) == 5
    assert sorted(await found(ledger, clock_hand(1))) == ["at 3", "at 4"]
    assert await found(ledger, clock_hand(1), scopes=(MINE,)) == ["mine"]


async def test_the_bound_holds_with_many_writers(ledger: Ledger) -> None:
    keep = Keep(entries=7)

    async def write(writer: int) -> None:
        for number in range(5):
            await put(ledger, [row(f"{writer} {number}", clock_hand(number)), row("all", clock_hand(1))], keep=keep)
            await found(ledger, clock_hand(number), limit=3)

    await asyncio.gather(*(write(writer) for writer in range(8)))
    assert len(await ledger.memories(SHARED)) == 7
    assert "all" in await found(ledger, clock_hand(1))


async def test_old_entries_are_forgotten(ledger: Ledger, let_time_pass: LetTimePass) -> None:
    await put(ledger, [row("old", clock_hand(1)), row("renewed", clock_hand(2))])
    await let_time_pass(0.3)
    await put(ledger, [row("renewed", clock_hand(2))])
    assert await found(ledger, clock_hand(1), age=0.25) == ["renewed"]
    assert len(await ledger.memories(SHARED)) == 2
    await put(ledger, [row("new", clock_hand(3))], keep=Keep(entries=9, age=0.25))
    assert {entry.text for entry in await ledger.memories(SHARED)} == {"renewed", "new"}
    await let_time_pass(0.3)
    assert await ledger.forget_memories(age=0.25) == 2


async def test_forgetting_by_hand(ledger: Ledger) -> None:
    await put(ledger, [row("one", clock_hand(1)), row("two", clock_hand(2))])
    await put(ledger, [row("mine", clock_hand(1), scope=MINE)], scope=MINE)
    assert [entry.text for entry in await ledger.memories(SHARED)] == ["two", "one"]
    assert await ledger.forget_memories(MINE, memory=row("one", [1.0]).memory) == 0
    assert await ledger.forget_memories(SHARED, memory=row("one", [1.0]).memory) == 1
    assert await ledger.forget_memories(SHARED, memory=row("one", [1.0]).memory) == 0
    sizes = await ledger.memory_scopes()
    assert [(str(size.scope), size.entries, size.characters) for size in sizes] == [
        ("agent:research-00001", 1, 4),
        ("shared", 1, 3),
    ]
    assert await ledger.forget_memories(MINE) == 1
    assert await ledger.forget_memories(Scope(ScopeKind.AGENT, "nobody")) == 0
    assert await ledger.forget_memories() == 1
    assert await ledger.memory_scopes() == []


async def test_the_memory_of_a_job_goes_with_it(ledger: Ledger, let_time_pass: LetTimePass) -> None:
    closed, running = await open_job(ledger, "closed"), await open_job(ledger, "running")
    for plan in (closed, running):
        scope = Scope(ScopeKind.JOB, plan.key)
        await put(ledger, [row(plan.key, clock_hand(1), scope=scope)], scope=scope)
    await put(ledger, [row("stays", clock_hand(1))])
    await ledger.close_job(closed.job, JobState.DONE)
    assert await ledger.forget_orphans() == 0
    await let_time_pass(0.05)
    assert (await ledger.prunable(0.01, None)).memories == 1
    pruned = await ledger.prune(0.01, None)
    assert (pruned.jobs, pruned.memories) == (1, 1)
    assert await ledger.memories(Scope(ScopeKind.JOB, closed.key)) == []
    assert len(await ledger.memories(Scope(ScopeKind.JOB, running.key))) == 1
    assert len(await ledger.memories(SHARED)) == 1


async def test_entries_may_be_long_and_strange(ledger: Ledger) -> None:
    text = "Ünïcödé 漢字 \U0001f331 " * 900
    await put(ledger, [row(text, [0.1] * 2_000)])
    hits = await ledger.search_memories([SHARED], EMBEDDER, normalised([0.1] * 2_000), limit=1)
    assert hits[0].text == text
    assert hits[0].score == pytest.approx(1.0, abs=1e-4)


async def test_a_postgres_without_pgvector_has_a_ledger_but_no_memory(ledger_server: PostgresServer) -> None:
    endpoint = await ledger_server.empty_database()
    await migrate(endpoint)
    async with open_ledger(endpoint, pool_size=2) as ledger:
        plan = await open_job(ledger)
        assert (await ledger.plan(plan.job)).key == plan.key
        for call in (
            lambda: put(ledger, [row("x", clock_hand(1))]),
            lambda: found(ledger, clock_hand(1)),
            ledger.memory_scopes,
            lambda: ledger.memories(SHARED),
            ledger.forget_memories,
        ):
            with pytest.raises(NoMemory, match="CREATE EXTENSION vector"):
                await call()
        assert await ledger.forget_orphans() == 0
        assert (await ledger.prune(0.0, None)).memories == 0
        assert (await ledger.prunable(0.0, None)).memories == 0
        # Once it is there, the next migration makes use of it, also below a ledger that is open.
        await ledger_server.admin("CREATE EXTENSION vector", endpoint.database)
        assert await migrate(endpoint) == []
        assert await put(ledger, [row("x", clock_hand(1))]) == 1
        assert await found(ledger, clock_hand(1)) == ["x"]
    await ledger_server.drop_database(endpoint)


async def test_a_vector_out_of_sight_is_none(ledger_server: PostgresServer) -> None:
    endpoint = await ledger_server.empty_database()
    await ledger_server.admin("CREATE SCHEMA elsewhere", endpoint.database)
    await ledger_server.admin("CREATE EXTENSION vector SCHEMA elsewhere", endpoint.database)
    await migrate(endpoint)
    async with open_ledger(endpoint, pool_size=1) as ledger:
        with pytest.raises(NoMemory):
            await ledger.memory_scopes()
    await ledger_server.drop_database(endpoint)


async def test_the_user_of_the_ledger_is_no_superuser(
    ledger_server: PostgresServer, ledger_endpoint: PostgresEndpoint
) -> None:
    owner = "SELECT pg_get_userbyid(extowner) FROM pg_extension WHERE extname = 'vector'"
    assert await ledger_server.admin(owner, ledger_endpoint.database) == "postgres"
    rights = "SELECT bool_or(rolsuper OR rolcreaterole OR rolcreatedb) FROM pg_roles WHERE rolname = 'colony'"
    assert await ledger_server.admin(rights) is False
    grants = "SELECT count(*) FROM information_schema.role_table_grants WHERE table_name = 'memory'"
    assert await ledger_server.admin(f"{grants} AND grantee = 'PUBLIC'", ledger_endpoint.database) == 0
