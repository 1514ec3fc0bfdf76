from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.ids import AgentId, AgentType
from colony.registry import nats_codec as codec
from colony.registry.port import AgentEntry, HostEntry

HOST = "colony-host-0"


def entry(number: int, kind: str, version: int, tags: list[str]) -> AgentEntry:
    return AgentEntry(
        agent_id=AgentId(f"a{number}"),
        agent_type=AgentType(kind),
        host=HOST,
        shard=number,
        version=version,
        tags=tuple(tags),
    )


agents = st.lists(
    st.builds(
        entry,
        st.integers(0, 1023),
        st.sampled_from(["research", "analysis"]),
        st.integers(1, 3),
        st.lists(st.text(max_size=5), max_size=3),
    ),
    unique_by=lambda agent: agent.agent_id,
)


@given(agents)
def test_a_chunk_survives_encoding(published: list[AgentEntry]) -> None:
    assert codec.decode_chunk(HOST, codec.encode_chunk(published)) == published


@given(agents, st.sampled_from([1, 2, 8]))
def test_every_agent_is_in_the_chunk_it_is_looked_up_in(published: list[AgentEntry], chunks: int) -> None:
    parts = codec.layout(published, chunks)
    assert sum(map(len, parts)) == len(published)
    assert all(codec.chunk_of(agent.agent_id, chunks) == number for number, part in enumerate(parts) for agent in part)


@given(st.integers(0, 1_000_000))
def test_chunks_are_neither_too_full_nor_too_many(count: int) -> None:
    chunks = codec.chunks_for(count)
    assert chunks.bit_count() == 1
    assert count <= chunks * codec.CHUNK
    assert chunks == 1 or count > chunks // 2 * codec.CHUNK


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b'{"kinds":[],"agents":[["a1",1,0]]}', b'{"kinds":1,"agents":2}'])
def test_a_damaged_chunk_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        codec.decode_chunk(HOST, value)


def test_a_host_passes_while_its_own_incarnation_beats() -> None:
    def record(failed: bool = False) -> bytes:
        return codec.HostRecord(incarnation="1", failed=failed).model_dump_json().encode()

    def beat(at: float, incarnation: str = "1") -> bytes:
        return codec.BeatRecord(incarnation=incarnation, at=at).model_dump_json().encode()

    entries = {
        "a": record(),
        "a.beat": beat(80),
        "b": record(),
        "b.beat": beat(70),
        "c": record(failed=True),
        "c.beat": beat(99),
        "d": record(),
        "d.beat": beat(99, "former"),
        "e": record(),
        "f.beat": beat(99),
        "g": b"not ours",
    }
    assert codec.hosts_of(entries, now=100, time_to_live=30) == [
        HostEntry(host=host, incarnation="1", passing=host == "a") for host in "abcde"
    ]
