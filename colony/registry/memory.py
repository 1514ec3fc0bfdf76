"""The registry in memory: the twin of the real ones, for tests and simulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from colony.clock import Clock, SystemClock
from colony.errors import Fenced, NotFound, Unavailable
from colony.ids import AgentId, AgentType
from colony.registry.entries import TIME_TO_LIVE, add_counts, by_id, config_key, count_types, difference, of_type
from colony.registry.port import AgentEntry, HostEntry


@dataclass
class _Host:
    incarnation: str
    meta: dict[str, str]
    beaten: float
    failed: bool = False
    agents: dict[AgentId, AgentEntry] = field(default_factory=dict[AgentId, AgentEntry])


class MemoryRegistry:
    """A `Registry` that lives in this process. Set `reachable` to False to see what callers do without one."""

    def __init__(self, clock: Clock | None = None, *, time_to_live: float = TIME_TO_LIVE) -> None:
        self._clock = clock or SystemClock()
        self._time_to_live = time_to_live
        self._hosts: dict[str, _Host] = {}
        self._config: dict[str, str] = {}
        self.reachable = True

    @property
    def kind(self) -> str:
        """`memory`."""
        return "memory"

    async def join(self, host: str, incarnation: str, meta: Mapping[str, str]) -> None:
        """See `Registry`; joining again under the same incarnation revives a failed host and keeps its agents."""
        self._check()
        former = self._hosts.get(host)
        kept = former.agents if former and former.incarnation == incarnation else {}
        self._hosts[host] = _Host(incarnation, dict(meta), self._clock.monotonic(), agents=kept)

    async def beat(self, host: str, incarnation: str) -> None:
        """See `Registry`. Raises `Fenced` when another incarnation took the name."""
        self._check()
        known = self._hosts.get(host)
        if known is None:
            await self.join(host, incarnation, {})
            return
        if known.incarnation != incarnation:
            raise Fenced(f"Host {host} is published by another incarnation.")
        known.beaten = self._clock.monotonic()

    async def fail(self, host: str, incarnation: str) -> None:
        """See `Registry`."""
        self._check()
        known = self._hosts.get(host)
        if known is not None and known.incarnation == incarnation:
            known.failed = True

    async def leave(self, host: str, incarnation: str) -> None:
        """See `Registry`."""
        self._check()
        known = self._hosts.get(host)
        if known is not None and known.incarnation == incarnation:
            del self._hosts[host]

    async def publish(self, host: str, agents: Sequence[AgentEntry]) -> int:
        """See `Registry`. Raises `NotFound` when the host has not joined."""
        self._check()
        wanted = by_id(host, agents)
        known = self._hosts.get(host)
        if known is None:
            raise NotFound(f"Host {host} has not joined the registry.")
        change = difference(known.agents, wanted)
        known.agents = wanted
        return change.size

    async def hosts(self) -> list[HostEntry]:
        """See `Registry`."""
        self._check()
        return [
            HostEntry(host=name, incarnation=known.incarnation, passing=self._passes(known))
            for name, known in sorted(self._hosts.items())
        ]

    async def passing(self, agent_type: AgentType | None = None) -> list[AgentEntry]:
        """See `Registry`."""
        self._check()
        return [agent for known in self._alive() for agent in of_type(known.agents.values(), agent_type)]

    async def counts(self, *, failing: bool = False) -> dict[str, int]:
        """See `Registry`."""
        self._check()
        chosen = self._hosts.values() if failing else self._alive()
        return add_counts(count_types(known.agents.values()) for known in chosen)

    async def lookup(self, agent_id: AgentId) -> AgentEntry | None:
        """See `Registry`."""
        self._check()
        return next((known.agents[agent_id] for known in self._alive() if agent_id in known.agents), None)

    async def get_config(self, key: str) -> str | None:
        """See `Registry`."""
        self._check()
        return self._config.get(config_key(key))

    async def put_config(self, key: str, value: str) -> None:
        """See `Registry`."""
        self._check()
        self._config[config_key(key)] = value

    async def ping(self) -> float:
        """See `Registry`."""
        self._check()
        return 0.0

    def _check(self) -> None:
        if not self.reachable:
            raise Unavailable("The registry in memory was made unreachable.")

    def _passes(self, known: _Host) -> bool:
        return not known.failed and self._clock.monotonic() - known.beaten < self._time_to_live

    def _alive(self) -> list[_Host]:
        return [known for _, known in sorted(self._hosts.items()) if self._passes(known)]
