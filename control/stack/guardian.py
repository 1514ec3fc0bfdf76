"""Keeps the services of a ready stack alive: a dead one is started again, with those that follow it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import structlog

from colony.errors import ColonyError
from colony.lifecycle import TaskOwner
from control.stack.backoff import deaths_after, restart_delay
from control.stack.logfiles import rotate
from control.stack.paths import StackPaths
from control.stack.service import Service

_log = structlog.get_logger(__name__)

LOOK_EVERY = 0.2
ROTATE_EVERY = 5.0
FOLLOWER_STOP_SECONDS = 2.0
"""A process whose Ray has died has nothing left to drain."""


class Guardian:
    """Watches until it is cancelled. Recoveries run as tasks of `owner`."""

    def __init__(self, services: Mapping[str, Service], paths: StackPaths, owner: TaskOwner) -> None:
        self._services = services
        self._paths = paths
        self._owner = owner
        self._recoveries: dict[str, asyncio.Task[None]] = {}

    async def watch(self) -> None:
        """Look at every service, for ever."""
        next_rotation = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            for name, service in self._services.items():
                if name not in self._recoveries and not service.alive():
                    self._recover(service)
            if clock() >= next_rotation:
                for name in (*self._services, "supervisor"):
                    rotate(self._paths.log(name))
                next_rotation = clock() + ROTATE_EVERY
            await asyncio.sleep(LOOK_EVERY)

    def _recover(self, service: Service) -> None:
        group = [service, *(other for other in self._services.values() if service.spec.name in other.spec.follows)]
        replaced = [task for member in group if (task := self._recoveries.pop(member.spec.name, None)) is not None]
        task = self._owner.start(self._bring_back(group, replaced), name=f"recover-{service.spec.name}")
        for member in group:
            self._recoveries[member.spec.name] = task
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._recoveries = {name: other for name, other in self._recoveries.items() if other is not task}

    async def _bring_back(self, group: list[Service], replaced: list[asyncio.Task[None]]) -> None:
        for task in replaced:
            task.cancel()
        await asyncio.gather(*replaced, return_exceptions=True)
        dead, *followers = group
        _log.warning("service died", service=dead.spec.name, lived_seconds=round(dead.lived_seconds, 1))
        dead.deaths_in_a_row = deaths_after(dead.deaths_in_a_row, dead.lived_seconds)
        await asyncio.gather(
            dead.stop(seconds=0), *(follower.stop(seconds=FOLLOWER_STOP_SECONDS) for follower in followers)
        )
        for service in group:
            await self._start_until_it_lives(service)

    async def _start_until_it_lives(self, service: Service) -> None:
        while True:
            service.note_state("restarting", restarts=service.record.restarts + 1)
            await asyncio.sleep(restart_delay(max(1, service.deaths_in_a_row), random.random()))  # noqa: S311 - jitter
            try:
                await service.start()
            except (ColonyError, OSError) as error:
                service.deaths_in_a_row += 1
                _log.warning("service did not come back", service=service.spec.name, error=str(error))
            else:
                _log.info("service is back", service=service.spec.name, seconds=service.record.ready_seconds)
                return
