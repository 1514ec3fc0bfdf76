"""Talk to agents and hear what happens, for a person at a terminal; with the rights of the bus user `client`.

That user may speak to agents, types and topics and hear events, topics and heartbeats: it cannot answer in an agent's
place, publish facts, or hear what agents say to each other.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from colony.contracts import DurableMessage
from colony.errors import NotFound
from colony.ids import AgentId, Id, agent_subject, shard_of
from colony.messaging.durable import deliver
from colony.messaging.port import Envelope
from control import session

Mode = Literal["ask", "tell", "deliver"]

SENDER: Final = "person"
_ROOM: Final = 10_000
"""Messages that may wait to be printed; more are dropped and counted."""


class Sent(NamedTuple):
    """What became of a message."""

    mode: Mode
    answer: Mapping[str, Any] | None = None
    """Of an ask."""
    message_id: str = ""
    """Of a deliver."""
    fresh: bool = True
    """False for the id of a message that was kept before."""


class Heard(NamedTuple):
    """A message as it was heard."""

    subject: str
    envelope: Envelope
    dropped: int
    """Messages lost so far since they came faster than they were taken."""


async def send(
    agent: str, kind: str, payload: dict[str, Any], mode: Mode, *, timeout: float = 10.0, message_id: str = ""
) -> Sent:
    """Send one message to an agent; `timeout` is how long an ask may take, in seconds.

    Raises `NotFound` for an agent that is not desired, `BadInput` for names that are none, `NoResponders` and
    `DeadlineExceeded` for an ask nobody answers, and the error an agent answers with.
    """
    agent_id, name = AgentId(agent), Id(kind)
    async with session.ledger_here() as ledger, session.messenger_here() as messenger:
        if not any(spec.agent_id == agent_id for spec in await ledger.agents([shard_of(agent_id)])):
            raise NotFound(f"There is no agent {agent_id!r}.", remedy="`colony agents` lists them.")
        if mode == "deliver":
            message = DurableMessage(
                message_id=message_id or secrets.token_hex(16),
                agent_id=agent_id,
                kind=name,
                payload=payload,
                sender=SENDER,
            )
            return Sent(mode, None, message.message_id, await deliver(ledger, messenger, message))
        envelope = Envelope(kind=name, payload=payload, sender=SENDER)
        if mode == "tell":
            await messenger.tell(agent_subject(agent_id), envelope)
            return Sent(mode)
        answer = await messenger.ask(agent_subject(agent_id), envelope, timeout=timeout)
        return Sent(mode, answer.payload)


async def listen(pattern: str) -> AsyncGenerator[Heard]:
    """Messages on the subjects that fit, from now on, without end. Raises `NotPermitted` for subjects of others."""
    heard: asyncio.Queue[tuple[str, Envelope]] = asyncio.Queue(_ROOM)
    dropped = 0

    def take(subject: str, envelope: Envelope, _: Callable[[Envelope], None] | None) -> None:
        nonlocal dropped
        try:
            heard.put_nowait((subject, envelope))
        except asyncio.QueueFull:
            dropped += 1

    async with session.messenger_here() as messenger:
        subscription = await messenger.subscribe_raw(pattern, take)
        try:
            while True:
                subject, envelope = await heard.get()
                yield Heard(subject, envelope, dropped)
        finally:
            await subscription.aclose()
