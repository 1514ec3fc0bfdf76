"""Watched sites in the ledger: the port, and what a round of checks writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from colony.ids import Id
from colony.sites import AlertRow, CheckRow, NoticeRow, SiteMemory, SiteRow, SiteSpec


class MonitorRow(NamedTuple):
    """One monitor: a job that watches sites."""

    settings: bytes
    """JSON of the one who opened it."""
    secret: str
    """Signs what it tells to its webhook."""
    tick: int
    """Number of its last round."""
    next_seq: int
    """First seq of the tasks of the next round."""


class MonitorPulse(NamedTuple):
    """A monitor in a few numbers."""

    sites: int
    paused: int
    next_due: float | None
    """When the next site is due; None when all are paused or being checked."""
    notices: int
    """Not told yet."""
    failed_notices: int
    """Given up."""
    last_notice: int = 0
    """Number of the last one that is not told yet; 0 for none."""


class SiteUpdate(NamedTuple):
    """What a round leaves on a site. Sites that are gone by then are left out."""

    site: Id
    memory: SiteMemory
    due_at: float
    checking: int | None


class TickRows(NamedTuple):
    """All that one round writes, in one transaction."""

    job: int
    step: int
    tick: int
    """Number of the round, one above that of the round before."""
    updates: Sequence[SiteUpdate]
    checks: Sequence[CheckRow]
    """Each is added to what its hour has."""
    opened: Sequence[AlertRow]
    """A site that has an open alert keeps it: its state, reason and count move on."""
    closed: Sequence[tuple[Id, float]]
    """Sites whose alert is over, and since when."""
    notices: Sequence[NoticeRow]
    tasks: Sequence[tuple[int, bytes]]
    """(seq, payload) of the checks that come next."""
    next_seq: int
    reply: bytes
    """What this round decided; the same round again gets it back instead of another decision."""


class CheckedSite(NamedTuple):
    """A site whose check was handed out, and what came of it."""

    row: SiteRow
    result: bytes | None
    """JSON of a good outcome; None for a failed one or none."""
    error: str
    """Of a failed outcome; empty for none."""


class SiteLedger(Protocol):
    """Monitors, their sites, history, alerts and notices. Raises as `Ledger`; `NotFound` for a job without monitor."""

    async def open_monitor(self, job: int, secret: str, settings: bytes, sites: Sequence[SiteRow]) -> None:
        """Keep a new monitor; again changes nothing."""
        ...

    async def monitor(self, job: int) -> MonitorRow:
        """One monitor. Raises `NotFound`."""
        ...

    async def monitor_pulse(self, job: int) -> MonitorPulse:
        """Its numbers, cheap however many sites it has."""
        ...

    async def sites(self, job: int) -> list[SiteRow]:
        """All its sites, by name."""
        ...

    async def due_sites(self, job: int, before: float, limit: int) -> list[SiteRow]:
        """Sites to be checked at `before` or earlier, longest waiting first; none paused or being checked."""
        ...

    async def checked_sites(self, job: int, step: int, first: int, end: int) -> list[CheckedSite]:
        """Sites whose check has a seq in the range, by seq."""
        ...

    async def save_tick(self, rows: TickRows) -> bytes:
        """Write a round, unless it or a later one was written; the reply of the last round. Raises `NotFound`."""
        ...

    async def put_sites(self, job: int, specs: Sequence[SiteSpec], due_at: float) -> int:
        """Add sites, or change those of the same name, due at `due_at`; how many are new.

        A site with the same URL keeps what is remembered of it, and its pause.
        """
        ...

    async def remove_sites(self, job: int, names: Sequence[Id], at: float) -> int:
        """Forget sites; their open alerts close. How many were there."""
        ...

    async def pause_sites(self, job: int, names: Sequence[Id] | None, paused: bool, due_at: float) -> int:
        """Pause sites or wake them, due at `due_at`; all of them for None. How many changed."""
        ...

    async def site_checks(self, job: int, since_hour: int) -> list[CheckRow]:
        """The history from an hour on, by site, hour and bucket."""
        ...

    async def alerts(self, job: int, since: float, limit: int = 1000) -> list[AlertRow]:
        """Alerts open now or closed after `since`, newest first."""
        ...

    async def notices(self, job: int, limit: int, upto: int | None = None) -> list[NoticeRow]:
        """What was not told yet, in order; with `upto`, none above that number."""
        ...

    async def notices_between(self, job: int, after: int, upto: int, limit: int) -> list[NoticeRow]:
        """What has a number above `after` and up to `upto`, told or not, in order."""
        ...

    async def settle_notices(self, job: int, last: int, error: str = "") -> None:
        """Notices up to number `last` are told; with `error`, they are given up."""
        ...

    async def trim_monitor(self, job: int, step: int, before_seq: int, before: float) -> None:
        """Forget tasks and outcomes below `before_seq`, and what is older than a time.

        That is history, closed alerts, told notices, and artifacts of days: `report-2026-01-31.md` and the like.
        """
        ...
