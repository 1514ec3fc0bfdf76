"""What a publication changes: pure decisions shared by all registries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from colony.errors import BadInput
from colony.ids import AgentId, AgentType
from colony.registry.port import AgentEntry

TIME_TO_LIVE: Final = 30.0
"""Seconds after the last beat at which a host stops passing."""

HOST_SERVICE: Final = "colony-host"
"""The service under which hosts themselves are published; no agent type may be called so."""

CONFIG_PREFIX: Final = "colony/config/"
"""Below this all configuration values live."""


class Difference(NamedTuple):
    """What has to be written and removed to get from one publication to the next."""

    put: tuple[AgentEntry, ...]
    remove: tuple[AgentEntry, ...]

    @property
    def size(self) -> int:
        """Entries written or removed."""
        return len(self.put) + len(self.remove)


def by_id(host: str, agents: Sequence[AgentEntry]) -> dict[AgentId, AgentEntry]:
    """The agents by id. Raises `BadInput` when one is listed twice, is of another host or has a reserved type."""
    found: dict[AgentId, AgentEntry] = {}
    for agent in agents:
        if agent.host != host:
            raise BadInput(f"Agent {agent.agent_id} is of host {agent.host}, not of {host}.")
        if agent.agent_type == HOST_SERVICE:
            raise BadInput(f"Agent {agent.agent_id}: the type name {HOST_SERVICE} is reserved.")
        if agent.agent_id in found:
            raise BadInput(f"Agent {agent.agent_id} is listed twice.")
        found[agent.agent_id] = agent
    return found


def difference(before: Mapping[AgentId, AgentEntry], after: Mapping[AgentId, AgentEntry]) -> Difference:
    """The least that turns `before` into `after`."""
    return Difference(
        put=tuple(agent for agent_id, agent in after.items() if before.get(agent_id) != agent),
        remove=tuple(agent for agent_id, agent in before.items() if agent_id not in after),
    )


def count_types(agents: Iterable[AgentEntry]) -> dict[str, int]:
    """Agents by type."""
    return dict(Counter(str(agent.agent_type) for agent in agents))


def add_counts(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of counts by type, types without agents left out, sorted by name."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return {agent_type: total[agent_type] for agent_type in sorted(total) if total[agent_type] > 0}


def of_type(agents: Iterable[AgentEntry], agent_type: AgentType | None) -> list[AgentEntry]:
    """The agents of a type; all for None."""
    return [agent for agent in agents if agent_type is None or agent.agent_type == agent_type]


def config_key(key: str) -> str:
    """`key` below `colony/config/`. Raises `BadInput` unless it is a plain path of a-z, A-Z, 0-9, `_`, `-`, `.`."""
    parts = key.split("/")
    plain = all(part.replace("-", "").replace("_", "").replace(".", "").isalnum() for part in parts)
    if not key.isascii() or not plain or len(key) > 200 or any(part.startswith(".") for part in parts):
        raise BadInput(f"{key[:80]!r} is not a configuration key.", remedy="Use words separated by /.")
    return CONFIG_PREFIX + key
