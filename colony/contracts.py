"""The frozen models that cross a process: jobs, steps, tasks, outcomes, batches, hosts.

Pure data; imports nothing of Ray, NATS, Temporal or Postgres, so workflow code may use it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from colony.ids import AgentId, AgentType, Id

MAX_BATCH: Final = 1_000
"""Most tasks one activity hands to one host."""

BATCH_SECONDS: Final = 5.0
"""Work one batch should be at most, so that progress, cancel and recovery stay quick."""

MAX_PAYLOAD: Final = 512 * 1024
"""Most bytes of one task payload, one result, one envelope."""


class Frozen(BaseModel):
    """Base of all models that cross a process: immutable, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Travelling(Frozen):
    """Base of what passes between builds, in a history or on the way to the dispatcher: unknown fields are ignored.

    So a job that a newer build began goes on where an older one is started again. New fields have defaults that mean
    what was so before there was the field.
    """

    model_config = ConfigDict(extra="ignore")


class BadRow(Frozen):
    """A row of the source that could not become a task."""

    line: int
    reason: str


class StepLoad(Travelling):
    """What `load_step` did: tasks have the seqs 0 to `tasks` - 1."""

    tasks: int
    bad_rows: int = 0


class BatchRequest(Travelling):
    """A range of tasks for one host: `first` <= seq < `end`. Nothing else travels."""

    job: int
    key: str
    step: int
    generation: int = 0
    first: int
    end: int
    priority: int = Field(default=3, ge=1, le=5)
    """1 is first; hosts let what waits long go before."""
    tenant: str = ""
    """For whom; all tenants of a priority get a fair share of a host."""
    values: str = ""
    """Parameters read from earlier steps when this one began, a small JSON object; empty for none."""


class BatchProgress(Travelling):
    """How far a batch is; goes into the heartbeat of its activity."""

    done: int
    failed: int
    total: int


class BatchReport(Travelling):
    """How a batch ended, as counts. `left` tasks have no outcome yet (host draining, lost shard, overloaded)."""

    ok: int = 0
    failed: int = 0
    skipped: int = 0
    """Had an outcome already."""
    left: int = 0
    errors: dict[str, int] = Field(default_factory=dict[str, int])
    """Error class -> failed tasks."""
    transient: int = 0
    """Failed tasks whose error may pass: another generation may try them."""
    left_reason: str = ""
    """Name of the error class that explains `left`."""
    retry_after: float = Field(default=0.0, ge=0)
    """Seconds after which those left are worth another try; 0 where nobody knows."""
    seconds: float = 0.0
    cancelled: bool = False


class StepCounts(Travelling):
    """A step in numbers, over all generations; each task counts once, by its last outcome."""

    number: int
    name: str
    tasks: int = 0
    ok: int = 0
    failed: int = 0
    errors: dict[str, int] = Field(default_factory=dict[str, int])
    seconds: float = 0.0
    """In the result of a workflow from the end of the step before to its own. In the ledger from its first task under
    way to its last outcome, or up to now; 0 for a step that has no tasks."""
    skipped: bool = False
    """Whether the job went past it."""


class JobState(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobView(Frozen):
    """A job as people see it."""

    job: int
    key: str
    workflow_id: str
    template: str
    state: JobState
    opened_at: float
    closed_at: float | None = None
    reason: str = ""
    cancel_requested: bool = False
    trace: str = ""
    """Trace id under which its spans are found; empty where none are kept."""
    steps: tuple[StepCounts, ...] = ()


class ArtifactNote(Frozen):
    """An artifact without its content."""

    name: str
    media_type: str
    bytes: int
    """Size of the content."""


class DeadLetter(Frozen):
    """A task whose last outcome is a failure."""

    job: int
    step: int
    generation: int
    seq: int
    agent_id: str
    error: str
    message: str
    payload: dict[str, Any]


class TaskRow(NamedTuple):
    """A task as a host reads it. A tuple, since a thousand are built for a batch."""

    seq: int
    agent_id: AgentId | None
    """None: any agent of the step's type on the host that gets the batch."""
    payload: bytes
    """A JSON object."""
    suspect: int
    """How often the task was in flight when its host died."""


class OutcomeRow(NamedTuple):
    """The end of a task as a host commits it."""

    seq: int
    agent_id: AgentId
    ok: bool
    error: str
    """Error class; empty when ok."""
    message: str
    transient: bool
    result: bytes
    """A JSON object; `{}` when failed."""
    micros: int
    """Time the agent took."""


class StateRow(NamedTuple):
    """State of one agent, saved in the transaction of the outcome or message that changed it."""

    agent_id: AgentId
    state: bytes


class AgentSpec(Frozen):
    """One agent as desired."""

    agent_id: AgentId
    agent_type: AgentType
    version: int = 1


class ShardOwner(NamedTuple):
    """Who owns a shard, and since which epoch. `incarnation` is empty for a shard nobody owns."""

    shard: int
    epoch: int
    incarnation: str
    host: str
    """Name of the host; empty for a shard nobody owns."""


class Lead(NamedTuple):
    """That `holder` leads in a term: what a write of a leader is checked against."""

    name: str
    holder: str
    term: int


class Lease(Frozen):
    """The right of one incarnation to own shards."""

    incarnation: str
    host: str
    expires_in: float
    """Seconds left, by the clock of the ledger; negative when it ended."""
    draining: bool = False


class FleetSize(Frozen):
    """The fleet in two numbers."""

    agents: int
    hosts: int


class HostBeat(Frozen):
    """What a host says of itself every 10 s."""

    host: str
    incarnation: str
    shards: int
    agents: int
    awake: int
    epoch: int
    """Highest epoch it holds."""
    queued: int
    in_flight: int
    loop_lag_ms: float
    pss_mb: float
    draining: bool = False


class DurableMessage(Frozen):
    """A message of class `deliver`: kept in the ledger until its effect is saved."""

    message_id: str
    """A uuid chosen by the sender; the same id twice is one message."""
    agent_id: AgentId
    kind: Id
    payload: dict[str, Any]
    sender: str = ""
    origin: str = ""
    """The task it was sent for, as in an envelope; empty for none."""


class DeadMessage(Frozen):
    """A durable message that ended in a failure."""

    message: DurableMessage
    error: str
    reason: str


class Artifact(Frozen):
    """A named result of a job."""

    name: str
    media_type: str
    content: bytes
