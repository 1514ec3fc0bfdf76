"""Proofs of the hosts: a real task, over the bus, to one agent of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from colony.config.endpoints import Endpoints
from colony.contracts import ShardOwner
from colony.errors import Permanent
from colony.ids import AgentType, agent_subject
from colony.ledger.port import Ledger
from colony.ledger.postgres import open_ledger
from colony.messaging.nats import open_messenger
from colony.messaging.port import Envelope
from control.settings import load_settings
from ray_app.questions import HOST_STATUS, PING

ASK_SECONDS: Final = 5.0

WORKING: Final = AgentType("processing")
"""The built-in type that is asked to do something; agents of other types only say that they are there."""

QUESTION: Final = {"text": "Colony  asks:\tis anybody there?"}


@dataclass(frozen=True, slots=True)
class AskedAgent:
    """One address of a host, and what to ask there."""

    host: str
    address: str
    action: str


async def agents_to_ask(endpoints: Endpoints) -> list[AskedAgent]:
    """One agent for every host that owns shards. Raises `Unavailable` without the ledger."""
    fleet = load_settings(endpoints).config.fleet
    kind = fleet.types.get(WORKING)
    built_in = kind is not None and not kind.implementation
    async with open_ledger(endpoints.postgres, pool_size=1, name="doctor") as ledger:
        desired, owners = await ledger.agent_counts(), await ledger.shard_owners()
        chosen = shard_for_each_host(owners, desired.get(WORKING, {}) if built_in else {})
        return [await _agent_in(ledger, owner, built_in=built_in) for owner in chosen]


def shard_for_each_host(owners: Sequence[ShardOwner], working: Mapping[int, int]) -> list[ShardOwner]:
    """A shard of every host, one with an agent that can work (`working`: shard -> how many) where it has any. Pure."""
    chosen: dict[str, ShardOwner] = {}
    for owner in owners:
        known = chosen.get(owner.host)
        if owner.host and (known is None or (working.get(owner.shard) and not working.get(known.shard))):
            chosen[owner.host] = owner
    return [chosen[host] for host in sorted(chosen)]


async def _agent_in(ledger: Ledger, owner: ShardOwner, *, built_in: bool) -> AskedAgent:
    found = await ledger.agents([owner.shard])
    working = next((spec for spec in found if built_in and spec.agent_type == WORKING), None)
    if working is not None:
        return AskedAgent(owner.host, agent_subject(working.agent_id), "clean")
    if found:
        return AskedAgent(owner.host, agent_subject(found[0].agent_id), PING)
    return AskedAgent(owner.host, f"colony.agent.{owner.shard}.host", HOST_STATUS)


async def ask_agent(agent: AskedAgent, endpoints: Endpoints) -> str:
    """The agent answers, and a working one with the right result. Raises `Permanent` when it is wrong."""
    async with open_messenger(endpoints.nats, role="client", name="doctor") as messenger:
        question = Envelope(kind=agent.action, payload=QUESTION, sender="doctor")
        answer = await messenger.ask(agent.address, question, timeout=ASK_SECONDS)
    return named(agent, answer.payload)


def named(agent: AskedAgent, payload: Mapping[str, Any]) -> str:
    """What was done, and by whom. Raises `Permanent` for an answer that does not fit the question. Pure."""
    if agent.action == "clean" and payload.get("text") != "Colony asks: is anybody there?":
        raise Permanent(f"{agent.address} answers wrongly: {str(payload)[:200]}.")
    if agent.action != "clean" and payload.get("host") != agent.host:
        raise Permanent(f"{agent.address} is answered by {payload.get('host')!r}.")
    return f"{agent.action} by {agent.address.rpartition('.')[2]}"
