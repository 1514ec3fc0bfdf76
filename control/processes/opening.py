"""Open connections at the start of a process: wait for servers that are still coming up, without a crash loop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

import structlog

from colony.errors import Transient
from colony.ledger.port import FleetLedger

T = TypeVar("T")

_log = structlog.get_logger(__name__)

OWNERS_EVERY = 0.1


async def shards_owned(
    ledger: FleetLedger, serving: Callable[[], Awaitable[Collection[str]]], *, patience: float = 60.0
) -> None:
    """Return once an incarnation that serves owns every shard, or after `patience` seconds.

    Until then agents do not answer; owners of before a restart may still stand in the ledger.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while asyncio.get_running_loop().time() < deadline:
        try:
            alive = await serving()
            if all(owner.incarnation in alive for owner in await ledger.shard_owners()):
                return
        except Transient as error:
            _log.info("waiting", what="shard owners", error=str(error))
        await asyncio.sleep(OWNERS_EVERY)
    _log.warning("some shards have no owner yet", patience=patience)


async def enter_when_available(
    stack: AsyncExitStack, what: str, connect: Callable[[], AbstractAsyncContextManager[T]], *, patience: float = 120.0
) -> T:
    """Enter `connect()` on `stack`, again after each `Transient` error until `patience` seconds are over.

    Raises the last error then; a `Permanent` error at once.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        try:
            return await stack.enter_async_context(connect())
        except Transient as error:
            if asyncio.get_running_loop().time() > deadline:
                raise
            _log.info("waiting", what=what, error=str(error))
        await asyncio.sleep(random.uniform(0.2, 0.6))  # noqa: S311 -- jitter, not a secret
