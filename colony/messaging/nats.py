"""The bus over a NATS server: `Messenger` that survives outages, bad messages and faults of the client library."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog
from nats.js import JetStreamContext

from colony.config.endpoints import NatsEndpoint
from colony.errors import BadInput, DeadlineExceeded, NoResponders, NotPermitted, Unavailable
from colony.lifecycle import task_owner
from colony.messaging.codec import decode, encode
from colony.messaging.connection import Deliver
from colony.messaging.handling import HandlerPool, error_reply, raise_answered_error
from colony.messaging.headers import encode_headers, with_trace_of
from colony.messaging.link import BusLink, Interest
from colony.messaging.port import Envelope, Handler, Intake
from colony.messaging.services import ServiceAnnouncement, Stats
from colony.messaging.subjects import inbox_prefix, is_reply_subject, publish_subject, queue_group, subscribe_subject

_log = structlog.get_logger(__name__)

FRESH_SECONDS: Final = 15.0
"""How old the last good probe may be for `connected`."""

_PROBE_TIMEOUT: Final = 3.0
_FINISH_SECONDS: Final = 10.0
_LAST_TRY_SECONDS: Final = 0.1
"""What the last try of an ask has left: with less, nobody there would look like no answer in time."""

_NO_RESPONDERS = b"NATS/1.0 503"


class NatsSubscription:
    """See `colony.messaging.port.Subscription`."""

    def __init__(
        self, link: BusLink, interests: list[Interest], pools: set[HandlerPool], pool: HandlerPool | None
    ) -> None:
        self._link = link
        self._interests = interests
        self._pools = pools
        self._pool = pool

    async def aclose(self) -> None:
        """Stop receiving; messages already taken are still handled (at most 10 s)."""
        await self._link.remove(self._interests)
        if self._pool is not None:
            await self._pool.finish(_FINISH_SECONDS)
            self._pools.discard(self._pool)


class NatsMessenger:
    """See `colony.messaging.port.Messenger`. Use through `open_messenger`."""

    def __init__(self, endpoint: NatsEndpoint, *, role: str, name: str) -> None:
        self.counters: Counter[str] = Counter()
        """Messages and troubles since the start, by name."""
        self.link = BusLink(
            endpoint, role=role, name=name, counters=self.counters, probe=self.ping, refused=self._note_refusal
        )
        """What keeps the connection; for the composition and tests."""
        self._inbox = f"{inbox_prefix(role)}.{uuid.uuid4().hex}"
        self._answers = Interest(f"{self._inbox}.*", "", self._take_answer)
        self.link.want(self._answers)
        self._pools: set[HandlerPool] = set()
        self._asks: dict[str, tuple[str, asyncio.Future[Envelope]]] = {}
        self._next = 0
        self._last_echo = float("-inf")

    @property
    def connected(self) -> bool:
        """See the port."""
        return self.link.usable is not None and time.monotonic() - self._last_echo < FRESH_SECONDS

    async def tell(self, subject: str, envelope: Envelope) -> None:
        """See the port. Raises `NotPermitted` once the server has refused that subject."""
        headers = encode_headers(envelope.trace) if envelope.trace else b""
        await self.link.send(publish_subject(subject), encode(envelope), headers=headers)

    async def ask(self, subject: str, envelope: Envelope, *, timeout: float) -> Envelope:
        """See the port. Raises `NotPermitted` when the server refuses the subject."""
        publish_subject(subject)
        deadline = time.monotonic() + timeout
        if envelope.deadline is None:
            envelope = envelope.model_copy(update={"deadline": time.time() + timeout})
        data = encode(envelope)
        headers = encode_headers(envelope.trace) if envelope.trace else b""
        pause = 0.02
        while True:
            try:
                answer = await self._ask_once(subject, data, deadline, headers)
            except (NoResponders, Unavailable):
                spare = deadline - time.monotonic() - _LAST_TRY_SECONDS
                if spare <= 0:
                    raise
                wait = min(pause, max(spare, 0.02)) * random.uniform(0.5, 1.0)  # noqa: S311 -- jitter, no secret
                await asyncio.sleep(wait)
                pause = min(pause * 2, 0.25)
                continue
            raise_answered_error(answer)
            return answer

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", concurrency: int = 64
    ) -> NatsSubscription:
        """See the port. Raises `NotPermitted` when the server refuses the subject."""
        pool = HandlerPool(handler, concurrency, self.counters, time.time)
        subscription = await self._subscribe(subject, pool.take, queue, pool)
        self._pools.add(pool)
        return subscription

    async def subscribe_raw(self, subject: str, intake: Intake, *, queue: str = "") -> NatsSubscription:
        """See the port. Raises `NotPermitted` when the server refuses the subject."""
        return await self._subscribe(subject, intake, queue, None)

    async def ping(self) -> float:
        """See the port. Raises `Unavailable` after 3 s."""
        started = time.monotonic()
        token, future = self._expect(self._inbox)
        try:
            await self.link.send(f"{self._inbox}.{token}", encode(Envelope(kind="probe")), buffer=False)
            await asyncio.wait({future}, timeout=_PROBE_TIMEOUT)
            if not future.done():
                raise Unavailable(f"The bus did not echo a message within {_PROBE_TIMEOUT:g} s.")
            future.result()
        finally:
            self._asks.pop(token, None)
        self._last_echo = time.monotonic()
        return self._last_echo - started

    async def drain(self, timeout: float) -> None:
        """See the port. Handlers under way get the time that is left, too. Never raises."""
        deadline = time.monotonic() + timeout
        await self.link.remove_all(keep=self._answers)
        await asyncio.gather(*(pool.finish(max(0.0, deadline - time.monotonic())) for pool in self._pools))
        self.link.closing = True
        connection = self.link.usable
        if connection is not None:
            try:
                await connection.round_trip(max(0.1, deadline - time.monotonic()))
            except Unavailable as error:
                _log.warning("the bus did not take everything before closing", error=str(error))
        await self.link.close()

    async def announce_service(
        self, name: str, *, version: str, metadata: Mapping[str, str], stats: Stats
    ) -> NatsSubscription:
        """Answer the NATS Services protocol (`$SRV`) as one instance of service `name`, until closed."""
        service = ServiceAnnouncement(
            name=name,
            identity=uuid.uuid4().hex,
            version=version,
            metadata=metadata,
            started=time.time(),
            stats=stats,
        )

        def responder(verb: str) -> Deliver:
            def deliver(subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
                self._answer_bytes(reply.decode("ascii", "replace"), service.answer(verb))

            return deliver

        interests = [Interest(subject, "", responder(verb)) for subject, verb in service.subjects.items()]
        await self.link.add(interests)
        return NatsSubscription(self.link, interests, self._pools, None)

    def jetstream(self, timeout: float = 5.0) -> JetStreamContext:
        """JetStream on the connection of now: fetch it anew for each use. Raises `Unavailable` while there is none."""
        connection = self.link.usable
        if connection is None:
            raise Unavailable("The bus does not answer.")
        return JetStreamContext(connection, timeout=timeout)

    def _expect(self, subject: str) -> tuple[str, asyncio.Future[Envelope]]:
        self._next += 1
        token = str(self._next)
        future: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._asks[token] = (subject, future)
        return token, future

    async def _ask_once(self, subject: str, data: bytes, deadline: float, headers: bytes) -> Envelope:
        token, future = self._expect(subject)
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self.link.up.wait()
                await self.link.send(subject, data, f"{self._inbox}.{token}", buffer=False, headers=headers)
                return await future
        except TimeoutError:
            raise DeadlineExceeded(f"No answer from {subject} before the deadline.") from None
        finally:
            self._asks.pop(token, None)

    def _answer_bytes(self, reply: str, data: bytes) -> None:
        connection = self.link.usable
        if not is_reply_subject(reply):
            self.counters["bad_reply_subject"] += 1
        elif connection is None or connection.crowded:
            self.counters["dropped_answers"] += 1
        else:
            connection.send(reply, data)

    def _answer(self, reply: str, envelope: Envelope) -> None:
        try:
            data = encode(envelope)
        except BadInput as error:
            data = encode(error_reply(error))
        self._answer_bytes(reply, data)

    async def _subscribe(self, subject: str, intake: Intake, queue: str, pool: HandlerPool | None) -> NatsSubscription:
        subscribe_subject(subject)
        queue_group(queue)
        counters = self.counters

        def deliver(to: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
            counters["received"] += 1
            try:
                envelope = decode(data)
                text = to.decode()
            except (BadInput, UnicodeDecodeError) as error:
                counters["dropped_undecodable"] += 1
                _log.debug("a message was dropped", subject=repr(to[:100]), error=str(error)[:200])
                return
            if envelope.deadline is not None and envelope.deadline < time.time():
                counters["expired"] += 1
                return
            if headers and not envelope.trace:
                envelope = with_trace_of(envelope, headers)
            if reply:
                inbox = reply.decode("ascii", "replace")
                intake(text, envelope, lambda answer: self._answer(inbox, answer))
            else:
                intake(text, envelope, None)

        interests = [Interest(subject, queue, deliver)]
        await self.link.add(interests)
        return NatsSubscription(self.link, interests, self._pools, pool)

    def _take_answer(self, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        waiting = self._asks.get(subject[len(self._inbox) + 1 :].decode())
        if waiting is None or waiting[1].done():
            return
        if headers is not None and headers.startswith(_NO_RESPONDERS):
            waiting[1].set_exception(NoResponders(f"Nobody listens on {waiting[0]}."))
            return
        try:
            waiting[1].set_result(decode(data))
        except BadInput as error:
            self.counters["dropped_undecodable"] += 1
            waiting[1].set_exception(error)

    def _note_refusal(self, message: str) -> None:
        """Spare those the waiting who ask on a subject the server refuses."""
        for subject, future in list(self._asks.values()):
            if f'publish to "{subject.lower()}"' in message and not future.done():
                future.set_exception(NotPermitted(f"The bus does not let {self.link.role} send to {subject}."))


@asynccontextmanager
async def open_messenger(endpoint: NatsEndpoint, *, role: str, name: str) -> AsyncGenerator[NatsMessenger]:
    """A connection for `role` (its password is in `<credentials>/nats-<role>`), shown as `name` on the server.

    Raises `Unavailable` when the server does not answer within 5 s and `NotPermitted` when it refuses the password;
    once open, it survives any outage. The way out takes at most 2 s: call `drain` first where more is to be sent.
    """
    messenger = NatsMessenger(endpoint, role=role, name=name)
    await messenger.link.connect()
    async with task_owner() as owner:
        try:
            await messenger.ping()
            owner.start(messenger.link.supervise(), name=f"bus connection of {name}")
            yield messenger
        finally:
            await messenger.drain(2.0)
