"""What travels between the workflow and its activities, beyond `colony.contracts`. Pure data."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from colony.contracts import Frozen, JobState, StepCounts, Travelling
from colony.jobs import NORMAL_PRIORITY, JobPlan

MAX_ROWS: Final = 100_000_000
"""Most rows of a source."""


class RangeSource(Frozen):
    """A generated source: `range` rows of about `bytes` bytes each. For measuring and trying out."""

    range: int = Field(ge=1, le=MAX_ROWS)
    bytes: int = Field(default=200, ge=1, le=65_536)


class JobInput(Frozen):
    """What a user hands to a job, as JSON. Unknown fields are refused."""

    source: str | RangeSource | None = None
    """Path of a file below the data roots, or a generated range."""
    tasks: int | None = Field(default=None, ge=1, le=MAX_ROWS)
    """Short for `source: {range: N}`."""
    bytes: int = Field(default=200, ge=1, le=65_536)
    """Size of a generated row, with `tasks`."""
    columns: dict[str, str] = Field(default_factory=dict[str, str], max_length=50)
    """Payload field -> column of the file, where the names differ from those the template knows."""
    parameters: dict[str, dict[str, Any]] = Field(default_factory=dict[str, dict[str, Any]], max_length=100)
    """Name of a step -> parameters that replace those of the template."""
    parallel: int | None = Field(default=None, ge=1, le=256)
    """Batches under way at once, in place of what the template says."""
    priority: int | None = Field(default=None, ge=1, le=5)
    """1 (first) to 5 (last); 3 when left out."""
    tenant: str = Field(default="", max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")
    """For whom it runs: tenants of a priority get a fair share each."""
    llm_tokens: int | None = Field(default=None, ge=1, le=10**15)
    """Tokens of language models it and all it starts may use; `gateway.limits.job_tokens` when left out."""


class ParentNote(Travelling):
    """What a job hands to one that it starts, as a memo."""

    key: str
    depth: int = Field(ge=1)
    """1 for a job started by one that a user started."""
    priority: int = Field(default=NORMAL_PRIORITY, ge=1, le=5)
    tenant: str = ""


class OpenJob(Frozen):
    """Asks to open a job; `input` is the raw JSON text of the user."""

    template: str
    input: str
    key: str
    workflow_id: str
    parent: ParentNote | None = None
    """The job that started this one."""


class TakeFrom(Frozen):
    """Outcomes of one step, as tasks of another; `only` as in `colony.jobs.StepSource`."""

    step: int
    only: str = ""


class StepRef(Frozen):
    """Names one step of one job."""

    job: int
    step: int
    takes: tuple[TakeFrom, ...] = ()
    """Where its tasks come from, when the plan leaves a choice."""


class ValueAt(Frozen):
    """A dotted path into the one result of a step."""

    step: int
    field: str = ""


class ReadValues(Frozen):
    """Asks for small values in results: name -> where."""

    job: int
    values: dict[str, ValueAt]


class StepTally(Travelling):
    """Truth about a step from the ledger: each task counts once, by its last outcome."""

    tasks: int
    ok: int
    failed: int
    transient: int
    """Those of `failed` whose error may pass."""
    errors: dict[str, int] = Field(default_factory=dict[str, int])

    @property
    def missing(self) -> int:
        """Tasks without any outcome."""
        return max(0, self.tasks - self.ok - self.failed)


class CancelJob(Frozen):
    """Asks hosts to drop the tasks of a job."""

    job: int
    key: str


class CloseJob(Frozen):
    """Says how a job ended."""

    job: int
    state: JobState
    reason: str = ""


class ReportInput(Frozen):
    """Asks for the artifacts of a job."""

    job: int
    step: int
    bad_rows: int
    counts: tuple[StepCounts, ...]
    started_at: float
    """Wall-clock seconds."""
    over: int | None = None
    """The step to report, when the plan leaves a choice."""


class ReportResult(Travelling):
    """What was written."""

    artifacts: tuple[str, ...]


class JobResult(Travelling):
    """What a finished workflow returns."""

    job: int
    key: str
    workflow_id: str
    template: str
    state: JobState
    steps: tuple[StepCounts, ...]
    bad_rows: int = 0
    artifacts: tuple[str, ...] = ()


class Answer(Frozen):
    """What a person says to an approval: argument of the update and the signal `approve`."""

    step: str = ""
    """Name of the step; empty for the one that waits."""
    approve: bool = True
    comment: str = Field(default="", max_length=2_000)
    by: str = Field(default="", max_length=200)
    """Who says it."""


class PendingApproval(Travelling):
    """An approval that waits for a person."""

    step: str
    prompt: str
    shown: Any = None
    """The value to look at, if the step names one."""
    since: float
    """Wall-clock seconds."""
    until: float
    """When `default` is taken."""
    default: Literal["approve", "reject"]


class Decision(Travelling):
    """How an approval ended."""

    step: str
    approved: bool
    comment: str = ""
    by: str = ""
    at: float
    """Wall-clock seconds."""
    timed_out: bool = False
    """Whether nobody answered in time."""


class Progress(Travelling):
    """Answer of the query `progress`. Worker and reader may be of different builds: unknown fields are ignored."""

    template: str
    key: str
    job: int | None = None
    """None until the job is opened."""
    phase: Literal[
        "opening",
        "loading",
        "running",
        "waiting",
        "approving",
        "calling",
        "deciding",
        "reporting",
        "cancelling",
        "closing",
        "closed",
    ] = "opening"
    step: str = ""
    step_number: int | None = None
    steps: int = 0
    tasks: int = 0
    """Tasks of the step under way."""
    done: int = 0
    """Those in finished batches; the ledger knows the exact number at any moment."""
    failed: int = 0
    generation: int = 0
    batches: int = 0
    """Batches under way."""
    waiting_for: str = ""
    """What it waits for: a pause, a moment, a person, a job it called; or why tasks had to be handed out again (an
    error class), if they had."""
    since: float | None = None
    """Since when it waits for that, or its phase began: wall-clock seconds; None where nobody noted it."""
    until: float | None = None
    """When what it waits for ends by itself; None when it does not, or nobody knows."""
    bad_rows: int = 0
    finished: tuple[StepCounts, ...] = ()
    paused: bool = False
    paused_since: float | None = None
    """Wall-clock seconds; None while it is not paused, or where nobody noted it."""
    priority: int = NORMAL_PRIORITY
    skipped: tuple[str, ...] = ()
    """Steps the job went past."""
    approvals: tuple[PendingApproval, ...] = ()
    decisions: tuple[Decision, ...] = ()
    refused: str = ""
    """Why the last signal was not obeyed; updates tell their sender."""


class StepView(Frozen):
    """One step in the answer of the query `steps`."""

    number: int
    name: str
    kind: str
    state: Literal["ahead", "current", "done", "skipped"]
    tasks: int = 0
    ok: int = 0
    failed: int = 0
    seconds: float = 0.0


class Range(Travelling):
    """Tasks `first` <= seq < `end` of a step."""

    first: int
    end: int

    @property
    def size(self) -> int:
        """How many tasks."""
        return self.end - self.first


class StepCursor(Travelling):
    """Where a step stands, small enough to be carried into the next run of the workflow."""

    step: int
    tasks: int
    generation: int = 0
    fresh: tuple[Range, ...]
    """What this generation has not handed out yet, ordered."""
    again: tuple[Range, ...] = ()
    """Handed out, but some of their tasks came back without an outcome."""
    retry: tuple[Range, ...] = ()
    """Ranges with failures that may pass: the next generation visits these."""
    passing: int = 0
    """Failures seen in `retry`."""
    done: int = 0
    failed: int = 0
    hopeless: int = 0
    """Failures that will not pass, in all generations."""
    seconds_per_task: float = 0.0
    """Pace of one batch, smoothed; 0 while unknown."""
    size: int = 0
    """Tasks of the last batch handed out; 0 before the first."""
    sweeps: int = 0
    """Times the whole step was visited again since tasks had no outcome."""
    left_reason: str = ""


class SteeringState(Travelling):
    """What people told a job, and what its steps without tasks left."""

    paused: bool = False
    paused_since: float | None = None
    """Wall-clock seconds; None while it is not paused, or from an earlier version."""
    priority: int | None = None
    """None for that of the plan."""
    decisions: tuple[Decision, ...] = ()
    left: dict[int, dict[str, Any]] = Field(default_factory=dict[int, dict[str, Any]])
    """Number of an approve or call step -> its value."""
    reads: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Parameters read for the step under way."""


class Resume(Travelling):
    """What a workflow hands to its next run."""

    resume: Literal["colony-1"] = "colony-1"
    plan: JobPlan
    started_at: float
    finished: tuple[StepCounts, ...] = ()
    bad_rows: int = 0
    artifacts: tuple[str, ...] = ()
    cursor: StepCursor | None = None
    """The step under way; None between steps."""
    steering: SteeringState | None = None
    """What people told the job; None from runs of an earlier version."""
