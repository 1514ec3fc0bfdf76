"""When a worker's version becomes the current one, and what happens to jobs whose version nobody runs any more."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection
from typing import Final

import structlog
from temporalio.client import Client

from colony.errors import ColonyError
from workflows.versions import (
    POLL_SECONDS,
    Deployment,
    Version,
    make_current,
    move_pinned,
    polls_all_queues,
    read_deployment,
)

PATIENCE: Final = 30.0
"""Seconds the first promotion is waited for before the worker says that it is ready all the same."""

_QUICKLY: Final = 0.2
_SLOWLY: Final = 2.0
_LOOK_EVERY: Final = 20.0

_log = structlog.get_logger(__name__)


class Absences:
    """Which versions have had nobody who polls for so long that nobody is there.

    Where the server still knows the last poll, its age tells. Where it knows of none a single look does not: a server
    that has just started knows of no poller yet.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def gone(self, seen: Deployment, now: float) -> frozenset[str]:
        """The builds without a poll for 75 s; `now` in seconds of any steady clock."""
        empty = [each for each in seen.versions if not each.pollers]
        self._since = {each.build: self._since.get(each.build, now - (each.polled or 0.0)) for each in empty}
        return frozenset(build for build, since in self._since.items() if now - since >= POLL_SECONDS)


def may_become_current(build: str, seen: Deployment, gone: Collection[str]) -> bool:
    """Whether a worker of `build` should make it the current version. Pure.

    A new build takes over; one that was current before does so only when nobody runs what is current now, so that an
    old worker that starts again does not undo an upgrade.
    """
    if seen.current == build:
        return False
    return not seen.current or seen.current in gone or not seen.version(build).was_current


def left_behind(build: str, seen: Deployment, gone: Collection[str]) -> list[Version]:
    """The versions other than `build` that jobs wait for and nobody runs; once `build` is current. Pure."""
    if seen.current != build:
        return []
    return [each for each in seen.versions if each.build != build and each.pinned and each.build in gone]


class Promoter:
    """Keeps the version of this process current where it should be.

    `alone` says that Temporal is this stack's own: whatever version was there before, its worker is gone.
    """

    def __init__(self, client: Client, name: str, build: str, *, alone: bool) -> None:
        self._client = client
        self._name = name
        self._build = build
        self._alone = alone
        self._absences = Absences()
        self.decided = asyncio.Event()
        """Set once this version is current, or another one rightly stays it."""

    async def run(self) -> None:
        """Look for ever: quickly until it is decided who is current, then now and then."""
        while True:
            pause = _LOOK_EVERY
            try:
                if not await self._round():
                    pause = _QUICKLY
            except ColonyError as error:
                _log.warning("version not looked at", build=self._build, error=str(error))
                pause = _SLOWLY
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 -- jitter

    async def wait(self) -> None:
        """Until it is decided which version is current; half a minute at most."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.decided.wait()
        except TimeoutError:
            _log.warning("the version is not current yet", build=self._build, patience=PATIENCE)

    async def _round(self) -> bool:
        if not await polls_all_queues(self._client, self._name, self._build):
            return False
        seen = await read_deployment(self._client, self._name)
        others = frozenset(each.build for each in seen.versions if each.build != self._build)
        gone = others if self._alone else self._absences.gone(seen, time.monotonic())
        if may_become_current(self._build, seen, gone):
            began = time.monotonic()
            await make_current(self._client, self._name, self._build)
            took = round(time.monotonic() - began, 2)
            _log.info("version is current", build=self._build, before=seen.current, seconds=took)
            seen = await read_deployment(self._client, self._name)
        for each in left_behind(self._build, seen, gone):
            moved = await move_pinned(self._client, self._name, each.build)
            _log.info("jobs of a version nobody runs go on here", of=each.build, build=self._build, jobs=moved)
        self.decided.set()
        return True


async def leave_versions(client: Client, name: str) -> None:
    """For a worker without a version: new jobs go to such workers again, and no more to a version of before."""
    if (await read_deployment(client, name)).current:
        await make_current(client, name, "")
        _log.info("no version is current any more", deployment=name)
