"""`deliver`: messages whose effect is exactly once, kept in the ledger until it is saved."""

from __future__ import annotations

import structlog

from colony.contracts import DurableMessage
from colony.errors import Transient
from colony.ids import agent_subject
from colony.ledger.port import MessageLedger
from colony.messaging.codec import encode
from colony.messaging.port import Envelope, Messenger

_log = structlog.get_logger(__name__)


def envelope_of(message: DurableMessage) -> Envelope:
    """How a durable message travels: the receiver knows it by its `message_id`."""
    envelope = Envelope(
        kind=message.kind, payload=message.payload, sender=message.sender, message_id=message.message_id
    )
    if not message.origin:
        return envelope  # what is not set does not travel
    return envelope.model_copy(update={"origin": message.origin})


async def deliver(ledger: MessageLedger, messenger: Messenger, message: DurableMessage) -> bool:
    """Keep `message`, then send it to its agent; False if the ledger had that id already.

    Once kept, the message is safe: a failed send is no error, since hosts sweep the ledger for undone messages. It is
    sent again for an id seen before, which hurts nobody and may be what the sender is waiting for. Raises what the
    ledger raises (`NotFound` for an agent that is not desired) and `BadInput` for a payload too large to send.
    """
    envelope = envelope_of(message)
    encode(envelope)  # refuse before it is kept what could never be sent
    fresh = await ledger.put_message(message)
    try:
        await messenger.tell(agent_subject(message.agent_id), envelope)
    except Transient as error:
        _log.info("a durable message waits for the sweep", message_id=message.message_id, error=str(error)[:200])
    return fresh
