"""Watched sites, in memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from colony.errors import NotFound
from colony.ids import Id
from colony.ledger.memory_monitor_table import MonitorTable
from colony.ledger.memory_tables import MemoryTables
from colony.ledger.sites import CheckedSite, MonitorPulse, MonitorRow, TickRows
from colony.ledger.validation import clean_text
from colony.sites import HOUR, AlertRow, CheckRow, NoticeRow, SiteMemory, SiteRow, SiteSpec, SiteState, day_report

_DAY_REPORT: Final = re.compile(r"report-\d{4}-\d\d-\d\d[.]")


class MemorySites:
    """See `SiteLedger`."""

    def __init__(self, tables: MemoryTables) -> None:
        self._tables = tables

    async def open_monitor(self, job: int, secret: str, settings: bytes, sites: Sequence[SiteRow]) -> None:
        """See `SiteLedger`."""
        if job not in self._tables.monitors:
            table = MonitorTable(MonitorRow(settings, secret, 0, 0))
            table.sites = {row.spec.site: row for row in sites}
            self._tables.monitors[job] = table

    async def monitor(self, job: int) -> MonitorRow:
        """See `SiteLedger`."""
        return self._monitor(job).row

    async def monitor_pulse(self, job: int) -> MonitorPulse:
        """See `SiteLedger`."""
        table = self._tables.monitors.get(job)
        if table is None:
            return MonitorPulse(0, 0, None, 0, 0)
        rows = table.sites.values()
        due = (row.due_at for row in rows if not row.paused and row.checking is None)
        waiting = [row.notice for row in table.notices if row.notice not in table.told]
        return MonitorPulse(
            sites=len(rows),
            paused=sum(row.paused for row in rows),
            next_due=min(due, default=None),
            notices=len(waiting),
            failed_notices=sum(bool(error) for error in table.told.values()),
            last_notice=max(waiting, default=0),
        )

    async def sites(self, job: int) -> list[SiteRow]:
        """See `SiteLedger`."""
        table = self._tables.monitors.get(job)
        return [] if table is None else [table.sites[name] for name in sorted(table.sites)]

    async def due_sites(self, job: int, before: float, limit: int) -> list[SiteRow]:
        """See `SiteLedger`."""
        due = [row for row in await self.sites(job) if row.due_at <= before and not row.paused and row.checking is None]
        return sorted(due, key=lambda row: row.due_at)[:limit]

    async def checked_sites(self, job: int, step: int, first: int, end: int) -> list[CheckedSite]:
        """See `SiteLedger`."""
        found: list[CheckedSite] = []
        for row in await self.sites(job):
            if row.checking is None or not first <= row.checking < end:
                continue
            last = self._tables.step(job, step).last(row.checking)
            good = last is not None and last[1].ok
            found.append(
                CheckedSite(row, last[1].result if last and good else None, "" if last is None else last[1].error)
            )
        return sorted(found, key=lambda each: each.row.checking or 0)

    async def save_tick(self, rows: TickRows) -> bytes:
        """See `SiteLedger`."""
        table = self._monitor(rows.job)
        if table.row.tick >= rows.tick:
            return table.reply
        for update in rows.updates:
            row = table.sites.get(update.site)
            if row is not None:
                table.sites[update.site] = row._replace(
                    memory=update.memory, due_at=update.due_at, checking=update.checking
                )
        for check in rows.checks:
            key = (check.site, check.hour, check.bucket)
            old = table.checks.get(key, check._replace(checks=0, up=0, seconds=0.0))
            table.checks[key] = check._replace(
                checks=old.checks + check.checks, up=old.up + check.up, seconds=old.seconds + check.seconds
            )
        for opened in rows.opened:
            _open(table, opened)
        for site, at in rows.closed:
            _close(table, [site], at, SiteState.UP)
        for notice in rows.notices:
            table.last_notice += 1
            table.notices.append(notice._replace(notice=table.last_notice, reason=clean_text(notice.reason)))
        tasks = self._tables.step(rows.job, rows.step).tasks
        for seq, payload in rows.tasks:
            tasks.extend([(None, b"{}")] * (seq + 1 - len(tasks)))
            tasks[seq] = (None, payload)
        table.row = table.row._replace(tick=rows.tick, next_seq=rows.next_seq)
        table.reply = rows.reply
        return rows.reply

    async def put_sites(self, job: int, specs: Sequence[SiteSpec], due_at: float) -> int:
        """See `SiteLedger`."""
        table, new = self._monitor(job), 0
        for spec in specs:
            old = table.sites.get(spec.site)
            new += old is None
            if old is None or old.spec.url != spec.url:
                paused = old is not None and old.paused
                table.sites[spec.site] = SiteRow(spec, SiteMemory(), due_at, paused)
            else:
                table.sites[spec.site] = old._replace(spec=spec, due_at=due_at)
        return new

    async def remove_sites(self, job: int, names: Sequence[Id], at: float) -> int:
        """See `SiteLedger`."""
        table = self._monitor(job)
        _close(table, names, at)
        return sum(table.sites.pop(name, None) is not None for name in names)

    async def pause_sites(self, job: int, names: Sequence[Id] | None, paused: bool, due_at: float) -> int:
        """See `SiteLedger`."""
        table, changed = self._monitor(job), 0
        for name, row in table.sites.items():
            if (names is None or name in names) and row.paused != paused:
                table.sites[name] = row._replace(paused=paused, due_at=row.due_at if paused else due_at)
                changed += 1
        return changed

    async def site_checks(self, job: int, since_hour: int) -> list[CheckRow]:
        """See `SiteLedger`."""
        table = self._tables.monitors.get(job)
        rows = [] if table is None else [row for row in table.checks.values() if row.hour >= since_hour]
        return sorted(rows, key=lambda row: (row.site, row.hour, row.bucket))

    async def alerts(self, job: int, since: float, limit: int = 1000) -> list[AlertRow]:
        """See `SiteLedger`."""
        table = self._tables.monitors.get(job)
        found = [] if table is None else table.alerts
        return [row for row in reversed(found) if row.closed_at is None or row.closed_at >= since][:limit]

    async def notices(self, job: int, limit: int, upto: int | None = None) -> list[NoticeRow]:
        """See `SiteLedger`."""
        table = self._tables.monitors.get(job)
        rows = [] if table is None else [row for row in table.notices if row.notice not in table.told]
        return [row for row in rows if upto is None or row.notice <= upto][:limit]

    async def notices_between(self, job: int, after: int, upto: int, limit: int) -> list[NoticeRow]:
        """See `SiteLedger`."""
        table = self._tables.monitors.get(job)
        return [] if table is None else [row for row in table.notices if after < row.notice <= upto][:limit]

    async def settle_notices(self, job: int, last: int, error: str = "") -> None:
        """See `SiteLedger`."""
        for row in await self.notices(job, 10**9):
            if row.notice <= last:
                self._monitor(job).told[row.notice] = clean_text(error)

    async def trim_monitor(self, job: int, step: int, before_seq: int, before: float) -> None:
        """See `SiteLedger`."""
        table, kept = self._monitor(job), self._tables.step(job, step)
        for seq in range(min(before_seq, len(kept.tasks))):
            kept.tasks[seq] = (None, b"{}")
            kept.outcomes.pop(seq, None)
        kept.attempts = [row for row in kept.attempts if max(row.seqs, default=0) >= before_seq]
        table.checks = {key: row for key, row in table.checks.items() if row.hour >= int(before // HOUR)}
        table.alerts = [row for row in table.alerts if row.closed_at is None or row.closed_at >= before]
        reports = self._tables.artifacts.get(job, {})
        for name in [name for name in reports if _DAY_REPORT.match(name) and name < day_report(before)]:
            del reports[name]
        gone = {row.notice for row in table.notices if row.notice in table.told and row.at < before}
        table.notices = [row for row in table.notices if row.notice not in gone]
        table.told = {number: error for number, error in table.told.items() if number not in gone}

    def _monitor(self, job: int) -> MonitorTable:
        table = self._tables.monitors.get(job)
        if table is None:
            raise NotFound(f"Job {job} watches no sites.")
        return table


def _open(table: MonitorTable, new: AlertRow) -> None:
    for at, row in enumerate(table.alerts):
        if row.site == new.site and row.closed_at is None:
            worst = row.worst if row.worst is SiteState.DOWN else new.worst
            table.alerts[at] = row._replace(
                state=new.state, worst=worst, reason=clean_text(new.reason), changes=row.changes + 1
            )
            return
    table.last_alert += 1
    table.alerts.append(new._replace(alert=table.last_alert, reason=clean_text(new.reason)))


def _close(table: MonitorTable, sites: Sequence[Id], at: float, state: SiteState | None = None) -> None:
    for index, row in enumerate(table.alerts):
        if row.site in sites and row.closed_at is None:
            table.alerts[index] = row._replace(closed_at=at, state=state or row.state)
