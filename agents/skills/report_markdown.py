"""Reports as Markdown. Pure functions."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from agents.skills.report_model import (
    MODEL_COLUMNS,
    ReviewReport,
    RunFacts,
    model_rows,
    scale_words,
    shares,
    summary_note,
)
from agents.skills.tally import Example
from agents.skills.text import one_line
from agents.skills.timeline import timeline_note, timeline_rows

_SPECIAL: Final = re.compile(r"([\\`*{}\[\]<>#|~]|(?<!\w)_|_(?!\w))")
_LABELS: Final = ("positive", "neutral", "negative")
_ROWS_SHOWN: Final = 50


def render_markdown(report: ReviewReport, run: RunFacts) -> str:
    """The findings, then how the run went."""
    parts = [
        f"# Review analysis{_of(run)}",
        _headline(report, run),
        _summary(report),
        _sentiment(report),
        _trend(report),
        _themes(report),
        _quotes("Most positive", report.most_positive),
        _quotes("Most negative", report.most_negative),
        _agreement(report),
        _models(report),
        *run_sections(run),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def render_generic_markdown(value: Mapping[str, Any], run: RunFacts) -> str:
    """A report for the value of any other template: lists of objects become tables, the rest an outline."""
    title = escaped(one_line(str(value.get("title") or run.template or "Results"), 120))
    body = [
        part for key, entry in value.items() if key not in ("kind", "title") for part in _generic(str(key), entry, 2)
    ]
    return "\n\n".join([f"# {title}{_of(run)}", *_shown(run), *body, *run_sections(run)]) + "\n"


def _shown(run: RunFacts) -> list[str]:
    """Which part of the results this is, where it is a part."""
    if run.results_total <= run.results_shown:
        return []
    return [
        f"The step has {run.results_total:,} results; the first {run.results_shown:,} are here and in results.json."
    ]


def run_sections(run: RunFacts) -> list[str]:
    """The sections about the run: phases, bad rows, failures, facts. Empty ones are left out."""
    sections: list[str] = []
    if run.phases:
        rows = [(phase.name, f"{phase.seconds:.2f} s", f"{phase.tasks:,}") for phase in run.phases]
        sections.append("## Where the time went\n\n" + table(("phase", "time", "tasks"), rows))
    if run.bad_rows:
        text = f"## Rows left out\n\n{run.bad_rows:,} {_plural(run.bad_rows, 'row')} of the source became no task."
        if run.bad_row_list:
            text += "\n\n" + table(("line", "reason"), [(str(row.line), row.reason) for row in run.bad_row_list])
        sections.append(text)
    if run.failed:
        rows = [(name, f"{count:,}") for name, count in sorted(run.failed.items(), key=lambda entry: -entry[1])]
        sections.append("## Failed tasks\n\n" + table(("error", "tasks"), rows))
    facts = fact_rows(run)
    if facts:
        sections.append("## The run\n\n" + table(("fact", "value"), facts))
    return sections


def fact_rows(run: RunFacts) -> list[tuple[str, str]]:
    """The run in pairs of name and value, only what is known."""
    rows = [
        ("job", str(run.job) if run.job else ""),
        ("workflow", run.workflow_id),
        ("source", run.source),
        ("started", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(run.started)) if run.started else ""),
        ("duration", f"{run.seconds:.2f} s" if run.seconds else ""),
        ("tasks", f"{run.tasks:,}" if run.tasks else ""),
        ("tasks a second", f"{run.tasks_per_second:,.0f}" if run.tasks_per_second else ""),
        ("agents", f"{run.agents:,} on {run.hosts:,} {_plural(run.hosts, 'host')}" if run.agents else ""),
        ("language model", run.model or "none"),
        *(("engine", line) for line in run.engine),
    ]
    known = [(name, value) for name, value in rows if value]
    return known if len(known) > 1 else []


def _of(run: RunFacts) -> str:
    return f": {escaped(run.source)}" if run.source else ""


def _headline(report: ReviewReport, run: RunFacts) -> str:
    if not report.reviews:
        return "There was no review to analyse."
    line = f"**{report.reviews:,} {_plural(report.reviews, 'review')}**, mean score {report.mean:+.2f} (-1 to +1)"
    if report.duplicates:
        about = "about " if report.duplicates_estimated else ""
        line += f", {about}{report.duplicates:,} repeated"
    if run.seconds:
        line += f", in {run.seconds:.1f} s"
    if report.by.get("model"):
        line += f". A language model judged {report.by['model']:,} of them"
    return line + "."


def _summary(report: ReviewReport) -> str:
    if not report.summary:
        return ""
    return f"## In short\n\n> {escaped(report.summary)}\n\n*{escaped(summary_note(report))}*"


def _models(report: ReviewReport) -> str:
    return "## Language models\n\n" + table(MODEL_COLUMNS, model_rows(report)) if report.models else ""


def _sentiment(report: ReviewReport) -> str:
    if not report.reviews:
        return ""
    share = shares({label: report.labels.get(label, 0) for label in _LABELS}, 1)
    rows = [
        (label, f"{report.labels.get(label, 0):,}", f"{share[label]:.1f}%", "█" * round(share[label] * 0.3))
        for label in _LABELS
    ]
    return "## Sentiment\n\n" + table(("label", "reviews", "share", ""), rows)


def _trend(report: ReviewReport) -> str:
    if report.trend is None:
        return ""
    text = "## Over time\n\n" + escaped(timeline_note(report.trend, report.reviews))
    if not report.trend.tells:
        return text
    return text + "\n\n" + table((report.trend.unit, "reviews", "mean score"), timeline_rows(report.trend))


def _themes(report: ReviewReport) -> str:
    if not report.themes:
        return ""
    named = any(theme.label for theme in report.themes)
    rows = [
        (
            theme.name,
            *((theme.phrase,) if named else ()),
            f"{theme.count:,}",
            f"{theme.mean:+.2f}",
            one_line(theme.example, 110),
        )
        for theme in report.top_themes(20)
    ]
    header = ("theme", "phrase", "reviews") if named else ("theme", "reviews")
    return "## Themes\n\n" + table((*header, "mean score", "example"), rows)


def _quotes(title: str, examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    lines = [f"- {example.compound:+.2f}  {escaped(example.text)}" for example in examples]
    return f"## {title}\n\n" + "\n".join(lines)


def _agreement(report: ReviewReport) -> str:
    found = report.agreement
    if found is None:
        return ""
    rows = [
        ("Pearson's r", _figure(found.pearson), _figure(found.baseline_pearson)),
        ("three-way accuracy", _percent(found.accuracy), _percent(found.baseline_accuracy)),
    ]
    text = (
        f"## Agreement with human ratings\n\n{found.rated:,} reviews have a rating; {scale_words(found.scale)}.\n\n"
        + table(("measure", "this run", "VADER alone"), rows)
    )
    if report.confusion:
        grid = [
            (f"human {expected}", *(f"{report.confusion.get(expected, {}).get(label, 0):,}" for label in _LABELS))
            for expected in _LABELS
        ]
        text += "\n\n" + table(("", *_LABELS), grid)
    return text


def _generic(name: str, value: object, level: int) -> list[str]:
    heading = f"{'#' * min(level, 6)} {escaped(one_line(name, 120))}"
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, object]", value)
        if all(not isinstance(entry, Mapping | list | tuple) for entry in entries.values()):
            rows = [(str(key), _cell(entry)) for key, entry in entries.items()]
            return [heading, table(("name", "value"), rows)]
        nested = [part for key, entry in entries.items() for part in _generic(str(key), entry, level + 1)]
        return [heading, *nested]
    if isinstance(value, list | tuple):
        return [heading, _listing(cast("Sequence[object]", value))]
    return [heading, escaped(str(value))]


def _listing(values: Sequence[object]) -> str:
    shown = values[:_ROWS_SHOWN]
    more = f"\n\n... and {len(values) - len(shown):,} more" if len(values) > len(shown) else ""
    objects = [cast("Mapping[str, object]", entry) for entry in shown if isinstance(entry, Mapping)]
    if objects and len(objects) == len(shown):
        columns = list(dict.fromkeys(str(key) for entry in objects for key in entry))
        rows = [tuple(_cell(entry.get(column, "")) for column in columns) for entry in objects]
        return table(columns, rows) + more
    return ("\n".join(f"- {escaped(_cell(entry))}" for entry in shown) or "Nothing.") + more


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return one_line(str(value), 160)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose cells are plain words."""
    lines = ["| " + " | ".join(escaped(cell) for cell in header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(escaped(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def escaped(text: str) -> str:
    """`text` as plain words: foreign text must not bring its own markup, links or table cells."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("&", "&amp;")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _plural(count: int, word: str) -> str:
    return word if count == 1 else word + "s"
