"""The gateway's HTTP interfaces on a real server, over a gate that does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from colony.errors import NotFound
from ray_app.gateway.api.app import Application, build_app
from ray_app.gateway.api.settings import ApiSettings
from ray_app.gateway.contracts import Answered, Ask, Body, CallRecord, Chunk, Kind, ServedModel
from ray_app.gateway.ports import Gate, Streamed
from tests.eventually import assert_eventually

KEY = "gateway-test-key"
SETTINGS = ApiSettings(key=KEY)
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
MODELS = (
    ServedModel(name="tiny", context=2048),
    ServedModel(name="fast", context=2048),
    ServedModel(name="vectors", context=512, embeddings=True),
)


@dataclass
class ScriptedGate:
    """Says `words` to everything, and remembers what it was asked."""

    words: Sequence[str] = ("one", " two", " three")
    error: BaseException | None = None
    """Raised before the first piece."""
    breaks: BaseException | None = None
    """Raised from a stream after `words`."""
    delay: float = 0.0
    """Seconds before the answer, and between pieces."""
    message: dict[str, Any] = field(default_factory=dict[str, Any])
    """More of a chat message, such as tool calls."""
    seen: list[Ask] = field(default_factory=list[Ask])
    drained: bool = False
    under_way: int = 0
    freed: int = 0
    """Requests whose caller left."""

    async def answer(self, ask: Ask) -> Answered:
        async with self._slot(ask):
            await asyncio.sleep(self.delay)
            record = CallRecord(
                request_id=ask.request_id, caller=ask.caller, kind=ask.kind, backend="twin", model="tiny"
            )
            return Answered(body=self._body(ask), record=record)

    async def open(self, ask: Ask) -> Streamed:
        pieces = self._pieces(ask)
        first = await anext(pieces)

        async def stream() -> AsyncGenerator[Chunk]:
            try:
                yield first
                async for piece in pieces:
                    yield piece
            finally:
                await pieces.aclose()

        return Streamed(stream(), "twin", "miss")

    async def models(self) -> Sequence[ServedModel]:
        return MODELS

    async def state(self) -> dict[str, Any]:
        return {"waiting": 0, "in_flight": self.under_way}

    async def why(self, request_id: str) -> dict[str, Any]:
        if request_id != "waiting":
            raise NotFound(f"No request {request_id!r} is waiting.")
        return {"waits_for": "a slot"}

    async def drain(self, replica: str, on: bool) -> None:
        if replica != "twin/0":
            raise NotFound(f"There is no replica {replica!r}.")
        self.drained = on

    @asynccontextmanager
    async def _slot(self, ask: Ask) -> AsyncGenerator[None]:
        self.seen.append(ask)
        if self.error is not None:
            raise self.error
        self.under_way += 1
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            self.freed += 1
            raise
        finally:
            self.under_way -= 1

    def _body(self, ask: Ask) -> Body:
        text = "".join(self.words)
        if ask.kind is Kind.EMBEDDING:
            given = ask.body["input"]
            count = len(given) if isinstance(given, list) else 1
            data = [{"object": "embedding", "index": i, "embedding": [0.5, -1.0, float(i)]} for i in range(count)]
            return {"object": "list", "model": "vectors", "data": data, "usage": USAGE}
        if ask.kind is Kind.CLASSIFICATION:
            labels = [{"index": 0, "label": "positive", "probs": [0.25, 0.75], "num_classes": 2}]
            return {"id": "kept", "object": "list", "model": "tiny", "data": labels, "usage": USAGE}
        if ask.kind is Kind.COMPLETION:
            given = ask.body["prompt"]
            count = len(given) if isinstance(given, list) else 1
            choices: list[Any] = [{"index": i, "text": text, "finish_reason": "stop"} for i in range(count)]
            return {
                "id": "kept", "object": "text_completion", "created": 1, "model": "tiny", "choices": choices,
                "usage": USAGE,
            }  # fmt: skip
        message = {"role": "assistant", "content": text, **self.message}
        return {
            "id": "kept", "object": "chat.completion", "created": 1, "model": "tiny", "usage": USAGE,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }  # fmt: skip

    async def _pieces(self, ask: Ask) -> AsyncGenerator[Chunk]:
        chat = ask.kind is Kind.CHAT
        head = {
            "id": "kept", "created": 1, "model": "tiny",
            "object": "chat.completion.chunk" if chat else "text_completion",
        }  # fmt: skip
        async with self._slot(ask):
            for word in self.words:
                await asyncio.sleep(self.delay)
                said = {"delta": {"content": word}} if chat else {"text": word}
                yield {**head, "choices": [{"index": 0, **said, "finish_reason": None}]}
            if self.breaks is not None:
                raise self.breaks
            closing = {"delta": dict(self.message)} if chat else {"text": ""}
            yield {**head, "choices": [{"index": 0, **closing, "finish_reason": "stop"}]}
            yield {**head, "choices": [], "usage": USAGE}


@asynccontextmanager
async def serving(gate: Gate, settings: ApiSettings = SETTINGS) -> AsyncGenerator[str]:
    """The URL of the interfaces over `gate`."""
    async with serving_app(build_app(gate, settings)) as url:
        yield url


@asynccontextmanager
async def serving_app(app: Application) -> AsyncGenerator[str]:
    """An application on a free loopback port."""
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", ws="none", timeout_graceful_shutdown=1)
    )
    task = asyncio.create_task(server.serve())
    try:
        await assert_eventually(lambda: server.started or task.done())
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
