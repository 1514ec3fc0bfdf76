"""The registry on NATS: credentials, and roles that may only look."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from colony.config.endpoints import Endpoints, PostgresEndpoint, RayEndpoint, RegistryEndpoint, TemporalEndpoint
from colony.errors import BadInput, NotPermitted, Unavailable
from colony.ids import AgentType, agent_name, host_name
from colony.registry.nats_kv import open_nats_kv_registry
from colony.registry.open import open_registry
from colony.registry.port import AgentEntry
from tests.servers.nats import NatsServer, nats_server

pytestmark = pytest.mark.contract

HOST = host_name(0)
AGENT = AgentEntry(
    agent_id=agent_name(AgentType("research"), 1), agent_type=AgentType("research"), host=HOST, shard=7, tags=("find",)
)


@pytest.fixture
async def server() -> AsyncGenerator[NatsServer]:
    async with nats_server() as found:
        yield found


def endpoints(server: NatsServer, kind: str) -> Endpoints:
    return Endpoints(
        home="/nowhere",
        folder="/nowhere",
        postgres=PostgresEndpoint(host="127.0.0.1", port=1, password_file=""),
        temporal=TemporalEndpoint(address="127.0.0.1:1"),
        nats=server.endpoint,
        registry=RegistryEndpoint(kind=kind),
        ray=RayEndpoint(address="127.0.0.1:1"),
    )


async def test_a_client_sees_what_hosts_publish_and_writes_nothing(server: NatsServer) -> None:
    async with open_registry(endpoints(server, "nats-kv"), role="client") as client:
        assert client.kind == "nats-kv"
        assert await client.hosts() == []  # before anybody made the buckets
        assert await client.counts() == {}
        assert await client.get_config("a") is None
        async with open_registry(endpoints(server, "nats-kv"), role="host") as host:
            await host.join(HOST, "first", {})
            await host.publish(HOST, [AGENT])
        assert await client.passing() == [AGENT]
        assert await client.lookup(AGENT.agent_id) == AGENT
        for call in (client.fail(HOST, "first"), client.leave(HOST, "first"), client.join(HOST, "x", {})):
            with pytest.raises(NotPermitted):
                await call
        assert await client.counts() == {"research": 1}


async def test_wrong_credentials_are_refused_at_once(server: NatsServer) -> None:
    with pytest.raises(NotPermitted):
        async with open_nats_kv_registry(server.endpoint.url, "host", "wrong-password", "_INBOX_host"):
            pass


async def test_nobody_answering_is_said(server: NatsServer) -> None:
    await server.kill()
    with pytest.raises(Unavailable):
        async with open_nats_kv_registry(server.endpoint.url, "host", "x", "_INBOX_host"):
            pass


async def test_an_unknown_kind_is_refused(server: NatsServer) -> None:
    with pytest.raises(BadInput):
        async with open_registry(endpoints(server, "etcd"), role="host"):
            pass
