"""The ASGI application that a replica of the gateway serves: opened before it, closed by its lifespan."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from colony.errors import DeadlineExceeded, Unavailable
from colony.lifecycle import Vitals
from ray_app.gateway.api.connection import Receive, Scope, Send
from ray_app.gateway.ports import Gate

CHECK_SECONDS: Final = 5.0
OK: Final = b"ok"

App = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Served:
    """A gate and the interfaces over it."""

    gate: Gate
    app: App
    vitals: Vitals
    """What works for them in the background."""


class LifespanApp:
    """Callable as ASGI asks. `tag` names the stack: the front must not take another stack's replica for ours."""

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[Served]], tag: str) -> None:
        self._opened = opened
        self._own = f"/-/stack/{tag}"
        self._served: Served | None = None
        self._over = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open it, in a task of its own that also closes it. Raises what stands in the way: ASGI would hide it."""
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(begun), name="gateway")
        await begun

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One event of ASGI."""
        if scope["type"] == "lifespan":
            await self._follow(receive, send)
        elif scope["type"] == "http" and scope["path"] == self._own:
            await self._tell(send)
        elif self._served is None:
            raise Unavailable("The gateway is not open.")
        else:
            await self._served.app(scope, receive, send)

    async def check(self) -> None:
        """Raises when the gate does not answer, or lost a background task: Serve then starts another replica."""
        if self._served is None:
            raise Unavailable("The gateway is not open.")
        self._served.vitals.check()
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._served.gate.models()
        except TimeoutError:
            raise DeadlineExceeded(f"The gateway's own parts do not answer within {CHECK_SECONDS:.0f} s.") from None

    async def _live(self, begun: asyncio.Future[None]) -> None:
        try:
            async with self._opened() as self._served:
                begun.set_result(None)
                await self._over.wait()
                self._served = None
        except BaseException as error:
            if begun.done():
                raise
            begun.set_exception(error)

    async def _follow(self, receive: Receive, send: Send) -> None:
        """`startup` finds it open; `shutdown` closes it."""
        while True:
            kind = (await receive())["type"].removeprefix("lifespan.")
            if kind == "shutdown" and self._life is not None:
                self._over.set()
                await self._life
            await send({"type": f"lifespan.{kind}.complete"})
            if kind == "shutdown":
                return

    async def _tell(self, send: Send) -> None:
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(OK)).encode())]
        status = 503 if self._served is None else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": OK})
