"""What a host tells the world: heartbeats on the bus, itself and its agents in the registry.

Nothing here may hold work up: every failure is logged and tried again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Final

import structlog

from colony.clock import Clock
from colony.contracts import HostBeat
from colony.errors import ColonyError
from colony.ids import heartbeat_subject
from colony.messaging.port import Envelope, Messenger
from colony.registry.port import AgentEntry, Registry
from ray_app.population import AgentCell, Population

_log = structlog.get_logger(__name__)

BEAT_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 1.0
_YIELD_EVERY: Final = 500
_LAG_SECONDS: Final = 0.25


class Announcer:
    """Keeps bus and registry up to date about one host. `valid` says whether the host may still speak."""

    def __init__(
        self,
        messenger: Messenger,
        registry: Registry | None,
        population: Population,
        clock: Clock,
        *,
        host: str,
        incarnation: str,
        beat: Callable[[], HostBeat],
        valid: Callable[[], bool],
    ) -> None:
        self._messenger = messenger
        self._registry = registry
        self._population = population
        self._clock = clock
        self._host = host
        self._incarnation = incarnation
        self._beat = beat
        self._valid = valid
        self._stale = asyncio.Event()
        self._joined = False
        self.loop_lag_ms = 0.0
        """Longest delay of the event loop since the last beat."""

    def changed(self) -> None:
        """The agents of this host are others now: publish them soon."""
        self._stale.set()

    async def run_lag(self) -> None:
        """Measure how late the event loop is, until cancelled."""
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(_LAG_SECONDS)
            late = self._clock.monotonic() - before - _LAG_SECONDS
            self.loop_lag_ms = max(self.loop_lag_ms, late * 1000)

    async def run_beats(self) -> None:
        """Beat every 10 s with jitter, the first at once, until cancelled."""
        while True:
            if self._valid():
                beat = self._beat()
                self.loop_lag_ms = 0.0
                await self._tell(beat)
                await self._beat_registry()
            await self._clock.sleep(BEAT_SECONDS * random.uniform(0.8, 1.0))  # noqa: S311 -- jitter, no secret

    async def run_publishing(self) -> None:
        """Join the registry, then publish the agents after each change, until cancelled."""
        if self._registry is None:
            return
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                async with asyncio.timeout(_CALL_SECONDS):
                    if not self._joined:
                        await self._registry.join(self._host, self._incarnation, {"incarnation": self._incarnation})
                        self._joined = True
                    await self._registry.publish(self._host, await self._entries())
            except (ColonyError, TimeoutError) as error:
                _log.warning("the registry could not be told", host=self._host, error=str(error))
                self._stale.set()
                await self._clock.sleep(_RETRY_SECONDS)

    async def leave(self) -> None:
        """Withdraw from the registry; failing that, the host ends there when its beats stop."""
        if self._registry is None or not self._joined:
            return
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._registry.leave(self._host, self._incarnation)
        except (ColonyError, TimeoutError) as error:
            _log.warning("could not leave the registry", host=self._host, error=str(error))

    async def _tell(self, beat: HostBeat) -> None:
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._messenger.tell(
                    heartbeat_subject(self._host),
                    Envelope(kind="heartbeat", payload=beat.model_dump(mode="json"), sender=self._host),
                )
        except (ColonyError, TimeoutError) as error:
            _log.warning("heartbeat was not sent", host=self._host, error=str(error))

    async def _beat_registry(self) -> None:
        if self._registry is None or not self._joined:
            return
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._registry.beat(self._host, self._incarnation)
        except (ColonyError, TimeoutError) as error:
            _log.warning("the registry missed a heartbeat", host=self._host, error=str(error))

    async def _entries(self) -> list[AgentEntry]:
        entries: list[AgentEntry] = []
        for index, cell in enumerate(list(self._population.agents.values())):
            entries.append(self._entry(cell))
            if index % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        return entries

    def _entry(self, cell: AgentCell) -> AgentEntry:
        cell.kind.known()
        return AgentEntry.model_construct(
            agent_id=cell.agent_id,
            agent_type=cell.kind.name,
            host=self._host,
            shard=cell.shard.number,
            version=cell.version,
            tags=cell.kind.tags,
        )
