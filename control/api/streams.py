"""Server-sent events: the progress of a job, for as long as somebody listens and it runs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Final

from starlette.responses import Response, StreamingResponse

from colony.errors import Overloaded, Transient
from control.api.finding import find_job, now_of
from control.api.models import JobAnswer, JobNow, JobStatus
from control.api.parts import Parts

LOOK_SECONDS: Final = 0.5
"""Between two looks at a job."""

ASK_SECONDS: Final = 2.0
"""Between two questions to a job that runs."""

AWAY_SECONDS: Final = 10.0
"""The same, after no worker answered."""

QUIET_SECONDS: Final = 15.0
"""After so long without an event a comment says that the connection lives."""

ENDS: Final = frozenset({JobStatus.DONE, JobStatus.FAILED, JobStatus.CANCELLED})


class Streams:
    """Gives out streams, a bounded number at once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._free = parts.config.api.streams

    def of_job(self, found: JobAnswer, last: str = "") -> Response:
        """Events `progress` with the whole job each time it changes, and `end` with its last state.

        `last` is the id of the event that a listener who comes back heard last: it is not told again, and 204 tells
        one who heard the end to stay away. Raises `Overloaded` when too many listen.
        """
        if found.state in ENDS and last == _id(found):
            return Response(status_code=204)
        if self._free <= 0:
            raise Overloaded("Too many event streams are open.", remedy="Close some, or raise `api.streams`.")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(self._events(found, last), media_type="text/event-stream", headers=headers)

    async def _events(self, found: JobAnswer, told: str) -> AsyncGenerator[str]:
        if self._free <= 0:
            # Others came between the answer's head and this.
            yield "retry: 5000\n\n"
            return
        with self._taken():
            yield "retry: 2000\n\n"
            quiet = 0.0
            last: JobAnswer | None = None
            look = _Look(self._parts)
            while not self._parts.stopping.is_set():
                found = await look.at(found)
                if found != last and (event_id := _id(found)) != told:
                    quiet, last, told = 0.0, found, event_id
                    ended = found.state in ENDS
                    yield _event("end" if ended else "progress", event_id, found)
                    if ended:
                        return
                elif quiet >= QUIET_SECONDS:
                    quiet = 0.0
                    yield ": still there\n\n"
                await self._pause()
                quiet += LOOK_SECONDS
                try:
                    found = await find_job(self._parts, found.id if found.job is None else str(found.job))
                except Transient:
                    continue  # waited out: the stream goes on with the next look

    @contextmanager
    def _taken(self) -> Generator[None]:
        self._free -= 1
        try:
            yield
        finally:
            self._free += 1

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._parts.stopping.wait()
        except TimeoutError:
            return


class _Look:
    """Asks a job what it says of itself, more seldom than the ledger is read: a worker must run it for that."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._now: JobNow | None = None
        self._next = 0.0

    async def at(self, found: JobAnswer) -> JobAnswer:
        """`found` with what the job said last."""
        if found.state is not JobStatus.RUNNING:
            return found
        time = asyncio.get_running_loop().time()
        if time >= self._next:
            self._now = await now_of(self._parts, found)
            self._next = time + (ASK_SECONDS if self._now is not None else AWAY_SECONDS)
        return found.model_copy(update={"now": self._now})


def _id(found: JobAnswer) -> str:
    """Names what an event says, so that any process can tell whether a listener heard it."""
    return hashlib.sha256(found.model_dump_json().encode()).hexdigest()[:24]


def _event(kind: str, event_id: str, found: JobAnswer) -> str:
    return f"event: {kind}\nid: {event_id}\ndata: {found.model_dump_json()}\n\n"
