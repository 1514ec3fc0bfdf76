"""Identical requests under way are one: who comes later waits for the same work. Owned by one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Generic, TypeVar

from colony.errors import Unavailable
from ray_app.gateway.contracts import Chunk

V = TypeVar("V")

Emit = Callable[[Chunk], None]
"""What work calls for each piece, where its answer comes in pieces."""


class Flight(Generic[V]):
    """One piece of work and those who wait for it. Made by `SingleFlight.join`."""

    def __init__(self) -> None:
        self._task: asyncio.Task[V] | None = None
        self._pieces: list[Chunk] = []
        self._moved = asyncio.Event()
        self.waiting = 0
        """Callers inside `join` now."""

    @property
    def over(self) -> bool:
        """Whether the work has ended, whatever it came to."""
        return self._running().done()

    @property
    def streams(self) -> bool:
        """Whether any piece came so far."""
        return bool(self._pieces)

    async def result(self) -> V:
        """What the work returns, or its error. Cancelling this wait leaves the work to the others."""
        task = self._running()
        # Not `await task`: that would cancel the work with whoever waits for it.
        await asyncio.wait((task,))
        return _outcome(task)

    async def pieces(self) -> AsyncGenerator[Chunk]:
        """All pieces from the first on, as they come; raises the error of the work after the last one.

        Everybody gets the same objects: they are not to be changed.
        """
        task, seen = self._running(), 0
        while True:
            while seen < len(self._pieces):
                seen += 1
                yield self._pieces[seen - 1]
            if task.done():
                _outcome(task)
                return
            moved = self._moved
            await moved.wait()

    def start(self, work: Callable[[Emit], Awaitable[V]], name: str) -> asyncio.Task[V]:
        """Begin. For `SingleFlight`."""

        async def run() -> V:
            return await work(self._emit)

        self._task = asyncio.create_task(run(), name=name)
        self._task.add_done_callback(self._ended)
        return self._task

    def cancel(self) -> None:
        """Stop the work. For `SingleFlight`."""
        self._running().cancel()

    def _running(self) -> asyncio.Task[V]:
        if self._task is None:
            raise RuntimeError("a flight is made by SingleFlight.join")
        return self._task

    def _emit(self, piece: Chunk) -> None:
        self._pieces.append(piece)
        self._wake()

    def _ended(self, task: asyncio.Task[V]) -> None:
        if not task.cancelled():
            task.exception()  # looked at, so that an error nobody waits for any more is not reported as lost
        self._wake()

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def _outcome(task: asyncio.Task[V]) -> V:
    """What a finished task returned. Raises its error; `Unavailable` if it was stopped while somebody waited."""
    if task.cancelled():
        raise Unavailable("The gateway is stopping.")
    return task.result()


class SingleFlight(Generic[V]):
    """Work by key. Open it with `single_flight`.

    The first to join a key starts the work, in a task of its own that lives as long as anybody waits: the first may
    leave, the others get their answer; when the last leaves, the work is cancelled. Results and errors are handed to
    all who wait and then forgotten.
    """

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight[V]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.joined = 0
        """Requests so far that were spared a call of their own."""

    def __len__(self) -> int:
        """Keys under way."""
        return len(self._flights)

    def under_way(self, key: bytes) -> bool:
        """Whether joining this key would wait for another's work."""
        flight = self._flights.get(key)
        return flight is not None and not flight.over

    @contextmanager
    def join(self, key: bytes, work: Callable[[Emit], Awaitable[V]]) -> Generator[tuple[Flight[V], bool]]:
        """The flight of `key` and whether it was under way already; being inside is what counts as waiting.

        `work` is called only by the first. It may emit pieces for streams and returns the whole answer. Its deadline
        is the first one's: who may wait longer tries again on errors of that kind, see `run`.
        """
        flight = self._flights.get(key)
        if flight is not None and flight.over:
            flight = None  # it ended in this step of the event loop: whoever tries again must not meet its error again
        shared = flight is not None
        if flight is None:
            flight = self._flights[key] = Flight()
            task = flight.start(work, f"flight {key.hex()[:12]}")
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._landed(key, flight, done))
        else:
            self.joined += 1
        flight.waiting += 1
        try:
            yield flight, shared
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                self._abandon(key, flight)

    async def run(
        self,
        key: bytes,
        work: Callable[[], Awaitable[V]],
        *,
        own: tuple[type[Exception], ...] = (),
    ) -> tuple[V, bool]:
        """The result for `key` and whether it was another's work.

        An error is everybody's, save those in `own`, which speak of the first caller only (its rate, its deadline,
        its budget): who had joined it then tries again, one of them for all.
        """

        async def whole(_: Emit) -> V:
            return await work()

        while True:
            with self.join(key, whole) as (flight, shared):
                try:
                    return await flight.result(), shared
                except own:
                    if not shared:
                        raise

    async def aclose(self) -> None:
        """Cancel what is under way and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _abandon(self, key: bytes, flight: Flight[V]) -> None:
        """Nobody waits any more: stop, and let the next one begin anew."""
        if self._flights.get(key) is flight:
            del self._flights[key]
            flight.cancel()

    def _landed(self, key: bytes, flight: Flight[V], task: asyncio.Task[V]) -> None:
        self._tasks.discard(task)
        if self._flights.get(key) is flight:
            del self._flights[key]


@asynccontextmanager
async def single_flight() -> AsyncGenerator[SingleFlight[Any]]:
    """A `SingleFlight` that ends with the block, and what is under way with it."""
    flights: SingleFlight[Any] = SingleFlight()
    try:
        yield flights
    finally:
        await asyncio.shield(flights.aclose())
