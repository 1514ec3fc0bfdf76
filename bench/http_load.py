"""A lean HTTP client for load: what is measured shares the cores with it, so each request must cost little."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx

from colony.errors import Unavailable

LIMIT: Final = 2**20


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; times in seconds from the first byte sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    first: float
    """Until the first byte of the body."""
    seconds: float
    """Until the last one."""


class Connection:
    """One connection kept alive; a request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, key: str) -> None:
        self._reader = reader
        self._writer = writer
        self._fixed = f"Host: {host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"

    async def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """Send `body`, read the whole answer. Raises `Unavailable` when the connection breaks."""
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        head = f"POST {path} HTTP/1.1\r\n{self._fixed}{more}Content-Length: {len(body)}\r\n\r\n"
        began = time.perf_counter()
        try:
            self._writer.write(head.encode() + body)
            lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            found = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
            content, first = await self._content(found, began)
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Unavailable(f"The connection broke: {type(error).__name__}.") from error
        return Reply(int(lines[0].split()[1]), found, content, first, time.perf_counter() - began)

    async def _content(self, headers: Mapping[str, str], began: float) -> tuple[bytes, float]:
        if headers.get("transfer-encoding") != "chunked":
            content = await self._reader.readexactly(int(headers.get("content-length", "0")))
            return content, time.perf_counter() - began
        content, first = bytearray(), 0.0
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            content += (await self._reader.readexactly(size + 2))[:-2]
            first = first or time.perf_counter() - began
        await self._reader.readuntil(b"\r\n")
        return bytes(content), first


@asynccontextmanager
async def open_connection(url: str, key: str) -> AsyncGenerator[Connection]:
    """A connection to the server at `url`."""
    parsed = httpx.URL(url)
    reader, writer = await asyncio.open_connection(parsed.host, parsed.port, limit=LIMIT)
    try:
        yield Connection(reader, writer, f"{parsed.host}:{parsed.port}", key)
    finally:
        writer.close()
