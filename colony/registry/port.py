"""The published view of who is alive and where. For people, outside clients and discovery; losing it stops no work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from colony.contracts import Frozen
from colony.ids import AgentId, AgentType


class AgentEntry(Frozen):
    """One agent as published."""

    agent_id: AgentId
    agent_type: AgentType
    host: str
    shard: int
    version: int = 1
    tags: tuple[str, ...] = ()
    """Capabilities: the actions it takes."""


class HostEntry(Frozen):
    """One host as published."""

    host: str
    incarnation: str
    passing: bool


class Registry(Protocol):
    """All methods raise `Unavailable` when the registry cannot be reached: callers go on without it."""

    @property
    def kind(self) -> str:
        """`consul`, `nats-kv` or `memory`."""
        ...

    async def join(self, host: str, incarnation: str, meta: Mapping[str, str]) -> None:
        """Publish a host as passing; a former incarnation under the same name is replaced with its agents."""
        ...

    async def beat(self, host: str, incarnation: str) -> None:
        """Say that a host lives (every 10 s, with jitter); it fails 30 s after the last. Re-joins if forgotten."""
        ...

    async def fail(self, host: str, incarnation: str) -> None:
        """Flip a host to failing: all its agents stop passing at once. A newer incarnation is left alone."""
        ...

    async def leave(self, host: str, incarnation: str) -> None:
        """Withdraw a host and its agents."""
        ...

    async def publish(self, host: str, agents: Sequence[AgentEntry]) -> int:
        """Make the agents of a host exactly these, by difference; returns how many entries were written or removed."""
        ...

    async def hosts(self) -> list[HostEntry]:
        """Hosts, passing or not."""
        ...

    async def passing(self, agent_type: AgentType | None = None) -> list[AgentEntry]:
        """Agents (of a type) whose host passes."""
        ...

    async def counts(self, *, failing: bool = False) -> dict[str, int]:
        """Passing agents by type; with `failing`, those of hosts that do not pass too."""
        ...

    async def lookup(self, agent_id: AgentId) -> AgentEntry | None:
        """One agent, if it passes."""
        ...

    async def get_config(self, key: str) -> str | None:
        """A value below `colony/config/`."""
        ...

    async def put_config(self, key: str, value: str) -> None:
        """Set a value below `colony/config/`."""
        ...

    async def ping(self) -> float:
        """Seconds of one round trip."""
        ...
