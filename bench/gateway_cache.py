"""Answers from the cache over HTTP: requests a second and how long they take."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from bench.gateway_chat import PATH, Server, chat, headers_of, tokens_of
from bench.http_load import open_connection
from colony.errors import Permanent

IN_FLIGHT: Final = 32
SECONDS: Final = 5.0
QUESTION: Final = "Name a colour."


@dataclass(frozen=True, slots=True)
class Cached:
    """One run."""

    requests_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


async def cached_answers(server: Server) -> Cached:
    """Ask one question again and again with `IN_FLIGHT` connections. Raises `Permanent` when an answer was no hit."""
    body = chat(server.model, QUESTION)
    async with open_connection(server.url, server.key) as connection:
        tokens_of(await connection.post(PATH, body, headers_of(0, "always")), stream=False)
    times: list[float] = []
    began = time.perf_counter()
    await asyncio.gather(*(_reader(server, number, body, began + SECONDS, times) for number in range(IN_FLIGHT)))
    seconds = time.perf_counter() - began
    times.sort()
    p50, p95, p99 = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.95, 0.99))
    return Cached(len(times) / seconds, round(p50, 2), round(p95, 2), round(p99, 2))


async def _reader(server: Server, number: int, body: bytes, end: float, times: list[float]) -> None:
    headers = headers_of(number, "always")
    async with open_connection(server.url, server.key) as connection:
        while time.perf_counter() < end:
            reply = await connection.post(PATH, body, headers)
            if reply.status != 200 or reply.headers.get("x-colony-cache") != "hit":
                raise Permanent(f"No hit: status {reply.status}, cache {reply.headers.get('x-colony-cache')!r}.")
            times.append(reply.seconds)
