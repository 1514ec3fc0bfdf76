"""What travels between the workflow `website_monitor`, its activities and its users. Pure data."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field

from colony.contracts import Frozen, Travelling
from colony.ids import AgentType, Id
from colony.jobs import NORMAL_PRIORITY, StepKind, StepPlan
from colony.sites import MAX_SITES
from workflows.contracts import Range

TEMPLATE: Final = "website_monitor"

OPEN_MONITOR: Final = "open_monitor"
MONITOR_TICK: Final = "monitor_tick"
CHANGE_SITES: Final = "change_sites"
PUBLISH_NOTICES: Final = "publish_notices"
SEND_NOTICES: Final = "send_notices"
DROP_NOTICES: Final = "drop_notices"
REPORT_MONITOR: Final = "report_monitor"

CHECK_STEP: Final = StepPlan(
    number=0,
    name=Id("check"),
    kind=StepKind.MAP,
    agent_type=AgentType("monitoring"),
    action=Id("check_site"),
    task_seconds=90.0,
    attempts=1,
    error_budget=1.0,
)
"""The one step of the job: its tasks are checks, and go on for ever."""


class SiteInput(Frozen):
    """One site as a user writes it; what is left out is as the monitor's input or the default says."""

    url: str = Field(min_length=8, max_length=2000)
    name: str = Field(default="", max_length=200)
    """Empty: made from the URL."""
    interval: float | None = Field(default=None, ge=1, le=86_400)
    """Seconds."""
    timeout: float | None = Field(default=None, ge=0.1, le=60)
    keyword: str | None = Field(default=None, max_length=1000)
    status: int | None = Field(default=None, ge=0, le=599)
    slow_seconds: float | None = Field(default=None, gt=0, le=60)
    certificate_days: float | None = Field(default=None, ge=0, le=3650)
    failures: int | None = Field(default=None, ge=1, le=100)
    recoveries: int | None = Field(default=None, ge=1, le=100)
    tell_changes: bool | None = None


class MonitorInput(Frozen):
    """What a user hands to `website_monitor`, as JSON. Unknown fields are refused. See `SiteSpec` for the fields."""

    sites: tuple[SiteInput | str, ...] = Field(default=(), max_length=MAX_SITES)
    """Sites, or their URLs."""
    source: str = ""
    """File below a data root that lists more of them: CSV with a header, or YAML."""
    webhook: str = Field(default="", max_length=2000)
    """URL that gets a POST with each change of state; empty for none."""
    interval: float | None = Field(default=None, ge=1, le=86_400)
    timeout: float | None = Field(default=None, ge=0.1, le=60)
    slow_seconds: float | None = Field(default=None, gt=0, le=60)
    certificate_days: float | None = Field(default=None, ge=0, le=3650)
    failures: int | None = Field(default=None, ge=1, le=100)
    recoveries: int | None = Field(default=None, ge=1, le=100)
    tell_changes: bool | None = None
    priority: int | None = Field(default=None, ge=1, le=5)
    """Of its checks: 1 (first) to 5 (last); 3 when left out."""
    tenant: str = Field(default="", max_length=64, pattern=r"^[A-Za-z0-9_.-]*$")
    """For whom it runs."""


class MonitorSettings(Frozen):
    """What the ledger keeps of the input beside the sites."""

    webhook: str = ""
    defaults: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Fields of sites that are added later and leave them out."""


class OpenMonitor(Frozen):
    """Asks to open a monitor; `input` is the raw JSON text of the user."""

    input: str
    key: str
    workflow_id: str
    now: float
    """Wall-clock seconds of the workflow; so are all times here."""


class MonitorOpened(Travelling):
    """What was opened."""

    job: int
    sites: int
    gap: float
    """Least seconds between two rounds."""
    priority: int = NORMAL_PRIORITY
    tenant: str = ""
    attributes: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Search attributes that the server knows; earlier builds set none."""


class LaneRange(Range):
    """Checks under way: a range of seqs, in a lane of its own so that slow sites do not hold up quick ones."""

    lane: int


class MonitorTick(Frozen):
    """One round: takes in finished checks, hands out those that are due."""

    job: int
    tick: int
    now: float
    gap: float
    finished: tuple[Range, ...] = ()
    free: tuple[int, ...] = ()
    """Lanes that may get checks."""


class TickReply(Travelling):
    """What a round decided, as the ledger keeps it."""

    lanes: tuple[LaneRange, ...] = ()
    changes: int = 0
    """Things there are to tell now."""
    blocked: bool = False
    """Whether due sites wait for a lane."""


class TickResult(Travelling):
    """What a round decided, and how the monitor stands after it."""

    reply: TickReply
    sites: int
    paused: int
    next_due: float | None
    notices: int
    """Things not told yet."""
    last_notice: int = 0
    """Number of the last of them; 0 for none, and from earlier builds."""


class SiteChange(Frozen):
    """A change of a running monitor: one of these, or several. Argument of the update `change_sites`."""

    add: tuple[SiteInput | str, ...] = Field(default=(), max_length=MAX_SITES)
    """Sites to add, or to change where the name is known."""
    remove: tuple[str, ...] = Field(default=(), max_length=MAX_SITES)
    """Names of sites, or their URLs; so in what follows."""
    interval: dict[str, float] = Field(default_factory=dict[str, float])
    """Site -> new seconds between two checks."""
    pause: tuple[str, ...] = ()
    resume: tuple[str, ...] = ()
    pause_all: bool = False
    resume_all: bool = False


class ChangeSites(Frozen):
    """Asks to change the sites of a monitor; `change` is as the user wrote it."""

    job: int
    change: dict[str, Any]
    now: float


class SitesChanged(Travelling):
    """What a change did."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    paused: int = 0
    resumed: int = 0
    sites: int = 0
    """How many there are now."""
    gap: float = 1.0


class NoticesOf(Travelling):
    """Asks to tell what is not told yet; `reason` says why the next ones are given up instead."""

    job: int
    key: str
    workflow_id: str
    reason: str = ""
    upto: int | None = None
    """Number of the last one to be told, so that each attempt tells the same; None for all there are."""
    publish: bool = True
    """Whether they go to the bus as well: monitors that an earlier build began have nothing else for it."""


class NoticesSent(Travelling):
    """How many were told, or given up."""

    sent: int


class PublishNotices(Travelling):
    """Asks to publish the events above one number and up to another, told or not."""

    job: int
    key: str
    after: int
    upto: int


class NoticesPublished(Travelling):
    """The bus has the events up to this number."""

    last: int


class ReportMonitor(Frozen):
    """Asks for a report over a stretch of time; `day` is its date when it is that of a day, else empty."""

    job: int
    since: float
    until: float
    day: str = ""


class MonitorProgress(Frozen):
    """Answer of the query `monitor`."""

    job: int | None = None
    sites: int = 0
    paused: int = 0
    rounds: int = 0
    checking: int = 0
    """Checks under way."""
    untold: int = 0
    """Changes of state that the webhook did not take yet."""
    trouble: str = ""
    """What is wrong: ledger or workers are away, checks cannot be made, events not told; empty when nothing is."""
    gap: float = 1.0


class MonitorResume(Travelling):
    """What a workflow hands to its next run."""

    resume: Literal["monitor-1"] = "monitor-1"
    job: int
    key: str
    tick: int
    gap: float
    sites: int
    lanes: tuple[LaneRange, ...] = ()
    """Checks that were under way: the next run joins them."""
    finished: tuple[Range, ...] = ()
    reported_day: int
    """Days since 1970-01-01 UTC that have their report."""
    heard: int | None = None
    """Number of the last event the bus has; None from earlier builds."""
    known: int = 0
    """Number of the last event there is."""
    priority: int = NORMAL_PRIORITY
    tenant: str = ""
    attributes: dict[str, Any] = Field(default_factory=dict[str, Any])
