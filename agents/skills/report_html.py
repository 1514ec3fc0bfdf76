"""Reports as one self-contained HTML page: no script, no request to anywhere. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from agents.skills import report_charts as charts
from agents.skills.report_charts import escape
from agents.skills.report_markdown import fact_rows
from agents.skills.report_model import (
    MODEL_COLUMNS,
    ReviewReport,
    RunFacts,
    Theme,
    model_rows,
    scale_words,
    shares,
    summary_note,
)
from agents.skills.tally import Example
from agents.skills.timeline import timeline_note
from agents.skills.trend_chart import trend_chart

_LABELS: Final = ("positive", "neutral", "negative")

_STYLE: Final = """
:root{color-scheme:light dark;--back:#f6f7f9;--card:#fff;--ink:#17202c;--soft:#5c6878;--line:#e1e5eb;--pos:#1f9d6b;
--neu:#a3adba;--neg:#d6455d;--time:#3f6fd8;--tint:#edf2fd}
@media(prefers-color-scheme:dark){:root{--back:#10141a;--card:#181e27;--ink:#e7ebf1;--soft:#97a3b3;--line:#2a323e;
--pos:#35b985;--neu:#5f6b7a;--neg:#ea6379;--time:#6d96f2;--tint:#1d2738}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 20px 56px}
h1{font-size:30px;line-height:1.2;margin:0 0 4px;letter-spacing:-.02em;overflow-wrap:anywhere}
h2{font-size:16px;margin:0 0 14px;letter-spacing:-.01em}
.lead{color:var(--soft);margin:0 0 26px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:14px;margin-bottom:14px}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 20px}
.tile b{display:block;font-size:26px;line-height:1.25;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.tile span,.note{color:var(--soft);font-size:13px}
.grid{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:14px}
.wide{grid-column:1/-1}
@media(max-width:820px){.grid{grid-template-columns:minmax(0,1fr)}}
svg{display:block;width:100%;height:auto;font:13px system-ui,-apple-system,"Segoe UI",sans-serif}
svg text{fill:var(--ink)}svg .small{fill:var(--soft);font-size:11.5px}svg .inside{fill:#fff;font-weight:600}
svg .positive{fill:var(--pos)}svg .neutral{fill:var(--neu)}svg .negative{fill:var(--neg)}svg .time{fill:var(--time)}
svg .dot{fill-opacity:.5}
svg .course{fill:none;stroke:var(--time);stroke-width:2;stroke-linejoin:round}
svg .grid,svg .axis{stroke:var(--line);stroke-width:1}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:6px 10px 6px 0;border-bottom:1px solid var(--line);vertical-align:top;
overflow-wrap:anywhere}
th{color:var(--soft);font-weight:500;font-size:13px}tr:last-child td,tr:last-child th{border-bottom:0}
.num{text-align:right;white-space:nowrap}
.quotes{list-style:none;margin:0;padding:0}
.quotes li{padding:9px 0 9px 14px;border-left:3px solid var(--neu);margin:0 0 8px}
.quotes li.positive{border-color:var(--pos)}.quotes li.negative{border-color:var(--neg)}
.quotes b{font-variant-numeric:tabular-nums;margin-right:8px}
.summary{margin:0 0 10px;font-size:16px}
.hit{background:var(--tint);font-weight:600}
footer{color:var(--soft);font-size:13px;margin-top:22px}
@media print{body{background:#fff}main{padding:0;max-width:none}.card,.tile{break-inside:avoid}}
"""


def render_html(report: ReviewReport, run: RunFacts) -> str:
    """The findings and the run as a page that can be opened from disk, printed, or sent."""
    source = f": {run.source}" if run.source else ""
    cards = [
        _summary(report),
        _card("Sentiment", charts.split_bar(report.labels), wide=True),
        _card("How strong", charts.histogram(report.histogram), _note("Reviews by score, -1 to +1.")),
        _scatter(report),
        _trend(report),
        _card("Themes", charts.theme_bars(report.top_themes(15)), _theme_note(), wide=True) if report.themes else "",
        _theme_table(report.top_themes(12)),
        _quotes("Most positive", report.most_positive),
        _quotes("Most negative", report.most_negative),
        _agreement(report),
        _confusion(report),
        _models(report),
        *_run_cards(run),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Review analysis{escape(source)}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>Review analysis{escape(source)}</h1>"
        f'<p class="lead">{escape(_lead(report, run))}</p>'
        f'<div class="tiles">{"".join(_tiles(report, run))}</div>'
        f'<div class="grid">{"".join(cards) if report.reviews else "".join(_run_cards(run))}</div>'
        f"<footer>Written by Colony{escape(_job(run))}.</footer></main></body></html>\n"
    )


def _lead(report: ReviewReport, run: RunFacts) -> str:
    if not report.reviews:
        return "There was no review to analyse."
    largest = max(_LABELS, key=lambda label: report.labels.get(label, 0))
    share = shares({label: report.labels.get(label, 0) for label in _LABELS}, 0)
    words = f"{share[largest]:.0f}% of the reviews are {largest}"
    telling = [theme for theme in report.themes if " " in theme.phrase and theme.count >= max(3, report.reviews / 500)]
    loved = max(telling, key=lambda theme: theme.mean, default=None)
    blamed = min(telling, key=lambda theme: theme.mean, default=None)
    liked = loved is not None and loved.mean >= 0.2
    if loved is not None and liked:
        words += f'; best liked is "{loved.name}"'
    if blamed is not None and blamed.mean <= -0.1:
        words += f'{"," if liked else ";"} least liked "{blamed.name}"'
    judged = report.by.get("model", 0)
    names = ", ".join(use.model for use in report.models if use.step == "sentiment") or run.model
    model = f" A language model{f' ({names})' if names else ''} judged {judged:,} of them." if judged else ""
    return f"{words}.{model}"


def _summary(report: ReviewReport) -> str:
    if not report.summary:
        return ""
    text = f'<p class="summary">{escape(report.summary)}</p>'
    return _card("In short", text, _note(summary_note(report)), wide=True)


def _models(report: ReviewReport) -> str:
    if not report.models:
        return ""
    return _card("Language models", _table(MODEL_COLUMNS, model_rows(report), numbers=(2,)), wide=True)


def _tiles(report: ReviewReport, run: RunFacts) -> Iterable[str]:
    yield _tile(f"{report.reviews:,}", "reviews")
    if report.reviews:
        yield _tile(f"{report.mean:+.2f}", "mean score, -1 to +1")
    if report.agreement is not None and report.agreement.pearson is not None:
        yield _tile(f"{report.agreement.pearson:.2f}", "correlation with human ratings")
    if report.duplicates:
        yield _tile(f"{'~' if report.duplicates_estimated else ''}{report.duplicates:,}", "repeated reviews")
    if run.seconds:
        yield _tile(f"{run.seconds:.1f} s", "from start to report")
    if run.tasks:
        rate = f", {run.tasks_per_second:,.0f} a second" if run.tasks_per_second else ""
        yield _tile(f"{run.tasks:,}", f"tasks{rate}")
    if run.agents:
        yield _tile(f"{run.agents:,}", f"agents on {run.hosts:,} host{'' if run.hosts == 1 else 's'}")


def _tile(value: str, label: str) -> str:
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(label)}</span></div>'


def _card(title: str, *body: str, wide: bool = False) -> str:
    kind = "card wide" if wide else "card"
    return f'<section class="{kind}"><h2>{escape(title)}</h2>{"".join(body)}</section>'


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _theme_note() -> str:
    return _note("Number of reviews that name it, and their mean score.")


def _scatter(report: ReviewReport) -> str:
    if report.agreement is None or not report.points:
        return ""
    shown = len(report.points)
    note = f"{shown:,} of {report.agreement.rated:,} rated reviews." if shown < report.agreement.rated else ""
    return _card("Against human ratings", charts.scatter(report.points, report.agreement.scale), _note(note))


def _trend(report: ReviewReport) -> str:
    if report.trend is None:
        return ""
    chart = trend_chart(report.trend) if report.trend.tells else ""
    return _card("Over time", chart, _note(timeline_note(report.trend, report.reviews)), wide=True)


def _theme_table(themes: Sequence[Theme]) -> str:
    rows = [(theme.phrase, f"{theme.count:,}", f"{theme.mean:+.2f}", theme.example) for theme in themes]
    if not rows:
        return ""
    return _card("In their words", _table(("theme", "reviews", "score", "example"), rows, numbers=(1, 2)), wide=True)


def _quotes(title: str, examples: Sequence[Example]) -> str:
    if not examples:
        return ""
    items = "".join(
        f'<li class="{charts.tone(example.compound)}"><b>{example.compound:+.2f}</b>{escape(example.text)}</li>'
        for example in examples
    )
    return _card(title, f'<ul class="quotes">{items}</ul>')


def _agreement(report: ReviewReport) -> str:
    found = report.agreement
    if found is None:
        return ""
    rows = [
        ("Pearson's r", _figure(found.pearson), _figure(found.baseline_pearson)),
        ("three-way accuracy", _percent(found.accuracy), _percent(found.baseline_accuracy)),
    ]
    note = f"{found.rated:,} reviews have a rating; {scale_words(found.scale)}."
    table = _table(("measure", "this run", "VADER alone"), rows, numbers=(1, 2))
    return _card("Agreement with human ratings", table, _note(note))


def _confusion(report: ReviewReport) -> str:
    if not report.confusion:
        return ""
    head = "".join(f'<th class="num">{label}</th>' for label in _LABELS)
    body = "".join(
        f"<tr><th>human {expected}</th>"
        + "".join(
            f'<td class="num{" hit" if label == expected else ""}">'
            f"{report.confusion.get(expected, {}).get(label, 0):,}</td>"
            for label in _LABELS
        )
        + "</tr>"
        for expected in _LABELS
    )
    return _card("Where they differ", f"<table><tr><th></th>{head}</tr>{body}</table>")


def _run_cards(run: RunFacts) -> list[str]:
    cards: list[str] = []
    if run.phases:
        cards.append(_card("Where the time went", charts.phase_bars(run.phases), wide=True))
    facts = fact_rows(run)
    if facts:
        cards.append(_card("The run", _table(("fact", "value"), facts)))
    problems = [(name, f"{count:,} task{'' if count == 1 else 's'}") for name, count in sorted(run.failed.items())]
    if run.bad_rows:
        problems.insert(0, ("rows left out", f"{run.bad_rows:,}"))
        problems += [(f"line {row.line:,}", row.reason) for row in run.bad_row_list[:20]]
    if problems:
        cards.append(_card("What went wrong", _table(("what", "detail"), problems)))
    return cards


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f"<{tag}{' class=num' if index in numbers else ''}>{escape(cell)}</{tag}>" for index, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><tr>{cells('th', header)}</tr>{body}</table>"


def _job(run: RunFacts) -> str:
    return f", job {run.job}" if run.job else ""


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
