"""One HTTP exchange over ASGI: its body, its answer, and the client that may be slow or go away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, Final, TypeVar

import orjson
import structlog

from colony.errors import ColonyError
from ray_app.gateway.api.fields import RequestRefused

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Value = TypeVar("Value")

UNWATCHED: Final = 0.05
"""Seconds before somebody listens for a client that hangs up: answers from the cache are done by then."""

DRAINED: Final = 64 * 1024 * 1024
"""A body too large is still read up to here and thrown away, so that its sender reads our answer."""

_log = structlog.get_logger(__name__)


class ClientGone(Exception):
    """Nobody is left to answer."""


class Intake:
    """All bodies in memory at once, bounded."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def take(self, size: int) -> None:
        """Raises `RequestRefused` with 503 when there is no room."""
        if self.held + size > self._most:
            raise RequestRefused("Too many large requests at once.", status=503, code="overloaded")
        self.held += size

    def give_back(self, size: int) -> None:
        """The request is over."""
        self.held -= size


class Connection:
    """One request and its answer."""

    def __init__(self, receive: Receive, send: Send, intake: Intake, *, write_seconds: float) -> None:
        self._receive = receive
        self._send = send
        self._intake = intake
        self._write_seconds = write_seconds
        self._held = 0
        self.started = False
        """Whether the status is sent."""

    async def body(self, declared: str, *, limit: int, seconds: float) -> bytes:
        """The request's body; `declared` is its `Content-Length`, empty for none.

        Raises `RequestRefused` (413 too large, 408 too slow, 503 no room), `ClientGone`.
        """
        size = int(declared) if declared.isascii() and declared.isdigit() else 0
        try:
            async with asyncio.timeout(seconds):
                return await self._read(size, limit)
        except TimeoutError as error:
            raise RequestRefused(f"The body did not arrive within {seconds:g} s.", status=408) from error

    async def _read(self, declared: int, limit: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while declared <= DRAINED and size <= DRAINED:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part: bytes = message.get("body", b"")
            size += len(part)
            if size <= limit:
                self._hold(len(part))
                parts.append(part)
            else:
                parts.clear()
            if not message.get("more_body", False):
                break
        if max(size, declared) > limit:
            raise RequestRefused(f"The body is larger than {limit} bytes.", status=413, code="request_too_large")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _hold(self, size: int) -> None:
        self._intake.take(size)
        self._held += size

    def release(self) -> None:
        """The request is over: its body no longer counts."""
        self._intake.give_back(self._held)
        self._held = 0

    async def reply(self, status: int, body: Any, headers: list[tuple[bytes, bytes]]) -> None:
        """A whole JSON answer, or bytes whose type `headers` name."""
        raw: bytes = body if isinstance(body, bytes) else orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
        if not isinstance(body, bytes):
            headers = [(b"content-type", b"application/json"), *headers]
        length = (b"content-length", b"%d" % len(raw))
        self.started = True
        await self._send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
        await self._written({"type": "http.response.body", "body": raw})

    async def start(self, content_type: str, headers: list[tuple[bytes, bytes]]) -> None:
        """Begin a streamed answer."""
        kind = (b"content-type", content_type.encode())
        caching = (b"cache-control", b"no-cache")
        self.started = True
        await self._send({"type": "http.response.start", "status": 200, "headers": [kind, caching, *headers]})

    async def write(self, piece: bytes) -> None:
        """One piece of it. Raises `ClientGone` when the client does not take it in time."""
        await self._written({"type": "http.response.body", "body": piece, "more_body": True})

    async def finish(self) -> None:
        """End the streamed answer."""
        await self._written({"type": "http.response.body", "body": b"", "more_body": False})

    async def _written(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._write_seconds):
                await self._send(message)
        except TimeoutError as error:
            raise ClientGone from error

    async def unless_gone(self, work: Coroutine[Any, Any, Value]) -> Value:
        """The result of `work`; cancelled, and `ClientGone` raised, as soon as the client hangs up."""
        task = asyncio.create_task(work, name="gateway-request")
        try:
            await asyncio.wait({task}, timeout=UNWATCHED)
            if not task.done():
                await self._watched(task)
            if not task.done():
                raise ClientGone
            return task.result()
        finally:
            if not task.done():
                await _stopped(task)

    async def _watched(self, task: asyncio.Task[Any]) -> None:
        watch = asyncio.create_task(self._hung_up(), name="gateway-hang-up")
        try:
            await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            await asyncio.wait({watch})
            if not watch.cancelled() and (error := watch.exception()) is not None:
                _log.warning("listening for the client failed", error=repr(error))

    async def _hung_up(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def _stopped(task: asyncio.Task[Any]) -> None:
    """Cancel and wait; what it raised on the way out is no answer to anybody any more."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        error = task.exception()
        if error is not None and not isinstance(error, ColonyError | ClientGone):
            _log.error("a cancelled request failed", error=repr(error), exc_info=error)
