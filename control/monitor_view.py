"""The sites of a monitor for people and for machines."""

from __future__ import annotations

import time
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from colony.ledger.port import Ledger
from colony.sites import HOUR, AlertRow, SiteRow
from workflows.monitoring import DAY, Uptime, by_site, uptime_of

_COLOURS: Final = {"up": "green", "degraded": "yellow", "down": "red", "new": "cyan", "paused": "dim"}


async def monitor_view(ledger: Ledger, name: str) -> dict[str, Any]:
    """Sites of a job with their numbers of the last 24 hours, alerts and what is not told. Raises `NotFound`."""
    view = await ledger.job(name)
    await ledger.monitor(view.job)
    now = time.time()
    history = by_site(await ledger.site_checks(view.job, int((now - DAY) // HOUR) + 1))
    pulse = await ledger.monitor_pulse(view.job)
    return {
        "job": view.job,
        "workflow_id": view.workflow_id,
        "state": view.state.value,
        "sites": [_site(row, uptime_of(history.get(row.spec.site, [])), now) for row in await ledger.sites(view.job)],
        "alerts": [_alert(row) for row in await ledger.alerts(view.job, now - DAY, 50)],
        "untold": pulse.notices,
        "given_up": pulse.failed_notices,
    }


def sites_table(view: dict[str, Any], now: float) -> Table:
    """The sites as a table."""
    table = Table("site", "state", "since", "uptime 24 h", "p95", "certificate", "changed", "last finding", box=None)
    for site in view["sites"]:
        colour = _COLOURS.get(site["state"], "default")
        table.add_row(
            site["site"],
            f"[{colour}]{site['state']}[/]",
            _ago(site["since"], now),
            "" if site["uptime"] is None else f"{site['uptime']:.2%}",
            "" if site["p95"] is None else f"{site['p95'] * 1000:.0f} ms",
            "" if site["certificate_days"] is None else f"{site['certificate_days']:.0f} d",
            _ago(site["changed_at"], now),
            escape(site["problem"][:50]),
        )
    return table


def _site(row: SiteRow, numbers: Uptime, now: float) -> dict[str, Any]:
    memory = row.memory
    ends = memory.certificate_ends
    return {
        "site": row.spec.site,
        "url": row.spec.url,
        "interval": row.spec.interval,
        "state": "paused" if row.paused else memory.state.value,
        "since": memory.since or None,
        "checked_at": memory.checked_at or None,
        "status": memory.status,
        "seconds": memory.seconds,
        "checks": numbers.checks,
        "uptime": numbers.uptime,
        "p95": numbers.p95,
        "certificate_days": None if ends is None else round((ends - now) / DAY, 1),
        "changed_at": memory.changed_at or None,
        "problem": memory.problem,
    }


def _alert(row: AlertRow) -> dict[str, Any]:
    return {
        "alert": row.alert,
        "site": row.site,
        "state": row.state.value,
        "worst": row.worst.value,
        "reason": row.reason,
        "opened_at": row.opened_at,
        "closed_at": row.closed_at,
        "changes": row.changes,
    }


def _ago(at: float | None, now: float) -> str:
    if at is None:
        return ""
    seconds = max(0.0, now - at)
    for size, unit in ((DAY, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
