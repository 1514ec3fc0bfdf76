"""Reports for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from agents.skills.report_model import ReviewReport, RunFacts, Theme, shares
from agents.skills.text import one_line
from agents.skills.timeline import Timeline, stretch_name

_COLOURS: Final = {"positive": "green", "neutral": "bright_black", "negative": "red"}
_WIDTH: Final = 78
_BAR: Final = 44
_THEME_BAR: Final = 24
_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_LONGEST_LINE: Final = 70
"""Of more stretches the last ones are shown."""


def render_terminal(report: ReviewReport, run: RunFacts) -> RenderableType:
    """The findings in short, at most 80 columns wide."""
    parts: list[RenderableType] = [_headline(report, run)]
    if report.reviews:
        if report.summary:
            parts += [Text(), Text(report.summary), Text(f"by the language model {report.summary_by}", "dim")]
        parts += [Text(), _split(report)]
        if report.trend is not None and report.trend.tells:
            parts += [Text(), _trend(report.trend)]
        if report.themes:
            parts += [Text(), _themes(report.top_themes(8))]
        parts += [Text(), *_quotes(report)]
        if report.agreement is not None:
            parts += [Text(), _agreement(report)]
        if report.models:
            parts += [Text(), *_models(report)]
    if run.phases and run.seconds:
        parts += [Text(), *_times(run)]
    if run.bad_rows or run.failed:
        parts += [Text(), _problems(run)]
    title = f"Review analysis{f': {one_line(run.source, 44)}' if run.source else ''}"
    return Panel(Group(*parts), title=Text(title, style="bold"), width=_WIDTH, box=box.ROUNDED, padding=(1, 2))


def _headline(report: ReviewReport, run: RunFacts) -> Text:
    if not report.reviews:
        return Text("There was no review to analyse.")
    text = Text.assemble((f"{report.reviews:,}", "bold"), " reviews, mean score ", (f"{report.mean:+.2f}", "bold"))
    if report.duplicates:
        text.append(f", {report.duplicates:,} repeated")
    return text


def _split(report: ReviewReport) -> Table:
    table = Table.grid(padding=(0, 1))
    share = shares({label: report.labels.get(label, 0) for label in _COLOURS}, 1)
    for label, colour in _COLOURS.items():
        bar = Text("█" * round(share[label] / 100 * _BAR), style=colour)
        table.add_row(
            Text(label, style=colour), bar, f"{share[label]:.1f}%", Text(f"{report.labels.get(label, 0):,}", "dim")
        )
    return table


def _trend(timeline: Timeline) -> Text:
    """The mean scores in a line, from the lowest to the highest; a point where there are no reviews."""
    shown = timeline.stretches[-_LONGEST_LINE:]
    means = [each.mean for each in shown]
    known = [mean for mean in means if mean is not None] or [0.0]
    low, spread = min(known), max(known) - min(known) or 1.0
    top = len(_HEIGHTS) - 1
    line = "".join("·" if mean is None else _HEIGHTS[round((mean - low) / spread * top)] for mean in means)
    first, last = (stretch_name(shown[at].start, timeline.unit) for at in (0, -1))
    words = f"score by {timeline.unit}, {first} to {last}, {low:+.2f} to {max(known):+.2f}"
    return Text.assemble((words, "dim"), "\n", line)


def _themes(themes: Sequence[Theme]) -> Table:
    """A row for each theme; the length of its bar is the number of reviews, its colours are their labels."""
    most = max(theme.count for theme in themes)
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    table.add_column("theme", max_width=24, no_wrap=True)
    table.add_column("reviews", justify="right")
    table.add_column("score", justify="right")
    table.add_column("")
    for theme in themes:
        colour = "green" if theme.mean >= 0.05 else "red" if theme.mean <= -0.05 else "bright_black"
        neutral = max(0, theme.count - theme.positive - theme.negative)
        bar = Text()
        for count, shade in ((theme.positive, "green"), (neutral, "bright_black"), (theme.negative, "red")):
            bar.append("■" * round(count / most * _THEME_BAR), style=shade)
        table.add_row(Text(theme.name), f"{theme.count:,}", Text(f"{theme.mean:+.2f}", colour), bar)
    return table


def _quotes(report: ReviewReport) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for examples, colour in ((report.most_positive, "green"), (report.most_negative, "red")):
        lines += [
            Text.assemble((f"{example.compound:+.2f}  ", colour), one_line(example.text, 62))
            for example in examples[:3]
        ]
    return lines


def _models(report: ReviewReport) -> list[RenderableType]:
    """Which model did what, a line for each step."""
    return [
        Text(
            one_line(
                f"{use.step}: {use.model or 'no model'}, {use.calls:,} {'call' if use.calls == 1 else 'calls'},"
                f" {use.prompt_tokens + use.completion_tokens:,} tokens; {use.note}",
                70,
            ),
            style="dim",
        )
        for use in report.models
    ]


def _agreement(report: ReviewReport) -> Text:
    found = report.agreement
    if found is None or found.pearson is None:
        return Text("Too few ratings to compare with.")
    text = Text.assemble("agreement with ", f"{found.rated:,} human ratings: r ", (f"{found.pearson:.3f}", "bold"))
    if found.baseline_pearson is not None:
        text.append(f" (VADER alone {found.baseline_pearson:.3f})")
    return text


def _times(run: RunFacts) -> list[RenderableType]:
    """How long it took, and where the time went."""
    whole = f"{run.tasks:,} tasks in {run.seconds:.1f} s, {run.tasks_per_second:,.0f} a second"
    if run.agents:
        whole += f", by {run.agents:,} agents on {run.hosts} hosts"
    stretches = " · ".join(f"{phase.name} {phase.seconds:.2f} s" for phase in run.phases)
    return [Text(whole), Text(f"time: {stretches}", style="dim")]


def _problems(run: RunFacts) -> Text:
    found = [f"{run.bad_rows:,} rows left out"] if run.bad_rows else []
    found += [f"{count:,} tasks failed with {name}" for name, count in sorted(run.failed.items())]
    return Text("; ".join(found), style="yellow")
