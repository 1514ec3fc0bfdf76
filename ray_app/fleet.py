"""The hosts as the dispatcher sees them: a port, its twin in this process, and the runner of batches above it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

import structlog

from colony.clock import Clock, SystemClock
from colony.contracts import BatchProgress, BatchReport, BatchRequest, HostBeat
from colony.dispatch import OnProgress
from colony.errors import DeadlineExceeded, Fenced, LostShard, Overloaded, Unavailable
from colony.ids import Id, host_name
from colony.telemetry.port import OFF, Tracer

_log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

_POLL_SECONDS: Final = 1.0
_SILENT_SECONDS: Final = 10.0
_STATUS_SECONDS: Final = 2.0


class HostHandle(Protocol):
    """One host that the platform says is alive. Every call raises `Unavailable` once it is dead.

    What the host itself raises comes back as the same class.
    """

    @property
    def name(self) -> Id:
        """`colony-host-<slot>`."""
        ...

    @property
    def incarnation(self) -> str:
        """The life it is in; empty while it starts."""
        ...

    async def assign(self, shards: Sequence[int]) -> None:
        """See `ray_app.host.Host.assign`."""
        ...

    async def refresh(self) -> None:
        """See `ray_app.host.Host.refresh`."""
        ...

    async def run_batch(self, request: BatchRequest, trace: str = "") -> BatchReport:
        """See `ray_app.host.Host.run_batch`. May take as long as the tasks do."""
        ...

    async def progress(self, request: BatchRequest) -> BatchProgress | None:
        """See `ray_app.host.Host.progress`."""
        ...

    async def status(self) -> HostBeat:
        """See `ray_app.host.Host.status`."""
        ...

    async def drain(self) -> None:
        """See `ray_app.host.Host.drain`."""
        ...


class HostRuntime(Protocol):
    """The platform that hosts live on."""

    async def start_host(self, slot: int) -> None:
        """Start the host of a slot and wait until it has its lease. Raises `Unavailable`, `AlreadyExists`."""
        ...

    async def kill_host(self, slot: int) -> None:
        """End the process of a host at once; nothing if there is none."""
        ...

    async def hosts(self) -> Mapping[int, HostHandle]:
        """Hosts alive by slot, as the platform knows; those still starting included."""
        ...

    def on_death(self, callback: Callable[[], None]) -> None:
        """Call this when a host is known to have died."""
        ...


class HostBatchRunner:
    """`colony.dispatch.BatchRunner` over the hosts of a runtime.

    Takes the host with the fewest batches in flight. Tasks bound to agents of other hosts come back as left: the
    same range then goes to the next host, for as long as that makes progress.
    """

    def __init__(
        self,
        runtime: HostRuntime,
        clock: Clock | None = None,
        *,
        on_trouble: Callable[[], None] | None = None,
        tracer: Tracer = OFF,
    ) -> None:
        self._tracer = tracer
        self._runtime = runtime
        self._clock = clock or SystemClock()
        self._on_trouble = on_trouble
        self._in_flight: Counter[int] = Counter()
        self._turn = 0

    async def run(self, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        """See `colony.dispatch.BatchRunner`."""
        started = self._clock.monotonic()
        total: BatchReport | None = None
        refused: Overloaded | None = None
        for slot, host in await self._order():
            try:
                report = await self._run_on(slot, host, request, on_progress)
            except Overloaded as error:
                refused = error
                continue
            except Fenced:
                self._trouble()
                continue
            except Unavailable:
                self._trouble()
                raise
            total = report if total is None else _merged(total, report)
            if not report.left or report.cancelled or report.left_reason != LostShard.__name__:
                break
        if total is None:
            if refused is not None:
                raise refused
            self._trouble()
            raise Unavailable("No host is alive.")
        return total.model_copy(update={"seconds": self._clock.monotonic() - started})

    async def _order(self) -> list[tuple[int, HostHandle]]:
        hosts = await self._runtime.hosts()
        self._turn += 1
        ready = [(slot, host) for slot, host in hosts.items() if host.incarnation]
        count = max(hosts, default=0) + 1
        return sorted(ready, key=lambda entry: (self._in_flight[entry[0]], (entry[0] + self._turn) % count))

    async def _run_on(self, slot: int, host: HostHandle, request: BatchRequest, on_progress: OnProgress) -> BatchReport:
        self._in_flight[slot] += 1
        running = asyncio.ensure_future(host.run_batch(request, self._tracer.current()))
        try:
            heard = self._clock.monotonic()
            while True:
                done, _ = await asyncio.wait({running}, timeout=_POLL_SECONDS)
                if done:
                    return running.result()
                if await self._hear(host, request, on_progress):
                    heard = self._clock.monotonic()
                elif self._clock.monotonic() - heard > _SILENT_SECONDS:
                    raise Unavailable(f"{host.name} is silent.")
        finally:
            self._in_flight[slot] -= 1
            if not running.done():
                # Only our waiting ends: the host goes on, and another attempt joins what is in flight.
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({running}, timeout=_POLL_SECONDS)

    async def _hear(self, host: HostHandle, request: BatchRequest, on_progress: OnProgress) -> bool:
        try:
            progress = await within(_STATUS_SECONDS, host.progress(request))
        except DeadlineExceeded:
            return False
        except Unavailable:
            # The call that runs the batch says the same with more to it.
            return False
        if progress is not None:
            on_progress(progress)
        return True

    def _trouble(self) -> None:
        if self._on_trouble is not None:
            self._on_trouble()


async def within(seconds: float, work: Awaitable[Answer]) -> Answer:
    """`work`, or `DeadlineExceeded` after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError as error:
        raise DeadlineExceeded(f"No answer within {seconds:g} s.") from error


def _merged(one: BatchReport, other: BatchReport) -> BatchReport:
    """Two hosts in turn ran the same range: what the first settled, the second skipped."""
    return BatchReport(
        ok=one.ok + other.ok,
        failed=one.failed + other.failed,
        skipped=one.skipped,
        left=other.left,
        errors=dict(Counter(one.errors) + Counter(other.errors)),
        transient=one.transient + other.transient,
        left_reason=other.left_reason,
        retry_after=other.retry_after,
        cancelled=other.cancelled,
    )


def slot_of(name: str) -> int | None:
    """The slot of a host's name; None for anything else."""
    prefix, _, number = name.rpartition("-")
    if not number.isdigit() or host_name(0) != f"{prefix}-0":
        return None
    return int(number)
