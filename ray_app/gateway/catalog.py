"""What the backends serve, asked again from time to time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog

from colony.clock import Clock, SystemClock
from colony.errors import ColonyError
from colony.lifecycle import Vitals, task_owner
from ray_app.gateway.contracts import ServedModel
from ray_app.gateway.ports import Backend

_log = structlog.get_logger(__name__)

REFRESH_SECONDS: Final = 20.0
SOON_SECONDS: Final = 1.0
"""Until a backend that never answered is asked again."""

ASK_SECONDS: Final = 10.0
FIRST_SECONDS: Final = 3.0
"""Longest wait for the backends at start: one that hangs must not hold up the others."""


class Catalog:
    """The models of each backend, as last heard. A backend that is silent now keeps what it said before."""

    def __init__(self, backends: Mapping[str, Sequence[Backend]], clock: Clock) -> None:
        self._backends = backends
        self._clock = clock
        self._served: dict[str, tuple[ServedModel, ...]] = {}
        self._looking = asyncio.Lock()
        self._begun = 0
        self._finished = 0

    @property
    def served(self) -> Mapping[str, Sequence[ServedModel]]:
        """Backend -> models; a backend that never answered is missing."""
        return self._served

    async def refresh(self) -> None:
        """Ask every backend at once. Never raises for a backend that does not answer.

        Those who want it while a look is under way share the next one.
        """
        wanted = self._begun + 1
        async with self._looking:
            if self._finished >= wanted:
                return
            self._begun += 1
            await asyncio.gather(*(self._ask(name, replicas) for name, replicas in self._backends.items()))
            self._finished = self._begun

    async def watch(self) -> None:
        """Ask again and again, for ever."""
        while True:
            waiting = len(self._served) < len(self._backends)
            base = SOON_SECONDS if waiting else REFRESH_SECONDS
            await self._clock.sleep(base * random.uniform(0.8, 1.2))  # noqa: S311 -- jitter, not a secret
            await self.refresh()

    async def _ask(self, name: str, replicas: Sequence[Backend]) -> None:
        answers = await asyncio.gather(*(self._models(replica) for replica in replicas))
        heard = [models for models in answers if models is not None]
        if not heard:
            return
        found = {model.name: model for models in heard for model in models}
        if tuple(found.values()) != self._served.get(name):
            _log.info("backend serves", backend=name, models=sorted(found))
        self._served[name] = tuple(found.values())

    async def _models(self, replica: Backend) -> tuple[ServedModel, ...] | None:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                return await replica.models()
        except (ColonyError, TimeoutError) as error:
            _log.debug("backend tells no models", replica=replica.name, error=str(error))
            return None


@asynccontextmanager
async def open_catalog(
    backends: Mapping[str, Sequence[Backend]], clock: Clock | None = None, *, vitals: Vitals | None = None
) -> AsyncGenerator[Catalog]:
    """A catalog that keeps itself up to date. Waits a moment for the first answers."""
    catalog = Catalog(backends, clock or SystemClock())
    async with task_owner() as tasks:
        if vitals is not None:
            vitals.watch(tasks)
        first = tasks.start(catalog.refresh(), name="first look at the backends")
        await asyncio.wait({first}, timeout=FIRST_SECONDS)
        tasks.start(catalog.watch(), name="watch the backends' models")
        yield catalog
