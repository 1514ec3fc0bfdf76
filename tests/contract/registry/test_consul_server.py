"""Our own Consul server: what it lets whom do, and what others see of us in it."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import consul
import psutil
import pytest

from colony.config.endpoints import (
    Endpoints,
    NatsEndpoint,
    PostgresEndpoint,
    RayEndpoint,
    RegistryEndpoint,
    TemporalEndpoint,
)
from colony.errors import NotFound, NotPermitted, Unavailable
from colony.ids import AgentType, agent_name, host_name
from colony.registry.consul import open_consul_registry
from colony.registry.consul_http import open_consul_http
from colony.registry.consul_server import NODE_NAME, bootstrap_acl
from colony.registry.open import open_registry
from colony.registry.port import AgentEntry
from tests.eventually import assert_eventually
from tests.servers.consul import ConsulServer, running_consul

pytestmark = pytest.mark.contract

HOST = host_name(0)
AGENT = AgentEntry(
    agent_id=agent_name(AgentType("research"), 1), agent_type=AgentType("research"), host=HOST, shard=7, tags=("find",)
)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[ConsulServer]:
    async with running_consul(tmp_path) as found:
        yield found


async def test_outside_clients_find_agents_by_type_and_capability(
    server: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONSUL_HTTP_TOKEN", raising=False)
    async with open_consul_registry(server.address, server.token_file("host")) as registry:
        await registry.join(HOST, "first", {"pool": "small"})
        await registry.publish(HOST, [AGENT])

        def look(**wanted: Any) -> list[dict[str, Any]]:
            client = consul.Consul(host="127.0.0.1", port=server.ports.http, token=server.tokens["client"])
            return client.health.service("research", passing=True, **wanted)[1]  # pyright: ignore -- py-consul is untyped

        (found,) = await asyncio.to_thread(look, tag="find")
        assert found["Service"]["ID"] == AGENT.agent_id
        assert found["Service"]["Meta"] == {"host": HOST, "shard": "7", "version": "1"}
        assert found["Node"]["Node"] == HOST
        assert found["Node"]["Meta"]["external-node"] == "true"
        assert found["Node"]["Meta"]["pool"] == "small"
        assert await asyncio.to_thread(look, tag="fly") == []
        await registry.fail(HOST, "first")
        assert await asyncio.to_thread(look) == []


async def test_a_stack_with_consul_opens_it_with_the_token_of_the_role(server: ConsulServer) -> None:
    endpoints = Endpoints(
        home="/nowhere",
        folder="/nowhere",
        postgres=PostgresEndpoint(host="127.0.0.1", port=1, password_file=""),
        temporal=TemporalEndpoint(address="127.0.0.1:1"),
        nats=NatsEndpoint(url="nats://127.0.0.1:1", credentials="/nowhere"),
        registry=RegistryEndpoint(kind="consul", address=server.address, credentials=str(server.folder)),
        ray=RayEndpoint(address="127.0.0.1:1"),
    )
    async with open_registry(endpoints, role="dispatcher") as registry:
        assert registry.kind == "consul"
        await registry.put_config("a", "b")
        assert await registry.get_config("a") == "b"
    with pytest.raises(NotFound):
        async with open_registry(endpoints, role="janitor"):
            pass


async def test_nobody_may_do_more_than_the_role_says(server: ConsulServer, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("7b0f7a3e-0000-4000-8000-000000000000")
    async with open_consul_registry(server.address, str(tmp_path / "wrong")) as stranger:
        for call in (stranger.hosts(), stranger.join(HOST, "x", {}), stranger.beat(HOST, "x"), stranger.counts()):
            with pytest.raises(NotPermitted):
                await call
    async with open_consul_registry(server.address, server.token_file("host")) as host:
        await host.join(HOST, "first", {})
        await host.publish(HOST, [AGENT])
        with pytest.raises(NotPermitted):
            await host.put_config("a", "b")
    async with open_consul_registry(server.address, server.token_file("client")) as client:
        assert await client.passing() == [AGENT]
        assert await client.get_config("a") is None
        for call in (client.fail(HOST, "first"), client.publish(HOST, []), client.put_config("a", "b")):
            with pytest.raises(NotPermitted):
                await call
        assert await client.counts() == {"research": 1}


async def test_a_host_token_cannot_write_the_server_nor_run_scripts(server: ConsulServer) -> None:
    async with open_consul_http(server.address, server.tokens["host"]) as http:
        with pytest.raises(NotPermitted):
            await http.transact([{"Node": {"Verb": "set", "Node": {"Node": NODE_NAME, "Address": "127.0.0.9"}}}])
        with pytest.raises(NotPermitted):
            await http.put("/v1/acl/token", {"Policies": []})
    async with open_consul_http(server.address, server.management) as http:
        script = {"Name": "x", "Check": {"Args": ["/bin/true"], "Interval": "5s"}}
        with pytest.raises(Exception, match=r"(?i)script"):
            await http.put("/v1/agent/service/register", script)


async def test_without_a_token_there_is_nothing_to_see(server: ConsulServer) -> None:
    async with open_consul_registry(server.address, server.token_file("host")) as host:
        await host.join(HOST, "first", {})
    async with open_consul_http(server.address, "") as anonymous:
        assert await anonymous.rows("/v1/catalog/nodes") == []
        with pytest.raises(NotPermitted):
            await anonymous.entry("/v1/kv/colony/config/a")


async def test_it_listens_on_loopback_and_only_where_told(server: ConsulServer) -> None:
    assert server.process is not None
    listening = {
        (each.laddr.ip, each.laddr.port)
        for each in psutil.Process(server.process.pid).net_connections()
        if each.status == psutil.CONN_LISTEN or each.type == socket.SOCK_DGRAM
    }
    assert listening == {("127.0.0.1", port) for port in server.ports}


async def test_making_the_policies_again_changes_nothing(server: ConsulServer) -> None:
    async with open_consul_http(server.address, server.management) as http:
        before = await http.rows("/v1/acl/tokens"), await http.rows("/v1/acl/policies")
        await bootstrap_acl(server.address, server.management, server.tokens)
        assert (await http.rows("/v1/acl/tokens"), await http.rows("/v1/acl/policies")) == before
    with pytest.raises(NotPermitted):
        await bootstrap_acl(server.address, server.tokens["host"], server.tokens)


async def test_a_server_that_lost_its_disk_is_filled_again_by_beating(server: ConsulServer) -> None:
    async with open_consul_registry(server.address, server.token_file("host")) as host:
        await host.join(HOST, "first", {"pool": "small"})
        await host.publish(HOST, [AGENT])
        await server.stop()
        shutil.rmtree(server.folder / "data")
        with pytest.raises(Unavailable):
            await host.beat(HOST, "first")
        await server.start()
        await host.beat(HOST, "first")
        assert await host.passing() == [AGENT]
        assert await host.counts() == {"research": 1}


async def test_a_crash_keeps_what_was_published(server: ConsulServer) -> None:
    async with open_consul_registry(server.address, server.token_file("host")) as host:
        await host.join(HOST, "first", {})
        await host.publish(HOST, [AGENT])
        await server.stop(9)
        await server.start()

        async def back() -> bool:
            try:
                await host.beat(HOST, "first")
                return await host.passing() == [AGENT]
            except Unavailable:
                return False

        await assert_eventually(back, timeout=30)
        assert await host.publish(HOST, [AGENT]) == 0
