"""The twin of the Ray runtime: hosts inside this process, each in a task that can be killed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from colony.contracts import BatchProgress, BatchReport, BatchRequest, HostBeat
from colony.errors import AlreadyExists, Unavailable
from colony.ids import Id, host_name
from ray_app.fleet import HostHandle
from ray_app.host import Host

Answer = TypeVar("Answer")
OpenHost = Callable[[int, str], AbstractAsyncContextManager[Host]]
"""Opens a host for (slot, incarnation)."""


class LocalHost:
    """One host in this process. After `kill` it does nothing more, as if its process were gone."""

    def __init__(self, slot: int, open_host: OpenHost) -> None:
        self.slot = slot
        self.host: Host | None = None
        self._open_host = open_host
        self._task: asyncio.Task[None] | None = None
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def name(self) -> Id:
        """See `HostHandle`."""
        return host_name(self.slot)

    @property
    def incarnation(self) -> str:
        """See `HostHandle`."""
        return "" if self.host is None else self.host.incarnation

    @property
    def alive(self) -> bool:
        """Whether its task runs."""
        return not self._gone.done()

    async def start(self, on_death: Callable[[], None]) -> None:
        """Run the host until it ends or is killed."""
        started: asyncio.Future[Host] = asyncio.get_running_loop().create_future()

        async def live() -> None:
            try:
                async with self._open_host(self.slot, str(uuid.uuid4())) as host:
                    started.set_result(host)
                    await host.ended
            except Exception as error:
                if started.done():
                    raise
                started.set_exception(error)
            finally:
                if not self._gone.done():
                    self._gone.set_result(None)
                on_death()

        self._task = asyncio.create_task(live(), name=f"host {self.slot}")
        self.host = await started

    async def kill(self) -> None:
        """End at once, leaving the lease and what was in flight as they are."""
        if not self._gone.done():
            self._gone.set_result(None)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def assign(self, shards: Sequence[int]) -> None:
        """See `HostHandle`."""
        await self._call(self._live().assign(shards))

    async def refresh(self) -> None:
        """See `HostHandle`."""
        await self._call(self._live().refresh())

    async def run_batch(self, request: BatchRequest, trace: str = "") -> BatchReport:
        """See `HostHandle`."""
        return await self._call(self._live().run_batch(request, trace))

    async def progress(self, request: BatchRequest) -> BatchProgress | None:
        """See `HostHandle`."""
        return self._live().progress(request)

    async def status(self) -> HostBeat:
        """See `HostHandle`."""
        return self._live().status()

    async def drain(self) -> None:
        """See `HostHandle`."""
        await self._call(self._live().drain())

    def _live(self) -> Host:
        if self.host is None or not self.alive:
            raise Unavailable(f"{self.name} is dead.")
        return self.host

    async def _call(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        """`work`, unless the host dies first."""
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait({task, self._gone}, return_when=asyncio.FIRST_COMPLETED)
            if task.done() and not task.cancelled():
                return task.result()
            raise Unavailable(f"{self.name} died.")
        finally:
            task.cancel()


class LocalHosts:
    """`HostRuntime` in this process."""

    def __init__(self, open_host: OpenHost) -> None:
        self._open_host = open_host
        self._hosts: dict[int, LocalHost] = {}
        self._callbacks: list[Callable[[], None]] = []

    async def start_host(self, slot: int) -> None:
        """See `HostRuntime`."""
        known = self._hosts.get(slot)
        if known is not None and known.alive:
            raise AlreadyExists(f"{known.name} is alive.")
        host = LocalHost(slot, self._open_host)
        self._hosts[slot] = host
        try:
            await host.start(self._died)
        except BaseException:
            await host.kill()
            raise

    async def kill_host(self, slot: int) -> None:
        """See `HostRuntime`."""
        host = self._hosts.pop(slot, None)
        if host is not None:
            await host.kill()

    async def hosts(self) -> Mapping[int, HostHandle]:
        """See `HostRuntime`."""
        return {slot: host for slot, host in self._hosts.items() if host.alive}

    def on_death(self, callback: Callable[[], None]) -> None:
        """See `HostRuntime`."""
        self._callbacks.append(callback)

    async def aclose(self) -> None:
        """Kill all."""
        for slot in list(self._hosts):
            await self.kill_host(slot)

    def _died(self) -> None:
        for callback in self._callbacks:
            callback()
