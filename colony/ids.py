"""Names of things, and the addresses derived from them. Pure functions, no I/O.

An agent's address is a pure function of its id: senders need no directory.
"""

from __future__ import annotations

import re
import zlib
from typing import Any, Final, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from colony.errors import BadInput

SHARDS: Final = 1024
"""Number of shards. Kept in the ledger; a configuration that differs is refused."""

RAY_NAMESPACE: Final = "colony"

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class Id(str):
    """A validated name: `^[a-z0-9][a-z0-9_-]{0,63}$`.

    Safe as NATS token, Consul id, Ray actor name, metric label and file name, because everything else is refused.
    Raises `BadInput` from the constructor.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        """Validate; raises `BadInput`."""
        if type(value) is cls:
            return value
        if not isinstance(value, str) or _ID.fullmatch(value) is None:  # pyright: ignore[reportUnnecessaryIsInstance] -- callers hand in parsed JSON
            shown = repr(value)[:80]
            raise BadInput(
                f"{shown} is not a valid {cls.__name__}.",
                remedy="Use 1 to 64 of a-z, 0-9, _ and -, starting with a letter or digit.",
            )
        return super().__new__(cls, value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def parse(value: str) -> Self:
            try:
                return cls(value)
            except BadInput as error:
                raise ValueError(str(error)) from error

        return core_schema.no_info_after_validator_function(
            parse,
            core_schema.str_schema(pattern=f"^{_ID.pattern}$"),
            serialization=core_schema.to_string_ser_schema(),
        )


class AgentId(Id):
    """The id of one agent."""

    __slots__ = ()


class AgentType(Id):
    """The name of one agent type."""

    __slots__ = ()


def shard_of(agent_id: AgentId) -> int:
    """The shard of an agent, 0 to `SHARDS` - 1."""
    return zlib.crc32(agent_id.encode("ascii")) % SHARDS


def agent_subject(agent_id: AgentId) -> str:
    """Where to send to one agent."""
    return f"colony.agent.{shard_of(agent_id)}.{agent_id}"


def shard_subject(shard: int) -> str:
    """What the owner of a shard subscribes to: all its agents."""
    if not 0 <= shard < SHARDS:
        raise BadInput(f"Shard {shard} is outside 0 to {SHARDS - 1}.")
    return f"colony.agent.{shard}.*"


def agent_of_subject(subject: str) -> AgentId:
    """The agent a subject of `agent_subject` names. Raises `BadInput` on any other subject."""
    parts = subject.split(".")
    if len(parts) != 4 or parts[:2] != ["colony", "agent"]:
        raise BadInput(f"{subject[:120]!r} is not the address of an agent.")
    return AgentId(parts[3])


def type_subject(agent_type: AgentType) -> str:
    """Where to send to any one agent of a type (a queue group)."""
    return f"colony.type.{agent_type}"


def topic_subject(topic: str) -> str:
    """Where to broadcast to the subscribers of a topic."""
    return f"colony.topic.{Id(topic)}"


def event_subject(kind: str, name: str) -> str:
    """Where a fact is published: `kind` says what happened, `name` to whom (an id or a run id)."""
    return f"colony.event.{Id(kind)}.{token(name)}"


def heartbeat_subject(host: str) -> str:
    """Where a host says every 10 s that it lives."""
    return f"colony.heartbeat.{Id(host)}"


def token(value: str) -> str:
    """`value` if it may stand as one token of a subject (run ids have capitals); else `BadInput`."""
    if _TOKEN.fullmatch(value) is None:
        raise BadInput(f"{value[:80]!r} cannot stand in a subject.", remedy="Use A-Z, a-z, 0-9, _ and -.")
    return value


def host_name(slot: int) -> Id:
    """The name of the host in a slot: Ray actor, Consul node and heartbeat subject all use it."""
    if slot < 0:
        raise BadInput(f"Slot {slot} is negative.")
    return Id(f"colony-host-{slot}")


def agent_name(agent_type: AgentType, number: int) -> AgentId:
    """The id `deploy_agents.py` gives to the `number`-th agent of a type: `research-00042`."""
    return AgentId(f"{agent_type}-{number:05d}")
