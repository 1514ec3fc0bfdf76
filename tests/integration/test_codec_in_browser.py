"""A page of the web UI of Temporal has payloads decrypted by the API, in a real browser: login, rules for origins."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import uvicorn

from control.api.app import build_app
from control.api.edge import EdgeSettings
from tests.eventually import assert_eventually
from tests.servers.browser import Browser, browser, browser_path
from tests.unit.control.api.api_of_twins import KEY, twins
from workflows.encryption import EncryptionCodec

pytestmark = [pytest.mark.skipif(not browser_path(), reason="no browser is here")]

PLAIN = {"metadata": {"encoding": base64.b64encode(b"json/plain").decode()}, "data": base64.b64encode(b"1").decode()}


@asynccontextmanager
async def served(app: Any, listener: socket.socket) -> AsyncGenerator[str]:
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await assert_eventually(lambda: server.started, 30)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def page(scope: Any, _receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": b"<title>page</title>"})


async def asked(tab: Browser, origin: str, api: str) -> Any:
    """What a page of `origin` gets when it asks as Temporal's UI does."""
    await tab.call("Page.navigate", url=f"{origin}/")
    await assert_eventually(lambda: _is_at(tab, origin), 30)
    body = json.dumps(json.dumps({"payloads": [PLAIN]}))
    return await tab.value(
        f"fetch('{api}/codec/decode', {{method: 'POST', credentials: 'include', body: {body}, headers: "
        "{'Content-Type': 'application/json', 'X-Namespace': 'default'}})"
        ".then(async answer => answer.ok ? await answer.json() : answer.status).catch(error => String(error))"
    )


async def _is_at(tab: Browser, origin: str) -> bool:
    return await tab.value("document.readyState + location.origin") == f"complete{origin}"


async def test_the_web_ui_decrypts_after_its_browser_was_given_the_key() -> None:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    ui = f"http://127.0.0.1:{listeners[1].getsockname()[1]}"
    parts = replace(twins()[0], codec=EncryptionCodec({"k": bytes(32)}))
    async with (
        served(build_app(parts, EdgeSettings(key=KEY, ui_origin=ui)), listeners[0]) as api,
        served(page, listeners[1]),
        served(page, listeners[2]) as stranger,
        browser() as tab,
    ):
        await tab.call("Page.enable")
        assert await asked(tab, ui, api) == 401, "without the key nothing is told"
        await tab.call("Page.navigate", url=f"{api.replace('//', f'//anybody:{KEY}@')}/codec/login")
        await assert_eventually(lambda: _is_at(tab, api), 30)
        assert await asked(tab, ui, api) == {"payloads": [PLAIN]}
        assert "TypeError" in await asked(tab, stranger, api), "another page is not answered by its browser"
