"""The report of a monitor as Markdown and as one self-contained HTML page with plots. Pure functions."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from agents.skills.report_charts import escape
from agents.skills.text import one_line

PLOTTED: Final = 20
"""Most sites with plots: those with most trouble come first."""


class HourFacts(NamedTuple):
    """One hour of a site."""

    hour: int
    """Hours since 1970-01-01 UTC."""
    uptime: float | None
    """0 to 1; None without checks."""
    p95: float | None
    """Seconds; None without answers."""


class SiteFacts(NamedTuple):
    """One site over the time of the report."""

    name: str
    url: str
    state: str
    checks: int
    uptime: float | None
    mean: float | None
    p95: float | None
    certificate_days: float | None
    problem: str
    changed_at: float
    """When the content last changed, wall-clock seconds; 0 for never."""
    hours: tuple[HourFacts, ...] = ()


class AlertFacts(NamedTuple):
    """One incident."""

    site: str
    worst: str
    reason: str
    opened_at: float
    closed_at: float | None


class MonitorFacts(NamedTuple):
    """All that the report says. Sites come with most trouble first."""

    job: int
    since: float
    until: float
    sites: tuple[SiteFacts, ...]
    alerts: tuple[AlertFacts, ...]

    def title(self) -> str:
        """What stands on top."""
        return f"Sites from {_when(self.since)} to {_when(self.until)} UTC"

    def lead(self) -> str:
        """The whole in a sentence."""
        down = sum(site.state == "down" for site in self.sites)
        worried = sum(site.state == "degraded" for site in self.sites)
        checks = sum(site.checks for site in self.sites)
        known = [(site.uptime, site.checks) for site in self.sites if site.uptime is not None]
        share = sum(uptime * number for uptime, number in known) / max(1, sum(number for _, number in known))
        uptime = f", {share:.3%} of {checks:,} checks went well" if checks else ", no check yet"
        return (
            f"{len(self.sites):,} sites: {down:,} down, {worried:,} degraded now{uptime}; {len(self.alerts):,} alerts."
        )


def render_monitor_markdown(facts: MonitorFacts) -> str:
    """The report as Markdown."""
    parts = [f"# {facts.title()}", facts.lead(), "## Sites", _table(_COLUMNS, [_cells(site) for site in facts.sites])]
    if facts.alerts:
        parts += ["## Alerts", _table(_ALERT_COLUMNS, [_alert_cells(alert) for alert in facts.alerts])]
    return "\n\n".join(parts) + "\n"


def render_monitor_html(facts: MonitorFacts) -> str:
    """The report as a page that can be opened from disk: no script, no request to anywhere."""
    plots = "".join(_card(site) for site in facts.sites[:PLOTTED] if site.hours)
    alerts = ""
    if facts.alerts:
        rows = [_alert_cells(alert) for alert in facts.alerts]
        alerts = f"<h2>Alerts</h2>{_html_table(_ALERT_COLUMNS, rows)}"
    rows = [_cells(site) for site in facts.sites]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(facts.title())}</title><style>{_STYLE}</style></head><body><main>"
        f'<h1>{escape(facts.title())}</h1><p class="lead">{escape(facts.lead())}</p>'
        f"<h2>Sites</h2>{_html_table(_COLUMNS, rows)}{alerts}"
        f'<h2>Uptime and latency by hour</h2><div class="grid">{plots or "No check yet."}</div>'
        f"<footer>Written by Colony (job {facts.job}).</footer></main></body></html>\n"
    )


_COLUMNS: Final = ("site", "state", "uptime", "checks", "mean", "p95", "certificate", "content changed", "last finding")
_ALERT_COLUMNS: Final = ("site", "worst", "began (UTC)", "lasted", "reason")

_STYLE: Final = """
:root{color-scheme:light dark;--back:#f6f7f9;--card:#fff;--ink:#17202c;--soft:#5c6878;--line:#e1e5eb;--good:#1f9d6b;
--fair:#d99a1c;--bad:#d6455d;--time:#3f6fd8}
@media(prefers-color-scheme:dark){:root{--back:#10141a;--card:#181e27;--ink:#e7ebf1;--soft:#97a3b3;--line:#2a323e;
--good:#35b985;--fair:#e0b04a;--bad:#ea6379;--time:#6d96f2}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 20px 56px}
h1{font-size:26px;line-height:1.2;margin:0 0 4px}h2{font-size:17px;margin:28px 0 12px}
.lead{color:var(--soft);margin:0}
.table{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:8px 18px}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:6px 14px 6px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:500;font-size:13px;white-space:nowrap}tr:last-child td{border-bottom:0}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:14px}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 18px}
.card b{overflow-wrap:anywhere}.card span{color:var(--soft);font-size:13px}
svg{display:block;width:100%;height:auto;margin-top:8px;font:11px system-ui,sans-serif}
svg text{fill:var(--soft)}.good{fill:var(--good)}.fair{fill:var(--fair)}.bad{fill:var(--bad)}.none{fill:var(--line)}
.line{fill:none;stroke:var(--time);stroke-width:1.6;stroke-linejoin:round}.dot{fill:var(--time)}
footer{color:var(--soft);font-size:13px;margin-top:26px}
@media print{body{background:#fff}.card,.table{break-inside:avoid}}
"""


def _cells(site: SiteFacts) -> tuple[str, ...]:
    certificate = "" if site.certificate_days is None else f"{site.certificate_days:.0f} days"
    changed = _when(site.changed_at) if site.changed_at else ""
    uptime = "" if site.uptime is None else f"{site.uptime:.2%}"
    finding = one_line(site.problem, 80)
    return (
        site.name,
        site.state,
        uptime,
        f"{site.checks:,}",
        _seconds(site.mean),
        _seconds(site.p95),
        certificate,
        changed,
        finding,
    )


def _alert_cells(alert: AlertFacts) -> tuple[str, ...]:
    lasted = "goes on" if alert.closed_at is None else _span(alert.closed_at - alert.opened_at)
    return (alert.site, alert.worst, _when(alert.opened_at), lasted, one_line(alert.reason, 100))


def _card(site: SiteFacts) -> str:
    uptime = "" if site.uptime is None else f"{site.uptime:.2%} up, "
    label = f"{uptime}p95 {_seconds(site.p95) or 'unknown'}"
    return f'<div class="card"><b>{escape(site.name)}</b><br><span>{escape(label)}</span>{_plot(site)}</div>'


def _plot(site: SiteFacts) -> str:
    """Latency as a line over a strip of hours coloured by uptime."""
    width, top, base, strip = 320.0, 14.0, 74.0, 82.0
    first, last = site.hours[0].hour, site.hours[-1].hour
    step = width / max(1, last - first + 1)
    most = max((each.p95 for each in site.hours if each.p95 is not None), default=0.0) or 1.0
    parts: list[str] = []
    points: list[tuple[float, float]] = []
    for each in site.hours:
        x = (each.hour - first) * step
        kind = _kind(each.uptime)
        tip = f"{_when(each.hour * 3600)}: {'no check' if each.uptime is None else f'{each.uptime:.1%} up'}"
        parts.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{strip}" width="{max(0.8, step - 1):.1f}" height="12" rx="1.5">'
            f"<title>{escape(tip)}</title></rect>"
        )
        if each.p95 is not None:
            points.append((x + step / 2, base - each.p95 / most * (base - top)))
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="1.8"/>' for x, y in points)
    return (
        f'<svg viewBox="0 0 {width:g} 98" role="img" aria-label="{escape(site.name)}: latency and uptime by hour">'
        f'<text x="0" y="10">p95, at most {escape(_seconds(most))}</text>'
        f'<polyline class="line" points="{line}"/>{dots}{"".join(parts)}</svg>'
    )


def _kind(uptime: float | None) -> str:
    if uptime is None:
        return "none"
    return "good" if uptime >= 0.995 else "fair" if uptime >= 0.9 else "bad"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text of others: nothing in it may become markup."""
    return "".join(f"\\{each}" if each in "\\`*[]<>#|~" else each for each in text)


def _html_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at))
