"""The event log: a bounded JetStream stream of facts. Never over `colony.agent.>`: it would answer every `ask`."""

from __future__ import annotations

from typing import Final

from nats import errors
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from colony.errors import NotPermitted, Unavailable
from colony.messaging.permissions import EVENT_STREAM

EVENT_SUBJECTS: Final = "colony.event.>"
EVENT_BYTES: Final = 64 * 1024 * 1024
EVENT_SECONDS: Final = 24 * 3600.0


async def ensure_event_stream(
    jetstream: JetStreamContext, *, max_bytes: int = EVENT_BYTES, max_age: float = EVENT_SECONDS
) -> None:
    """Create the event log, or bring its limits up to date. `max_age` in seconds.

    Needs the role host, dispatcher or supervisor. Raises `Unavailable`, or `NotPermitted` when the server refuses.
    """
    config = StreamConfig(
        name=EVENT_STREAM,
        subjects=[EVENT_SUBJECTS],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_bytes=max_bytes,
        max_age=max_age,
        num_replicas=1,
    )
    try:
        try:
            await jetstream.update_stream(config)  # pyright: ignore[reportUnknownMemberType] -- bare keywords in nats-py
        except NotFoundError:
            await jetstream.add_stream(config)  # pyright: ignore[reportUnknownMemberType] -- as above
    except APIError as error:
        raise NotPermitted(f"The bus refuses the event log: {error.description}.") from error
    except (errors.Error, TimeoutError, OSError) as error:
        raise Unavailable(f"The event log could not be set up ({type(error).__name__}).") from error
