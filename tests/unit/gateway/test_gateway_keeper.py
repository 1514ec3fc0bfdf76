"""The keeper against a server that answers as Ray's dashboard does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from colony.clock import ManualClock
from colony.config.endpoints import (
    Endpoints,
    GatewayEndpoint,
    NatsEndpoint,
    PostgresEndpoint,
    RayEndpoint,
    RegistryEndpoint,
    TemporalEndpoint,
)
from colony.config.model import Config
from colony.errors import Unavailable
from ray_app.gateway.application import NAME, Step
from ray_app.gateway.keeper import open_keeper
from tests.eventually import assert_eventually


class Dashboard:
    """Takes applications, and says of them what it is told to say."""

    def __init__(self) -> None:
        self.status = "DEPLOYING"
        self.broken = False
        self.given: list[dict[str, Any]] = []
        self.tokens: set[str] = set()

    def answer(self, method: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.tokens.add(headers.get("authorization", ""))
        if self.broken:
            return 500, b"no"
        if method == "PUT":
            self.given.append(orjson.loads(body))
            return 200, b""
        if not self.given:
            return 200, b'{"applications": {}}'
        application = self.given[-1]["applications"][0]
        return 200, orjson.dumps({"applications": {NAME: {"status": self.status, "deployed_app_config": application}}})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = (await reader.readline()).split()[0].decode()
        headers: dict[str, str] = {}
        while (line := await reader.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        status, answer = self.answer(method, headers, await reader.readexactly(int(headers.get("content-length", 0))))
        head = f"HTTP/1.1 {status} x\r\ncontent-length: {len(answer)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def dashboard(tmp_path: Path) -> AsyncGenerator[tuple[Dashboard, Endpoints]]:
    answering = Dashboard()
    server = await asyncio.start_server(answering.serve, "127.0.0.1", 0)
    token = tmp_path / "token"
    token.write_text("s3cret", encoding="ascii")
    endpoints = Endpoints(
        home=str(tmp_path),
        folder=str(tmp_path),
        postgres=PostgresEndpoint(host="127.0.0.1", port=1, password_file="p"),
        temporal=TemporalEndpoint(address=""),
        nats=NatsEndpoint(url="", credentials=""),
        registry=RegistryEndpoint(kind="nats-kv"),
        ray=RayEndpoint(
            address="", dashboard=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", token_file=str(token)
        ),
        gateway=GatewayEndpoint(url="http://127.0.0.1:8000", key_file="k", proxy=8017),
    )
    async with server:
        yield answering, endpoints


async def test_it_deploys_what_is_missing_once_and_what_was_given_up_anew(tmp_path: Path) -> None:
    async with dashboard(tmp_path) as (answering, endpoints), open_keeper(endpoints, Config()) as keeper:
        assert await keeper.look() is Step.DEPLOY
        assert await keeper.look() is Step.WAIT
        answering.status = "RUNNING"
        assert await keeper.look() is Step.NOTHING
        assert len(answering.given) == 1
        answering.status = "DEPLOY_FAILED"
        assert await keeper.look() is Step.DEPLOY
        assert await keeper.look() is Step.DEPLOY
    args = [given["applications"][0]["args"] for given in answering.given]
    assert len({one["attempt"] for one in args[1:]}) == 2
    assert {given["http_options"]["port"] for given in answering.given} == {8017}
    assert {given["http_options"]["host"] for given in answering.given} == {"127.0.0.1"}
    assert answering.tokens == {"Bearer s3cret"}


async def test_it_deploys_anew_for_another_configuration(tmp_path: Path) -> None:
    async with dashboard(tmp_path) as (answering, endpoints):
        answering.status = "RUNNING"
        for seconds in (60.0, 61.0):
            config = Config()
            config = config.model_copy(update={"model": config.model.model_copy(update={"timeout": seconds})})
            async with open_keeper(endpoints, config) as keeper:
                assert await keeper.look() is Step.DEPLOY
                assert await keeper.look() is Step.NOTHING


async def test_it_goes_on_when_the_dashboard_fails(tmp_path: Path) -> None:
    clock = ManualClock()
    async with dashboard(tmp_path) as (answering, endpoints), open_keeper(endpoints, Config(), clock=clock) as keeper:
        answering.broken = True
        with pytest.raises(Unavailable, match="500"):
            await keeper.look()
        work = asyncio.create_task(keeper.run())
        await asyncio.sleep(0)

        def deployed() -> bool:
            answering.broken = False
            clock.advance(60.0)
            return bool(answering.given)

        await assert_eventually(deployed)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
