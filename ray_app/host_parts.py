"""What a host is made of, put together. No I/O and no decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from colony.clock import Clock
from colony.config.model import Config
from colony.contracts import HostBeat
from colony.ledger.port import Ledger
from colony.llm.embedding import EmbeddingModel
from colony.llm.port import LanguageModel
from colony.llm.traced import TracedEmbeddings, TracedModel
from colony.memory.agent_memory import MemoryParts
from colony.memory.models import embedder_of
from colony.messaging.port import Messenger
from colony.messaging.traced import TracedMessenger
from colony.registry.port import Registry
from colony.telemetry.port import OFF, Tracer
from ray_app.admission import Admission
from ray_app.announce import Announcer
from ray_app.batches import Batches
from ray_app.commits import Committer
from ray_app.context import Fetcher, Surroundings
from ray_app.crew import Crew
from ray_app.groups import Groups
from ray_app.lanes import LaneWatch
from ray_app.lease import LeaseKeeper
from ray_app.mail import MailRoom
from ray_app.mail_sweep import MailSweep
from ray_app.perform import Performer
from ray_app.places import Places
from ray_app.population import AgentLoader, Population
from ray_app.questions import HostQueue
from ray_app.reception import Reception
from ray_app.shards import ShardKeeper
from ray_app.traced import HostTracing
from ray_app.transcripts import TranscriptBook


@dataclass(frozen=True)
class HostPorts:
    """The outside world of a host; closing it is the business of whoever opened it."""

    ledger: Ledger
    messenger: Messenger
    registry: Registry | None
    clock: Clock
    loader: AgentLoader
    model: LanguageModel | None = None
    fetcher: Fetcher | None = None
    data_roots: Sequence[str] = ()
    embeddings: EmbeddingModel | None = None
    tracer: Tracer = OFF

    def traced(self) -> HostPorts:
        """The same with spans around what agents send and ask; itself where traces are off."""
        if not self.tracer.on:
            return self
        return replace(
            self,
            messenger=TracedMessenger(self.messenger, self.tracer),
            model=None if self.model is None else TracedModel(self.model, self.tracer),
            embeddings=None if self.embeddings is None else TracedEmbeddings(self.embeddings, self.tracer),
        )


@dataclass(frozen=True)
class HostParts:
    """See the module of each."""

    lease: LeaseKeeper
    population: Population
    performer: Performer
    around: Surroundings
    watch: LaneWatch
    announcer: Announcer
    shards: ShardKeeper
    mail: MailRoom
    sweep: MailSweep
    reception: Reception
    groups: Groups
    admission: Admission
    places: Places
    batches: Batches
    book: TranscriptBook


def assemble(
    name: str,
    incarnation: str,
    ports: HostPorts,
    config: Config,
    *,
    beat: Callable[[], HostBeat],
    queue: Callable[[], HostQueue],
) -> HostParts:
    """The parts of host `name`, wired to each other. `beat` says what a heartbeat says, `queue` what waits."""
    fleet, ledger, messenger, clock = config.fleet, ports.ledger, ports.messenger, ports.clock
    lease = LeaseKeeper(ledger, clock, incarnation=incarnation, host=name, seconds=fleet.lease_seconds)
    population = Population(fleet.types, ports.loader)
    book = TranscriptBook(ledger, clock, config.ledger, host=name, incarnation=incarnation)
    around = _surroundings(ports, config, lease, book)
    performer = Performer(ledger, population, around, clock)
    watch = LaneWatch(clock)
    announcer = Announcer(
        messenger,
        ports.registry,
        population,
        clock,
        host=name,
        incarnation=incarnation,
        beat=beat,
        valid=lease.valid,
    )
    shards = ShardKeeper(ledger, messenger, population, clock, incarnation=incarnation)
    mail = MailRoom(ledger, population, performer, shards, lease, watch, clock, queue_length=fleet.queue_length)
    mail.tracer = ports.tracer
    sweep = MailSweep(ledger, population, mail, clock)
    reception = Reception(population, mail, lease, beat=beat, queue=queue, heard_of=shards.hear_of)
    groups = Groups(messenger, population, clock, any_of_type=reception.any_of_type, topic=reception.topic)

    def agents_changed() -> None:
        announcer.changed()
        groups.changed()

    shards.connect(reception.shard, agents_changed)
    admission = Admission(fleet.host_memory_mb, fleet.queue_length, clock)
    places = Places(fleet.task_concurrency, clock)
    committer = Committer(ledger, shards, lease, clock)
    crew = Crew(ledger, population, performer, committer, lease, watch, fleet.task_concurrency, places)
    return HostParts(
        lease=lease,
        population=population,
        performer=performer,
        around=around,
        watch=watch,
        announcer=announcer,
        shards=shards,
        mail=mail,
        sweep=sweep,
        reception=reception,
        groups=groups,
        admission=admission,
        places=places,
        batches=Batches(ledger, crew, admission, clock, _tracing(ports.tracer, name, config)),
        book=book,
    )


def _tracing(tracer: Tracer, host: str, config: Config) -> HostTracing | None:
    return HostTracing(tracer, host, config.telemetry.task_spans) if tracer.on else None


def _surroundings(ports: HostPorts, config: Config, lease: LeaseKeeper, book: TranscriptBook) -> Surroundings:
    ports = ports.traced()
    return Surroundings(
        ports.ledger,
        ports.messenger,
        ports.clock,
        model=ports.model,
        model_timeout=config.model.timeout,
        fetcher=ports.fetcher,
        data_roots=ports.data_roots,
        lease_valid=lease.valid,
        transcripts=book if config.ledger.transcripts else None,
        memory=MemoryParts(ports.ledger, embedder_of(config, ports.embeddings), config.memory),
    )
