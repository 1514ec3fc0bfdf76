"""The three registries under one suite, and what the suite has to be able to do to each of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from colony.config.endpoints import read_secret
from colony.registry.consul import open_consul_registry
from colony.registry.memory import MemoryRegistry
from colony.registry.nats_kv import open_nats_kv_registry
from colony.registry.port import Registry
from tests.servers.consul import running_consul
from tests.servers.nats import nats_server


@dataclass(frozen=True)
class World:
    """One kind of registry: clients of a role, and how to take the server away and bring it back."""

    client: Callable[[str], AbstractAsyncContextManager[Registry]]
    stop: Callable[[], Awaitable[None]]
    start: Callable[[], Awaitable[None]]


@asynccontextmanager
async def _memory(_: Path, time_to_live: float) -> AsyncGenerator[World]:
    registry = MemoryRegistry(time_to_live=time_to_live)

    @asynccontextmanager
    async def client(_: str) -> AsyncGenerator[Registry]:
        yield registry

    async def stop() -> None:
        registry.reachable = False

    async def start() -> None:
        registry.reachable = True

    yield World(client, stop, start)


@asynccontextmanager
async def _nats(_: Path, time_to_live: float) -> AsyncGenerator[World]:
    async with nats_server() as server:

        def client(role: str) -> AbstractAsyncContextManager[Registry]:
            password = read_secret(Path(server.endpoint.credentials) / f"nats-{role}")
            return open_nats_kv_registry(
                server.endpoint.url, role, password, f"_INBOX_{role}", time_to_live=time_to_live
            )

        yield World(client, server.kill, server.start)


@asynccontextmanager
async def _consul(folder: Path, time_to_live: float) -> AsyncGenerator[World]:
    async with running_consul(folder) as server:

        def client(role: str) -> AbstractAsyncContextManager[Registry]:
            return open_consul_registry(server.address, server.token_file(role), time_to_live=time_to_live)

        yield World(client, server.stop, server.start)


_WORLDS = {"memory": _memory, "nats-kv": _nats, "consul": _consul}


@pytest.fixture
def time_to_live() -> float:
    """Seconds until a host that does not beat stops passing: more than a test takes that is not about them."""
    return 600.0


@pytest.fixture(params=sorted(_WORLDS))
async def world(request: pytest.FixtureRequest, tmp_path: Path, time_to_live: float) -> AsyncGenerator[World]:
    """A registry of each kind with nothing in it."""
    async with _WORLDS[request.param](tmp_path, time_to_live) as found:
        yield found


@pytest.fixture
async def registry(world: World) -> AsyncGenerator[Registry]:
    """The registry as a dispatcher sees it: it may do everything the port names."""
    async with world.client("dispatcher") as found:
        yield found
