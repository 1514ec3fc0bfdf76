"""Subscriptions to what is meant for no agent by name: one queue group per agent type, and the topics of types."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from colony.clock import Clock
from colony.errors import ColonyError
from colony.ids import topic_subject, type_subject
from colony.messaging.port import Intake, Messenger, Subscription
from ray_app.population import Population

_log = structlog.get_logger(__name__)

QUEUE: Final = "colony-hosts"
"""The queue group in which the hosts share the messages to a type."""

_CALL_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0


class Groups:
    """Subscribes to a type while this host has an agent of it, and to the topics its class wants."""

    def __init__(
        self, messenger: Messenger, population: Population, clock: Clock, *, any_of_type: Intake, topic: Intake
    ) -> None:
        self._messenger = messenger
        self._population = population
        self._clock = clock
        self._any_of_type = any_of_type
        self._topic = topic
        self._running: dict[str, Subscription] = {}
        self._stale = asyncio.Event()
        self._lock = asyncio.Lock()
        self._open = True

    def changed(self) -> None:
        """The agents of this host are others now."""
        self._stale.set()

    async def run(self) -> None:
        """Follow the agents of this host, until cancelled."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                async with self._lock, asyncio.timeout(_CALL_SECONDS):
                    await self._update()
            except (ColonyError, TimeoutError) as error:
                _log.warning("could not subscribe to types and topics", error=str(error))
                self._stale.set()
                await self._clock.sleep(_RETRY_SECONDS)

    async def aclose(self) -> None:
        """Take nothing more."""
        self._open = False
        async with self._lock:
            running = list(self._running.values())
            self._running.clear()
            await asyncio.gather(*(subscription.aclose() for subscription in running))

    async def _update(self) -> None:
        if not self._open:
            return
        wanted = self._wanted()
        for subject in set(self._running) - set(wanted):
            await self._running.pop(subject).aclose()
        for subject, intake in wanted.items():
            if subject not in self._running:
                queue = QUEUE if intake is self._any_of_type else ""
                self._running[subject] = await self._messenger.subscribe_raw(subject, intake, queue=queue)

    def _wanted(self) -> dict[str, Intake]:
        wanted: dict[str, Intake] = {}
        for kind in self._population.kinds_here():
            kind.known()
            wanted[type_subject(kind.name)] = self._any_of_type
            for topic in kind.topics:
                try:
                    wanted[topic_subject(topic)] = self._topic
                except ColonyError as error:
                    _log.warning("an agent type names a topic that cannot be", type=kind.name, error=str(error))
        return wanted
