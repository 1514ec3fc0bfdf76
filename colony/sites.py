"""Watched sites: what is asked of each, what was last seen of it, and what is told about it. Pure data."""

from __future__ import annotations

import math
import time
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import Field

from colony.contracts import Frozen
from colony.ids import Id

MAX_SITES: Final = 10_000
"""Most sites of one monitor."""

HOUR: Final = 3600
"""Seconds that one row of the history covers."""

NO_ANSWER: Final = -1
"""The latency bucket of checks that got no answer."""

_BUCKETS_PER_DOUBLING: Final = 4
_MOST_BUCKET: Final = 80


class SiteState(StrEnum):
    """How a site is."""

    NEW = "new"
    """Not seen well yet."""
    UP = "up"
    DEGRADED = "degraded"
    """It answers, but slowly, or its certificate ends soon."""
    DOWN = "down"
    """No answer, a wrong one, or a certificate that is not valid."""


class SiteSpec(Frozen):
    """What is asked of one site."""

    site: Id
    """Its name, unique in the monitor."""
    url: str = Field(min_length=8, max_length=2000)
    interval: float = Field(default=60.0, ge=1, le=86_400)
    """Seconds between two checks."""
    timeout: float = Field(default=10.0, ge=0.1, le=60)
    """Seconds until a site that does not answer counts as not answering."""
    keyword: str = Field(default="", max_length=1000)
    """Text that the page must have."""
    status: int = Field(default=0, ge=0, le=599)
    """The status it must answer with; 0 for any below 400."""
    slow_seconds: float = Field(default=5.0, gt=0, le=60)
    """An answer that takes longer is a worry."""
    certificate_days: float = Field(default=14.0, ge=0, le=3650)
    """A certificate that ends sooner is a worry."""
    failures: int = Field(default=3, ge=1, le=100)
    """Bad checks in a row before the site counts as worse."""
    recoveries: int = Field(default=2, ge=1, le=100)
    """Better checks in a row before it counts as better."""
    tell_changes: bool = False
    """Whether a change of the content is an event."""


class SiteMemory(Frozen):
    """What is remembered of a site between two checks."""

    state: SiteState = SiteState.NEW
    since: float = 0.0
    """When that state began, wall-clock seconds; so are all times here."""
    streak: int = 0
    """Checks in a row that say the site is better than its state (negative) or worse (positive)."""
    reached: int = 0
    """The level of that streak nearest to the state."""
    checked_at: float = 0.0
    seconds: float | None = None
    """Latency of the last answer."""
    status: int = 0
    digest: str = ""
    """Of the content last seen."""
    changed_at: float = 0.0
    """When the content last changed."""
    certificate_ends: float | None = None
    problem: str = ""
    """What the last check found wrong; empty for nothing."""


class SiteRow(NamedTuple):
    """One site as the ledger keeps it."""

    spec: SiteSpec
    memory: SiteMemory
    due_at: float
    """When it is to be checked next."""
    paused: bool = False
    checking: int | None = None
    """Seq of the task that checks it now."""


class CheckRow(NamedTuple):
    """Checks of one site in one hour that took about as long: the history, rolled up."""

    site: Id
    hour: int
    """Hours since 1970-01-01 UTC."""
    bucket: int
    """Of their latency; see `bucket_of`."""
    checks: int
    up: int
    """Those that found the site answering rightly."""
    seconds: float
    """Sum of their latencies."""


class AlertRow(NamedTuple):
    """One incident: opened when a site gets worse, closed when it is up again. A site has one open at most."""

    alert: int
    """Its number; 0 before the ledger gave one."""
    site: Id
    state: SiteState
    """As it was last told."""
    worst: SiteState
    reason: str
    opened_at: float
    closed_at: float | None = None
    changes: int = 1
    """How often it was told anew while open."""


class NoticeRow(NamedTuple):
    """Something to tell the world: a change of state, or of content."""

    notice: int
    """Its number; they are told in this order. 0 before the ledger gave one."""
    site: Id
    kind: str
    """`site-up`, `site-degraded`, `site-down` or `site-changed`."""
    at: float
    url: str
    before: str
    """The state before."""
    reason: str


def day_report(at: float) -> str:
    """The name of the report of a day (UTC), without its ending: names sort as days do."""
    return time.strftime("report-%Y-%m-%d", time.gmtime(at))


def bucket_of(seconds: float | None) -> int:
    """The latency bucket of an answer: 0 up to a millisecond, four for each doubling after; None is no answer."""
    if seconds is None:
        return NO_ANSWER
    if seconds <= 0.001:
        return 0
    return min(_MOST_BUCKET, math.ceil(_BUCKETS_PER_DOUBLING * math.log2(seconds / 0.001)))


def bucket_seconds(bucket: int) -> float:
    """A latency that stands for its bucket: its upper end."""
    return 0.001 * 2.0 ** (bucket / _BUCKETS_PER_DOUBLING)
