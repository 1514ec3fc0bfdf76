"""Background tasks that are owned, named and watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

from colony.errors import Unavailable

_log = structlog.get_logger(__name__)


class TaskOwner:
    """Owns background tasks; the first that fails is remembered and handed to `failed`.

    Use through `task_owner()`. A task that ends without an error is simply forgotten.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def start(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run `work` until it ends or the owner closes."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        _log.error("background task failed", task=task.get_name(), error=repr(error), exc_info=error)
        if not self.failed.done():
            self.failed.set_result(error)

    async def aclose(self) -> None:
        """Cancel what still runs and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Vitals:
    """The background tasks a process cannot do its work without."""

    def __init__(self) -> None:
        self._failures: list[asyncio.Future[BaseException]] = []

    def watch(self, tasks: TaskOwner) -> None:
        """From now on a failure of one of these tasks is told by `check`."""
        self._failures.append(tasks.failed)

    def check(self) -> None:
        """Raises `Unavailable` once one of them has failed: what it did is done by nobody any more."""
        for failed in self._failures:
            if failed.done() and not failed.cancelled():
                error = failed.result()
                raise Unavailable(f"A background task has failed: {error!r}.") from error


@asynccontextmanager
async def task_owner() -> AsyncGenerator[TaskOwner]:
    """A `TaskOwner` that is closed on the way out, also on cancellation."""
    owner = TaskOwner()
    try:
        yield owner
    finally:
        await asyncio.shield(owner.aclose())
