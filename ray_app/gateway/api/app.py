"""The ASGI application: who may in, what is asked, and the way back. Bare ASGI: a cached answer costs little more.

Nothing here holds a request's answer: it comes from the `Gate`, and goes out as it comes.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import structlog

from colony.clock import Clock, SystemClock
from colony.errors import ColonyError
from ray_app.gateway.api import ollama_answers, openai_answers
from ray_app.gateway.api.callers import ask_of, manner_of, new_request_id, request_id_of
from ray_app.gateway.api.connection import ClientGone, Connection, Intake, Receive, Scope, Send
from ray_app.gateway.api.exchange import Exchange, origin_headers, problem_headers
from ray_app.gateway.api.fields import RequestRefused, decoded
from ray_app.gateway.api.keys import Guard, headers_of
from ray_app.gateway.api.pages import Pages
from ray_app.gateway.api.problems import Problem, problem_of
from ray_app.gateway.api.routes import is_changing, parser_of
from ray_app.gateway.api.settings import ApiSettings
from ray_app.gateway.api.wanted import Renderer, Wanted
from ray_app.gateway.contracts import Ask
from ray_app.gateway.ports import Gate, Streamed

_log = structlog.get_logger(__name__)

CLIENT_GONE = 499
"""Status of an exchange whose client left: nobody reads it but counters."""


def build_app(gate: Gate, settings: ApiSettings, *, clock: Clock | None = None) -> Application:
    """The application over a gate."""
    return Application(gate, settings, clock or SystemClock())


class Application:
    """Callable as ASGI asks."""

    def __init__(self, gate: Gate, settings: ApiSettings, clock: Clock) -> None:
        self._gate = gate
        self._settings = settings
        self._clock = clock
        self._guard = Guard(settings)
        self._pages = Pages(gate, settings, clock)
        self._intake = Intake(settings.max_body * settings.held_bodies)
        self._under_way: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection event of ASGI."""
        if scope["type"] == "http":
            await self._exchange(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = Connection(receive, send, self._intake, write_seconds=self._settings.write_seconds)
        exchange = Exchange(
            connection=connection,
            method=scope["method"],
            path=_path(scope),
            headers=headers_of(scope["headers"]),
            request_id="",
            names_itself=not self._settings.behind_serve,
        )
        try:
            await self._served(exchange)
        except ClientGone:
            if not connection.started:
                await connection.reply(CLIENT_GONE, b"", [])
        except Exception as error:  # noqa: BLE001 -- the edge: whatever went wrong becomes an answer
            await self._refused(exchange, error)
        finally:
            connection.release()

    async def _served(self, exchange: Exchange) -> None:
        if exchange.path in ("/", "/health"):
            await exchange.reply(200, {"status": "ok"})
            return
        self._guard.check(exchange.headers)
        exchange.request_id = request_id_of(exchange.headers, behind_serve=self._settings.behind_serve)
        if is_changing(exchange.path):
            raise RequestRefused("Models are managed by the configuration, not by callers.", status=403)
        parse = parser_of(exchange.path)
        if parse is None:
            await self._pages.answer(exchange)
            return
        if exchange.method != "POST":
            raise RequestRefused(f"{exchange.path} takes POST.", status=405)
        began = self._clock.monotonic()
        manner = manner_of(exchange.headers, exchange.request_id, self._settings)
        wanted = parse(await self._json(exchange), self._clock)
        await self._asked(exchange, wanted, ask_of(wanted, manner, spent=self._clock.monotonic() - began))

    async def _json(self, exchange: Exchange) -> dict[str, Any]:
        limits = self._settings
        return decoded(
            await exchange.connection.body(
                exchange.header(b"content-length"), limit=limits.max_body, seconds=limits.body_seconds
            )
        )

    async def _asked(self, exchange: Exchange, wanted: Wanted, ask: Ask) -> None:
        if ask.request_id in self._under_way:
            raise RequestRefused("A request of this id is under way.", status=409, code="request_id_in_use")
        self._under_way.add(ask.request_id)
        renderer = wanted.renderer(ask.request_id)
        try:
            if wanted.stream:
                await exchange.connection.unless_gone(self._streamed(exchange, ask, renderer))
                return
            answered = await exchange.connection.unless_gone(self._gate.answer(ask))
        finally:
            self._under_way.discard(ask.request_id)
        headers = origin_headers(answered.record.backend, answered.record.cache)
        await exchange.reply(200, renderer.whole(answered.body), headers)

    async def _streamed(self, exchange: Exchange, ask: Ask, renderer: Renderer) -> None:
        stream = await self._gate.open(ask)
        async with aclosing(stream.pieces):
            headers = [*exchange.own_headers(), *origin_headers(stream.backend, stream.cache)]
            await exchange.connection.start(renderer.content_type, headers)
            await self._pieces(exchange, stream, renderer)
        await exchange.connection.finish()

    async def _pieces(self, exchange: Exchange, stream: Streamed, renderer: Renderer) -> None:
        write = exchange.connection.write
        try:
            async for chunk in stream.pieces:
                piece = renderer.piece(chunk)
                if piece:
                    await write(piece)
            await write(renderer.end())
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 -- the status is sent: the error becomes the last piece
            await write(renderer.failure(self._problem(exchange, error)))

    async def _refused(self, exchange: Exchange, error: Exception) -> None:
        problem = self._problem(exchange, error)
        if exchange.connection.started:
            return
        exchange.request_id = exchange.request_id or new_request_id()
        shape = ollama_answers.error_body if exchange.path.startswith("/api/") else openai_answers.error_body
        await exchange.reply(problem.status, shape(problem), problem_headers(problem))

    def _problem(self, exchange: Exchange, error: Exception) -> Problem:
        if not isinstance(error, ColonyError):
            _log.error("a request failed", request=exchange.request_id, path=exchange.path, exc_info=error)
        return problem_of(error, retry_after=self._settings.retry_after)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    if root.strip("/") and path.startswith(f"{root.rstrip('/')}/"):
        path = path[len(root.rstrip("/")) :]
    return path.rstrip("/") or "/"


async def _lifespan(receive: Receive, send: Send) -> None:
    """Nothing to start or stop here: the gate's owner does that."""
    while True:
        kind = (await receive())["type"].removeprefix("lifespan.")
        await send({"type": f"lifespan.{kind}.complete"})
        if kind == "shutdown":
            return
