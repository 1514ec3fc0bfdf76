"""The HTTP API of the pool, on the port of the model and with its key. Only control: answers come from the models."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Final

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from colony.errors import (
    BadInput,
    ColonyError,
    DeadlineExceeded,
    ModelRefused,
    NotFound,
    NotPermitted,
    Overloaded,
    Unavailable,
)
from colony.llm.pool import Lease, PoolFault, PoolModelState
from control.pool.pool import ModelPool

MAX_BODY: Final = 16_384

_STATUS: Final[dict[type[ColonyError], int]] = {
    NotFound: 404,
    NotPermitted: 401,
    BadInput: 422,
    ModelRefused: 400,
    Overloaded: 503,
    Unavailable: 503,
    DeadlineExceeded: 504,
}


def pool_app(pool: ModelPool, key: str) -> Starlette:
    """The ASGI application; `key` empty lets everybody on this machine ask."""
    calls = _Calls(pool)
    return Starlette(
        routes=[
            Route("/health", _health, methods=["GET"]),
            Route("/pool", calls.state, methods=["GET"]),
            Route("/pool/{name:path}/load", calls.load, methods=["POST"]),
            Route("/pool/{name:path}/touch", calls.touch, methods=["POST"]),
            Route("/v1/models", calls.models, methods=["GET"]),
        ],
        middleware=[Middleware(_KeyCheck, key=key)],
        exception_handlers={ColonyError: _refuse, HTTPException: _unknown},
    )


class _KeyCheck:
    """Lets nobody pass without the key but those who ask whether it lives."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._wanted = f"Bearer {key}".encode() if key else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._wanted and scope["path"] != "/health":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._wanted):
                await _fault(NotPermitted("The API key is missing or wrong."))(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Calls:
    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    async def state(self, _: Request) -> Response:
        return JSONResponse((await self._pool.state()).model_dump())

    async def load(self, request: Request) -> Response:
        return await self._leased(request, self._pool.load)

    async def touch(self, request: Request) -> Response:
        async def touch(name: str, lease: Lease) -> PoolModelState:
            return self._pool.touch(name, lease)

        return await self._leased(request, touch)

    async def models(self, _: Request) -> Response:
        """What a client of OpenAI's API sees; `meta` as llama.cpp gives it."""
        found = [
            {"id": model.name, "object": "model", "owned_by": "colony", "meta": {"n_ctx": model.context}}
            for model in self._pool.models()
        ]
        return JSONResponse({"object": "list", "data": found})

    async def _leased(self, request: Request, act: Callable[[str, Lease], Awaitable[PoolModelState]]) -> Response:
        try:
            lease = Lease.model_validate(orjson.loads(await _body(request)))
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise ModelRefused(f"The body is no lease (`holder`, `seconds`): {str(error)[:200]}") from error
        return JSONResponse((await act(request.path_params["name"], lease)).model_dump())


async def _body(request: Request) -> bytes:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY:
            raise ModelRefused(f"The body is larger than {MAX_BODY} bytes.")
    return bytes(data)


async def _health(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _refuse(_: Request, error: Exception) -> Response:
    return _fault(error if isinstance(error, ColonyError) else Unavailable(repr(error)))


async def _unknown(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    fault = PoolFault(
        type=NotFound.__name__,
        code=status,
        message=f"There is no {request.method} {request.url.path[:80]} here: this is the pool, not a model.",
        remedy="Ask the gateway; or POST /pool/<model>/load, and ask at the url it answers.",
    )
    return JSONResponse({"error": fault.model_dump()}, status)


def _fault(error: ColonyError) -> Response:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 503)
    after = error.retry_after if isinstance(error, Overloaded) else None
    fault = PoolFault(
        type=type(error).__name__, code=status, message=error.message, remedy=error.remedy, retry_after=after
    )
    headers = {"Retry-After": str(max(1, round(after)))} if after is not None else None
    return JSONResponse({"error": fault.model_dump()}, status, headers=headers)
