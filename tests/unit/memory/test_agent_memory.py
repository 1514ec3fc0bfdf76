"""What an agent is given: scopes, bounds, identity, deadlines."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.clock import ManualClock
from colony.config.memory import MemoryConfig
from colony.errors import BadInput, Fenced, NoMemory
from colony.ledger.memory import MemoryLedger
from colony.llm.port import Caller
from colony.memory.agent_memory import AgentMemory, MemoryParts, Rememberer, parsed_id
from colony.memory.contracts import Keep, MemoryRow, Note, Scope, ScopeKind, Vector, memory_id
from colony.memory.hashing import HashingEmbedder


class Place:
    """A ledger and its agents."""

    def __init__(self, **limits: object) -> None:
        self.ledger = MemoryLedger(ManualClock())
        self.parts = MemoryParts(self.ledger, HashingEmbedder(64), MemoryConfig.model_validate(limits))

    def agent(self, agent: str = "research-1", *, kind: str = "research", job: str = "Run-1") -> AgentMemory:
        return AgentMemory(self.parts, Rememberer(Caller(agent=agent, agent_type=kind, job=job), no_end, no_check))


def no_end() -> float:
    return math.inf


def no_check() -> None:
    pass


async def test_agents_share_what_the_scope_says() -> None:
    place = Place()
    me, peer = place.agent(), place.agent("research-2")
    other, later = place.agent("analysis-1", kind="analysis"), place.agent(job="Run-2")
    for scope in ("agent", "type", "job", "shared"):
        await me.add(f"slugs eat lettuce, says {scope}", scope=scope)
    seen = {
        name: [scope for scope in ("agent", "type", "job", "shared") if await memory.search("slugs", scope=scope)]
        for name, memory in {"me": me, "peer": peer, "other": other, "later": later}.items()
    }
    assert seen == {
        "me": ["agent", "type", "job", "shared"],
        "peer": ["type", "job", "shared"],
        "other": ["job", "shared"],
        "later": ["agent", "type", "shared"],
    }
    assert len(await me.search("slugs", scope=("agent", "type", "job", "shared"))) == 4


async def test_a_task_that_is_tried_again_adds_nothing() -> None:
    memory = Place().agent()
    first = await memory.add("Mulch keeps the soil moist.", data={"page": 3})
    assert await memory.add("Mulch keeps the soil moist.", data={"page": 3}) == first
    keyed = await memory.add("a draft", key="task 7", label="post")
    assert await memory.add("another draft", key="task 7", label="post") == keyed
    found = await memory.search("mulch and a draft", limit=10, least=-1)
    assert sorted(each.text for each in found) == ["Mulch keeps the soil moist.", "another draft"]
    assert found[0].data == {"page": 3} or found[1].data == {"page": 3}


async def test_one_entry_can_be_forgotten() -> None:
    memory = Place().agent()
    entry = await memory.add("Beans fix nitrogen.")
    assert not await memory.forget(entry, scope="shared")
    assert await memory.forget(entry)
    assert await memory.search("beans", least=-1) == []


@pytest.mark.parametrize(
    "note",
    [
        Note(text=" \n"),
        Note(text="x" * 101),
        Note(text="\0"),
        Note(text="a \ud800 b"),
        Note(text="fine", key="\0"),
        Note(text="fine", data={"x": "y" * 20_000}),
        Note(text="fine", data={"x": object()}),
    ],
    ids=["blank", "long", "nul", "surrogate", "key", "data", "no json"],
)
async def test_what_cannot_be_kept_is_refused(note: Note) -> None:
    place = Place(max_text=100)
    with pytest.raises(BadInput):
        await place.agent().add_all([Note(text="good"), note])
    assert await place.ledger.memory_scopes() == []


async def test_wrong_questions_are_refused() -> None:
    memory = Place().agent()
    for wrong in (
        memory.search(""),
        memory.search("x", limit=0),
        memory.search("x", limit=1000),
        memory.search("x", scope="world"),
        memory.search("x", scope=()),
        memory.add("x", scope="agent:research-2"),
        memory.add("x", label="l" * 65),
        memory.add("x", key="k" * 501),
        memory.add_all([Note(text="x")] * 257),
        memory.forget("no id"),
        Place().agent(job="").add("x"),
    ):
        with pytest.raises(BadInput):
            await wrong
    assert await memory.add_all([]) == []


async def test_without_a_memory_it_says_so() -> None:
    who = Rememberer(Caller(agent="a"), no_end, no_check)
    for memory in (AgentMemory(None, who), Place(enabled=False).agent()):
        assert not memory.enabled
        with pytest.raises(NoMemory):
            await memory.add("x")
        with pytest.raises(NoMemory):
            await memory.search("x")
    assert Place().agent().enabled


async def test_a_host_without_a_lease_writes_nothing() -> None:
    place = Place()

    def fenced() -> None:
        raise Fenced("The lease of this host has run out.")

    memory = AgentMemory(place.parts, Rememberer(Caller(agent="a", job="Run-1"), no_end, fenced))
    with pytest.raises(Fenced):
        await memory.add("x")
    assert await place.ledger.memory_scopes() == []


class SlowLedger(MemoryLedger):
    """Counts how many calls are under way."""

    running = most = 0

    async def put_memories(self, scope: Scope, embedder: str, rows: Sequence[MemoryRow], keep: Keep) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        return await super().put_memories(scope, embedder, rows, keep)


async def test_memory_leaves_connections_for_outcomes() -> None:
    place = Place()
    ledger = SlowLedger(ManualClock())
    place.parts.ledger = ledger
    await asyncio.gather(*(place.agent(f"research-{number}").add(f"text {number}") for number in range(40)))
    assert ledger.most == 2
    assert [size.entries for size in await ledger.memory_scopes()] == [40]


class Timed(HashingEmbedder):
    """Keeps how long it was given."""

    given = 0.0

    async def embed(self, texts: Sequence[str], caller: Caller, timeout: float) -> list[Vector]:
        self.given = timeout
        return await super().embed(texts, caller, timeout)


@pytest.mark.parametrize(("left", "given"), [(math.inf, 30.0), (4.0, 4.0), (-1.0, 0.001)])
async def test_embedding_ends_with_the_task(left: float, given: float) -> None:
    place, embedder = Place(), Timed(64)
    place.parts.embedder = embedder
    await AgentMemory(place.parts, Rememberer(Caller(agent="a", job="Run-1"), lambda: left, no_check)).add("x")
    assert embedder.given == given


WORDS = st.sampled_from(["mulch", "soil", "slugs", "water", "tomato", "compost", "beans", "potato"])


@given(
    adds=st.lists(st.tuples(WORDS, WORDS), max_size=30),
    most=st.integers(1, 6),
    forget=st.sampled_from(["least_used", "oldest"]),
)
async def test_a_scope_never_holds_more_than_its_bound(adds: list[tuple[str, str]], most: int, forget: str) -> None:
    place = Place(max_entries=most, forget=forget)
    memory = place.agent()
    for word, other in adds:
        entry = await memory.add(f"{word} and {other}")
        found = await memory.search(f"{word} and {other}", limit=100, least=-1)
        assert len(found) <= most
        assert entry in {each.id for each in found}, "what was just added is there"
        assert len({each.text for each in found}) == len(found)
    sizes = await place.ledger.memory_scopes()
    distinct = {f"{word} and {other}" for word, other in adds}
    assert sum(size.entries for size in sizes) == min(most, len(distinct))


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_ids_follow_from_scope_and_content(name: str, one: str, other: str) -> None:
    scope, elsewhere = Scope(ScopeKind.JOB, name), Scope(ScopeKind.AGENT, name)
    assert memory_id(scope, Note(text=one)) == memory_id(scope, Note(text=one, label="l", data={"n": 1}))
    assert memory_id(scope, Note(text=one)) != memory_id(elsewhere, Note(text=one))
    assert (memory_id(scope, Note(text=one)) == memory_id(scope, Note(text=other))) == (one == other)
    if one:
        assert memory_id(scope, Note(text="a", key=one)) == memory_id(scope, Note(text="b", key=one))
        assert memory_id(scope, Note(text="a", key=one)) != memory_id(scope, Note(text=one))


@pytest.mark.parametrize("text", ["shared", "agent:research-00001", "type:research", "job:Run-7"])
def test_scopes_are_written_and_read(text: str) -> None:
    assert str(Scope.parse(text)) == text


@pytest.mark.parametrize("text", ["", "agent", "agent:", "shared:x", "world", "world:x", "job:\0", "job:" + "x" * 201])
def test_what_is_no_scope_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        Scope.parse(text)


def test_ids_are_read() -> None:
    assert parsed_id("ab" * 16) == b"\xab" * 16
    for wrong in ("", "ab", "xy" * 16, "ab" * 17):
        with pytest.raises(BadInput):
            parsed_id(wrong)
