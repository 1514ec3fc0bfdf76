"""When a worker's version becomes the current one, and what happens to jobs whose version nobody runs any more."""

from __future__ import annotations

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Final

import structlog
from temporalio.client import Client

from colony.errors import ColonyError
from workflows.moving import move_pinned
from workflows.versions import POLL_SECONDS, Deployment, Version, make_current, polls_all_queues, read_deployment

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


def left_behind(build: str, seen: Deployment, gone: Collection[str], untold: Collection[str] = ()) -> list[Version]:
    """The versions other than `build` that jobs wait for and nobody runs; once `build` is current. Pure.

    `build` is empty for workers without a version. `untold` are builds whose jobs may not have been told that they may
    move: they count, too.
    """
    if seen.current != build:
        return []
    others = [each for each in seen.versions if each.build != build and each.build in gone]
    return [each for each in others if each.pinned or each.build in untold]


class Rounds(ABC):
    """Keeps the right version current, and moves the jobs of those nobody runs, for one process.

    `alone` says that Temporal is this stack's own: whatever version was there before, its worker is gone.
    """

    def __init__(self, client: Client, name: str, build: str, *, alone: bool) -> None:
        self._client = client
        self._name = name
        self._build = build
        self._alone = alone
        self._absences = Absences()
        self._told: set[str] = set()
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
            _log.warning("who is current is not decided yet", build=self._build, patience=PATIENCE)

    @abstractmethod
    async def _round(self) -> bool:
        """Look once; whether it could be decided who is current."""

    def _gone(self, seen: Deployment) -> frozenset[str]:
        if self._alone:
            return frozenset(each.build for each in seen.versions if each.build != self._build)
        return self._absences.gone(seen, time.monotonic())

    async def _take_over(self, seen: Deployment, gone: Collection[str]) -> None:
        """Jobs of versions nobody runs go on here; those it fails for have their turn with the next round."""
        untold = {each.build for each in seen.versions} - self._told
        for each in left_behind(self._build, seen, gone, untold):
            moved, failed = await move_pinned(self._client, self._name, each.build)
            self._told = self._told - {each.build} if failed else self._told | {each.build}
            if moved or failed:
                _log.info(
                    "jobs of a version nobody runs go on here",
                    of=each.build, build=self._build, jobs=moved, failed=failed,
                )  # fmt: skip


class Promoter(Rounds):
    """For a worker with a version: keeps it current where it should be."""

    async def _round(self) -> bool:
        if not await polls_all_queues(self._client, self._name, self._build):
            return False
        seen = await read_deployment(self._client, self._name)
        gone = self._gone(seen)
        if may_become_current(self._build, seen, gone):
            began = time.monotonic()
            await make_current(self._client, self._name, self._build)
            took = round(time.monotonic() - began, 2)
            _log.info("version is current", build=self._build, before=seen.current, seconds=took)
            seen = seen.model_copy(update={"current": self._build})
        self.decided.set()
        await self._take_over(seen, gone)
        return True


class Leaver(Rounds):
    """For a worker without a version: new jobs go to such workers again, and jobs of versions that are gone, too.

    Once no version is current it leaves it at that: who makes one current afterwards means it.
    """

    def __init__(self, client: Client, name: str, *, alone: bool) -> None:
        super().__init__(client, name, "", alone=alone)

    async def _round(self) -> bool:
        look = read_deployment if self.decided.is_set() else leave_versions
        seen = await look(self._client, self._name)
        self.decided.set()
        await self._take_over(seen, self._gone(seen))
        return True


async def leave_versions(client: Client, name: str) -> Deployment:
    """For a worker without a version: new jobs go to such workers again, and no more to a version of before.

    The versions as they are then; the server is asked once, since it answers few questions about them in a row.
    """
    seen = await read_deployment(client, name)
    if not seen.current:
        return seen
    await make_current(client, name, "")
    _log.info("no version is current any more", deployment=name)
    return seen.model_copy(update={"current": ""})
