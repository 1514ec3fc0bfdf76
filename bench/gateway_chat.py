"""Chat under load: tokens a second, first pieces and latency of a server that speaks OpenAI's API."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bench.http_load import Reply, open_connection
from colony.errors import Permanent

ANSWER_TOKENS: Final = 24
PATH: Final = "/v1/chat/completions"
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask."""

    url: str
    key: str
    model: str


@dataclass(frozen=True, slots=True)
class Saturation:
    """What came of a number of requests in flight."""

    tokens_per_second: float
    first: tuple[float, ...]
    """Seconds to the first piece, of each request."""


def chat(model: str, text: str, *, stream: bool = False, tokens: int = ANSWER_TOKENS) -> bytes:
    """A request for an answer of `tokens` tokens."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "temperature": 0.7,
        "seed": 7,
        "stream": stream,
    }
    if stream:
        body["stream_options"] = {"include_usage": True}
    return orjson.dumps(body)


def story() -> str:
    """A prompt of its own for each request, so that no cache answers it."""
    return f"Number {next(_numbers)}: tell a long story about a ship, a storm and {time.monotonic_ns()} gulls."


async def saturate(server: Server, in_flight: int, requests: int, *, stream: bool) -> Saturation:
    """Keep `in_flight` requests under way until `requests` are done."""
    work = iter(range(requests))
    first: list[float] = []
    began = time.perf_counter()
    tokens = sum(
        await asyncio.gather(*(_consumer(server, number, work, first, stream=stream) for number in range(in_flight)))
    )
    return Saturation(tokens / (time.perf_counter() - began), tuple(first))


async def one_at_a_time(server: Server, requests: int) -> list[float]:
    """Seconds of each request for one token, one after another."""
    async with open_connection(server.url, server.key) as connection:
        found: list[float] = []
        for number in range(requests):
            body = chat(server.model, "Say yes.", tokens=1)
            # Another name each time: ten requests a second is all that one agent may send.
            reply = await connection.post(PATH, body, headers_of(number))
            tokens_of(reply, stream=False)
            found.append(reply.seconds)
        return found


def headers_of(number: int, cache: str = "never") -> dict[str, str]:
    """Each consumer has a name of its own: limits and fairness go by it."""
    return {"X-Colony-Agent": f"bench-{number}", "X-Colony-Cache": cache, "X-Colony-Deadline": "600"}


def tokens_of(reply: Reply, *, stream: bool) -> int:
    """Tokens of the answer as the server counted them. Raises `Permanent` for an answer that is none."""
    if reply.status != 200:
        raise Permanent(f"The server answered {reply.status}: {reply.body[:200]!r}.")
    if not stream:
        return int(orjson.loads(reply.body)["usage"]["completion_tokens"])
    events = [orjson.loads(line[6:]) for line in reply.body.split(b"\n") if line.startswith(b"data: {")]
    usage = next((event["usage"] for event in reversed(events) if event.get("usage")), None)
    if usage is None:
        raise Permanent("The stream ended without its counters.")
    return int(usage["completion_tokens"])


async def _consumer(server: Server, number: int, work: Iterator[int], first: list[float], *, stream: bool) -> int:
    tokens = 0
    for _ in work:
        # A connection for each request: llama.cpp closes its own after a stream.
        async with open_connection(server.url, server.key) as connection:
            reply = await connection.post(PATH, chat(server.model, story(), stream=stream), headers_of(number))
        tokens += tokens_of(reply, stream=stream)
        first.append(reply.first)
    return tokens
