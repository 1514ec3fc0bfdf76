"""The bus inside one process: the twin of `colony.messaging.nats`, with the same meaning and no server.

Messages travel as bytes through the same codec, permissions come from the same table.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from colony.clock import Clock, SystemClock
from colony.errors import BadInput, DeadlineExceeded, NoResponders, NotPermitted, Unavailable
from colony.messaging.codec import decode, encode
from colony.messaging.handling import HandlerPool, Reply, error_reply, raise_answered_error
from colony.messaging.outage import OutageBuffer
from colony.messaging.permissions import may_publish, may_subscribe
from colony.messaging.port import Envelope, Handler, Intake
from colony.messaging.subjects import matches, publish_subject, queue_group, subscribe_subject


@dataclass(eq=False)
class _Interest:
    pattern: str
    queue: str
    deliver: Callable[[str, bytes, Reply | None], None]


class MemoryBus:
    """What `MemoryMessenger`s of one process share. Set `available` to False to play an outage."""

    def __init__(self, *, seed: int = 0) -> None:
        self._interests: dict[_Interest, None] = {}
        self._messengers: list[MemoryMessenger] = []
        self._random = random.Random(seed)  # noqa: S311 -- picks a member of a queue group
        self._available = True

    @property
    def available(self) -> bool:
        """Whether the bus takes messages."""
        return self._available

    @available.setter
    def available(self, value: bool) -> None:
        self._available = value
        if value:
            for messenger in self._messengers:
                messenger.flush_outage()

    def join(self, messenger: MemoryMessenger) -> None:
        """Tell a messenger when the bus is back."""
        self._messengers.append(messenger)

    def leave(self, messenger: MemoryMessenger) -> None:
        """Forget a messenger."""
        if messenger in self._messengers:
            self._messengers.remove(messenger)

    def add(self, interest: _Interest) -> None:
        """Deliver what matches, from now on."""
        self._interests[interest] = None

    def remove(self, interest: _Interest) -> None:
        """Deliver no more."""
        self._interests.pop(interest, None)

    def publish(self, subject: str, data: bytes, reply: Reply | None) -> bool:
        """Hand a message to everybody interested, one per queue group, soon; False when there is nobody."""
        groups: dict[str, list[_Interest]] = {}
        chosen: list[_Interest] = []
        for interest in self._interests:
            if matches(interest.pattern, subject):
                if interest.queue:
                    groups.setdefault(interest.queue, []).append(interest)
                else:
                    chosen.append(interest)
        chosen.extend(self._random.choice(members) for members in groups.values())
        loop = asyncio.get_running_loop()
        for interest in chosen:
            loop.call_soon(interest.deliver, subject, data, reply)
        return bool(chosen)


class MemorySubscription:
    """See `colony.messaging.port.Subscription`."""

    def __init__(self, end: Callable[[], None], pool: HandlerPool | None) -> None:
        self._end = end
        self._pool = pool

    async def aclose(self) -> None:
        """Stop receiving; messages already taken are still handled (at most 10 s)."""
        self._end()
        if self._pool is not None:
            await self._pool.finish(10.0)


class MemoryMessenger:
    """See `colony.messaging.port.Messenger`. Time for deadlines comes from `clock`; waits are real."""

    def __init__(self, bus: MemoryBus, *, role: str = "host", clock: Clock | None = None) -> None:
        self.counters: Counter[str] = Counter()
        """Messages and troubles since the start, by name."""
        self._bus = bus
        self._role = role
        self._clock: Clock = SystemClock() if clock is None else clock
        self._outage = OutageBuffer()
        self._interests: dict[_Interest, HandlerPool | None] = {}
        self._closed = False
        bus.join(self)

    @property
    def connected(self) -> bool:
        """See the port."""
        return self._bus.available and not self._closed

    async def tell(self, subject: str, envelope: Envelope) -> None:
        """See the port. Raises `NotPermitted` for a subject the role may not send to."""
        self._check_publish(publish_subject(subject))
        data = encode(envelope)
        if self._closed:
            raise Unavailable("The bus does not answer.")
        if self._bus.available:
            self._bus.publish(subject, data, None)
            self.counters["sent"] += 1
        else:
            self._outage.put(subject, data, self._clock.monotonic())

    async def ask(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
        """See the port. Raises `NotPermitted` for a subject the role may not send to."""
        self._check_publish(publish_subject(subject))
        if envelope.deadline is None:
            envelope = envelope.model_copy(update={"deadline": self._clock.wall() + timeout})
        data = encode(envelope)
        answer: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()

        def take(reply: Envelope) -> None:
            try:
                data = encode(reply)
            except BadInput as error:
                data = encode(error_reply(error))
            if not answer.done():
                answer.set_result(decode(data))

        sent = False
        try:
            async with asyncio.timeout(timeout):
                while not (self.connected and self._bus.publish(subject, data, take)):  # noqa: ASYNC110 -- retries, as the real one
                    await asyncio.sleep(0.01)
                sent = True
                reply = await answer
        except TimeoutError:
            if not sent and self.connected:
                raise NoResponders(f"Nobody listens on {subject}.") from None
            raise DeadlineExceeded(f"No answer from {subject} before the deadline.") from None
        raise_answered_error(reply)
        return reply

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", concurrency: int = 64
    ) -> MemorySubscription:
        """See the port. Raises `NotPermitted` for a subject the role may not read."""
        pool = HandlerPool(handler, concurrency, self.counters, self._clock.wall)
        return self._subscribe(subject, pool.take, queue, pool)

    async def subscribe_raw(self, subject: str, intake: Intake, *, queue: str = "") -> MemorySubscription:
        """See the port. Raises `NotPermitted` for a subject the role may not read."""
        return self._subscribe(subject, intake, queue, None)

    async def ping(self) -> float:
        """See the port."""
        if not self.connected:
            raise Unavailable("The bus does not answer.")
        await asyncio.sleep(0)
        return 0.0

    async def drain(self, timeout: float) -> None:
        """See the port."""
        interests = dict(self._interests)
        for interest in interests:
            self._forget(interest)
        await asyncio.gather(*(pool.finish(timeout) for pool in interests.values() if pool is not None))
        self._closed = True
        self._bus.leave(self)

    def flush_outage(self) -> None:
        """Send what waited for the bus (called by the bus)."""
        for subject, data in self._outage.take_all(self._clock.monotonic()):
            self._bus.publish(subject, data, None)

    def _check_publish(self, subject: str) -> None:
        if not may_publish(self._role, subject):
            raise NotPermitted(f"The bus does not let {self._role} send to {subject}.")

    def _subscribe(self, subject: str, intake: Intake, queue: str, pool: HandlerPool | None) -> MemorySubscription:
        subscribe_subject(subject)
        queue_group(queue)
        if not may_subscribe(self._role, subject):
            raise NotPermitted(f"The bus does not let {self._role} subscribe to {subject}.")
        if self._closed:
            raise Unavailable("The connection to the bus is closing.")

        def deliver(to: str, data: bytes, reply: Reply | None) -> None:
            if interest not in self._interests:
                return
            self.counters["received"] += 1
            envelope = decode(data)
            if envelope.deadline is not None and envelope.deadline < self._clock.wall():
                self.counters["expired"] += 1
                return
            try:
                intake(to, envelope, reply)
            except (Exception, asyncio.CancelledError):  # noqa: BLE001 -- as on the real bus: an intake cannot hurt it
                self.counters["dropped_undeliverable"] += 1

        interest = _Interest(subject, queue, deliver)
        self._interests[interest] = pool
        self._bus.add(interest)
        return MemorySubscription(partial(self._forget, interest), pool)

    def _forget(self, interest: _Interest) -> None:
        self._interests.pop(interest, None)
        self._bus.remove(interest)
