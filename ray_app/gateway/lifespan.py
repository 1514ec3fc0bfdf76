"""The ASGI application that a replica of the gateway serves: opened by its lifespan, closed by it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

import structlog

from colony.errors import ColonyError, DeadlineExceeded, Unavailable
from ray_app.gateway.api.connection import Receive, Scope, Send
from ray_app.gateway.ports import Gate

_log = structlog.get_logger(__name__)

CHECK_SECONDS: Final = 5.0
OK: Final = b"ok"

App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Served:
    """A gate and the interfaces over it."""

    gate: Gate
    app: App


class LifespanApp:
    """Callable as ASGI asks. `tag` names the stack: the front must not take another stack's replica for ours."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[Served]], tag: str) -> None:
        self._opened = opened
        self._own = f"/-/stack/{tag}"
        self._served: Served | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One event of ASGI."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and scope["path"] == self._own:
            await self._tell(send)
        elif self._served is None:
            raise Unavailable("The gateway is not open.")
        else:
            await self._served.app(scope, receive, send)

    async def check(self) -> None:
        """Raises when the gate does not answer: Serve then starts another replica."""
        if self._served is None:
            raise Unavailable("The gateway is not open.")
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._served.gate.models()
        except TimeoutError:
            raise DeadlineExceeded(f"The gateway's own parts do not answer within {CHECK_SECONDS:.0f} s.") from None

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            async with self._opened() as self._served:
                await send({"type": "lifespan.startup.complete"})
                await receive()
                self._served = None
        except (ColonyError, OSError) as error:
            _log.error("the gateway cannot open", error=str(error))
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})

    async def _tell(self, send: Send) -> None:
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(OK)).encode())]
        status = 503 if self._served is None else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": OK})
