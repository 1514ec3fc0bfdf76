"""Pulls and loads the configured models at the start, and says how far it is. Never in the way of a request."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from colony.clock import Clock
from colony.errors import ColonyError, Permanent
from colony.lifecycle import Vitals, task_owner
from ray_app.gateway.plan import GatewayPlan
from ray_app.gateway.ports import Backend

_log = structlog.get_logger(__name__)

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 60.0
"""Between two tries with a backend that is away."""


class Preparation:
    """What is prepared, and how far."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._state: dict[tuple[str, str], dict[str, Any]] = {}

    def state(self) -> list[dict[str, Any]]:
        """One entry for each replica and model: `replica`, `model`, `doing`, `share` (0 to 1)."""
        return [{"replica": replica, "model": model, **entry} for (replica, model), entry in self._state.items()]

    async def prepare(self, backend: Backend, model: str) -> None:
        """Prepare one model on one replica; tries again for ever while the replica is away, gives up on a refusal."""
        wait, key = FIRST_WAIT, (backend.name, model)

        def progress(doing: str, share: float) -> None:
            self._state[key] = {"doing": doing, "share": round(share, 3)}

        while True:
            progress("waiting", 0.0)
            try:
                await backend.prepare(model, progress)
            except Permanent as error:
                _log.warning("model cannot be prepared", replica=backend.name, model=model, error=str(error))
                self._state[key] = {"doing": "refused", "share": 0.0, "error": str(error)}
                return
            except ColonyError as error:
                _log.info("model is not prepared yet", replica=backend.name, model=model, error=str(error))
                self._state[key] = {"doing": "waiting", "share": 0.0, "error": str(error)}
                await self._clock.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 -- jitter, not a secret
                wait = min(LONGEST_WAIT, 2 * wait)
            else:
                progress("ready", 1.0)
                return


@asynccontextmanager
async def preparation(
    plan: GatewayPlan, backends: Mapping[str, Sequence[Backend]], clock: Clock, *, vitals: Vitals | None = None
) -> AsyncGenerator[Preparation]:
    """Prepares the models named in the configuration while the block runs, in the background.

    One after another on each replica, all replicas at once. `vitals` is told when that ends with a fault.
    """
    found = Preparation(clock)

    async def one_by_one(backend: Backend, models: Sequence[str]) -> None:
        for model in models:
            await found.prepare(backend, model)

    async with task_owner() as tasks:
        if vitals is not None:
            vitals.watch(tasks)
        for name, config in plan.backends.items():
            for backend in backends[name] if config.preload and config.models else ():
                tasks.start(one_by_one(backend, config.models), name=f"prepare {backend.name}")
        await asyncio.sleep(0)
        yield found
