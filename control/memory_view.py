"""What agents remember, as people see it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from colony.config.endpoints import Endpoints
from colony.config.model import Config
from colony.errors import BadInput, NotFound, Unavailable
from colony.ledger.port import Ledger
from colony.llm.http import open_gateway_model
from colony.llm.port import Caller
from colony.memory.agent_memory import parsed_id
from colony.memory.contracts import Remembered, Scope, ScopeKind, ScopeSize
from colony.memory.models import embedder_of, embedding_model
from colony.memory.port import Embedder
from control.session import endpoints_here
from control.settings import load_settings

_EMBED_SECONDS: Final = 60.0
_DAY: Final = 86_400.0


async def place(ledger: Ledger, text: str) -> Scope:
    """The scope that people mean: a job by its number, key or workflow id. Raises `BadInput`."""
    scope = Scope.parse(text)
    if scope.kind is not ScopeKind.JOB:
        return scope
    try:
        return Scope(ScopeKind.JOB, (await ledger.job(scope.name)).key)
    except NotFound:
        return scope  # a job that is forgotten may have left something


@asynccontextmanager
async def embedder_here() -> AsyncGenerator[tuple[Embedder, Config]]:
    """The embedder that agents of this stack have, and the configuration. Raises `Unavailable` without the gateway."""
    endpoints = endpoints_here()
    config = load_settings(endpoints).config
    async with AsyncExitStack() as stack:
        yield await _embedder(stack, endpoints, config), config


async def _embedder(stack: AsyncExitStack, endpoints: Endpoints, config: Config) -> Embedder:
    if not embedding_model(config):
        return embedder_of(config, None)
    if endpoints.gateway is None:
        raise Unavailable("The gateway, which asks the model for embeddings, is not up.")
    return embedder_of(config, await stack.enter_async_context(open_gateway_model(endpoints.gateway, config.model)))


async def search(ledger: Ledger, query: str, scopes: Sequence[str], label: str, limit: int) -> list[Remembered]:
    """What the scopes have on a query, nearest first. Raises `BadInput`, `NoMemory`, and what embedding raises."""
    if not query.strip():
        raise BadInput("A search needs a text.")
    places = [await place(ledger, scope) for scope in scopes]
    async with embedder_here() as (embedder, config):
        (vector,) = await embedder.embed([query[: config.memory.max_text]], Caller(), _EMBED_SECONDS)
        age = config.memory.keep_days * _DAY or None
        return await ledger.search_memories(places, embedder.name, vector, limit=limit, label=label, age=age)


async def forget(ledger: Ledger, scope: str, memory: str, older_than: float | None) -> int:
    """Forget an entry, a scope, or what is older than so many days; how many. Raises `BadInput`."""
    if not scope and older_than is None:
        raise BadInput("Say what to forget.", remedy="Name a scope, or --older-than DAYS.")
    return await ledger.forget_memories(
        await place(ledger, scope) if scope else None,
        memory=parsed_id(memory) if memory else None,
        age=None if older_than is None else older_than * _DAY,
    )


def size_shown(size: ScopeSize) -> dict[str, Any]:
    """A scope's size as JSON for machines."""
    return {
        "scope": str(size.scope),
        "embedder": size.embedder,
        "dimensions": size.dimensions,
        "entries": size.entries,
        "characters": size.characters,
        "newest": iso(size.newest),
    }


def iso(seconds: float) -> str:
    """Wall-clock seconds as ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
