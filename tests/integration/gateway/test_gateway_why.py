"""What `colony llm why` says over HTTP of requests that are not in a queue."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ray_app.gateway.backends.scripted import Script, ScriptedBackend
from ray_app.gateway.contracts import Body, Kind, PromptSize
from tests.eventually import assert_eventually
from tests.servers.gateway import real_gateway
from tests.servers.gateway_http import KEY

CHAT = "/v1/chat/completions"


@asynccontextmanager
async def front(folder: Path, script: Script) -> AsyncGenerator[tuple[httpx.AsyncClient, ScriptedBackend]]:
    async with real_gateway(folder, script, context=200) as (endpoint, backend):
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=endpoint.url, headers=headers, trust_env=False, timeout=30) as http:
            yield http, backend


async def ask(http: httpx.AsyncClient, name: str, text: str, **more: Any) -> httpx.Response:
    body = {"model": "fast", "messages": [{"role": "user", "content": text}], **more}
    headers = {"x-colony-request-id": name, "x-colony-agent": f"agent-of-{name}"}
    return await http.post(CHAT, json=body, headers=headers)


async def why(http: httpx.AsyncClient, name: str) -> dict[str, Any]:
    answer = await http.get(f"/colony/why/{name}")
    return answer.json() if answer.status_code == 200 else {"state": answer.status_code}


async def waits_for(http: httpx.AsyncClient, name: str, reason: str) -> bool:
    return (await why(http, name)).get("waits_for") == reason


async def running(http: httpx.AsyncClient, name: str) -> bool:
    return (await why(http, name))["state"] == "running"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_shares_anothers_answer_says_whose(tmp_path: Path, stream: bool) -> None:
    async with front(tmp_path, Script()) as (http, backend):
        backend.hang()
        first = asyncio.create_task(ask(http, "first", "hello", temperature=0))
        await assert_eventually(lambda: running(http, "first"))
        second = asyncio.create_task(ask(http, "second", "hello", temperature=0, stream=stream))
        await assert_eventually(lambda: waits_for(http, "second", "shared with first"))
        found = await why(http, "second")
        assert (found["state"], found["agent"]) == ("waiting", "agent-of-second")
        assert found["freed_by"] == "the end of first, whose answer it shares"
        assert (await why(http, "first"))["state"] == "running"
        backend.revive()
        assert [(await one).status_code for one in (first, second)] == [200, 200]
        assert await why(http, "second") == {"state": 404}


async def test_a_request_whose_tokens_are_counted_says_by_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with front(tmp_path, Script()) as (http, backend):
        go_on = asyncio.Event()

        async def count(kind: Kind, model: str, body: Body) -> PromptSize:
            del kind, model, body
            await go_on.wait()
            return PromptSize(tokens=20, exact=True)

        monkeypatch.setattr("ray_app.gateway.fitting.COUNT_SECONDS", 20.0)
        monkeypatch.setattr(backend, "prompt_size", count)
        asked = asyncio.create_task(ask(http, "long", "word " * 100))
        await assert_eventually(lambda: waits_for(http, "long", "count"))
        assert (await why(http, "long"))["freed_by"] == "a count of its tokens by one"
        go_on.set()
        assert (await asked).status_code == 200
