"""Opens the registry of a stack, whichever it has."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from colony.config.endpoints import Endpoints, read_secret
from colony.errors import BadInput
from colony.registry.consul import open_consul_registry
from colony.registry.nats_kv import open_nats_kv_registry
from colony.registry.port import Registry


@asynccontextmanager
async def open_registry(endpoints: Endpoints, *, role: str) -> AsyncGenerator[Registry]:
    """The registry of the stack, with the credentials of `role`.

    Raises `NotFound` when the credentials are missing, `BadInput` for an unknown kind, and whatever the one
    chosen raises: `nats-kv` connects here, `consul` with its first call.
    """
    where = endpoints.registry
    if where.kind == "consul":
        async with open_consul_registry(where.address, str(Path(where.credentials) / f"consul-{role}")) as registry:
            yield registry
    elif where.kind == "nats-kv":
        password = read_secret(Path(endpoints.nats.credentials) / f"nats-{role}")
        async with open_nats_kv_registry(endpoints.nats.url, role, password, f"_INBOX_{role}") as registry:
            yield registry
    else:
        raise BadInput(f"There is no registry of kind {where.kind!r}.", remedy="It is consul or nats-kv.")
