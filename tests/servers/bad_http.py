"""A raw server that speaks bad HTTP as told: for clients that must not believe what they read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]
"""What is done once a whole request was read; the connection is closed after it."""

PIECE = (
    b'data: {"id":"c","object":"chat.completion.chunk","model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
)


def head(status: str = "200 OK", kind: str = "application/json", length: int | None = None, more: str = "") -> bytes:
    """A head; without `length` the body ends with the connection."""
    size = "" if length is None else f"Content-Length: {length}\r\n"
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n{size}{more}\r\n".encode()


def says(data: bytes) -> Behaviour:
    """Send `data`, then close."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return behave


def page(body: bytes, status: str = "200 OK", kind: str = "application/json", more: str = "") -> Behaviour:
    """An honest answer."""
    return says(head(status, kind, len(body), more) + body)


async def hang(_: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.Event().wait()


def then_hang(data: bytes) -> Behaviour:
    """Send `data`, then nothing more."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        await says(data)(writer)
        await hang(writer)

    return behave


def drip(data: bytes, each: float) -> Behaviour:
    """One byte at a time."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(each)

    return behave


def flood(start: bytes, again: bytes, times: int) -> Behaviour:
    """`start`, then `again` and again, as fast as it is read."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        for _ in range(times):
            writer.write(again)
            await writer.drain()

    return behave


@dataclass
class BadServer:
    """`behave` may be replaced while it runs."""

    url: str
    behave: Behaviour
    requests: list[bytes] = field(default_factory=list)
    """Heads and bodies."""
    open: int = 0
    """Connections that are open."""
    closed_by_client: int = 0


@asynccontextmanager
async def bad_server(behave: Behaviour = hang) -> AsyncGenerator[BadServer]:
    """On a free loopback port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_exchange(state, reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    state = BadServer(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", behave)
    try:
        yield state
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _answer(state: BadServer, request: bytes, writer: asyncio.StreamWriter) -> None:
    state.requests.append(request)  # in one step with the beginning of the answer, for which it is the last one
    await state.behave(writer)


async def _exchange(state: BadServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    state.open += 1
    try:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            size = [line for line in request.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            request += await reader.readexactly(int(size[0].split(b":")[1])) if size else b""
            working = asyncio.ensure_future(_answer(state, request, writer))
            gone = asyncio.ensure_future(reader.read(1))
            try:
                await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
                state.closed_by_client += gone.done() and not working.done()
            finally:
                for task in (working, gone):
                    task.cancel()
                await asyncio.gather(working, gone, return_exceptions=True)
    finally:
        state.open -= 1
        writer.close()
