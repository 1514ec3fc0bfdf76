"""What a host tells the world: heartbeats on the bus, itself and its agents in the registry.

Nothing here may hold work up: every failure is logged and tried again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, runtime_checkable

import structlog

from colony.clock import Clock
from colony.contracts import HostBeat
from colony.errors import ColonyError
from colony.ids import event_subject, heartbeat_subject
from colony.messaging.port import Envelope, Messenger, Subscription
from colony.registry.port import AgentEntry, Registry
from ray_app.population import AgentCell, Population

_log = structlog.get_logger(__name__)

BEAT_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 1.0
_YIELD_EVERY: Final = 500
_LAG_SECONDS: Final = 0.25
_ALL_FIELDS: Final = set(AgentEntry.model_fields)
"""One set for all entries: one each would be two thirds of what an entry costs."""

_FACT_SECONDS: Final = 1.0
_SERVICE: Final = "colony-host"
_SERVICE_VERSION: Final = "1.0.0"


@runtime_checkable
class ServiceMessenger(Protocol):
    """A messenger that can answer the protocol of NATS services."""

    async def announce_service(
        self, name: str, *, version: str, metadata: Mapping[str, str], stats: Callable[[], Mapping[str, Any]]
    ) -> Subscription:
        """Answer as one instance of service `name`, until closed."""
        ...


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
        self._service: Subscription | None = None
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

    async def introduce(self) -> None:
        """Say that this host joined, and answer the protocol of NATS services where the bus speaks it."""
        await self.tell_fact("host-joined")
        if not isinstance(self._messenger, ServiceMessenger):
            return
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                self._service = await self._messenger.announce_service(
                    _SERVICE,
                    version=_SERVICE_VERSION,
                    metadata={"host": self._host, "incarnation": self._incarnation},
                    stats=lambda: self._beat().model_dump(mode="json"),
                )
        except (ColonyError, TimeoutError) as error:
            _log.warning("the host is not announced as a service", host=self._host, error=str(error))

    async def aclose(self) -> None:
        """Answer as a service no more."""
        if self._service is not None:
            await self._service.aclose()

    async def tell_fact(self, kind: str, **more: str) -> None:
        """Publish `colony.event.<kind>.<host>` with this host's incarnation. Never raises: a fact may get lost."""
        payload = {"host": self._host, "incarnation": self._incarnation, **more}
        try:
            async with asyncio.timeout(_FACT_SECONDS):
                await self._messenger.tell(
                    event_subject(kind, self._host), Envelope(kind=kind, payload=payload, sender=self._host)
                )
        except (ColonyError, TimeoutError) as error:
            _log.warning("a fact was not told", host=self._host, kind=kind, error=str(error))

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
            entries.append(entry_of(cell, self._host))
            if index % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
        return entries


def entry_of(cell: AgentCell, host: str) -> AgentEntry:
    """An agent as the registry publishes it. The registry keeps what was published, so this is part of its cost."""
    cell.kind.known()
    return AgentEntry.model_construct(
        _ALL_FIELDS,
        agent_id=cell.agent_id,
        agent_type=cell.kind.name,
        host=host,
        shard=cell.shard.number,
        version=cell.version,
        tags=cell.kind.tags,
    )
