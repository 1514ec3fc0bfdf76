"""The cache that survives a restart: memory first, the ledger behind it, written to later."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from colony.clock import Clock
from colony.config.gateway import CacheConfig
from colony.errors import ColonyError
from colony.ledger.llm import LlmLedger
from colony.lifecycle import Vitals, task_owner
from colony.llm.contracts import CachedAnswer
from ray_app.gateway.cache import AnswerCache, KeptAnswer, cache_mb, shared_memory_mb

_log = structlog.get_logger(__name__)

MOST_WAITING: Final = 1_000
"""Answers that wait to be written; the oldest is forgotten first. It stays in memory, so nothing is lost but a copy."""

BATCH: Final = 50
"""Answers written at once: at most 12 MB with the largest entries of the default configuration."""

READ_SECONDS: Final = 0.5
"""Longest wait for the ledger before the backend is asked instead."""

REST: Final = 5.0
"""Seconds the ledger is left alone after it failed."""

CLOSE_SECONDS: Final = 3.0
"""Longest wait for the ledger at the end."""

PRUNE_SECONDS: Final = 600.0
"""Between two looks for what is too old or too much."""

DISK_FACTOR: Final = 4
"""How many times the memory of the cache its table may hold."""


class KeptCache(AnswerCache):
    """An `AnswerCache` with a copy in the ledger. Open it with `answer_cache`.

    `get` and `put` touch memory only. A ledger that fails is left alone for a while: the cache works on without it.
    """

    def __init__(self, config: CacheConfig, clock: Clock, ledger: LlmLedger) -> None:
        super().__init__(config, clock)
        self._ledger = ledger
        self._waiting: OrderedDict[bytes, tuple[KeptAnswer, float]] = OrderedDict()
        """Key -> (answer, monotonic time when it was put)."""
        self._some = asyncio.Event()
        self._rests_until = 0.0
        self.recalled = self.written = self.skipped = 0
        """Answers that came from the ledger, went there, and never will."""

    def put(self, key: bytes, answer: KeptAnswer, *, age: float = 0.0) -> bool:
        """See `AnswerCache`; also writes it to the ledger, later."""
        if not super().put(key, answer, age=age):
            return False
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popitem(last=False)
            self.skipped += 1
        self._waiting[key] = answer, self._clock.monotonic() - age
        self._some.set()
        return True

    async def recall(self, key: bytes) -> KeptAnswer | None:
        """See `AnswerCache`. Waits for the ledger, but not for long."""
        answer = await self._from_ledger(key)
        if answer is None:
            self.counts.misses += 1
        else:
            self.counts.hits += 1
            self.recalled += 1
        return answer

    async def _from_ledger(self, key: bytes) -> KeptAnswer | None:
        if self._clock.monotonic() < self._rests_until:
            return None
        try:
            async with asyncio.timeout(READ_SECONDS):
                found = await self._ledger.cache_get(key, self._config.max_age)
        except (ColonyError, TimeoutError) as error:
            self._rest(error)
            return None
        if found is None:
            return None
        answer = KeptAnswer(found.answer, found.model, found.prompt_tokens, found.completion_tokens)
        super().put(key, answer, age=found.age)
        return answer

    def state(self) -> dict[str, Any]:
        """See `AnswerCache`."""
        return {
            **super().state(),
            "recalled": self.recalled,
            "written": self.written,
            "skipped": self.skipped,
            "to_write": len(self._waiting),
        }

    async def run(self) -> None:
        """Write what comes, for ever."""
        while True:
            await self._some.wait()
            await self._clock.sleep(max(1.0, self._rests_until - self._clock.monotonic()))
            await self.flush()

    async def prune_for_ever(self) -> None:
        """Forget in the ledger what is too old or too much, now and then."""
        while True:
            try:
                await self._ledger.cache_prune(self._config.max_age, DISK_FACTOR * self._most)
            except ColonyError as error:
                self._rest(error)
            await self._clock.sleep(PRUNE_SECONDS)

    async def flush(self) -> None:
        """Write what waits; what the ledger does not take is not tried again."""
        while self._waiting:
            now = self._clock.monotonic()
            batch = [self._waiting.popitem(last=False) for _ in range(min(BATCH, len(self._waiting)))]
            rows = [
                CachedAnswer(key, kept.tail, kept.model, kept.prompt_tokens, kept.completion_tokens, max(0.0, now - at))
                for key, (kept, at) in batch
            ]
            try:
                await self._ledger.cache_put(rows)
            except ColonyError as error:
                self.skipped += len(rows)
                self._rest(error)
                break
            self.written += len(rows)
        if not self._waiting:
            self._some.clear()

    def _rest(self, error: Exception) -> None:
        if self._clock.monotonic() >= self._rests_until:
            _log.warning("the cache goes on without the ledger", error=repr(error), seconds=REST)
        self._rests_until = self._clock.monotonic() + REST


@asynccontextmanager
async def answer_cache(
    config: CacheConfig, clock: Clock, ledger: LlmLedger | None, *, vitals: Vitals | None = None
) -> AsyncGenerator[AnswerCache]:
    """The cache that `config` asks for; `persist` needs a ledger, and is left out without one."""
    config = config.model_copy(update={"max_mb": cache_mb(config, await asyncio.to_thread(shared_memory_mb))})
    if not config.persist or ledger is None:
        yield AnswerCache(config, clock)
        return
    cache = KeptCache(config, clock, ledger)
    async with task_owner() as tasks:
        if vitals is not None:
            vitals.watch(tasks)
        tasks.start(cache.run(), name="cache writer")
        tasks.start(cache.prune_for_ever(), name="cache pruner")
        yield cache
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await cache.flush()
    except TimeoutError:
        _log.warning("the cache was not written to the end")
