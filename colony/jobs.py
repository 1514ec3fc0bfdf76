"""The frozen plan of a job: a flat, numbered list of steps in which control flow is data. Pure data.

A workflow walks the list from its first step to its last. `branch` and `approve` may jump forwards, never back:
loops are unrolled when the job is opened, so that a plan is finite and the ledger's keys need nothing new.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from colony.contracts import Frozen, Travelling
from colony.ids import AgentType, Id

MAX_STEPS: Final = 200
"""Most steps of a plan, loops unrolled."""

NORMAL_PRIORITY: Final = 3
"""Priorities are 1 (first) to 5 (last)."""

Tier = Literal["", "fast", "standard", "complex"]
"""Model tier; empty for that of the agent's type."""


class StepKind(StrEnum):
    """What a step does."""

    LOAD = "load"
    """Reads the rows of the job; they are the payloads of the maps over it. Runs no agent."""
    MAP = "map"
    """One task for each good outcome of the steps it is over (or for each row)."""
    REDUCE = "reduce"
    """One task for each `group` outcomes of the steps it is over; the payload names the range."""
    REPORT = "report"
    """Writes the artifacts of the job from the outcomes of the step it is over. Runs no agent."""
    WAIT = "wait"
    """Waits for a while or until a moment."""
    APPROVE = "approve"
    """Waits for a person to approve or reject."""
    BRANCH = "branch"
    """Reads one value and goes on at one of several later steps; those between are skipped."""
    CALL = "call"
    """Runs another template as a job of its own and waits for its end."""


TASK_KINDS: Final = frozenset({StepKind.MAP, StepKind.REDUCE})
"""Kinds of steps whose tasks agents run."""


class StepSource(Travelling):
    """Where tasks come from: the outcomes of one earlier step."""

    steps: tuple[int, ...] = Field(min_length=1)
    """Numbers of the copies of that step, latest first: the first that was not skipped counts."""
    only: str = ""
    """Which results: all; `to type/action`, the work handed off to that one; or `not type/action ...`, those handed
    off to none of these."""


class ValueRef(Travelling):
    """One small value that an earlier step left."""

    steps: tuple[int, ...] = Field(min_length=1)
    """Numbers of the copies of that step, latest first: the first that was not skipped counts."""
    field: str = ""
    """Dotted path into its one result; empty for the whole result."""
    count: Literal["", "tasks", "ok", "failed"] = ""
    """A count of the step instead."""


class Condition(Frozen):
    """What a value must be; all that is given must hold."""

    equals: Any = None
    differs: Any = None
    at_least: float | None = None
    at_most: float | None = None
    is_in: tuple[Any, ...] | None = None
    given: bool | None = None
    """Whether there is a value at all: null and a missing field are none."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_extra and all(getattr(self, name) is None for name in Condition.model_fields):
            raise ValueError(f"a condition names one of {', '.join(Condition.model_fields)}")
        return self


class PlannedCondition(Condition):
    """A condition in a plan. What a newer build asks in it is kept, and nobody decides without knowing it."""

    model_config = ConfigDict(extra="allow")


class CasePlan(Travelling):
    """Where a branch goes on when its value fits."""

    when: PlannedCondition
    go: int


class BranchPlan(Travelling):
    """See `StepKind.BRANCH`. The first case that fits is taken."""

    on: ValueRef
    cases: tuple[CasePlan, ...]
    otherwise: int
    """Where to go on when none fits."""


class WaitPlan(Travelling):
    """See `StepKind.WAIT`: one of the two."""

    seconds: float | None = None
    until: float | None = None
    """Wall-clock seconds."""


class ApprovalPlan(Travelling):
    """See `StepKind.APPROVE`."""

    prompt: str
    timeout: float
    """Seconds after which `default` is taken."""
    default: Literal["approve", "reject"]
    on_reject: int | None = None
    """Where to go on after a rejection, the number of steps for the end; None fails the job."""
    show: ValueRef | None = None
    """A value for the person to look at."""


class CallPlan(Travelling):
    """See `StepKind.CALL`."""

    template: Id
    input: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Input of the child job; `StepPlan.reads` adds to it."""
    on_failure: Literal["fail", "go_on"] = "fail"


class StepPlan(Travelling):
    """One stage of a job, as frozen when the job was opened."""

    number: int = Field(ge=0)
    name: Id
    kind: StepKind
    over: int | None = None
    """Number of the step whose outcomes it takes; None for steps that take none."""
    sources: tuple[StepSource, ...] = ()
    """What it takes, where that is more than all good outcomes of the one step `over`."""
    agent_type: AgentType | None = None
    action: Id | None = None
    parameters: dict[str, Any] = Field(default_factory=dict[str, Any])
    reads: dict[str, ValueRef] = Field(default_factory=dict[str, ValueRef])
    """Parameters (of a call: fields of its input) that are read when the step begins."""
    group: int = Field(default=500, ge=1, le=100_000)
    """For `reduce`: outcomes a task takes."""
    attempts: int = Field(default=3, ge=1, le=20)
    """Generations a task may see while its errors are transient."""
    task_seconds: float = Field(default=60.0, gt=0, le=3600)
    """Time limit of one task."""
    error_budget: float = Field(default=0.1, ge=0, le=1)
    """Share of tasks that may end failed before the job fails."""
    parallel: int = Field(default=4, ge=1, le=256)
    """Batches under way at once."""
    batch: int | None = Field(default=None, ge=1, le=1_000)
    """Most tasks of a batch; None for as many as five seconds of work."""
    priority: int | None = Field(default=None, ge=1, le=5)
    """In place of the job's priority."""
    tier: Tier = ""
    wait: WaitPlan | None = None
    approval: ApprovalPlan | None = None
    branch: BranchPlan | None = None
    call: CallPlan | None = None


class SourcePin(Travelling):
    """The source of a job as it was when opened; a file that changed since is refused."""

    path: str
    size: int
    sha256: str
    format: str
    columns: dict[str, str] = Field(default_factory=dict[str, str])
    """Payload field -> column of the file."""
    rows: tuple[dict[str, Any], ...] = ()
    """The rows themselves, where the input or the template lists them."""


class Origin(Travelling):
    """The job that ended whose work a retry goes on with."""

    job: int
    step: int
    """The step that is tried again: all before it is taken over, all after it is done anew."""
    whole: bool = False
    """Whether all tasks of that step are done again, not only those without a good outcome."""


class JobPlan(Travelling):
    """All a workflow needs to decide (at most 64 KiB as JSON)."""

    job: int
    """Number of the job in the ledger."""
    key: str
    """First execution run id of the workflow: the identity of the job."""
    workflow_id: str
    template: Id
    steps: tuple[StepPlan, ...]
    source: SourcePin | None = None
    origin: Origin | None = None
    """Of a retry."""
    priority: int = Field(default=NORMAL_PRIORITY, ge=1, le=5)
    tenant: str = ""
    """For whom the job runs: all tenants of a priority get a fair share."""
    first_batch: int = Field(default=100, ge=1)
    """Tasks of a first batch, while nobody knows how long one takes; jobs of before it was written here had 100."""
    trace: str = ""
    """Trace id under which its spans are found; empty where none are kept."""
    attributes: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Search attributes that the server knows."""


def parameters_of(step: StepPlan, values: str) -> dict[str, Any]:
    """What an agent gets with each task of a step; `values` are those of its `colony.contracts.BatchRequest`."""
    return {**step.parameters, **json.loads(values)} if values else step.parameters
