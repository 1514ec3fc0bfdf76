"""What every adapter for servers that speak OpenAI's API makes of bad ones: an error of ours, in time, nothing kept."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from colony.config.gateway import BackendConfig
from colony.errors import (
    ColonyError,
    DeadlineExceeded,
    ModelRefused,
    NotFound,
    NotPermitted,
    Overloaded,
    PromptTooLong,
    TruncatedAnswer,
    Unavailable,
)
from ray_app.gateway.backends.openai import OpenAIBackend
from ray_app.gateway.backends.wire import MAX_ANSWER, open_wire
from ray_app.gateway.contracts import BackendCall, Chunk, Kind
from tests.eventually import assert_eventually
from tests.servers.bad_http import PIECE, BadServer, bad_server, drip, flood, hang, head, page, says, then_hang

pytestmark = pytest.mark.contract

EVENTS = "text/event-stream"
KEY = "sk-secret-of-this-test"
SILENCE = 1.0

Ask = Callable[[OpenAIBackend, BackendCall], Awaitable[Any]]


def call(text: str = "Hello", seconds: float = 60.0, **given: Any) -> BackendCall:
    body = {"messages": [{"role": "user", "content": text}], **given}
    return BackendCall(kind=Kind.CHAT, model="m", body=body, seconds=seconds)


async def answered(backend: OpenAIBackend, asked: BackendCall) -> Any:
    return await backend.answer(asked)


async def streamed(backend: OpenAIBackend, asked: BackendCall) -> list[Chunk]:
    async with aclosing(backend.stream(asked)) as pieces:
        return [piece async for piece in pieces]


@pytest.fixture
async def server() -> AsyncGenerator[BadServer]:
    async with bad_server() as running:
        yield running


@pytest.fixture
async def backend(server: BadServer, tmp_path: Path) -> AsyncGenerator[OpenAIBackend]:
    (tmp_path / "key").write_text(KEY)
    config = BackendConfig(kind="openai", urls=(server.url,), silence=SILENCE)
    async with open_wire(server.url, str(tmp_path / "key"), config.silence) as wire:
        yield OpenAIBackend("bad/0", wire, config)
    assert server.open == 0 or await assert_eventually(lambda: server.open == 0)


def refusal(message: str, **more: Any) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


BOTH = pytest.mark.parametrize("ask", [answered, streamed])

REFUSALS: list[tuple[str, Any, type[ColonyError]]] = [
    ("429", page(refusal("slow down"), "429 Too Many Requests", more="Retry-After: 7\r\n"), Overloaded),
    ("503", page(b"", "503 Service Unavailable", more="Retry-After: 7\r\n"), Overloaded),
    ("503 for good", page(b"", "503 Service Unavailable"), Unavailable),
    ("500", page(b"<h1>oh</h1>", "500 Internal Server Error", "text/html"), Unavailable),
    ("400", page(refusal("no such parameter"), "400 Bad Request"), ModelRefused),
    ("too long", page(refusal("x", type="exceed_context_size_error"), "400 Bad Request"), PromptTooLong),
    ("too long, 500", page(refusal("x", type="exceed_context_size_error"), "500 Oh"), PromptTooLong),
    ("unknown model", page(refusal("no model m"), "404 Not Found"), NotFound),
    ("unknown model, 400", page(refusal("no", code="model_not_found"), "400 Bad Request"), NotFound),
    ("no such page", page(b"<h1>404</h1>", "404 Not Found", "text/html"), Unavailable),
    ("not built in", page(refusal("no"), "501 Not Implemented"), NotFound),
    ("elsewhere", page(b"", "302 Found", more="Location: http://127.0.0.1:1/\r\n"), Unavailable),
    ("key refused", page(refusal(f"Incorrect key {KEY}"), "401 Unauthorized"), NotPermitted),
    ("key repeated", page(refusal(f"You sent {KEY}"), "400 Bad Request"), ModelRefused),
    ("account empty", page(refusal("pay", code="insufficient_quota"), "429 Too Many"), Unavailable),
    ("page", page(b"<html>hello</html>", kind="text/html"), Unavailable),
    ("empty", page(b""), Unavailable),
    ("no JSON", page(b"hello"), Unavailable),
    ("a list", page(b"[]"), Unavailable),
    ("no choices", page(b'{"choices": []}'), Unavailable),
    ("choices of text", page(b'{"choices": ["hello"]}'), Unavailable),
    ("error in a 200", page(refusal("busy", code=429)), Overloaded),
    ("half", says(head(length=1000) + b'{"choices": ['), Unavailable),
    ("closed", says(b""), Unavailable),
    ("no HTTP", says(b"SSH-2.0-OpenSSH_9.0\r\n\r\n"), Unavailable),
    ("endless head", flood(b"HTTP/1.1 200 OK\r\n", b"X: " + b"x" * 9000 + b"\r\n", 100), Unavailable),
]


@BOTH
@pytest.mark.parametrize(("behave", "kind"), [one[1:] for one in REFUSALS], ids=[one[0] for one in REFUSALS])
async def test_a_bad_answer_is_an_error_of_ours(
    server: BadServer, backend: OpenAIBackend, ask: Ask, behave: Any, kind: type[ColonyError]
) -> None:
    server.behave = behave
    with pytest.raises(kind) as caught:
        await ask(backend, call())
    assert type(caught.value) is kind
    assert KEY not in str(caught.value) + repr(caught.value.__cause__)


@BOTH
async def test_the_wait_asked_for_is_handed_on(server: BadServer, backend: OpenAIBackend, ask: Ask) -> None:
    server.behave = REFUSALS[0][1]
    with pytest.raises(Overloaded) as caught:
        await ask(backend, call())
    assert caught.value.retry_after == 7


STREAMS: list[tuple[str, Any, type[ColonyError]]] = [
    ("cut in mid-JSON", says(head(kind=EVENTS) + PIECE + PIECE[:40]), Unavailable),
    ("cut between pieces", says(head(kind=EVENTS) + PIECE), Unavailable),
    ("nothing", says(head(kind=EVENTS)), Unavailable),
    ("over before it began", says(head(kind=EVENTS) + b"data: [DONE]\n\n"), Unavailable),
    ("no JSON", says(head(kind=EVENTS) + b"data: hello\n\n"), Unavailable),
    ("strange pieces", says(head(kind=EVENTS) + b'data: {"choices": [5]}\n\n'), Unavailable),
    ("error inside", says(head(kind=EVENTS) + PIECE + b'data: {"error": {"code": 503}}\n\n'), Unavailable),
    ("unknown error inside", says(head(kind=EVENTS) + b'data: {"error": "oh"}\n\n'), Unavailable),
    ("chunk cut", says(head(kind=EVENTS, more="Transfer-Encoding: chunked\r\n") + b"ff\r\nda"), Unavailable),
    ("silent", then_hang(head(kind=EVENTS) + PIECE), DeadlineExceeded),
    ("endless event", flood(head(kind=EVENTS) + b"data: ", b"x" * 100_000, 1_000), Unavailable),
    ("endless", flood(head(kind=EVENTS), PIECE * 1_000, 1_000), Unavailable),
]


@pytest.mark.parametrize(("behave", "kind"), [one[1:] for one in STREAMS], ids=[one[0] for one in STREAMS])
async def test_a_bad_stream_is_an_error_of_ours(
    server: BadServer, backend: OpenAIBackend, behave: Any, kind: type[ColonyError]
) -> None:
    server.behave = behave
    with pytest.raises(kind):
        await streamed(backend, call())


async def test_a_stream_that_hangs_is_given_up_after_the_silence(server: BadServer, backend: OpenAIBackend) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await streamed(backend, call(seconds=60))
    assert SILENCE <= time.monotonic() - began < 30
    await assert_eventually(lambda: server.open == 0)


async def test_a_whole_answer_may_be_silent_until_its_deadline(server: BadServer, backend: OpenAIBackend) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await backend.answer(call(seconds=3 * SILENCE))
    assert time.monotonic() - began >= 3 * SILENCE
    server.behave = then_hang(head(length=1000) + b"{")
    with pytest.raises(DeadlineExceeded, match="silent"):
        await backend.answer(call(seconds=60))


@BOTH
async def test_a_slow_drip_meets_the_deadline(server: BadServer, backend: OpenAIBackend, ask: Ask) -> None:
    server.behave = drip(head(kind=EVENTS if ask is streamed else "application/json") + PIECE * 100, 0.01)
    with pytest.raises(DeadlineExceeded):
        await ask(backend, call(seconds=0.5))
    await assert_eventually(lambda: server.open == 0)


async def test_a_huge_answer_is_not_read_to_its_end(server: BadServer, backend: OpenAIBackend) -> None:
    server.behave = flood(head(length=100_000_000), b" " * 100_000, 1_000)
    with pytest.raises(Unavailable, match=f"{MAX_ANSWER // 1_000_000} MB"):
        await backend.answer(call())
    server.behave = flood(head("400 Bad Request", length=100_000_000), b" " * 100_000, 1_000)
    with pytest.raises(ModelRefused):
        await backend.answer(call())


@BOTH
async def test_a_caller_who_leaves_closes_the_connection(server: BadServer, backend: OpenAIBackend, ask: Ask) -> None:
    server.behave = hang
    asking = asyncio.ensure_future(ask(backend, call()))
    await assert_eventually(lambda: server.requests)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await assert_eventually(lambda: server.closed_by_client == 1)


async def test_a_stream_closed_in_the_middle_closes_the_connection(server: BadServer, backend: OpenAIBackend) -> None:
    server.behave = then_hang(head(kind=EVENTS) + PIECE * 3)
    pieces = backend.stream(call())
    assert (await anext(pieces))["choices"][0]["delta"] == {"content": "word "}
    await pieces.aclose()
    await assert_eventually(lambda: server.closed_by_client == 1)


async def test_a_server_that_is_not_there() -> None:
    async with open_wire("http://127.0.0.1:1", "", 5) as wire:
        backend = OpenAIBackend("bad/0", wire, BackendConfig(kind="openai", urls=("http://127.0.0.1:1",)))
        with pytest.raises(Unavailable):
            await backend.models()


async def test_what_is_sent(server: BadServer, backend: OpenAIBackend) -> None:
    server.behave = says(head(kind=EVENTS) + PIECE + b"data: [DONE]\n\n")
    pieces = await streamed(backend, call(temperature=0))
    request = server.requests[0]
    assert f"Authorization: Bearer {KEY}".encode() in request
    sent = json.loads(request.partition(b"\r\n\r\n")[2])
    assert sent["stream"] is True
    assert sent["stream_options"] == {"include_usage": True}
    assert sent["model"] == "m"
    assert sent["temperature"] == 0
    assert pieces[-1]["usage"]["estimated"] is True


async def test_a_cut_prompt_is_told_by_its_counters(server: BadServer, backend: OpenAIBackend) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101}
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}
    server.behave = page(json.dumps({"choices": [choice], "usage": usage}).encode())
    with pytest.raises(TruncatedAnswer):
        await backend.answer(call("word " * 200))
    end = b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\ndata: [DONE]\n\n"
    server.behave = says(head(kind=EVENTS) + PIECE + end)
    with pytest.raises(TruncatedAnswer):
        await streamed(backend, call("word " * 200))


async def test_lists_of_models(server: BadServer, backend: OpenAIBackend) -> None:
    server.behave = page(b'{"data": [{"id": "a", "max_model_len": 99}, {"id": "text-embedding-3"}]}')
    models = await backend.models()
    assert [(model.name, model.context, model.embeddings) for model in models] == [
        ("a", 99, False),
        ("text-embedding-3", 2048, True),
    ]
    for bad in (b'{"data": 5}', b'{"data": [{}]}', b"[]", b"<html>", b""):
        server.behave = page(bad)
        with pytest.raises(Unavailable):
            await backend.models()
