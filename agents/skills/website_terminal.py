"""The checks of a built website for a terminal. Pure."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from agents.skills.website_findings import RULES
from agents.skills.website_report import SiteReport

_SHOWN = 12


def render_site_terminal(report: SiteReport) -> RenderableType:
    """A table of all checks, and what went back to its author."""
    total = sum(row.bytes for row in report.files)
    head = (
        f"[bold]{escape(report.name)}[/]: {report.pages()} pages, {len(report.files) + len(report.made)} files, "
        f"{total / 1000:,.0f} kB"
    )
    checks = Table("check", "found", "left", "what holds", box=None, pad_edge=False)
    for row in report.rules():
        left = f"[red]{row.left}[/]" if row.left else "[green]0[/]"
        checks.add_row(row.rule, str(row.found), left, RULES[row.rule])
    parts: list[RenderableType] = [head, "", checks]
    if report.troubles:
        back = Table("sent back", "check", "finding", "now", box=None, pad_edge=False)
        for each in report.troubles[:_SHOWN]:
            now = "[green]mended[/]" if each.mended else "[red]left[/]"
            back.add_row(escape(each.path), each.finding.rule, escape(each.finding.text), now)
        parts += ["", back]
    if len(report.troubles) > _SHOWN:
        parts.append(f"... and {len(report.troubles) - _SHOWN} more in report.md")
    return Group(*parts)
