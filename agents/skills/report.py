"""What other packages use to write reports."""

from __future__ import annotations

from agents.skills.report_html import render_html
from agents.skills.report_markdown import render_generic_markdown, render_markdown
from agents.skills.report_model import (
    Agreement,
    BadRowFact,
    Phase,
    Point,
    ReviewReport,
    RunFacts,
    Theme,
    parse_report,
    report_of,
)
from agents.skills.tally import Example

__all__ = [
    "Agreement",
    "BadRowFact",
    "Example",
    "Phase",
    "Point",
    "ReviewReport",
    "RunFacts",
    "Theme",
    "parse_report",
    "render_generic_markdown",
    "render_html",
    "render_markdown",
    "report_of",
]
