"""What the in-memory ledger keeps: the tables of the real one as dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from colony.clock import Clock
from colony.contracts import AgentSpec, Artifact, BadRow, DurableMessage, JobState, OutcomeRow, ShardOwner, StepLoad
from colony.errors import Fenced, NotFound
from colony.ids import SHARDS, AgentId
from colony.jobs import JobPlan
from colony.ledger.memory_entries import MemoryEntry
from colony.ledger.memory_monitor_table import MonitorTable
from colony.ledger.submissions import Submission
from colony.ledger.transcripts import TranscriptEntry, TranscriptPlace
from colony.llm.contracts import CachedAnswer, LlmCall


@dataclass
class LeaseRow:
    """The lease of one incarnation; `expires_at` by the monotonic clock."""

    host: str
    expires_at: float
    draining: bool = False
    ended: bool = False
    crashed: bool = False


@dataclass
class LeaderRow:
    """Who leads, until when by the monotonic clock."""

    term: int
    holder: str
    expires_at: float


@dataclass
class JobRow:
    """One job."""

    plan: JobPlan
    opened_at: float
    state: JobState = JobState.RUNNING
    closed_at: float | None = None
    reason: str = ""
    cancel_requested: bool = False
    request: bytes = b"{}"


@dataclass
class AttemptRow:
    """One call of `start_tasks`."""

    incarnation: str
    generation: int
    seqs: frozenset[int]
    started_at: float = 0.0
    """Wall-clock seconds."""


@dataclass
class LlmJobRow:
    """A job that another started, or that has a budget of its own."""

    parent: str = ""
    tokens: int | None = None


@dataclass
class StepTable:
    """Tasks and outcomes of one step."""

    load: StepLoad | None = None
    tasks: list[tuple[AgentId | None, bytes]] = field(default_factory=list[tuple[AgentId | None, bytes]])
    outcomes: dict[int, dict[int, OutcomeRow]] = field(default_factory=dict[int, dict[int, OutcomeRow]])
    """seq -> generation -> outcome."""
    attempts: list[AttemptRow] = field(default_factory=list[AttemptRow])
    committed: dict[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    """(seq, generation) -> when, by the wall clock."""

    def last(self, seq: int) -> tuple[int, OutcomeRow] | None:
        """Generation and outcome that count for a task, or None."""
        found = self.outcomes.get(seq)
        if not found:
            return None
        generation = max(found)
        return generation, found[generation]

    def good(self, seq: int) -> OutcomeRow | None:
        """The good outcome of a task, or None."""
        found = self.outcomes.get(seq, {})
        return next((found[generation] for generation in sorted(found) if found[generation].ok), None)


class MemoryTables:
    """All tables. No method awaits, so each is a transaction."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.agents: dict[AgentId, AgentSpec] = {}
        self.fleet_version = 0
        self.leases: dict[str, LeaseRow] = {}
        self.owners = [ShardOwner(shard, 0, "", "") for shard in range(SHARDS)]
        self.leaders: dict[str, LeaderRow] = {}
        self.jobs: dict[int, JobRow] = {}
        self.last_job = 0
        self.steps: dict[tuple[int, int], StepTable] = {}
        self.bad_rows: dict[int, dict[int, BadRow]] = {}
        self.artifacts: dict[int, dict[str, Artifact]] = {}
        self.monitors: dict[int, MonitorTable] = {}
        self.transcripts: dict[int, dict[TranscriptPlace, TranscriptEntry]] = {}
        self.messages: dict[str, DurableMessage] = {}
        self.tried_messages: dict[str, list[str]] = {}
        """Message -> incarnations that have it in flight, or had it when they ended."""
        self.failed_messages: dict[str, tuple[str, str]] = {}
        self.put_at: dict[str, float] = {}
        """When messages came, by the wall clock; the same for those done, and for agents that were removed."""
        self.done_messages: dict[str, float] = {}
        self.gone_agents: dict[AgentId, float] = {}
        self.states: dict[AgentId, bytes] = {}
        self.llm_calls: dict[tuple[float, str], LlmCall] = {}
        self.llm_jobs: dict[str, LlmJobRow] = {}
        self.llm_cache: dict[bytes, tuple[CachedAnswer, float]] = {}
        """Key -> (answer, monotonic time when it was put)."""
        self.memories: dict[bytes, MemoryEntry] = {}
        self.last_memory = 0
        self.submissions: dict[str, Submission] = {}
        self.last_submission = 0
        self.settled_submissions: dict[str, float] = {}
        """Workflow id -> when, by the wall clock."""

    def step(self, job: int, step: int) -> StepTable:
        """The tables of a step; an empty one if it has none yet."""
        return self.steps.setdefault((job, step), StepTable())

    def job(self, job: int) -> JobRow:
        """One job. Raises `NotFound`."""
        row = self.jobs.get(job)
        if row is None:
            raise NotFound(f"There is no job {job}.")
        return row

    def check_fence(self, incarnation: str, epochs: Mapping[int, int]) -> None:
        """Raise `Fenced` unless the incarnation owns all the shards at these epochs."""
        for shard, epoch in epochs.items():
            owner = self.owners[shard]
            if owner.incarnation != incarnation or owner.epoch != epoch:
                raise Fenced(f"Incarnation {incarnation} does not hold all of these shards any more.")
