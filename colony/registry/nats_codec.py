"""How hosts and agents look in NATS key-value buckets. Pure.

Agents are kept in chunks of their host, not as a key each: a hundred thousand agents are some hundred keys.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from pydantic import Field, ValidationError

from colony.contracts import Frozen
from colony.ids import AgentId, AgentType
from colony.registry.port import AgentEntry, HostEntry

HOSTS: Final = "colony_hosts"
"""Bucket: `<host>` holds a `HostRecord`, `<host>.beat` a `BeatRecord`."""

AGENTS: Final = "colony_agents"
"""Bucket: `<host>.summary` holds a `Summary`, `<host>.<layout>.<chunk>` the agents of one chunk."""

CONFIG: Final = "colony_config"
"""Bucket: configuration values under their own keys."""

CHUNK: Final = 400
"""Most agents of a chunk, about: a chunk stays far below NATS's limit of 1 MiB."""


class HostRecord(Frozen):
    """A host as joined; `failed` is set by whoever declares it dead."""

    incarnation: str
    failed: bool = False
    meta: dict[str, str] = Field(default_factory=dict[str, str])


class BeatRecord(Frozen):
    """The last sign of life of a host; `at` is wall time in seconds."""

    incarnation: str
    at: float


class Summary(Frozen):
    """Where the agents of a host are, and how many of each type."""

    incarnation: str
    chunks: int = Field(ge=1)
    counts: dict[str, int]


def beat_key(host: str) -> str:
    """Key of the last beat of a host."""
    return f"{host}.beat"


def summary_key(host: str) -> str:
    """Key of the summary of a host."""
    return f"{host}.summary"


def chunk_key(host: str, chunks: int, number: int) -> str:
    """Key of one chunk. It names the layout, so readers of the former layout are not disturbed by a new one."""
    return f"{host}.{chunks}.{number}"


def chunks_for(agents: int) -> int:
    """How many chunks to use: a power of two, so that the layout seldom changes."""
    needed = -(-agents // CHUNK)
    return 1 << max(0, needed - 1).bit_length()


def chunk_of(agent_id: AgentId, chunks: int) -> int:
    """The chunk an agent is in."""
    return zlib.crc32(agent_id.encode("ascii")) % chunks


def layout(agents: Iterable[AgentEntry], chunks: int) -> list[list[AgentEntry]]:
    """The agents of every chunk."""
    found: list[list[AgentEntry]] = [[] for _ in range(chunks)]
    for agent in agents:
        found[chunk_of(agent.agent_id, chunks)].append(agent)
    return found


def encode_chunk(agents: Iterable[AgentEntry]) -> bytes:
    """One chunk; what agents of a kind share (type, version, tags) is written once."""
    kinds: dict[tuple[str, int, tuple[str, ...]], int] = {}
    rows = [
        (agent.agent_id, agent.shard, kinds.setdefault((agent.agent_type, agent.version, agent.tags), len(kinds)))
        for agent in agents
    ]
    return orjson.dumps({"kinds": list(kinds), "agents": rows})


def decode_chunk(host: str, value: bytes) -> list[AgentEntry]:
    """The agents of one chunk. Raises `ValueError` when it is damaged."""
    try:
        record: dict[str, list[tuple[Any, Any, Any]]] = orjson.loads(value)
        kinds = [(AgentType(kind), int(version), tuple(map(str, tags))) for kind, version, tags in record["kinds"]]
        return [
            AgentEntry(
                agent_id=AgentId(agent_id),
                agent_type=agent_type,
                host=host,
                shard=shard,
                version=version,
                tags=tags,
            )
            for agent_id, shard, kind in record["agents"]
            for agent_type, version, tags in (kinds[int(kind)],)
        ]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"A chunk of host {host} is damaged.") from error


def parse_host(value: bytes) -> HostRecord | None:
    """A host record; None when somebody else wrote the key."""
    try:
        return HostRecord.model_validate_json(value)
    except ValidationError:
        return None


def parse_summary(value: bytes) -> Summary | None:
    """A summary; None when somebody else wrote the key."""
    try:
        return Summary.model_validate_json(value)
    except ValidationError:
        return None


def parse_beat(value: bytes) -> BeatRecord | None:
    """A beat; None when somebody else wrote the key."""
    try:
        return BeatRecord.model_validate_json(value)
    except ValidationError:
        return None


def hosts_of(entries: Mapping[str, bytes], now: float, time_to_live: float) -> list[HostEntry]:
    """Hosts: one passes while it is not failed and its own incarnation beat within `time_to_live` seconds."""
    found: list[HostEntry] = []
    for host, value in sorted(entries.items()):
        record = None if "." in host else parse_host(value)
        if record is None:
            continue
        beat = parse_beat(entries.get(beat_key(host), b""))
        alive = beat is not None and beat.incarnation == record.incarnation and now - beat.at < time_to_live
        found.append(HostEntry(host=host, incarnation=record.incarnation, passing=alive and not record.failed))
    return found
