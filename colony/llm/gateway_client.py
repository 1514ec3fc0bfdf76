"""The gateway as people use it: its state, why a request waits, and answers that stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson

from colony.config.endpoints import GatewayEndpoint
from colony.errors import DeadlineExceeded, NotFound, Unavailable
from colony.llm.gateway_headers import REQUEST_ID, gateway_headers
from colony.llm.http import http_client
from colony.llm.openai_format import Piece, decode_piece, encode_request, error_of
from colony.llm.port import ChatRequest

_ASK_SECONDS: Final = 10.0
_LONGEST_LINE: Final = 1_000_000


class GatewayClient:
    """Use through `open_gateway`. Nothing is tried twice."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def state(self) -> dict[str, Any]:
        """Queues, slots, breakers, cache, tokens. Raises `Unavailable`, `DeadlineExceeded`, `NotPermitted`."""
        return await self._ask("GET", "/colony/state")

    async def why(self, request_id: str) -> dict[str, Any]:
        """What a request waits for. Raises `NotFound`, and as `state`."""
        return await self._ask("GET", f"/colony/why/{quote(request_id, safe='')}")

    async def drain(self, replica: str, *, on: bool) -> None:
        """Give a replica (`backend/number`) no new calls, or calls again. Raises `NotFound`, and as `state`."""
        await self._ask("POST", f"/colony/drain/{quote(replica, safe='')}", {"on": on})

    async def stream(self, request: ChatRequest, request_id: str = "") -> AsyncGenerator[Piece]:
        """The answer as it comes. Closing it tells the gateway that nobody waits any more.

        Raises as `LanguageModel.chat`, also after pieces came.
        """
        headers = {**gateway_headers(request, request.timeout), **({REQUEST_ID: request_id} if request_id else {})}
        content = encode_request(request, request.model, stream=True)
        # The gateway keeps the deadline; this catches a gateway that is silent for longer.
        limits = httpx.Timeout(request.timeout, connect=_ASK_SECONDS)
        with _translated():
            async with self._client.stream(
                "POST",
                "/v1/chat/completions",
                content=content,
                headers={"Content-Type": "application/json", **headers},
                timeout=limits,
            ) as response:
                if response.status_code != HTTPStatus.OK:
                    raise error_of(
                        response.status_code, await response.aread(), response.headers.get("Retry-After", "")
                    )
                async for piece in _pieces(response.aiter_lines()):
                    yield piece

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                with _translated():
                    response = await self._client.request(method, path, json=body)
        except TimeoutError:
            raise DeadlineExceeded(f"The gateway gave no answer in {_ASK_SECONDS:g} s.") from None
        if response.status_code == HTTPStatus.NOT_FOUND:
            raise NotFound(_message(response.content) or f"The gateway has no {path}.")
        if response.status_code != HTTPStatus.OK:
            raise error_of(response.status_code, response.content, response.headers.get("Retry-After", ""))
        try:
            found = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            raise Unavailable("The gateway answered with something that is no JSON.") from None
        return found


@asynccontextmanager
async def open_gateway(endpoint: GatewayEndpoint) -> AsyncGenerator[GatewayClient]:
    """A client of the gateway. Sends nothing until it is used. Raises `ConfigInvalid`, `NotFound`, `BadInput`."""
    async with http_client(endpoint.url, endpoint.key_file) as client:
        yield GatewayClient(client)


async def _pieces(lines: AsyncIterator[str]) -> AsyncGenerator[Piece]:
    done = False
    async for line in lines:
        if len(line) > _LONGEST_LINE:
            raise Unavailable("The gateway sent a line of more than a megabyte.")
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            done = True
            break
        yield decode_piece(data)
    if not done:
        raise Unavailable("The answer broke off.")


def _message(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["error"]["message"])[:300]
    except (ValueError, TypeError, LookupError):
        return ""


@contextmanager
def _translated() -> Generator[None]:
    """What httpx raises, as errors of ours."""
    try:
        yield
    except httpx.ConnectTimeout:
        raise Unavailable("The gateway took no connection.") from None
    except httpx.TimeoutException:
        raise DeadlineExceeded("The gateway stopped answering.") from None
    except httpx.HTTPError as error:
        raise Unavailable(f"The gateway cannot be reached: {type(error).__name__}.") from error
