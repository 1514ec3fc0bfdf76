"""Who may ask the API, how much, and what counts as JSON; every refusal is a problem."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.unit.control.api.api_of_twins import KEY, ApiOfTwins, opened, problem


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": ""},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": "", "X-API-Key": KEY + "x"},
        {"Authorization": "", "X-API-Key": "ä"},
    ],
)
async def test_nobody_without_the_key_comes_in(api: ApiOfTwins, headers: dict[str, str]) -> None:
    found = await api.client.get("/v1/jobs", headers={k: v.encode() for k, v in headers.items()})
    problem(found, 401, "NotPermitted")
    assert found.headers["www-authenticate"] == "Bearer"


async def test_the_key_comes_in_both_ways(api: ApiOfTwins) -> None:
    assert (await api.client.get("/v1/jobs")).status_code == 200
    other = await api.client.get("/v1/jobs", headers={"Authorization": "", "X-API-Key": KEY})
    assert other.status_code == 200
    assert other.headers["x-content-type-options"] == "nosniff"


async def test_probes_and_the_description_need_no_key(api: ApiOfTwins) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert (await api.client.get(path, headers={"Authorization": ""})).status_code == 200


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "", "user@localhost", "localhost:0"])
async def test_other_names_are_refused_as_host(api: ApiOfTwins, name: str) -> None:
    problem(await api.client.get("/healthz", headers={"Host": name}), 403, "NotPermitted")


async def test_pages_of_others_are_refused(api: ApiOfTwins) -> None:
    for origin in ("https://evil.example", "null"):
        problem(await api.client.get("/v1/jobs", headers={"Origin": origin}), 403, "NotPermitted")
    assert (await api.client.get("/v1/jobs", headers={"Origin": "http://localhost:3000"})).status_code == 200


async def test_configured_names_come_in() -> None:
    async with opened(hosts=frozenset({"Colony.example"})) as api:
        found = await api.client.get(
            "/v1/jobs", headers={"Host": "colony.example:80", "Origin": "https://colony.example"}
        )
        assert found.status_code == 200


async def test_a_large_body_is_refused_whether_announced_or_not() -> None:
    async with opened(max_body=1000) as api:
        problem(await api.submit(input={"x": "y" * 2000}), 413, "BadInput", "Content-Length")

        async def pieces() -> AsyncGenerator[bytes]:
            for _ in range(100):
                yield b"y" * 100

        headers = {"Content-Type": "application/json"}
        problem(await api.client.post("/v1/jobs", content=pieces(), headers=headers), 413, "BadInput", "Content-Length")


async def test_a_body_that_never_comes_is_given_up() -> None:
    import asyncio

    async with opened(body_seconds=0.05) as api:

        async def never() -> AsyncGenerator[bytes]:
            yield b"{"
            await asyncio.Event().wait()

        found = await api.client.post("/v1/jobs", content=never(), headers={"Content-Type": "application/json"})
        problem(found, 408, "BadInput")


@pytest.mark.parametrize(
    "body",
    [
        b'{"template": "review_analysis", "input": {"a": NaN}}',
        b'{"template": "review_analysis", "input": {"a": Infinity}}',
        b'{"template": "review_analysis", "input": {"a": 1e999}}',
        b"{",
        b"[]",
        b"\xff",
        b'{"input": ' + b'{"a":' * 200 + b"1" + b"}" * 201,
    ],
)
async def test_what_is_no_json_is_refused(api: ApiOfTwins, body: bytes) -> None:
    found = await api.client.post("/v1/jobs", content=body, headers={"Content-Type": "application/json"})
    problem(found, 400, "BadInput")
    assert api.engine.jobs == {}


async def test_other_media_are_refused(api: ApiOfTwins) -> None:
    for media in ("text/plain", "application/x-www-form-urlencoded", ""):
        found = await api.client.post("/v1/jobs", content=b"{}", headers={"Content-Type": media})
        problem(found, 415, "BadInput", "Content-Type")


async def test_unknown_paths_and_methods_are_problems(api: ApiOfTwins) -> None:
    problem(await api.client.get("/v2/nothing"), 404, "NotFound")
    found = await api.client.delete("/v1/jobs")
    problem(found, 405, "BadInput")
    assert found.headers["allow"] == "GET, POST"
