"""One host: many agents in one process, under one lease."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import structlog

from colony.clock import Clock, SystemClock
from colony.config.model import Config
from colony.contracts import BatchProgress, BatchReport, BatchRequest, HostBeat
from colony.errors import ColonyError, Fenced
from colony.ids import host_name
from colony.ledger.port import Ledger
from colony.lifecycle import TaskOwner, task_owner
from colony.llm.embedding import EmbeddingModel
from colony.llm.port import LanguageModel
from colony.messaging.port import Envelope, Messenger, Subscription
from colony.registry.port import Registry
from colony.telemetry.port import OFF, Tracer
from ray_app.context import Fetcher
from ray_app.host_parts import HostPorts, assemble
from ray_app.population import AgentLoader
from ray_app.questions import HostQueue

_log = structlog.get_logger(__name__)

CANCEL_SUBJECT: Final = "colony.event.cancel.*"
_GRACE_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 2.0


class Host:
    """Runs agents for as long as its lease lives. Made by `open_host`."""

    def __init__(self, slot: int, incarnation: str, ports: HostPorts, config: Config) -> None:
        self.slot = slot
        self.name = host_name(slot)
        self.incarnation = incarnation
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Why this host is over; its process should exit then."""
        self._ledger = ports.ledger
        self._messenger = ports.messenger
        self._draining = False
        self._cancels: Subscription | None = None
        parts = assemble(self.name, incarnation, ports, config, beat=self.status, queue=self.queue)
        self._lease = parts.lease
        self._population = parts.population
        self._performer = parts.performer
        self._around = parts.around
        self._watch = parts.watch
        self._announcer = parts.announcer
        self._shards = parts.shards
        self._mail = parts.mail
        self._sweep = parts.sweep
        self._reception = parts.reception
        self._groups = parts.groups
        self._admission = parts.admission
        self._batches = parts.batches
        self._places = parts.places
        self._book = parts.book

    # What the reconciler and the dispatcher ask of a host.

    async def assign(self, shards: Sequence[int]) -> None:
        """Own exactly these shards. Raises `Fenced` when this host lost its lease, `Unavailable`."""
        try:
            claimed = await self._shards.assign(shards)
        except Fenced:
            await self.fence("the ledger refused a claim")
            raise
        await self._sweep.sweep(list(claimed))

    async def refresh(self) -> None:
        """Read the desired agents again if they changed."""
        await self._shards.refresh()

    async def run_batch(self, request: BatchRequest, trace: str = "") -> BatchReport:
        """Run a batch to its end, as part of a `trace`. Raises as `Batches.run`."""
        self._check_lease()
        return await self._batches.run(request, trace)

    def progress(self, request: BatchRequest) -> BatchProgress | None:
        """How far a batch is; None if it is not under way here."""
        return self._batches.progress(request)

    def status(self) -> HostBeat:
        """What a heartbeat says."""
        return HostBeat(
            host=self.name,
            incarnation=self.incarnation,
            shards=len(self._population.shards),
            agents=len(self._population.agents),
            awake=len(self._population.awake),
            epoch=self._population.epoch(),
            queued=self._batches.waiting() + self._mail.waiting(),
            in_flight=self._batches.in_flight() + self._mail.running(),
            loop_lag_ms=round(self._announcer.loop_lag_ms, 1),
            pss_mb=round(self._admission.proportional_mb(), 1),
            draining=self._draining,
        )

    def queue(self) -> HostQueue:
        """What waits here."""
        return HostQueue(
            host=self.name,
            incarnation=self.incarnation,
            places=self._places.count,
            lanes=self._places.waiting,
            messages=self._mail.waiting(),
            keys=self._batches.depths(),
        )

    def agents_by_type(self) -> dict[str, int]:
        """Agents of this host by type."""
        return dict(Counter(str(cell.kind.name) for cell in self._population.agents.values()))

    async def drain(self, grace: float = _GRACE_SECONDS) -> None:
        """Leave in good order: mark, stop intake, finish or hand back, release shards and lease, deregister."""
        if self._draining:
            return
        self._draining = True
        try:
            await self._ledger.drain_lease(self.incarnation)
            self._batches.halt()
            await self._batches.finish(grace)
            await self._groups.aclose()
            await self._mail.finish(min(grace, _STOP_SECONDS))
            self._mail.close()
            await self._shards.release_all()
            await self._lease.end()
        except (ColonyError, TimeoutError) as error:
            _log.warning("the host could not leave in good order", host=self.name, error=str(error))
            await self.fence("leaving failed")
        await self._announcer.leave()
        await self._announcer.tell_fact("host-left")
        self._end("drained")

    async def fence(self, reason: str) -> None:
        """Fall silent at once: send nothing, commit nothing, forget everything."""
        self._lease.give_up()
        _log.error("host fenced", host=self.name, incarnation=self.incarnation, reason=reason)
        self._mail.close()
        await self._announcer.tell_fact("host-fenced", reason=reason)
        self._end(reason)
        await self._shards.drop_all()
        await self._groups.aclose()
        await self._batches.aclose()
        await self._mail.aclose()

    def _end(self, reason: str) -> None:
        if not self.ended.done():
            self.ended.set_result(reason)

    def _check_lease(self) -> None:
        if not self._lease.valid():
            raise Fenced(f"{self.name} has no lease.")

    # The life of a host.

    async def open(self, tasks: TaskOwner) -> None:
        """Open the lease and start what runs in the background. Called by `open_host`."""
        await self._lease.open()
        self._announcer.changed()
        tasks.start(self._keep_lease(), name="lease")
        self._cancels = await self._messenger.subscribe_raw(CANCEL_SUBJECT, self._take_cancel)
        tasks.start(self._watch.run(), name="time limits")
        tasks.start(self._batches.watch_cancels(), name="cancel marks")
        tasks.start(self._sweep.run(), name="durable messages")
        tasks.start(self._performer.run_sleeper(), name="sleeper")
        tasks.start(self._shards.run_refresh(), name="desired agents")
        tasks.start(self._groups.run(), name="types and topics")
        tasks.start(self._announcer.run_lag(), name="loop lag")
        tasks.start(self._announcer.run_beats(), name="heartbeat")
        tasks.start(self._announcer.run_publishing(), name="registry")
        tasks.start(self._announcer.introduce(), name="introduction")
        tasks.start(self._book.run(), name="transcripts")
        tasks.start(self._watch_tasks(tasks), name="background watch")

    async def close(self) -> None:
        """Stop at once what still runs. Called by `open_host`."""
        self._lease.give_up()
        self._mail.close()
        self._end("closed")
        await self._batches.aclose()
        await self._mail.aclose()
        await self._shards.drop_all()
        await self._groups.aclose()
        await self._announcer.aclose()
        await self._book.close()
        if self._cancels is not None:
            await self._cancels.aclose()

    async def _keep_lease(self) -> None:
        try:
            await self._lease.keep()
        except Fenced as error:
            if not self._draining:
                await self.fence(str(error))

    async def _watch_tasks(self, tasks: TaskOwner) -> None:
        error = await tasks.failed
        await self.fence(f"a background task failed: {error!r}")

    def _take_cancel(self, subject: str, envelope: Envelope, reply: object) -> None:
        self._batches.cancel(subject.rpartition(".")[2])


@asynccontextmanager
async def open_host(
    slot: int,
    incarnation: str,
    ledger: Ledger,
    messenger: Messenger,
    registry: Registry | None,
    config: Config,
    loader: AgentLoader,
    *,
    model: LanguageModel | None = None,
    fetcher: Fetcher | None = None,
    data_roots: Sequence[str] = (),
    embeddings: EmbeddingModel | None = None,
    clock: Clock | None = None,
    tracer: Tracer = OFF,
) -> AsyncGenerator[Host]:
    """A host with a live lease and no shards yet. On the way out it falls silent; call `drain` first to leave well.

    The ports stay the caller's to close. Raises `AlreadyExists` if the incarnation had a lease, `Unavailable`.
    """
    ports = HostPorts(
        ledger,
        messenger,
        registry,
        clock or SystemClock(),
        loader,
        model=model,
        fetcher=fetcher,
        data_roots=data_roots,
        embeddings=embeddings,
        tracer=tracer,
    )
    host = Host(slot, incarnation, ports, config)
    async with task_owner() as tasks:
        await host.open(tasks)
        try:
            yield host
        finally:
            await asyncio.shield(host.close())
