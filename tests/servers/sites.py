"""Little web sites of this process that can be told to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Site:
    """What a site does next: `mode` is ok, error, hang, redirect, endless or refuse."""

    mode: str = "ok"
    body: str = "hello"
    port: int = 0
    requests: int = 0
    sent: int = 0
    """Bytes of an endless page that were taken."""
    posts: list[tuple[dict[str, str], bytes]] = field(default_factory=list[tuple[dict[str, str], bytes]])
    post_status: int = 200
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/"

    @property
    def events(self) -> list[dict[str, Any]]:
        """Events of all POSTs that were taken."""
        return [event for _, body in self.posts for event in json.loads(body)["events"]]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ConnectionError):
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.requests += 1
                await self._answer(head, reader, writer)
            finally:
                writer.transport.abort() if self.scheme == "https" else writer.close()

    async def _answer(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
        headers = {name.lower(): value for name, _, value in lines}
        if head.startswith("POST"):
            content = await reader.readexactly(int(headers["content-length"]))
            if self.post_status < 300:
                self.posts.append((headers, content))
            await _send(writer, f"{self.post_status} X", b"")
            return
        match self.mode:
            case "error":
                await _send(writer, "500 Oops", b"broken")
            case "hang":
                await reader.read()
            case "redirect":
                writer.write(f"HTTP/1.1 302 X\r\nLocation: /{self.requests}\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
            case "endless":
                await self._endless(writer)
            case "refuse":
                writer.transport.abort()
            case _:
                await _send(writer, "200 OK", self.body.encode())

    async def _endless(self, writer: asyncio.StreamWriter) -> None:
        """Ten gigabytes, as long as anybody takes them."""
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        block = b"x" * 65_536
        while self.sent < 10_000_000_000:
            writer.write(block)
            await writer.drain()
            self.sent += len(block)


async def _send(writer: asyncio.StreamWriter, status: str, body: bytes) -> None:
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await writer.drain()


@asynccontextmanager
async def serve_sites(count: int, *, certificate: tuple[Path, Path] | None = None) -> AsyncGenerator[list[Site]]:
    """That many sites on free loopback ports; with a certificate (file, key) they speak https."""
    tls: ssl.SSLContext | None = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*certificate)
    sites = [Site(scheme="https" if tls else "http") for _ in range(count)]
    servers = [await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=tls) for site in sites]
    for site, server in zip(sites, servers, strict=True):
        site.port = server.sockets[0].getsockname()[1]
    try:
        yield sites
    finally:
        for server in servers:
            server.close()
