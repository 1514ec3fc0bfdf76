"""The registry on Consul: hosts are nodes, agents are services on them, written by transactions."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from colony.config.endpoints import read_secret
from colony.errors import Fenced, NotFound, Unavailable
from colony.ids import AgentId, AgentType, Id
from colony.registry import consul_codec as codec
from colony.registry.consul_http import Conflict, ConsulHttp, open_consul_http
from colony.registry.consul_publish import write_publication
from colony.registry.entries import (
    HOST_SERVICE,
    TIME_TO_LIVE,
    add_counts,
    by_id,
    config_key,
    difference,
    of_type,
)
from colony.registry.port import AgentEntry, HostEntry

_ATTEMPTS: Final = 5
"""How often a guarded write is tried when somebody changes the node at the same moment."""

_READ_BACK_SECONDS: Final = 5.0
"""How long `join` waits until the catalog shows what was written."""


@dataclass
class _Published:
    """What this process knows to be published of one host."""

    incarnation: str
    agents: dict[AgentId, AgentEntry]


@dataclass
class _Joined:
    incarnation: str
    meta: dict[str, str] = field(default_factory=dict[str, str])


class ConsulRegistry:
    """A `Registry` on Consul. Made by `open_consul_registry`.

    Also raises `NotPermitted` when the token does not allow a call. One publication per host at a time.
    """

    def __init__(self, http: ConsulHttp, *, concurrency: int, time_to_live: float) -> None:
        self._http = http
        self._concurrency = concurrency
        self._time_to_live = time_to_live
        self._joined: dict[str, _Joined] = {}
        self._published: dict[str, _Published] = {}
        self._publishing: dict[str, asyncio.Lock] = {}

    @property
    def kind(self) -> str:
        """`consul`."""
        return "consul"

    async def join(self, host: str, incarnation: str, meta: Mapping[str, str]) -> None:
        """See `Registry`; joining again under the same incarnation revives a failed host and keeps its agents."""
        Id(host)
        for _ in range(_ATTEMPTS):
            former = await self._node(host)
            operations = [codec.set_node(host, incarnation, meta), codec.set_check(host, passing=True)]
            if former is None or former.incarnation != incarnation:
                self._published[host] = _Published(incarnation, {})
                operations.append(codec.set_summary(host, incarnation, {}))
            if former is not None:
                guard = codec.delete_node if former.incarnation != incarnation else codec.expect_node
                operations.insert(0, guard(former))
            if await self._transact(operations):
                break
        else:
            raise Unavailable(f"Host {host} is being changed by others; it could not join.")
        self._joined[host] = _Joined(incarnation, dict(meta))
        await self._register(host)
        await self._read_back(host, incarnation)

    async def beat(self, host: str, incarnation: str) -> None:
        """See `Registry`. Raises `Fenced` when another incarnation took the name. Does not revive a failed host."""
        check = quote(codec.liveness_check(host, incarnation), safe="")
        try:
            await self._http.put(f"/v1/agent/check/update/{check}", {"Status": "passing"})
        except NotFound:
            await self._return(host, incarnation)

    async def fail(self, host: str, incarnation: str) -> None:
        """See `Registry`."""
        for _ in range(_ATTEMPTS):
            node = await self._node(host)
            if node is None or node.incarnation != incarnation:
                return
            if await self._transact([codec.expect_node(node), codec.set_check(host, passing=False)]):
                return
        raise Unavailable(f"Host {host} is being changed by others; it could not be failed.")

    async def leave(self, host: str, incarnation: str) -> None:
        """See `Registry`. A newer incarnation is left alone."""
        for _ in range(_ATTEMPTS):
            node = await self._node(host)
            if node is None or node.incarnation != incarnation:
                break
            if await self._transact([codec.delete_node(node), codec.delete_summary(host)]):
                break
        self._forget(host, incarnation)
        local = await self._http.entry(f"/v1/agent/service/{quote(host, safe='')}")
        if local is not None and codec.meta_of(local).get("incarnation") == incarnation:
            await self._http.put(f"/v1/agent/service/deregister/{quote(host, safe='')}")

    async def publish(self, host: str, agents: Sequence[AgentEntry]) -> int:
        """See `Registry`. Raises `NotFound` for a host that has not joined, `Fenced` for one joined here and replaced.

        After an error part of the difference may be written; the next call reads what is there and goes on.
        """
        wanted = by_id(host, agents)
        async with self._publishing.setdefault(host, asyncio.Lock()):
            node = await self._owned_node(host)
            known = self._published.get(host)
            if known is None or known.incarnation != node.incarnation:
                known = _Published(node.incarnation, await self._agents(host))
                self._published[host] = known
            change = difference(known.agents, wanted)
            if change.size:
                # Until all of it is committed nobody knows what is there: after an error the next call reads it.
                del self._published[host]
                await write_publication(self._http, node, known.agents, change, concurrency=self._concurrency)
                self._published[host] = _Published(node.incarnation, wanted)
            return change.size

    async def hosts(self) -> list[HostEntry]:
        """See `Registry`."""
        nodes, checks, beats = await asyncio.gather(
            self._http.rows("/v1/catalog/nodes", **{"node-meta": "colony:true"}),
            self._http.rows(
                "/v1/health/state/any", **{"node-meta": "colony:true", "filter": f'CheckID == "{codec.NODE_CHECK}"'}
            ),
            self._http.rows(f"/v1/health/service/{HOST_SERVICE}"),
        )
        return codec.hosts_of(codec.nodes_of(nodes), checks, beats)

    async def passing(self, agent_type: AgentType | None = None) -> list[AgentEntry]:
        """See `Registry`. Reads all agents of the type: for a number use `counts`."""
        found: list[AgentEntry] = []
        for host in await self._alive():
            found.extend(of_type((await self._agents(host.host, agent_type)).values(), agent_type))
        return found

    async def counts(self, *, failing: bool = False) -> dict[str, int]:
        """See `Registry`. Reads one summary per host, written in the transactions that publish agents."""
        hosts, answer = await asyncio.gather(
            self.hosts(), self._http.rows(f"/v1/kv/{codec.SUMMARY_PREFIX}", recurse="true")
        )
        summaries = codec.summaries_of(answer)
        return add_counts(summaries.get((host.host, host.incarnation), {}) for host in hosts if host.passing or failing)

    async def lookup(self, agent_id: AgentId) -> AgentEntry | None:
        """See `Registry`. One or two requests for every 128 hosts."""
        alive = [host.host for host in await self._alive()]
        for start in range(0, len(alive), codec.OPERATIONS):
            candidates = alive[start : start + codec.OPERATIONS]
            try:
                results = await self._http.transact([codec.find_agent(host, agent_id) for host in candidates])
            except Conflict as conflict:
                # A read of something absent fails the whole transaction; the operations that did not fail found it.
                candidates = [host for number, host in enumerate(candidates) if number not in conflict.failed]
                results = await self._read(candidates, agent_id)
            for host, result in zip(candidates, results, strict=False):
                agent = codec.agent_of(host, result.get("Service") or {})
                if agent is not None:
                    return agent
        return None

    async def get_config(self, key: str) -> str | None:
        """See `Registry`."""
        answer = await self._http.rows(f"/v1/kv/{quote(config_key(key))}")
        return base64.b64decode(answer[0]["Value"] or "").decode("utf-8") if answer else None

    async def put_config(self, key: str, value: str) -> None:
        """See `Registry`."""
        await self._http.put(f"/v1/kv/{quote(config_key(key))}", value.encode("utf-8"))

    async def ping(self) -> float:
        """See `Registry`."""
        return await self._http.ping()

    async def _alive(self) -> list[HostEntry]:
        return [host for host in await self.hosts() if host.passing]

    async def _node(self, host: str) -> codec.Node | None:
        nodes = codec.nodes_of(await self._http.rows("/v1/catalog/nodes", filter=f'Node == "{Id(host)}"'))
        return nodes[0] if nodes else None

    async def _owned_node(self, host: str) -> codec.Node:
        node = await self._node(host)
        if node is None:
            raise NotFound(f"Host {host} has not joined the registry.")
        mine = self._joined.get(host)
        if mine is not None and mine.incarnation != node.incarnation:
            raise Fenced(f"Host {host} is published by another incarnation.")
        return node

    async def _agents(self, host: str, agent_type: AgentType | None = None) -> dict[AgentId, AgentEntry]:
        wanted = {} if agent_type is None else {"filter": f'Service == "{AgentType(agent_type)}"'}
        answer = await self._http.entry(f"/v1/catalog/node-services/{quote(host, safe='')}", **wanted)
        services: codec.Rows = (answer["Services"] if answer else None) or []
        # Fifty thousand entries take the better part of a second to validate: not on the loop.
        return await asyncio.to_thread(codec.agents_of, host, services)

    async def _read(self, hosts: Sequence[str], agent_id: AgentId) -> list[dict[str, Any]]:
        if not hosts:
            return []
        try:
            return await self._http.transact([codec.find_agent(host, agent_id) for host in hosts])
        except Conflict:
            return []  # withdrawn between the two reads

    async def _transact(self, operations: Sequence[codec.Operation]) -> bool:
        try:
            await self._http.transact(operations)
        except Conflict:
            return False
        return True

    async def _return(self, host: str, incarnation: str) -> None:
        """Publish a host again that Consul forgot, with the agents this process published."""
        node = await self._node(host)
        if node is not None and node.incarnation != incarnation:
            raise Fenced(f"Host {host} is published by another incarnation.")
        mine = self._joined.get(host)
        if mine is None or mine.incarnation != incarnation:
            mine = _Joined(incarnation)
        if node is not None:
            self._joined[host] = mine
            await self._register(host)
            return
        known = self._published.get(host)
        await self.join(host, incarnation, mine.meta)
        if known is not None and known.incarnation == incarnation:
            await self.publish(host, list(known.agents.values()))

    async def _register(self, host: str) -> None:
        mine = self._joined[host]
        service = codec.liveness_service(host, mine.incarnation, mine.meta, self._time_to_live)
        await self._http.put("/v1/agent/service/register", service, **{"replace-existing-checks": "true"})

    async def _read_back(self, host: str, incarnation: str) -> None:
        """Wait until readers see the host: the local agent hands its services to the catalog a moment later."""
        wanted = HostEntry(host=host, incarnation=incarnation, passing=True)
        try:
            async with asyncio.timeout(_READ_BACK_SECONDS):
                while wanted not in await self.hosts():  # noqa: ASYNC110 -- what is awaited happens in another process
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Unavailable(
                f"Host {host} joined, but Consul does not show it.", remedy="Does the token allow to read nodes?"
            ) from None

    def _forget(self, host: str, incarnation: str) -> None:
        mine = self._joined.get(host)
        if mine is not None and mine.incarnation == incarnation:
            del self._joined[host]
        known = self._published.get(host)
        if known is not None and known.incarnation == incarnation:
            del self._published[host]


@asynccontextmanager
async def open_consul_registry(
    address: str, token_file: str, *, concurrency: int = 4, time_to_live: float = TIME_TO_LIVE
) -> AsyncGenerator[ConsulRegistry]:
    """The registry on the Consul agent at `address` with the token in `token_file`; does no I/O over the network yet.

    `concurrency` is how many transactions of one publication are in flight (1 to 4 pay), `time_to_live` the seconds
    after which a host without a beat stops passing. Raises `NotFound` or `BadInput` for the token file.
    """
    token = read_secret(token_file)
    async with open_consul_http(address, token, connections=concurrency + 4) as http:
        yield ConsulRegistry(http, concurrency=concurrency, time_to_live=time_to_live)
