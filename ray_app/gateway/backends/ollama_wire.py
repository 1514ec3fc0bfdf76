"""Ollama over HTTP: JSON answers, streams of JSON lines, and errors as ours. Knows no OpenAI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast

import httpx
import orjson

from colony.errors import (
    ColonyError,
    DeadlineExceeded,
    ModelRefused,
    NotFound,
    Overloaded,
    PromptTooLong,
    Unavailable,
    Unreachable,
)
from ray_app.gateway.backends.refusal import refusal_of

T = TypeVar("T")

MAX_LINE: Final = 4_000_000
"""Most bytes of one line."""

MAX_ANSWER: Final = 64_000_000
"""Most bytes of an answer in one piece: embeddings, descriptions of models."""

ALIVE_SECONDS: Final = 3.0

_SHOWN: Final = 200
_BUSY: Final = "maximum pending requests"
"""What Ollama says, with status 503, when its queue is full."""

_WRONG: Final = (
    "must be of type",
    "invalid JSON schema",
    "invalid format",
    "does not support",
    "invalid model name",
    "unmarshal",
)
"""What Ollama says, at times with status 500 or in a stream, when the request is at fault."""


class OllamaWire:
    """One server. Every call has a deadline; nothing is tried twice."""

    def __init__(self, client: httpx.AsyncClient, silence: float) -> None:
        """`silence`: seconds without a byte before the server is asked whether it still lives."""
        self._client = client
        self._silence = silence

    async def json(self, method: str, path: str, body: dict[str, Any] | None = None, *, seconds: float) -> Any:
        """The answer of a call that comes in one piece."""
        async with self._opened(method, path, body, seconds) as (response, deadline):
            content = await self._whole(response, deadline)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            raise Unavailable(f"Ollama answered {path} with something that is no JSON.") from None

    async def lines(
        self, path: str, body: dict[str, Any], *, seconds: float, silence: float | None = None
    ) -> AsyncGenerator[dict[str, Any]]:
        """The lines of a stream. One that says an error is raised; an end is only that of the connection."""
        async with self._opened("POST", path, body, seconds) as (response, deadline):
            pieces = response.aiter_bytes()
            waiting = b""
            while True:
                data = await self._next(anext(pieces, None), deadline, silence or self._silence)
                *whole, waiting = ((waiting + data) if data is not None else waiting + b"\n").split(b"\n")
                if len(waiting) > MAX_LINE:
                    raise Unavailable("Ollama sent a line without an end.")
                for line in whole:
                    if line.strip():
                        yield _parsed(line)
                if data is None:
                    return

    @asynccontextmanager
    async def _opened(
        self, method: str, path: str, body: dict[str, Any] | None, seconds: float
    ) -> AsyncGenerator[tuple[httpx.Response, float]]:
        """The answer as soon as its head is there, and until when it may take."""
        deadline = asyncio.get_running_loop().time() + seconds
        request = self._client.build_request(
            method,
            path,
            content=None if body is None else orjson.dumps(body),
            headers={} if body is None else {"Content-Type": "application/json"},
        )
        response = await self._sent(request, deadline)
        try:
            if response.status_code != HTTPStatus.OK:
                content = await self._whole(response, deadline)
                raise refusal(response.status_code, content, response.headers.get("Retry-After", ""))
            yield response, deadline
        finally:
            # Closes the connection of an answer that was not read to its end: the server stops working on it.
            await response.aclose()

    async def _sent(self, request: httpx.Request, deadline: float) -> httpx.Response:
        """Ollama sends its head with the first token: loading and reading a long prompt are silent, and no hang."""
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(self._client.send(request, stream=True))
        try:
            while True:
                left = deadline - loop.time()
                done, _ = await asyncio.wait({sending}, timeout=max(0.0, min(left, self._silence)))
                if done:
                    return await _translated(sending)
                if loop.time() >= deadline or not await self._alive(deadline):
                    break
        except BaseException:
            await _given_up(sending)
            raise
        await _given_up(sending)
        raise DeadlineExceeded("Ollama gave no answer in time.")

    async def _alive(self, deadline: float) -> bool:
        left = deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(0.0, min(left, ALIVE_SECONDS))):
                return (await self._client.get("/api/version")).status_code == HTTPStatus.OK
        except (httpx.HTTPError, TimeoutError):
            return False

    async def _whole(self, response: httpx.Response, deadline: float) -> bytes:
        content = bytearray()
        pieces = response.aiter_bytes()
        while (data := await self._next(anext(pieces, None), deadline, self._silence)) is not None:
            content += data
            if len(content) > MAX_ANSWER:
                raise Unavailable(f"Ollama answered with more than {MAX_ANSWER // 1_000_000} MB.")
        return bytes(content)

    async def _next(self, work: Awaitable[T], deadline: float, silence: float) -> T:
        silent_at = asyncio.get_running_loop().time() + silence
        try:
            async with asyncio.timeout_at(min(deadline, silent_at)):
                return await _translated(work)
        except TimeoutError:
            late = deadline <= silent_at
            raise DeadlineExceeded(
                "Ollama gave no whole answer in time." if late else "Ollama stopped in the middle of its answer."
            ) from None


async def _given_up(sending: asyncio.Future[httpx.Response]) -> None:
    sending.cancel()
    (ended,) = await asyncio.gather(sending, return_exceptions=True)
    if isinstance(ended, httpx.Response):
        await ended.aclose()


async def _translated(work: Awaitable[T]) -> T:
    try:
        return await work
    except httpx.PoolTimeout:
        raise Overloaded("All connections to Ollama are taken.") from None
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise Unreachable(f"Ollama cannot be reached: {type(error).__name__}.") from error
    except httpx.HTTPError as error:
        raise Unavailable(f"Ollama cannot be reached, or broke off: {type(error).__name__}.") from error


def refusal(status: int, body: bytes, retry_after: str = "") -> ColonyError:
    """The error that an answer of `status` stands for. Pure."""
    said = _said(body)
    if status == HTTPStatus.NOT_FOUND and said:
        return NotFound(f"Ollama does not have it: {said}.")
    if said and (status in (HTTPStatus.BAD_REQUEST, HTTPStatus.INTERNAL_SERVER_ERROR) or _BUSY in said):
        return trouble(said, refused=status == HTTPStatus.BAD_REQUEST)
    return refusal_of(status, body, retry_after)


def trouble(said: str, *, refused: bool = False) -> ColonyError:
    """What an error text of Ollama stands for; `refused` when its status said that the request is at fault. Pure."""
    said = " ".join(said.split())[:_SHOWN].rstrip(".")
    if "exceed" in said and "context" in said:
        return PromptTooLong(f"The prompt is too long for Ollama: {said}.")
    if refused or any(wrong in said for wrong in _WRONG):
        return ModelRefused(f"Ollama refused the request: {said}.")
    if "not found" in said or "does not exist" in said:
        return NotFound(f"Ollama does not have it: {said}.")
    if _BUSY in said:
        return Overloaded(f"Ollama takes no more work now: {said}.")
    return Unavailable(f"Ollama failed: {said}.")


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise Unavailable("Ollama sent a line that is no JSON object, or broke off within one.")
    found = cast("dict[str, Any]", value)
    if "error" in found:
        raise trouble(str(found["error"]))
    return found


def _said(body: bytes) -> str:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    error = cast("dict[str, Any]", value).get("error") if isinstance(value, dict) else None
    return " ".join(error.split())[:_SHOWN].rstrip(".") if isinstance(error, str) else ""


Progress = Callable[[str, float], None]
"""Gets what is being done, and the share of it, 0 to 1."""


class PullShare:
    """How much of a pull is done, from Ollama's lines: every layer counts by its bytes. Pure."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}

    def add(self, line: dict[str, Any]) -> float:
        """Take a line; returns the share, 0 to 1."""
        digest, total = str(line.get("digest") or ""), int(line.get("total") or 0)
        if digest and total:
            self._layers[digest] = (min(total, int(line.get("completed") or 0)), total)
        if line.get("status") == "success":
            return 1.0
        whole = sum(total for _, total in self._layers.values())
        return sum(done for done, _ in self._layers.values()) / whole if whole else 0.0
