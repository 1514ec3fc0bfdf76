"""The HTTP interfaces on a real server: routing, credentials, bad input, slow clients, clients that go away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest

from colony.errors import BudgetSpent, ColonyError, NotFound, Overloaded, PromptTooLong, Unavailable
from tests.eventually import assert_eventually
from tests.servers.gateway_http import KEY, SETTINGS, ScriptedGate, serving

HEADERS = {"authorization": f"Bearer {KEY}"}
CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
MODEL_PATHS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/classify",
    "/api/chat",
    "/api/generate",
    "/api/embed",
    "/api/embeddings",
)


@asynccontextmanager
async def client_of(url: str) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, headers=HEADERS, trust_env=False, timeout=20) as client:
        yield client


async def test_health_needs_no_key_and_says_nothing_else() -> None:
    async with serving(ScriptedGate()) as url, httpx.AsyncClient(trust_env=False) as client:
        for path in ("/health", "/"):
            answer = await client.get(url + path, headers={"host": "probe.test"})
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert (await client.head(url)).status_code == 200


async def test_everything_else_needs_the_key() -> None:
    gate = ScriptedGate()
    async with serving(gate) as url, httpx.AsyncClient(trust_env=False) as client:
        for method, path in [
            *(("POST", path) for path in MODEL_PATHS),
            ("GET", "/v1/models"),
            ("GET", "/api/tags"),
            ("GET", "/colony/state"),
            ("GET", "/colony/why/x"),
            ("POST", "/colony/drain/twin/0"),
            ("GET", "/metrics"),
            ("POST", "/api/pull"),
            ("GET", "/nowhere"),
        ]:
            answer = await client.request(method, url + path, json=CHAT)
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
            message = answer.json()["error"]
            assert ("key" in message) if path.startswith("/api/") else (message["code"] == "invalid_api_key")
    assert not gate.seen


async def test_draining_takes_true_or_false() -> None:
    gate = ScriptedGate()
    async with serving(gate) as url, client_of(url) as client:
        for body in ({}, {"on": 1}, {"on": "yes"}, {"on": None}):
            assert (await client.post("/colony/drain/twin/0", json=body)).status_code == 400
        answer = await client.post("/colony/drain/twin/0", json={"on": True})
        assert (answer.status_code, answer.json()) == (200, {"replica": "twin/0", "draining": True})
        unknown = await client.post("/colony/drain/twin/7", json={"on": True})
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "replica_not_found")
        assert (await client.get("/colony/drain/twin/0")).status_code in (404, 405)
    assert gate.drained


async def test_other_sites_and_other_names_are_refused() -> None:
    async with serving(ScriptedGate()) as url, client_of(url) as client:
        for headers in ({"origin": "https://evil.test"}, {"host": "evil.test"}):
            assert (await client.post("/v1/chat/completions", json=CHAT, headers=headers)).status_code == 403
        assert (await client.get("/v1/models", headers={"origin": "http://localhost:3000"})).status_code == 200


async def test_an_answer_and_its_headers() -> None:
    async with serving(ScriptedGate()) as url, client_of(url) as client:
        answer = await client.post("/v1/chat/completions", json=CHAT, headers={"x-colony-request-id": "mine"})
        assert answer.json()["choices"][0]["message"]["content"] == "one two three"
        assert (answer.headers["x-request-id"], answer.json()["id"]) == ("mine", "chatcmpl-mine")
        assert (answer.headers["x-colony-backend"], answer.headers["x-colony-cache"]) == ("twin", "miss")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/completions", {"model": "tiny", "prompt": "hello"}),
        ("/api/chat", CHAT),
        ("/api/generate", {"model": "tiny", "prompt": "hello"}),
    ],
)
async def test_a_stream_says_before_its_first_piece_who_answers(path: str, body: dict[str, Any]) -> None:
    gate = ScriptedGate()
    body = {**body, "stream": True}
    async with serving(gate) as url, client_of(url) as client:
        async with client.stream("POST", path, json=body, headers={"x-colony-request-id": "mine"}) as answer:
            found = [answer.headers[f"x-colony-{name}"] for name in ("request-id", "backend", "cache")]
            assert (answer.headers["x-request-id"], found) == ("mine", ["mine", "twin", "miss"])
        assert gate.seen[0].request_id == "mine"


async def test_behind_serve_its_name_of_the_request_is_kept_and_not_sent_twice() -> None:
    gate = ScriptedGate()
    async with serving(gate, replace(SETTINGS, behind_serve=True)) as url, client_of(url) as client:
        answer = await client.post("/v1/chat/completions", json=CHAT, headers={"x-request-id": "of-serve"})
        assert "x-request-id" not in answer.headers
        assert (answer.headers["x-colony-request-id"], gate.seen[0].request_id) == ("of-serve", "of-serve")


BAD_BODIES = (b"", b"{", b"[]", b"null", b'{"messages": NaN}', b"\xff\xfe", b'{"a":' * 2_000, b"<html></html>", b"{}")


@pytest.mark.parametrize("path", MODEL_PATHS)
async def test_bad_bodies_are_refused_in_the_shape_of_the_interface(path: str) -> None:
    gate = ScriptedGate()
    async with serving(gate) as url, client_of(url) as client:
        for body in BAD_BODIES:
            answer = await client.post(path, content=body)
            assert answer.status_code == 400, body[:20]
            error = answer.json()["error"]
            if path.startswith("/api/"):
                assert isinstance(error, str)
            else:
                assert set(error) == {"message", "type", "param", "code"}
    assert not gate.seen


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (NotFound("no such model"), 404, {}),
        (PromptTooLong("2049 tokens"), 400, {}),
        (Overloaded("full", retry_after=7), 429, {"retry-after": "7"}),
        (BudgetSpent("spent"), 429, {"x-should-retry": "false"}),
        (Unavailable("all open"), 503, {"retry-after": "5"}),
        (ValueError("a bug"), 500, {}),
    ],
)
async def test_errors_before_the_first_piece_have_their_status(
    error: Exception, status: int, headers: dict[str, str]
) -> None:
    async with serving(ScriptedGate(error=error)) as url, client_of(url) as client:
        for path in ("/v1/chat/completions", "/api/chat"):
            for stream in (False, True):
                answer = await client.post(path, json={**CHAT, "stream": stream})
                assert answer.status_code == status
                assert headers.items() <= dict(answer.headers).items()
                said = answer.json()["error"] if path.startswith("/api/") else answer.json()["error"]["message"]
                assert (str(error) in said) == isinstance(error, ColonyError)


@pytest.mark.parametrize("error", [Unavailable("cut off"), ValueError("a bug")])
async def test_errors_after_the_first_piece_end_the_stream_without_done(error: Exception) -> None:
    async with serving(ScriptedGate(breaks=error)) as url, client_of(url) as client:
        answer = await client.post("/v1/chat/completions", json={**CHAT, "stream": True})
        assert answer.status_code == 200
        assert "[DONE]" not in answer.text
        last = json.loads(answer.text.strip().split("\n\n")[-1].removeprefix("data: "))
        assert set(last["error"]) == {"message", "type", "param", "code"}
        lines = (await client.post("/api/chat", json=CHAT)).text.strip().split("\n")
        assert list(json.loads(lines[-1])) == ["error"]
        assert not any(json.loads(line).get("done") for line in lines)


async def test_a_large_body_is_refused_and_others_go_on() -> None:
    async with serving(ScriptedGate()) as url, client_of(url) as client:
        large = {**CHAT, "messages": [{"role": "user", "content": "x" * 10 * 2**20}]}
        refused, fine = await asyncio.gather(
            client.post("/v1/chat/completions", json=large), client.post("/v1/chat/completions", json=CHAT)
        )
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
        assert fine.status_code == 200

        async def unending() -> AsyncGenerator[bytes]:
            for _ in range(10):
                yield b"x" * 2**20

        assert (await client.post("/api/chat", content=unending())).status_code == 413


async def test_bodies_in_memory_are_bounded_together() -> None:
    gate = ScriptedGate(delay=60)
    settings = replace(SETTINGS, max_body=100_000, held_bodies=1)
    async with serving(gate, settings) as url, client_of(url) as client:
        body = {**CHAT, "messages": [{"role": "user", "content": "x" * 60_000}]}
        holding = asyncio.create_task(client.post("/v1/chat/completions", json=body))
        await assert_eventually(lambda: gate.under_way)
        refused = await client.post("/v1/chat/completions", json=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        holding.cancel()
        await asyncio.wait({holding})
        await assert_eventually(lambda: gate.freed)
        gate.delay = 0

        async def room() -> bool:
            return (await client.post("/v1/chat/completions", json=body)).status_code == 200

        await assert_eventually(room)


async def test_a_body_that_does_not_arrive_times_out() -> None:
    async with serving(ScriptedGate(), replace(SETTINGS, body_seconds=0.2)) as url:
        reader, writer = await _raw(url, b'{"model": "ti', declared=500)
        assert b" 408 " in await asyncio.wait_for(reader.readline(), 5)
        writer.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/generate"])
async def test_a_client_that_hangs_up_while_waiting_frees_its_slot(path: str, stream: bool) -> None:
    gate = ScriptedGate(delay=60)
    async with serving(gate) as url:
        body = json.dumps({**CHAT, "stream": stream} if "v1" in path else {"prompt": "x", "stream": stream})
        _, writer = await _raw(url, body.encode(), path=path)
        await assert_eventually(lambda: gate.under_way == 1)
        writer.close()
        await assert_eventually(lambda: gate.freed == 1 and gate.under_way == 0, 1)


async def test_a_client_that_hangs_up_in_mid_stream_frees_its_slot() -> None:
    gate = ScriptedGate(words=["word"] * 100_000, delay=0.01)
    async with serving(gate) as url:
        reader, writer = await _raw(url, json.dumps({**CHAT, "stream": True}).encode())
        await reader.readuntil(b"word")
        writer.transport.abort()
        await assert_eventually(lambda: gate.freed == 1 and gate.under_way == 0, 1)


async def test_a_client_that_does_not_read_is_left() -> None:
    gate = ScriptedGate(words=["x" * 100_000] * 1_000)
    async with serving(gate, replace(SETTINGS, write_seconds=0.3)) as url:
        _, writer = await _raw(url, json.dumps({**CHAT, "stream": True}).encode(), reads=1_000)
        await assert_eventually(lambda: gate.under_way == 1)
        await assert_eventually(lambda: gate.under_way == 0)
        assert gate.freed == 1
        writer.close()


async def test_one_name_is_for_one_request_at_a_time() -> None:
    gate = ScriptedGate(delay=60)
    async with serving(gate) as url, client_of(url) as client:
        headers = {"x-colony-request-id": "twice"}
        first = asyncio.create_task(client.post("/v1/chat/completions", json=CHAT, headers=headers))
        await assert_eventually(lambda: gate.under_way)
        assert (await client.post("/v1/chat/completions", json=CHAT, headers=headers)).status_code == 409
        first.cancel()
        await asyncio.wait({first})
        await assert_eventually(lambda: gate.freed)


async def test_models_cannot_be_changed_from_here() -> None:
    async with serving(ScriptedGate()) as url, client_of(url) as client:
        for path in ("pull", "push", "create", "copy", "blobs/sha256:0"):
            answer = await client.post(f"/api/{path}", json={"model": "tiny"})
            assert answer.status_code == 403, path
            assert "configuration" in answer.json()["error"]
        assert (await client.request("DELETE", "/api/delete", json={"model": "tiny"})).status_code == 403


async def test_lists_of_models() -> None:
    async with serving(ScriptedGate()) as url, client_of(url) as client:
        assert [model["id"] for model in (await client.get("/v1/models")).json()["data"]] == ["tiny", "fast", "vectors"]
        assert (await client.get("/v1/models/tiny")).json()["max_model_len"] == 2048
        assert (await client.get("/v1/models/none")).json()["error"]["code"] == "model_not_found"
        assert [model["name"] for model in (await client.get("/api/tags")).json()["models"]] == [
            "tiny",
            "fast",
            "vectors",
        ]
        shown = await client.post("/api/show", json={"model": "vectors"})
        assert (shown.json()["capabilities"], shown.json()["model_info"]["colony.context_length"]) == (
            ["embedding"],
            512,
        )
        assert (await client.post("/api/show", json={"model": "none"})).status_code == 404
        assert (await client.get("/api/version")).json() == {"version": SETTINGS.ollama_version}
        assert len((await client.get("/api/ps")).json()["models"]) == 3


async def test_state_why_and_metrics() -> None:
    async with serving(ScriptedGate()) as url, client_of(url) as client:
        assert (await client.get("/colony/state")).json() == {"waiting": 0, "in_flight": 0}
        assert (await client.get("/colony/why/waiting")).json() == {"waits_for": "a slot"}
        missing = await client.get("/colony/why/other")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "request_not_found")
        metrics = await client.get("/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "colony_llm_in_flight 0" in metrics.text


async def test_what_is_not_there() -> None:
    async with serving(ScriptedGate()) as url, client_of(url) as client:
        assert (await client.get("/v1/nowhere")).status_code == 404
        assert (await client.get("/v1/chat/completions")).status_code == 405
        assert (await client.post("/v1/models")).status_code == 405
        assert (await client.options("/v1/chat/completions")).status_code == 405
        assert (await client.get("/v1/models/")).status_code == 200


async def _raw(
    url: str, body: bytes, *, path: str = "/v1/chat/completions", declared: int | None = None, reads: int = 2**16
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request by hand; the connection stays open."""
    port = int(url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=reads)
    length = len(body) if declared is None else declared
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\nContent-Length: {length}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
    return reader, writer
