"""Messages that carry the trace of the work they are sent in."""

from __future__ import annotations

from colony.messaging.port import Envelope, Handler, Intake, Messenger, Subscription
from colony.telemetry.port import Tracer


class TracedMessenger:
    """`inner`, with the `traceparent` of the span around it in each envelope sent. See `Messenger`."""

    def __init__(self, inner: Messenger, tracer: Tracer) -> None:
        self._inner = inner
        self._tracer = tracer

    @property
    def connected(self) -> bool:
        """See `Messenger`."""
        return self._inner.connected

    async def tell(self, subject: str, envelope: Envelope) -> None:
        """See `Messenger`."""
        await self._inner.tell(subject, _carrying(envelope, self._tracer.current()))

    async def ask(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
        """See `Messenger`. Has a span of its own, since somebody waits."""
        if not self._tracer.current():
            return await self._inner.ask(subject, envelope, timeout=timeout)
        facts = {"messaging.system": "nats", "messaging.operation.name": "ask"}
        with self._tracer.span(f"ask {envelope.kind}", kind="client", facts=facts) as span:
            return await self._inner.ask(subject, _carrying(envelope, span.trace), timeout=timeout)

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", concurrency: int = 64
    ) -> Subscription:
        """See `Messenger`."""
        return await self._inner.subscribe(subject, handler, queue=queue, concurrency=concurrency)

    async def subscribe_raw(self, subject: str, intake: Intake, *, queue: str = "") -> Subscription:
        """See `Messenger`."""
        return await self._inner.subscribe_raw(subject, intake, queue=queue)

    async def ping(self) -> float:
        """See `Messenger`."""
        return await self._inner.ping()

    async def drain(self, timeout: float) -> None:
        """See `Messenger`."""
        await self._inner.drain(timeout)


def _carrying(envelope: Envelope, trace: str) -> Envelope:
    return envelope.model_copy(update={"trace": trace}) if trace and not envelope.trace else envelope
