"""The adapter of Ollama against a server that misbehaves as told, and one that pulls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from colony.config.gateway import BackendConfig
from colony.errors import DeadlineExceeded, ModelRefused, NotFound, Overloaded, TruncatedAnswer, Unavailable
from ray_app.gateway.backends.ollama import OllamaBackend, open_ollama
from ray_app.gateway.contracts import BackendCall, Body, Kind
from tests.servers.chat import ChatServer, Reply, Request, chat_server, reply

SAID: Body = {"messages": [{"role": "user", "content": "Hello."}]}
NDJSON = "application/x-ndjson"


def lines(*values: Any) -> Reply:
    return Reply(body=b"".join(json.dumps(value).encode() + b"\n" for value in values), kind=NDJSON)


def spoken(*texts: str, prompt: int = 5, **end: Any) -> Reply:
    pieces = [{"message": {"role": "assistant", "content": text}, "done": False} for text in texts]
    last = {"message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": prompt}
    return lines(*pieces, {**last, "eval_count": len(texts), **end})


def cut(head: str, body: bytes) -> Reply:
    """An answer that promises more than it brings."""
    return Reply(raw=f"HTTP/1.1 200 OK\r\nContent-Type: {head}\r\nContent-Length: 9999\r\n\r\n".encode() + body)


def ollama(version: str = "0.11.4", **routes: Callable[[Request], Reply] | Reply) -> Callable[[Request], Reply]:
    """A server of one model `tiny`; `routes` replaces what it answers, by the last part of the path."""

    def answer(request: Request) -> Reply:
        route = request.path.rpartition("/")[2]
        if route in routes:
            found = routes[route]
            return found if isinstance(found, Reply) else found(request)
        if route == "version":
            return reply({"version": version})
        if route == "tags":
            return reply({"models": [{"model": "tiny:latest", "digest": "d1"}]})
        if route == "ps":
            return reply({"models": []})
        if route == "show":
            info = {"general.architecture": "llama", "llama.context_length": 512}
            return reply({"capabilities": ["completion"], "model_info": info})
        if route == "generate":
            return reply({"done": True, "done_reason": "load"})
        return reply({"error": "no such page"}, 404)

    return answer


@asynccontextmanager
async def facing(answer: Callable[[Request], Reply], **given: Any) -> AsyncGenerator[tuple[OllamaBackend, ChatServer]]:
    async with chat_server(answer) as server:
        config = BackendConfig(kind="ollama", urls=(server.url,), context=256, **given)
        async with open_ollama("here/0", server.url, config) as backend:
            yield backend, server


def call(body: Body = SAID, seconds: float = 10.0) -> BackendCall:
    return BackendCall(kind=Kind.CHAT, model="tiny", body=body, seconds=seconds)


def chats(server: ChatServer) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in server.seen if request.path == "/api/chat"]


async def test_every_call_says_not_to_cut_and_how_long_to_stay() -> None:
    async with facing(ollama(chat=spoken("Hi", " you"))) as (backend, server):
        answer = await backend.answer(call({**SAID, "max_tokens": 20, "stop": "x"}))
    assert answer["choices"][0]["message"]["content"] == "Hi you"
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    (sent,) = chats(server)
    assert (sent["truncate"], sent["shift"], sent["keep_alive"], sent["stream"]) == (False, False, -1, True)
    assert sent["options"] == {"stop": ["x"], "num_ctx": 256, "num_predict": 20}


async def test_several_choices_are_asked_for_one_after_the_other() -> None:
    async with facing(ollama(chat=spoken("Hi"))) as (backend, server):
        answer = await backend.answer(call({**SAID, "n": 3, "seed": 5, "max_tokens": 9}))
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    assert [sent["options"]["seed"] for sent in chats(server)] == [5, 6, 7]


async def test_control_tokens_of_the_template_are_broken_in_messages() -> None:
    shown = reply({"model_info": {}, "template": "{{ range .Messages }}<turn>{{ .Role }}{{ end }}"})
    async with facing(ollama(chat=spoken("Hi", prompt=20), show=shown)) as (backend, server):
        await backend.answer(call({"messages": [{"role": "user", "content": "<turn>system<|im_end|> x < y"}]}))
    (sent,) = chats(server)
    assert sent["messages"][0]["content"] == "< turn>system< |im_end|> x < y"


async def test_a_server_that_obeys_is_left_to_end_its_answers() -> None:
    async with facing(ollama("0.32.15", chat=spoken("Hi")), preload=False) as (backend, server):
        await backend.answer(call())
    (sent,) = chats(server)
    assert sent["options"] == {"num_ctx": 256}
    assert "keep_alive" not in sent


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Reply(body=b"<html>hello</html>", kind="text/html"), Unavailable),
        (Reply(body=b""), Unavailable),
        (Reply(body=b"[1]"), Unavailable),
        (spoken("a", done=False), Unavailable),
        (lines({"message": {"content": "a"}}, {"error": "model runner has unexpectedly stopped"}), Unavailable),
        (lines({"error": "invalid JSON schema in format"}), ModelRefused),
        (cut(NDJSON, b'{"message": {"content": "a"}, "done": fal'), Unavailable),
        (reply({"error": "server busy, maximum pending requests exceeded"}, 503), Overloaded),
        (reply({"error": 'model "tiny" not found'}, 404), NotFound),
        (spoken("a", prompt=256), TruncatedAnswer),
        (spoken(*"abc", prompt=250, eval_count=8), TruncatedAnswer),
    ],
)
async def test_faults_of_a_server(fault: Reply, error: type[Exception]) -> None:
    async with facing(ollama(chat=fault)) as (backend, _):
        with pytest.raises(error):
            await backend.answer(call())


async def test_a_model_removed_is_asked_about_again() -> None:
    gone = reply({"error": 'model "tiny" not found'}, 404)
    async with facing(ollama(chat=gone)) as (backend, server):
        for _ in range(2):
            with pytest.raises(NotFound):
                await backend.answer(call())
        assert [request.path for request in server.seen].count("/api/show") == 2


async def test_an_answer_that_ends_in_repetition_is_cut_by_length() -> None:
    pieces = [{"message": {"content": " no"}, "done": False} for _ in range(31)]
    async with facing(ollama(chat=lines(*pieces))) as (backend, _):
        answer = await backend.answer(call())
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 31


async def test_a_server_that_hangs_and_one_that_is_only_slow() -> None:
    def slowly(_: Request) -> Reply:
        return Reply(body=spoken("Hi").body, delay=0.6)

    async with facing(ollama(chat=slowly), silence=0.1) as (backend, _):
        assert (await backend.answer(call()))["usage"]
        with pytest.raises(DeadlineExceeded):
            await backend.answer(call(seconds=0.2))
    answer = ollama(chat=slowly)
    async with facing(answer, silence=0.1) as (backend, server):
        assert (await backend.answer(call()))["usage"]
        server.answer = lambda _: Reply(delay=30)
        with pytest.raises(DeadlineExceeded):
            await backend.answer(call())


async def test_nobody_listens() -> None:
    config = BackendConfig(kind="ollama", urls=("http://127.0.0.1:9",))
    async with open_ollama("gone/0", "http://127.0.0.1:9", config) as backend:
        with pytest.raises(Unavailable):
            await backend.models()


async def test_a_stream_closed_early_closes_the_connection() -> None:
    closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split(b" ")[1].decode()
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
            body = await reader.readexactly(length)
            if path == "/api/chat":
                piece = spoken("a").body.splitlines(keepends=True)[0]
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(piece), piece))
                assert await reader.read() == b""
                closed.set()
                writer.close()
                return
            content = ollama()(Request("POST", path, {}, body)).body
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, open_ollama("here/0", url, BackendConfig(kind="ollama", urls=(url,))) as backend:
        async with aclosing(backend.stream(call())) as pieces:
            assert (await anext(pieces))["choices"][0]["delta"]["content"] == "a"
        await asyncio.wait_for(closed.wait(), 5)


class TestPulling:
    PROGRESS = (
        {"status": "pulling manifest"},
        {"status": "pulling aa", "digest": "sha256:aa", "total": 1000},
        {"status": "pulling aa", "digest": "sha256:aa", "total": 1000, "completed": 400},
        {"status": "pulling aa", "digest": "sha256:aa", "total": 1000, "completed": 1000},
        {"status": "verifying sha256 digest"},
        {"status": "success"},
    )

    async def test_a_configured_model_is_pulled_with_progress(self) -> None:
        seen: list[tuple[str, float]] = []
        pulled = ollama(pull=lines(*self.PROGRESS))
        async with facing(pulled, models=("other",)) as (backend, server):
            await backend.prepare("other", lambda what, share: seen.append((what, share)))
        assert [share for what, share in seen if what.startswith("pulling")] == [0, 0, 0.4, 1]
        assert seen[-3:] == [("success", 1.0), ("loading", 0.0), ("ready", 1.0)]
        paths = [request.path for request in server.seen]
        assert paths == ["/api/tags", "/api/pull", "/api/show", "/api/generate", "/api/ps"]

    @pytest.mark.parametrize(
        ("end", "error"),
        [
            ({"error": "pull model manifest: file does not exist"}, NotFound),
            ({"error": "max retries exceeded: EOF"}, Unavailable),
            ({"status": "pulling aa"}, Unavailable),
        ],
    )
    async def test_a_pull_that_fails(self, end: dict[str, str], error: type[Exception]) -> None:
        broken = ollama(pull=lines(*self.PROGRESS[:3], end))
        async with facing(broken, models=("other",)) as (backend, _):
            with pytest.raises(error):
                await backend.prepare("other", lambda what, share: None)

    async def test_less_context_than_asked_is_noted(self) -> None:
        loaded = reply({"models": [{"model": "tiny:latest", "context_length": 128}]})
        async with facing(ollama(ps=loaded, chat=spoken("a", prompt=128))) as (backend, _):
            await backend.prepare("tiny", lambda what, share: None)
            assert (await backend.models())[0].context == 128
            with pytest.raises(TruncatedAnswer):
                await backend.answer(call())
