"""Messages between agents, hosts and people: tell, ask, and facts; `deliver` is in `colony.messaging.durable`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from pydantic import Field

from colony.contracts import Frozen

MAX_ENVELOPE = 512 * 1024
"""Most bytes of an encoded envelope."""


class Envelope(Frozen):
    """What travels. `version` 1; trace and deadline are inside, since headers cost more than half the rate."""

    version: int = 1
    kind: str
    """What the receiver should do: an action name, or the kind of a fact."""
    payload: dict[str, Any] = Field(default_factory=dict[str, Any])
    sender: str = ""
    message_id: str = ""
    trace: str = ""
    """W3C traceparent, or empty."""
    origin: str = ""
    """The task for which the sender says it, as its host writes it; empty for none."""
    deadline: float | None = None
    """Wall-clock seconds after which nobody waits for an answer."""
    error: str = ""
    """In a reply: the error class; empty when all is well."""
    error_message: str = ""


Handler = Callable[[str, Envelope], Awaitable[Envelope | None]]
"""Called with (subject, envelope); what it returns answers an `ask`. It runs in a task of its own."""

Intake = Callable[[str, Envelope, Callable[[Envelope], None] | None], None]
"""Called in the read loop with (subject, envelope, reply or None): must only enqueue and return at once."""


class Subscription(Protocol):
    """A running subscription."""

    async def aclose(self) -> None:
        """Stop receiving; messages already taken are still handled."""
        ...


class Messenger(Protocol):
    """A connection to the bus. Survives outages for as long as it is open.

    Subjects are validated (`BadInput`), envelopes bounded (`BadInput`), undecodable messages counted and dropped.
    """

    @property
    def connected(self) -> bool:
        """Whether the bus answers now, proven by a self-probe within the last 15 s."""
        ...

    async def tell(self, subject: str, envelope: Envelope) -> None:
        """At most once, fast. Raises `Unavailable` while the outage buffer is full."""
        ...

    async def ask(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
        """Send and wait for the answer; retries on no responders until `timeout` seconds are nearly over.

        Raises `NoResponders`, `DeadlineExceeded`, or the error the answer carries (class by name).
        """
        ...

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", concurrency: int = 64
    ) -> Subscription:
        """Handle messages in own tasks, at most `concurrency` at once."""
        ...

    async def subscribe_raw(self, subject: str, intake: Intake, *, queue: str = "") -> Subscription:
        """The hot path: hand each message to `intake` in the read loop."""
        ...

    async def ping(self) -> float:
        """Seconds of one round trip through the bus."""
        ...

    async def drain(self, timeout: float) -> None:
        """Send what is buffered, within `timeout` seconds, then close."""
        ...
