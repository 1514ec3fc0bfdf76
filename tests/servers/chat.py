"""A small real HTTP server that speaks the OpenAI chat protocol, or breaks it as told. A token is a word."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What goes out; `raw` replaces the whole answer, `delay` comes before it."""

    status: int = 200
    body: bytes = b""
    kind: str = JSON
    delay: float = 0.0
    raw: bytes | None = None
    claimed_length: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


def reply(value: Any, status: int = 200) -> Reply:
    return Reply(status=status, body=json.dumps(value).encode())


@dataclass
class ChatServer:
    """Remembers what it saw; `answer` may be replaced while it runs."""

    url: str
    answer: Callable[[Request], Reply]
    seen: list[Request] = field(default_factory=list)
    connections: int = 0

    def chats(self) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.seen if request.path == "/v1/chat/completions"]


def honest(
    context: int = 2048, text: str = "one two three four five six seven eight nine ten"
) -> Callable[[Request], Reply]:
    """Answers as a good server does."""

    def answer(request: Request) -> Reply:
        if (request.method, request.path) == ("GET", "/v1/models"):
            return reply({"object": "list", "data": [{"id": "tiny", "object": "model"}]})
        if (request.method, request.path) != ("POST", "/v1/chat/completions"):
            return reply({"error": {"message": "no such page"}}, 404)
        asked = json.loads(request.body)
        prompt = sum(len(message["content"].split()) for message in asked["messages"])
        if prompt >= context or not asked["messages"]:
            return reply({"error": {"message": f"{prompt} tokens do not fit"}}, 400)
        words = text.split()
        said = words[: asked["max_tokens"]]
        return reply(
            {
                "id": "1",
                "object": "chat.completion",
                "model": asked["model"],
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": " ".join(said)},
                        "finish_reason": "stop" if len(said) == len(words) else "length",
                    }
                ],
                "usage": {"prompt_tokens": prompt, "completion_tokens": len(said), "total_tokens": prompt + len(said)},
            }
        )

    return answer


@asynccontextmanager
async def chat_server(answer: Callable[[Request], Reply] | None = None) -> AsyncGenerator[ChatServer]:
    """A server on a free loopback port."""
    open_writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        open_writers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while await _exchange(state, reader, writer):
                    pass
        finally:
            open_writers.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    state = ChatServer(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", answer or honest())
    try:
        yield state
    finally:
        server.close()
        for writer in list(open_writers):
            writer.close()
        await server.wait_closed()


async def _exchange(state: ChatServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    request = Request(method, path, headers, body)
    state.seen.append(request)
    out = state.answer(request)
    await asyncio.sleep(out.delay)
    if out.raw is not None:
        writer.write(out.raw)
        await writer.drain()
        return False
    lines = [
        f"HTTP/1.1 {out.status} Status",
        f"Content-Type: {out.kind}",
        f"Content-Length: {len(out.body) if out.claimed_length is None else out.claimed_length}",
        *(f"{name}: {value}" for name, value in out.headers),
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + out.body)
    await writer.drain()
    return out.claimed_length is None
