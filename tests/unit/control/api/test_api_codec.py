"""The codec endpoint of the API: what Temporal's command line and web UI ask."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from control.api.app import build_app
from control.api.edge import EdgeSettings
from tests.unit.control.api.api_of_twins import KEY, problem, twins
from workflows.encryption import EncryptionCodec

UI = "http://127.0.0.1:8233"
PLAIN = {
    "metadata": {"encoding": base64.b64encode(b"json/plain").decode()},
    "data": base64.b64encode(b'"a secret"').decode(),
}


def client_of(codec: EncryptionCodec | None, **headers: str) -> httpx.AsyncClient:
    parts, *_ = twins()
    app = build_app(replace(parts, codec=codec), EdgeSettings(key=KEY, ui_origin=UI))
    transport: Any = httpx.ASGITransport(app)  # pyright: ignore[reportArgumentType] -- the same protocol, spelled otherwise
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", headers=headers)


@pytest_asyncio.fixture
async def client() -> AsyncGenerator[httpx.AsyncClient]:
    async with client_of(EncryptionCodec({"k": bytes(32)}), authorization=f"Bearer {KEY}") as opened:
        yield opened


async def test_what_is_encoded_is_decoded_again(client: httpx.AsyncClient) -> None:
    sealed = (await client.post("/codec/encode", json={"payloads": [PLAIN]})).json()
    assert PLAIN["data"] not in str(sealed)
    back = await client.post("/codec/decode", json=sealed)
    assert back.json() == {"payloads": [PLAIN]}
    assert (await client.post("/codec/decode", json={"payloads": [PLAIN]})).json() == {"payloads": [PLAIN]}
    assert (await client.post("/codec/decode", json={})).json() == {"payloads": []}


@pytest.mark.parametrize("body", [{"payloads": 3}, {"payloads": [{"data": "A"}]}, {"payloads": [{"metadata": []}]}])
async def test_what_is_no_payload_is_refused(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    problem(await client.post("/codec/decode", json=body), 422, "BadInput")


async def test_a_key_that_is_not_at_hand_is_told(client: httpx.AsyncClient) -> None:
    async with client_of(EncryptionCodec({"other": bytes(32)}), authorization=f"Bearer {KEY}") as other:
        sealed = (await other.post("/codec/encode", json={"payloads": [PLAIN]})).json()
    problem(await client.post("/codec/decode", json=sealed), 422, "Unreadable")


async def test_without_encryption_there_is_no_codec() -> None:
    async with client_of(None, authorization=f"Bearer {KEY}") as off:
        problem(await off.post("/codec/decode", json={"payloads": []}), 404, "NotFound")


async def test_it_needs_the_key() -> None:
    async with client_of(EncryptionCodec({"k": bytes(32)})) as stranger:
        problem(await stranger.post("/codec/decode", json={"payloads": []}), 401, "NotPermitted")
        asked = await stranger.get("/codec/login")
        assert asked.status_code == 401
        assert asked.headers["www-authenticate"].startswith("Basic ")
        assert (await stranger.get("/codec/login", auth=("anybody", KEY))).json() == {"ok": True}
        assert (await stranger.get("/codec/login", auth=("anybody", "wrong"))).status_code == 401
        assert (await stranger.post("/codec/decode", json={}, auth=("anybody", KEY))).status_code == 200
        assert (await stranger.get("/v1/jobs", auth=("anybody", KEY))).status_code == 401, "for the codec alone"


async def test_pages_of_the_web_ui_may_ask(client: httpx.AsyncClient) -> None:
    client.headers.pop("authorization")
    asked = await client.options("/codec/decode", headers={"origin": UI, "access-control-request-method": "POST"})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == UI
    assert asked.headers["access-control-allow-credentials"] == "true"
    told = await client.post("/codec/decode", json={}, headers={"origin": UI}, auth=("x", KEY))
    assert told.headers["access-control-allow-origin"] == UI


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9999", "https://evil.example", "null", UI + ".evil.example"])
async def test_pages_of_others_may_not(client: httpx.AsyncClient, origin: str) -> None:
    asked = await client.options("/codec/decode", headers={"origin": origin, "access-control-request-method": "POST"})
    assert "access-control-allow-origin" not in asked.headers
    told = await client.post("/codec/decode", json={}, headers={"origin": origin})
    assert "access-control-allow-origin" not in told.headers


async def test_other_paths_have_no_such_headers(client: httpx.AsyncClient) -> None:
    told = await client.get("/v1/jobs", headers={"origin": UI})
    assert told.status_code == 200
    assert "access-control-allow-origin" not in told.headers
