"""The outermost layer: who may ask, how much, and that what is sent as JSON is JSON. Plain ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from colony.errors import ColonyError, NotPermitted
from control.api.problems import answer, problem_of
from ray_app.gateway.api.fields import RequestRefused, decoded
from ray_app.gateway.api.keys import Guard, Headers, headers_of
from ray_app.gateway.api.problems import KeyRefused
from ray_app.gateway.api.settings import ApiSettings

OPEN: Final = frozenset({"/healthz", "/readyz", "/openapi.json"})
"""Paths that need no key: probes have none, and the description holds no secret."""

_NO_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS: Final = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"))

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Credentials and bounds."""

    key: str
    hosts: frozenset[str] = frozenset()
    """Names besides those of loopback that `Host` and `Origin` may hold."""
    max_body: int = 1_048_576
    """Bytes."""
    body_seconds: float = 30.0
    """Time a client has to send its body."""
    ui_origin: str = ""
    """Origin of Temporal's web UI, whose pages may use the codec."""


class Edge:
    """Lets requests in to `application`, their bodies read and checked, or answers with a problem."""

    def __init__(self, application: Application, settings: EdgeSettings) -> None:
        self._application = application
        self._settings = settings
        self._guard = Guard(ApiSettings(key=settings.key, hosts=settings.hosts))
        self._names_only = Guard(ApiSettings(key="", hosts=settings.hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._application(scope, receive, send)
            return
        sending = _Marked(send)
        try:
            headers = headers_of(scope["headers"])
            self._admit(scope["path"], headers)
            if scope["method"] not in _NO_BODY:
                receive = _replay(await self._body(headers, receive), receive)
            await self._application(scope, receive, sending)
        except ColonyError as error:
            await answer(problem_of(error))(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 -- the outermost layer: told to the log and to the client
            # Starlette has answered 500 by now; what is left is to say it in the log, and no more than once.
            _log.exception("request failed", path=scope["path"])
            if not sending.started:
                await answer(problem_of(error))(scope, receive, sending)

    def _admit(self, path: str, headers: Headers) -> None:
        guard = self._names_only if path in OPEN else self._guard
        try:
            guard.check(headers)
        except KeyRefused:
            raise KeyRefused(
                "The API key is missing or wrong.", remedy="Send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
            ) from None
        except (RequestRefused, NotPermitted):
            raise NotPermitted(
                "This API is not reached under the name in 'Host', or not from pages of 'Origin'.",
                remedy="Add the name to `api.hosts`.",
            ) from None

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                body = await self._read(headers, receive)
        except TimeoutError:
            raise RequestRefused("The body did not come in time.", status=408) from None
        if not body:
            return body
        media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if media != b"application/json" and not (media.startswith(b"application/") and media.endswith(b"+json")):
            raise RequestRefused("The body must be JSON.", param="Content-Type", status=415)
        try:
            decoded(body)
        except RequestRefused as error:
            raise RequestRefused(error.message, status=400) from error
        return body

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        too_large = RequestRefused(
            f"The body has more than {self._settings.max_body:,} bytes.", param="Content-Length", status=413
        )
        announced = headers.get(b"content-length", b"0")
        if not announced.isdigit() or int(announced[:18]) > self._settings.max_body or len(announced) > 18:
            raise too_large
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestRefused("The client went away.", status=400)
            body += message.get("body", b"")
            if len(body) > self._settings.max_body:
                raise too_large
            if not message.get("more_body", False):
                return bytes(body)


class _Marked:
    """Sends on with the headers every answer has; knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            there = {name for name, _ in message.get("headers", ())}
            more = [pair for pair in _HEADERS if pair[0] not in there]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await self._send(message)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body read before, then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
