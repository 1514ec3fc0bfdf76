"""The registry on NATS JetStream key-value buckets, for machines without Consul."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from colony.clock import Clock, SystemClock
from colony.errors import Fenced, NotFound, Unavailable
from colony.ids import AgentId, AgentType, Id
from colony.registry import nats_codec as codec
from colony.registry.entries import (
    CONFIG_PREFIX,
    TIME_TO_LIVE,
    add_counts,
    by_id,
    config_key,
    count_types,
    difference,
    of_type,
)
from colony.registry.nats_session import NatsSession, open_nats_session
from colony.registry.port import AgentEntry, HostEntry

_ATTEMPTS: Final = 5
"""How often a guarded write is tried when somebody else writes the same key."""

_IN_FLIGHT: Final = 16
"""Chunks read or written at the same time."""


class NatsKvRegistry:
    """A `Registry` on NATS. Made by `open_nats_kv_registry`.

    Also raises `NotPermitted` when the user may not use the buckets. Beats carry wall time, so the machines that
    share it must agree on the time to a few seconds.
    """

    def __init__(self, session: NatsSession, *, clock: Clock, time_to_live: float) -> None:
        self._session = session
        self._clock = clock
        self._time_to_live = time_to_live
        self._joined: dict[str, tuple[str, dict[str, str]]] = {}
        self._published: dict[str, tuple[str, dict[AgentId, AgentEntry]]] = {}
        self._publishing: dict[str, asyncio.Lock] = {}

    @property
    def kind(self) -> str:
        """`nats-kv`."""
        return "nats-kv"

    async def join(self, host: str, incarnation: str, meta: Mapping[str, str]) -> None:
        """See `Registry`; joining again under the same incarnation revives a failed host and keeps its agents."""
        former, _ = await self._record(Id(host))
        record = codec.HostRecord(incarnation=incarnation, meta=dict(meta))
        await self._session.put(codec.HOSTS, host, record.model_dump_json().encode())
        if former is None or former.incarnation != incarnation:
            # Agents of the former incarnation do not count from here on: their summary names it.
            await self._session.erase(codec.AGENTS, f"{host}.>")
            self._published[host] = (incarnation, {})
        self._joined[host] = (incarnation, dict(meta))
        await self._beat(host, incarnation)

    async def beat(self, host: str, incarnation: str) -> None:
        """See `Registry`. Raises `Fenced` when another incarnation took the name. Does not revive a failed host."""
        record, _ = await self._record(host)
        if record is None:
            await self._return(host, incarnation)
        elif record.incarnation != incarnation:
            raise Fenced(f"Host {host} is published by another incarnation.")
        else:
            await self._beat(host, incarnation)

    async def fail(self, host: str, incarnation: str) -> None:
        """See `Registry`."""
        for _ in range(_ATTEMPTS):
            record, revision = await self._record(host)
            if record is None or record.incarnation != incarnation:
                return
            failed = record.model_copy(update={"failed": True}).model_dump_json().encode()
            if await self._session.replace(codec.HOSTS, host, failed, revision):
                return
        raise Unavailable(f"Host {host} is being changed by others; it could not be failed.")

    async def leave(self, host: str, incarnation: str) -> None:
        """See `Registry`. A newer incarnation is left alone."""
        record, _ = await self._record(host)
        if record is not None and record.incarnation == incarnation:
            await self._session.erase(codec.HOSTS, host)
            await self._session.erase(codec.HOSTS, codec.beat_key(host))
            await self._session.erase(codec.AGENTS, f"{host}.>")
        if self._joined.get(host, ("", {}))[0] == incarnation:
            del self._joined[host]
        if self._published.get(host, ("", {}))[0] == incarnation:
            del self._published[host]

    async def publish(self, host: str, agents: Sequence[AgentEntry]) -> int:
        """See `Registry`. Raises `NotFound` for a host that has not joined, `Fenced` for one joined here and replaced.

        After an error part of the difference may be written; the next call reads what is there and goes on.
        """
        wanted = by_id(host, agents)
        async with self._publishing.setdefault(host, asyncio.Lock()):
            incarnation = await self._owner(host)
            before = self._published.get(host)
            if before is None or before[0] != incarnation:
                before = (incarnation, await self._read(host, incarnation))
            change = difference(before[1], wanted)
            if change.size:
                self._published.pop(host, None)
                await self._write(host, incarnation, before[1], wanted)
            self._published[host] = (incarnation, wanted)
            return change.size

    async def hosts(self) -> list[HostEntry]:
        """See `Registry`."""
        entries = await self._session.scan(codec.HOSTS, ">")
        return codec.hosts_of(entries, self._clock.wall(), self._time_to_live)

    async def passing(self, agent_type: AgentType | None = None) -> list[AgentEntry]:
        """See `Registry`. Reads all agents: for a number use `counts`."""
        found: list[AgentEntry] = []
        for host in await self._alive():
            found.extend(of_type((await self._read(host.host, host.incarnation)).values(), agent_type))
        return found

    async def counts(self, *, failing: bool = False) -> dict[str, int]:
        """See `Registry`. Reads one summary per host."""
        hosts, entries = await asyncio.gather(self.hosts(), self._session.scan(codec.AGENTS, "*.summary"))
        wanted = {(host.host, host.incarnation) for host in hosts if host.passing or failing}
        parts: list[dict[str, int]] = []
        for key, value in entries.items():
            summary = codec.parse_summary(value)
            if summary is not None and (key.split(".")[0], summary.incarnation) in wanted:
                parts.append(summary.counts)
        return add_counts(parts)

    async def lookup(self, agent_id: AgentId) -> AgentEntry | None:
        """See `Registry`. Two reads for every host."""
        for host in await self._alive():
            summary = await self._summary(host.host, host.incarnation)
            if summary is None:
                continue
            number = codec.chunk_of(agent_id, summary.chunks)
            for agent in await self._chunk(host.host, summary.chunks, number):
                if agent.agent_id == agent_id:
                    return agent
        return None

    async def get_config(self, key: str) -> str | None:
        """See `Registry`."""
        found = await self._session.get(codec.CONFIG, config_key(key).removeprefix(CONFIG_PREFIX))
        return None if found is None else found[0].decode("utf-8")

    async def put_config(self, key: str, value: str) -> None:
        """See `Registry`."""
        await self._session.put(codec.CONFIG, config_key(key).removeprefix(CONFIG_PREFIX), value.encode("utf-8"))

    async def ping(self) -> float:
        """See `Registry`."""
        return await self._session.ping()

    async def _alive(self) -> list[HostEntry]:
        return [host for host in await self.hosts() if host.passing]

    async def _record(self, host: str) -> tuple[codec.HostRecord | None, int]:
        found = await self._session.get(codec.HOSTS, host)
        return (None, 0) if found is None else (codec.parse_host(found[0]), found[1])

    async def _owner(self, host: str) -> str:
        record, _ = await self._record(host)
        if record is None:
            raise NotFound(f"Host {host} has not joined the registry.")
        if host in self._joined and self._joined[host][0] != record.incarnation:
            raise Fenced(f"Host {host} is published by another incarnation.")
        return record.incarnation

    async def _beat(self, host: str, incarnation: str) -> None:
        record = codec.BeatRecord(incarnation=incarnation, at=self._clock.wall())
        await self._session.put(codec.HOSTS, codec.beat_key(host), record.model_dump_json().encode())

    async def _return(self, host: str, incarnation: str) -> None:
        """Publish a host again that the server forgot, with the agents this process published."""
        joined, meta = self._joined.get(host, (incarnation, {}))
        known = self._published.get(host)
        await self.join(host, incarnation, meta if joined == incarnation else {})
        if known is not None and known[0] == incarnation:
            await self.publish(host, list(known[1].values()))

    async def _summary(self, host: str, incarnation: str) -> codec.Summary | None:
        found = await self._session.get(codec.AGENTS, codec.summary_key(host))
        summary = None if found is None else codec.parse_summary(found[0])
        return summary if summary is not None and summary.incarnation == incarnation else None

    async def _chunk(self, host: str, chunks: int, number: int) -> list[AgentEntry]:
        found = await self._session.get(codec.AGENTS, codec.chunk_key(host, chunks, number))
        return [] if found is None else codec.decode_chunk(host, found[0])

    async def _read(self, host: str, incarnation: str) -> dict[AgentId, AgentEntry]:
        summary = await self._summary(host, incarnation)
        if summary is None:
            return {}
        gate = asyncio.Semaphore(_IN_FLIGHT)

        async def read(number: int) -> list[AgentEntry]:
            async with gate:
                return await self._chunk(host, summary.chunks, number)

        parts = await asyncio.gather(*(read(number) for number in range(summary.chunks)))
        return {agent.agent_id: agent for part in parts for agent in part}

    async def _write(
        self,
        host: str,
        incarnation: str,
        before: Mapping[AgentId, AgentEntry],
        wanted: Mapping[AgentId, AgentEntry],
    ) -> None:
        """Write the chunks that differ, then the summary that points to them; a former layout goes last."""
        former = await self._summary(host, incarnation)
        chunks = codec.chunks_for(len(wanted))
        same_layout = former is not None and former.chunks == chunks
        old = codec.layout(before.values(), chunks)
        gate = asyncio.Semaphore(_IN_FLIGHT)

        async def write(number: int, agents: list[AgentEntry]) -> None:
            async with gate:
                key = codec.chunk_key(host, chunks, number)
                await self._session.put(codec.AGENTS, key, codec.encode_chunk(agents))

        new = codec.layout(wanted.values(), chunks)
        await asyncio.gather(
            *(write(number, new[number]) for number in range(chunks) if not same_layout or new[number] != old[number])
        )
        summary = codec.Summary(incarnation=incarnation, chunks=chunks, counts=count_types(wanted.values()))
        await self._session.put(codec.AGENTS, codec.summary_key(host), summary.model_dump_json().encode())
        if former is not None and not same_layout:
            await self._session.erase(codec.AGENTS, f"{host}.{former.chunks}.*")


@asynccontextmanager
async def open_nats_kv_registry(
    url: str,
    user: str,
    password: str,
    inbox_prefix: str,
    *,
    clock: Clock | None = None,
    time_to_live: float = TIME_TO_LIVE,
) -> AsyncGenerator[NatsKvRegistry]:
    """The registry on the NATS server at `url`; replies come back below `inbox_prefix`.

    Buckets are made when first used. Raises `NotPermitted` for wrong credentials, `Unavailable` when nobody answers.
    """
    async with open_nats_session(url, user, password, inbox_prefix) as session:
        yield NatsKvRegistry(session, clock=clock or SystemClock(), time_to_live=time_to_live)
