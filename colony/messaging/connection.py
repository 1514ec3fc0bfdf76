"""One connection to the bus, stripped of what nats-py does wrong on its own.

nats-py (2.16) gives up after some attempts, closes for good on most server errors, loses its reader to one malformed
subject while it still says that it is connected, and runs user callbacks where an exception kills its tasks. So it is
used only for the protocol: this class never reconnects, reports the first sign of trouble through `lost`, and is
replaced as a whole by `colony.messaging.nats`. It touches private parts of nats-py, whose minor version is pinned.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import structlog
from nats.aio.client import Client

from colony.errors import Unavailable
from colony.messaging.parsing import RunParser

_log = structlog.get_logger(__name__)

Deliver = Callable[[bytes, bytes, bytes, bytes | None], None]
"""Called in the read loop with (subject, reply, data, headers); must only enqueue."""

PENDING_BYTES = 1024 * 1024
"""Bytes that may wait for the socket before `make_room` is asked for."""

_CONNECT_SECONDS = 5
_PING_SECONDS = 10
_MAX_PINGS = 2


class BusConnection(Client):
    """A nats-py client that reports trouble instead of acting on it. Not connected until `open`."""

    def __init__(self, counters: Counter[str], on_denied: Callable[[str], None]) -> None:
        super().__init__()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Set with the reason when the connection is of no use any more."""
        self._counters = counters
        self._on_denied = on_denied
        self._direct: dict[int, Deliver] = {}
        self._ps = RunParser(self, self._dispatch)

    async def open(self, url: str, *, user: str, password: str, name: str, inbox_prefix: str) -> None:
        """Connect once. Raises what nats-py raises; see `colony.messaging.nats` for the translation."""

        async def note(error: Exception) -> None:
            self._counters["client_errors"] += 1
            _log.debug("bus connection", error=repr(error)[:300])

        async def closed() -> None:
            self.lose("closed")

        await self.connect(
            url,
            user=user,
            password=password,
            name=name,
            inbox_prefix=inbox_prefix,
            error_cb=note,
            closed_cb=closed,
            allow_reconnect=False,
            connect_timeout=_CONNECT_SECONDS,
            ping_interval=_PING_SECONDS,
            max_outstanding_pings=_MAX_PINGS,
            pending_size=0,  # no forced flush without a deadline inside publish(); `make_room` has one
        )
        for task in self._tasks():
            task.add_done_callback(lambda _: self.lose("a task of the connection ended"))

    def lose(self, reason: str) -> None:
        """Declare the connection useless; the first reason counts."""
        if not self.lost.done():
            self.lost.set_result(reason)

    def direct_subscribe(self, subject: str, queue: str, deliver: Deliver) -> int:
        """Subscribe without a queue and task of nats-py in between; survives no reconnect. Returns the number of it."""
        self._sid += 1
        self._direct[self._sid] = deliver
        self._write(f"SUB {subject} {queue} {self._sid}\r\n".encode("ascii"))
        return self._sid

    def direct_unsubscribe(self, number: int) -> None:
        """Ask the server to send no more; what is on its way is still delivered. Unknown numbers are ignored."""
        if number in self._direct:
            self._write(f"UNSUB {number}\r\n".encode("ascii"))

    def direct_forget(self, number: int) -> None:
        """Deliver nothing more of a subscription."""
        self._direct.pop(number, None)

    def send(self, subject: str, data: bytes, reply: str = "", headers: bytes = b"") -> None:
        """Queue a message for the socket; subjects and headers must be valid. Never blocks: see `crowded`."""
        if headers:
            sizes = f"{len(headers)} {len(headers) + len(data)}"
            self._write(f"HPUB {subject} {reply} {sizes}\r\n".encode("ascii") + headers + data + b"\r\n")
            return
        self._write(f"PUB {subject} {reply} {len(data)}\r\n".encode("ascii") + data + b"\r\n")

    @property
    def crowded(self) -> bool:
        """Whether so much waits for the socket that senders should call `make_room`."""
        return self._pending_data_size > PENDING_BYTES

    async def make_room(self, timeout: float) -> None:
        """Wait until what is queued went to the socket. Raises `Unavailable` after `timeout` seconds."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                if self._flush_queue is not None:
                    await self._flush_queue.put(written)
                await asyncio.wait({written, self.lost}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise Unavailable(f"The bus took nothing for {timeout:g} s.") from None
        if not written.done():
            raise Unavailable("The connection to the bus was lost.")

    async def round_trip(self, timeout: float) -> None:
        """Wait until the server has seen all that was sent. Raises `Unavailable` after `timeout` seconds.

        Not nats-py's `flush`: that overtakes what is queued, and a late answer to it ends the read loop.
        """
        pong: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self._send_ping(pong)
        await asyncio.wait({pong, self.lost}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not pong.done():
            raise Unavailable(f"The bus did not answer within {timeout:g} s.")

    async def abandon(self) -> None:
        """End now, sending nothing and waiting for nobody."""
        self.lose("abandoned")
        self._status = Client.CLOSED
        self._direct.clear()
        tasks = [task for task in self._tasks() if not task.done()]
        for subscription in list(self._subs.values()):
            subscription._stop_processing()  # pyright: ignore[reportPrivateUsage] -- JetStream readers end with the connection
        self._subs.clear()
        for task in tasks:
            task.cancel()
        writer: asyncio.StreamWriter | None = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    def _tasks(self) -> list[asyncio.Task[Any]]:
        """The tasks nats-py runs for a connection; none may end while it is in use."""
        found = [getattr(self, name) for name in ("_reading_task", "_flusher_task", "_ping_interval_task")]
        return [task for task in found if isinstance(task, asyncio.Task)]

    def _write(self, command: bytes) -> None:
        self._pending.append(command)
        self._pending_data_size += len(command)
        queue = self._flush_queue
        if queue is not None and queue.empty():
            queue.put_nowait(asyncio.get_running_loop().create_future())

    def _dispatch(self, sid: int, subject: bytes, reply: bytes, data: bytes) -> bool:
        deliver = self._direct.get(sid)
        if deliver is None:
            return False
        try:  # as _hand_over, which costs a call for every message
            deliver(subject, reply, data, None)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- see _hand_over
            self._undeliverable(error)
        return True

    def _hand_over(self, deliver: Deliver, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        try:
            deliver(subject, reply, data, headers)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 -- must not end the read loop; nothing is awaited here, so a cancellation cannot be meant for it
            self._undeliverable(error)

    def _undeliverable(self, error: BaseException) -> None:
        self._counters["dropped_undeliverable"] += 1
        _log.warning("a message could not be delivered", error=repr(error)[:300])

    # What follows replaces parts of nats-py.

    async def _select_next_server(self) -> None:
        """Try the one address given, once: the pool of nats-py retries inside, without end or pause of ours."""
        server = self._server_pool[0]
        self._current_server = server
        await self._connect_to_server(server)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> None:
        """Hand a message over; nothing that goes wrong may reach the read loop, which would end for good."""
        deliver = self._direct.get(sid)
        if deliver is not None:
            self._hand_over(deliver, subject, reply, data, headers)
            return
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except Exception as error:  # noqa: BLE001 -- see above
            self._undeliverable(error)

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        """In line with everything else that is sent, so that the answer proves what it should."""
        pongs = cast("list[asyncio.Future[Any]]", getattr(self, "_pongs"))  # noqa: B009 -- nats-py's type is bare
        pongs.append(asyncio.get_running_loop().create_future() if future is None else future)
        self._write(b"PING\r\n")

    async def _process_ping(self) -> None:
        """Answer without waiting for room: the read loop must go on."""
        self._write(b"PONG\r\n")

    async def _process_err(self, err_msg: str) -> None:
        """An error of the server. nats-py would close for good on nearly all of them."""
        if "permissions violation" in err_msg:
            self._counters["permission_denied"] += 1
            self._on_denied(err_msg)
            return
        self._counters["server_errors"] += 1
        self.lose(err_msg[:200])

    async def _process_op_err(self, e: Exception) -> None:
        """The socket or the protocol failed."""
        self.lose(repr(e)[:200])
