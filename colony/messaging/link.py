"""Staying connected: one connection at a time, built anew with all subscriptions whenever it is of no use.

There is one way back from any trouble (server gone, server error, dead reader, silence): throw the connection away
and build the next. A probe through the bus to ourselves every two seconds finds those that only look alive.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from nats import errors

from colony.config.endpoints import NatsEndpoint, read_secret
from colony.errors import ColonyError, NotPermitted, Unavailable
from colony.messaging.connection import BusConnection, Deliver
from colony.messaging.outage import OutageBuffer
from colony.messaging.subjects import inbox_prefix

_log = structlog.get_logger(__name__)

PROBE_SECONDS: Final = 2.0
"""Pause between two self-probes."""

CONNECT_SECONDS: Final = 5.0
"""Time for one attempt to connect, and for the first connection in all."""

_SUBSCRIBE_SECONDS: Final = 5.0
_UNSUBSCRIBE_SECONDS: Final = 2.0
_SEND_SECONDS: Final = 5.0
_MAX_REFUSED: Final = 1_000


@dataclass(eq=False)
class Interest:
    """A subscription as wanted; `number` is its number on the connection of now."""

    subject: str
    queue: str
    deliver: Deliver
    number: int = 0


class BusLink:
    """The connection of one role, replaced whenever it breaks. `probe` must fail when nothing comes back.

    `refused` is called with what the server says when it refuses a subject (in lower case, the subject in quotes).
    """

    def __init__(
        self,
        endpoint: NatsEndpoint,
        *,
        role: str,
        name: str,
        counters: Counter[str],
        probe: Callable[[], Awaitable[object]],
        refused: Callable[[str], None],
    ) -> None:
        self.role = role
        self.up = asyncio.Event()
        """Set while messages can be sent."""
        self.closing = False
        self._endpoint = endpoint
        self._name = name
        self._counters = counters
        self._probe = probe
        self._refused = refused
        self._connection: BusConnection | None = None
        self._interests: dict[Interest, None] = {}
        self._outage = OutageBuffer()
        self._refusals: dict[str, None] = {}

    @property
    def usable(self) -> BusConnection | None:
        """The connection to send through now, if there is one."""
        connection = self._connection
        if connection is None or not self.up.is_set() or connection.lost.done():
            return None
        return connection

    # Sending and subscribing

    async def send(
        self, subject: str, data: bytes, reply: str = "", *, buffer: bool = True, headers: bytes = b""
    ) -> None:
        """Send, or keep it (without headers) for the time after an outage. Raises `Unavailable`, `NotPermitted`."""
        if self._refusals and f'publish to "{subject.lower()}"' in self._refusals:
            raise NotPermitted(f"The bus does not let {self.role} send to {subject}.")
        connection = self.usable
        if connection is None:
            if self.closing or not buffer:
                raise Unavailable("The bus does not answer.")
            self._outage.put(subject, data, time.monotonic())
            return
        if connection.crowded:
            await connection.make_room(_SEND_SECONDS)
        connection.send(subject, data, reply, headers)

    def want(self, interest: Interest) -> None:
        """Subscribe at the next connection."""
        self._interests[interest] = None

    async def add(self, interests: list[Interest]) -> None:
        """Subscribe now and after every rebuild; while the bus is away, when it is back. Raises `NotPermitted`."""
        if self.closing:
            raise Unavailable("The connection to the bus is closing.")
        for interest in interests:
            self.want(interest)
        connection = self.usable
        if connection is None:
            return
        for interest in interests:
            interest.number = connection.direct_subscribe(interest.subject, interest.queue, interest.deliver)
        try:
            await connection.round_trip(_SUBSCRIBE_SECONDS)
        except Unavailable:
            _log.info("subscribed while the bus was away; it takes effect when it is back")
        for interest in interests:
            if f'subscription to "{interest.subject.lower()}"' in self._refusals:
                await self.remove(interests)
                raise NotPermitted(f"The bus does not let {self.role} subscribe to {interest.subject}.")

    async def remove(self, interests: list[Interest]) -> None:
        """End subscriptions: once this returns, the server knows, and all it had sent before was delivered.

        A sender then hears that nobody listens, instead of waiting for an answer that never comes.
        """
        ended = [interest for interest in interests if interest in self._interests]
        for interest in ended:
            del self._interests[interest]
        connection = self._connection
        if connection is None or not ended:
            return
        for interest in ended:
            connection.direct_unsubscribe(interest.number)
        if self.usable is not None:
            try:
                await connection.round_trip(_UNSUBSCRIBE_SECONDS)
            except Unavailable:
                _log.info("unsubscribed while the bus was away")
        for interest in ended:
            connection.direct_forget(interest.number)

    async def remove_all(self, *, keep: Interest) -> None:
        """End all subscriptions but one."""
        await self.remove([interest for interest in self._interests if interest is not keep])

    # Staying connected

    async def connect(self, timeout: float = CONNECT_SECONDS) -> None:
        """The first connection. Raises `Unavailable` after `timeout` seconds, `NotPermitted` when refused."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                await self._build(max(0.1, deadline - time.monotonic()))
            except Unavailable:
                if time.monotonic() + 0.3 > deadline:
                    raise
                await asyncio.sleep(0.2)
            else:
                return

    async def supervise(self) -> None:
        """Replace the connection whenever it is of no use, until closed. Run it as an owned task."""
        while not self.closing:
            connection = self._connection
            if connection is not None:
                reason = await self._until_useless(connection)
                if self.closing:
                    return
                self.up.clear()
                self._counters["rebuilds"] += 1
                _log.warning("the connection to the bus is rebuilt", name=self._name, reason=reason)
                await connection.abandon()
            await self._rebuild()

    async def close(self) -> None:
        """End the connection without waiting."""
        self.closing = True
        self.up.clear()
        if self._connection is not None:
            await self._connection.abandon()

    async def _rebuild(self) -> None:
        pause = 0.1
        while not self.closing:
            try:
                await self._build(CONNECT_SECONDS)
            except ColonyError as error:
                # A refusal may pass, too: the server may be restarting with new credentials.
                _log.info("the bus is still away", name=self._name, error=str(error)[:200])
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 -- jitter, no secret
                pause = min(pause * 2, 2.0)
            else:
                _log.info("the bus is back", name=self._name)
                return

    async def _until_useless(self, connection: BusConnection) -> str:
        misses = 0
        while misses < 2:  # one may be our own loop that was busy
            await asyncio.wait({connection.lost}, timeout=PROBE_SECONDS)
            if connection.lost.done():
                return connection.lost.result()
            try:
                await self._probe()
            except ColonyError:
                misses += 1
            else:
                misses = 0
        return "no echo of a probe"

    async def _build(self, timeout: float) -> None:
        """Connect, subscribe to everything wanted, send what waited."""
        connection = BusConnection(self._counters, self._note_refusal)
        self._refusals.clear()
        try:
            async with asyncio.timeout(timeout):
                password = await asyncio.to_thread(read_secret, Path(self._endpoint.credentials) / f"nats-{self.role}")
                await connection.open(
                    random.choice(self._endpoint.url.split(",")),  # noqa: S311 -- any server will do
                    user=self.role,
                    password=password,
                    name=self._name,
                    inbox_prefix=inbox_prefix(self.role),
                )
                for interest in self._interests:
                    interest.number = connection.direct_subscribe(interest.subject, interest.queue, interest.deliver)
                await connection.round_trip(timeout)
        except BaseException as error:
            await connection.abandon()
            if isinstance(error, errors.Error) and "authorization violation" in str(error).lower():
                raise NotPermitted(f"The bus refuses the password of {self.role}.") from None
            if isinstance(error, TimeoutError | OSError | ValueError | errors.Error):
                raise Unavailable(f"The bus does not answer ({type(error).__name__}).") from error
            raise
        self._connection = connection
        self.up.set()
        for subject, data in self._outage.take_all(time.monotonic()):
            connection.send(subject, data)

    def _note_refusal(self, message: str) -> None:
        _log.warning("the bus refused a subject", role=self.role, error=message[:300])
        if len(self._refusals) < _MAX_REFUSED:
            start = max(message.find("publish to "), message.find("subscription to "))
            quoted = message[start:].split('"')
            self._refusals[f'{quoted[0]}"{quoted[1]}"' if len(quoted) > 2 else message] = None
        self._refused(message)
