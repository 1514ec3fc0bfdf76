"""The report of a monitor: its facts from the ledger, its artifacts."""

from __future__ import annotations

from collections.abc import Sequence

from agents.skills.monitor_report import (
    AlertFacts,
    HourFacts,
    MonitorFacts,
    SiteFacts,
    render_monitor_html,
    render_monitor_markdown,
)
from colony.contracts import Artifact
from colony.ledger.port import SiteLedger
from colony.sites import HOUR, CheckRow, SiteRow
from workflows.monitor_contracts import ReportMonitor
from workflows.monitoring import DAY, by_site, uptime_of


async def monitor_artifacts(ledger: SiteLedger, request: ReportMonitor) -> list[Artifact]:
    """`report.md` and `report.html`; for the report of a day also under its date."""
    facts = await monitor_facts(ledger, request.job, request.since, request.until)
    markdown, page = render_monitor_markdown(facts).encode(), render_monitor_html(facts).encode()
    names = ["report", *([f"report-{request.day}"] if request.day else [])]
    return [
        artifact
        for name in names
        for artifact in (
            Artifact(name=f"{name}.md", media_type="text/markdown; charset=utf-8", content=markdown),
            Artifact(name=f"{name}.html", media_type="text/html; charset=utf-8", content=page),
        )
    ]


async def monitor_facts(ledger: SiteLedger, job: int, since: float, until: float) -> MonitorFacts:
    """What there is to say about a stretch of time, sites with most trouble first. Raises `NotFound`."""
    await ledger.monitor(job)
    history = by_site([row for row in await ledger.site_checks(job, int(since // HOUR)) if row.hour * HOUR < until])
    sites = [_site(row, history.get(row.spec.site, []), until) for row in await ledger.sites(job)]
    alerts = [
        AlertFacts(row.site, row.worst.value, row.reason, row.opened_at, row.closed_at)
        for row in await ledger.alerts(job, since)
        if row.opened_at < until
    ]
    order = {"down": 0, "degraded": 1, "new": 2, "up": 3}
    sites.sort(key=lambda site: (order.get(site.state, 4), 1.0 if site.uptime is None else site.uptime, site.name))
    return MonitorFacts(job, since, until, tuple(sites), tuple(alerts))


def _site(row: SiteRow, history: Sequence[CheckRow], now: float) -> SiteFacts:
    memory, total = row.memory, uptime_of(history)
    ends = memory.certificate_ends
    return SiteFacts(
        name=row.spec.site,
        url=row.spec.url,
        state="paused" if row.paused else memory.state.value,
        checks=total.checks,
        uptime=total.uptime,
        mean=total.mean,
        p95=total.p95,
        certificate_days=None if ends is None else (ends - now) / DAY,
        problem=memory.problem,
        changed_at=memory.changed_at,
        hours=tuple(_hours(history)),
    )


def _hours(history: Sequence[CheckRow]) -> list[HourFacts]:
    hours: dict[int, list[CheckRow]] = {}
    for row in history:
        hours.setdefault(row.hour, []).append(row)
    found = [(hour, uptime_of(rows)) for hour, rows in sorted(hours.items())]
    return [HourFacts(hour, each.uptime, each.p95) for hour, each in found]
