"""Keeps the services of a ready stack alive: a dead or frozen one is started again, with those that follow it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import structlog

from colony.errors import ColonyError
from colony.lifecycle import TaskOwner
from control.stack.backoff import deaths_after, restart_delay
from control.stack.freezing import Silence
from control.stack.logfiles import rotate
from control.stack.paths import StackPaths
from control.stack.service import Service

_log = structlog.get_logger(__name__)

LOOK_EVERY = 0.2
ASK_EVERY = 3.0
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
        for service in self._services.values():
            if service.spec.patience is not None:
                self._owner.start(self._ask(service, Silence(service.spec.patience)), name=f"ask-{service.spec.name}")
        next_rotation = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            for name, service in self._services.items():
                if name not in self._recoveries and not service.alive():
                    self._recover(service, "died")
            if clock() >= next_rotation:
                self._rotate_logs()
                next_rotation = clock() + ROTATE_EVERY
            await asyncio.sleep(LOOK_EVERY)

    def _rotate_logs(self) -> None:
        for name in (*self._services, "supervisor"):
            try:
                rotate(self._paths.log(name))
            except OSError as error:
                # A full disk is no reason to stop watching.
                _log.warning("log not rotated", log=name, error=str(error))

    async def _ask(self, service: Service, silence: Silence) -> None:
        """Ask a service again and again whether it works, for ever."""
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(ASK_EVERY * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            ready = service.record.state == "ready"
            frozen = silence.note(answered=not ready or await service.answers(), now=clock())
            if frozen and service.record.state == "ready" and service.spec.name not in self._recoveries:
                silence.began = None
                self._recover(service, "frozen")

    def _recover(self, service: Service, reason: str) -> None:
        group = [service, *(other for other in self._services.values() if service.spec.name in other.spec.follows)]
        replaced = [task for member in group if (task := self._recoveries.pop(member.spec.name, None)) is not None]
        task = self._owner.start(self._bring_back(group, replaced, reason), name=f"recover-{service.spec.name}")
        for member in group:
            self._recoveries[member.spec.name] = task
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._recoveries = {name: other for name, other in self._recoveries.items() if other is not task}

    async def _bring_back(self, group: list[Service], replaced: list[asyncio.Task[None]], reason: str) -> None:
        for task in replaced:
            task.cancel()
        await asyncio.gather(*replaced, return_exceptions=True)
        dead, *followers = group
        lived = round(dead.lived_seconds, 1)
        _log.warning("service is started again", service=dead.spec.name, reason=reason, lived_seconds=lived)
        dead.deaths_in_a_row = deaths_after(dead.deaths_in_a_row, dead.lived_seconds)
        await asyncio.gather(
            dead.stop(seconds=0), *(follower.stop(seconds=FOLLOWER_STOP_SECONDS) for follower in followers)
        )
        for service in group:
            await self._start_until_it_lives(service, reason if service is dead else dead.spec.name)

    async def _start_until_it_lives(self, service: Service, reason: str) -> None:
        while True:
            service.note_state("restarting", restarts=service.record.restarts + 1, last_restart=reason)
            await asyncio.sleep(restart_delay(max(1, service.deaths_in_a_row), random.random()))  # noqa: S311 - jitter
            try:
                await service.start()
            except (ColonyError, OSError) as error:
                service.deaths_in_a_row += 1
                _log.warning("service did not come back", service=service.spec.name, error=str(error))
            else:
                _log.info("service is back", service=service.spec.name, seconds=service.record.ready_seconds)
                return
