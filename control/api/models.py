"""What the HTTP API takes and gives: requests and answers. Pure data."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from colony.contracts import DeadLetter, DeadMessage, StepCounts
from control.why_contracts import Reason
from workflows.contracts import PendingApproval

JobId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
"""A workflow id that can stand in a path."""

AgentName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]

TemplateName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""Of a template, or of a workflow in code."""

Tenant = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{0,64}$")]


class Model(BaseModel):
    """Base of requests and answers: unknown fields and numbers that are none are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class SubmitJob(Model):
    """Asks for a job."""

    template: TemplateName
    """Name of the template, or of a workflow in code."""
    input: dict[str, Any] = Field(default_factory=dict[str, Any])
    """What the template takes, such as `{"source": "reviews.csv"}`."""
    id: JobId | None = None
    """Workflow id; refused when it is taken. One is made when it is left out."""
    priority: int | None = Field(default=None, ge=1, le=5)
    """1 is first, 5 last."""
    tenant: Tenant | None = None
    """For whom: tenants of a priority get a fair share each."""


class JobStatus(StrEnum):
    """Where a job stands, as seen from outside."""

    ACCEPTED = "accepted"
    """Kept; the workflow engine does not answer yet. It starts once that does."""
    OPENING = "opening"
    """Started; its plan is being made."""
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobNow(Model):
    """What a running job says of itself."""

    phase: str
    """Such as `running`, `waiting`, `approving`, `calling`."""
    step: str
    """Name of the step under way; empty between steps."""
    waiting_for: str
    since: float | None
    """Seconds since 1970: since when it waits for that, or its phase began."""
    until: float | None
    """When that ends by itself; null when it does not, or nobody knows."""
    paused: bool
    priority: int
    approvals: tuple[PendingApproval, ...]
    """What waits for a person: answer with POST /v1/jobs/{name}/approve."""


class JobAnswer(Model):
    """A job."""

    id: str
    """Workflow id."""
    template: str
    state: JobStatus
    job: int | None = None
    """Number; null until the job is open."""
    key: str = ""
    """First execution run id; empty until it is started."""
    opened_at: float
    """Seconds since 1970: when it was opened, or accepted."""
    closed_at: float | None = None
    reason: str = ""
    """Why it failed, if it did."""
    cancel_requested: bool = False
    trace: str = ""
    """Trace id under which its spans are found; empty where none are kept."""
    steps: tuple[StepCounts, ...] = ()
    """Empty in lists."""
    now: JobNow | None = None
    """Of a running job that is asked for or followed; null in lists, and while no worker answers."""


class JobPage(Model):
    """Jobs, newest first."""

    items: tuple[JobAnswer, ...]
    next: str | None = None
    """Hand it in as `cursor` for the next page; null on the last."""


class SetPriority(Model):
    """Asks for another priority."""

    priority: int = Field(ge=1, le=5)
    """1 is first, 5 last."""


class Decide(Model):
    """A person's word on an approval that waits."""

    approve: bool = True
    """False rejects."""
    step: str = Field(default="", max_length=64)
    """Name of the step; empty for the one that waits."""
    comment: str = Field(default="", max_length=2_000)
    by: str = Field(default="", max_length=200)
    """Who says it."""


class WhyAnswer(Model):
    """What a job or a task waits for."""

    id: str
    """Workflow id of the job."""
    job: int | None = None
    """Number; null until the job is open."""
    state: JobStatus
    task: str = ""
    """`STEP/SEQ`; empty for the whole job."""
    reasons: tuple[Reason, ...]


class ArtifactAnswer(Model):
    """An artifact, without its content."""

    name: str
    media_type: str
    bytes: int


class Artifacts(Model):
    """What a job left."""

    items: tuple[ArtifactAnswer, ...]


class DeadLetters(Model):
    """Tasks whose last outcome is a failure."""

    items: tuple[DeadLetter, ...]
    next: str | None = None
    """Hand it in as `cursor` for the next page; null on the last."""


class DeadMessages(Model):
    """Durable messages that failed for good, the last ones first."""

    items: tuple[DeadMessage, ...]
    next: str | None = None
    """Hand it in as `cursor` for the next page; null on the last."""


class AgentAnswer(Model):
    """One agent of the desired fleet."""

    id: str
    type: str
    shard: int
    version: int


class AgentPage(Model):
    """Agents by shard and id."""

    items: tuple[AgentAnswer, ...]
    total: int
    """All agents, or all of the type asked for."""
    next: str | None = None
    """Hand it in as `cursor` for the next page; null on the last."""


class AgentDetail(AgentAnswer):
    """One agent and where it lives."""

    host: str
    """Name of the host that owns its shard; empty for none."""
    epoch: int
    passing: bool | None
    """Whether the registry publishes it; null while that does not answer."""
    actions: tuple[str, ...] = ()
    """What it takes, as the registry says."""


class SendMessage(Model):
    """A message for an agent."""

    mode: Literal["tell", "ask", "deliver"] = "tell"
    """`tell` goes at most once; `ask` waits for the answer; `deliver` is kept until its effect is saved."""
    kind: AgentName
    """What the agent should do: the name of an action."""
    payload: dict[str, Any] = Field(default_factory=dict[str, Any])
    timeout: float = Field(default=10.0, gt=0, le=60)
    """For `ask`: seconds to wait."""
    message_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """For `deliver`: the same id twice is one message. One is made when it is left out."""


class MessageAnswer(Model):
    """What became of a message."""

    mode: Literal["tell", "ask", "deliver"]
    message_id: str = ""
    fresh: bool | None = None
    """For `deliver`: false when a message of this id was kept before."""
    answer: dict[str, Any] | None = None
    """For `ask`: what the agent said."""


class TemplateAnswer(Model):
    """A template, or what else a job can be of."""

    name: str
    description: str
    steps: tuple[str, ...]
    """Names of its steps, in order; none for a workflow in code, and for `pipeline`, whose input brings them."""


class TemplateDetail(TemplateAnswer):
    """A template and all it says."""

    definition: dict[str, Any]
    """As in `agent_config.yaml`, without defaults; only the inputs of what is no template."""


class Templates(Model):
    """The templates, by name."""

    items: tuple[TemplateAnswer, ...]


class Fleet(Model):
    """The fleet, as `colony status --json` has it below `fleet`."""

    desired: int
    types: dict[str, int]
    owned: int
    registered: int | None
    passing: int | None
    hosts: tuple[dict[str, Any], ...]


class Health(Model):
    """This process lives."""

    status: Literal["ok"] = "ok"


class Check(Model):
    """Whether one server answers."""

    ok: bool
    seconds: float | None = None
    error: str = ""


class Readiness(Model):
    """Whether jobs can be taken and started now."""

    ready: bool
    checks: dict[str, Check]


class Problem(BaseModel):
    """An error, as RFC 9457 says, with the name and remedy that Colony's errors have."""

    model_config = ConfigDict(frozen=True)

    type: str
    """`urn:colony:error:` and the name."""
    title: str
    status: int
    detail: str
    error: str
    """Name of the error: see the page on errors in the reference."""
    remedy: str = ""
    field: str | None = None
    """What of the request is wrong: a field of the body, a parameter or a header."""
    retry_after: int | None = None
    """Seconds after which the same request may work."""


class Login(Model):
    """The key fits."""

    ok: bool = True
