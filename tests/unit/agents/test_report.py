from __future__ import annotations

import html.parser
import io

import pytest
from rich.console import Console

from agents.skills.phrases import keyphrases
from agents.skills.report import (
    BadRowFact,
    Phase,
    ReviewReport,
    RunFacts,
    Theme,
    parse_report,
    render_generic_markdown,
    render_html,
    render_markdown,
    report_of,
)
from agents.skills.report_terminal import render_terminal
from agents.skills.sentiment import by_lexicon
from agents.skills.tally import Tally, tally_of
from colony.errors import BadInput
from tests.unit.agents.rated_sentences import RATED

EVIL = "<script>alert(1)</script> [click](javascript:x) | `a` \"quoted\" & 'more' great great"
RUN = RunFacts(
    job=7,
    workflow_id="wf-<7>",
    template="review_analysis",
    source="reviews|<b>.csv",
    started=1_800_000_000.0,
    seconds=4.2,
    tasks=73,
    tasks_per_second=17.4,
    agents=620,
    hosts=2,
    phases=(Phase(name="load", seconds=0.2, tasks=36), Phase(name="classify<", seconds=0.0)),
    bad_rows=2,
    bad_row_list=(BadRowFact(line=3, reason="<i>no text</i>"),),
    failed={"BadInput": 1},
    model="tiny<model>",
    engine=("Temporal on Postgres",),
)


def _report() -> ReviewReport:
    texts = [*RATED, (2.0, EVIL), (-1.0, "the <img src=x> price is bad")]
    rows = [
        {
            "id": str(n),
            "text": text,
            "rating": rating,
            "compound": by_lexicon(text).compound,
            "phrases": keyphrases(text),
        }
        for n, (rating, text) in enumerate(texts)
    ]
    return report_of(tally_of(rows))


class Outline(html.parser.HTMLParser):
    """Tags that are open at the end, all tags seen, and every address in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "onclick", "onload")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


EMPTY = report_of(Tally())
ONE = report_of(tally_of([{"text": "fine", "compound": 0.2, "rating": 4}]))


@pytest.mark.parametrize("report", [_report(), EMPTY, ONE], ids=["many", "empty", "one"])
@pytest.mark.parametrize("run", [RUN, RunFacts()], ids=["known", "unknown"])
def test_the_page_is_well_formed_and_brings_in_nothing(report: ReviewReport, run: RunFacts) -> None:
    page = render_html(report, run)
    outline = Outline()
    outline.feed(page)
    outline.close()
    assert outline.open == []
    assert outline.addresses == []
    assert not outline.tags & {"script", "img", "link", "iframe", "i", "a"}
    assert "url(" not in page
    assert "@import" not in page


def test_foreign_text_brings_no_markup_into_markdown() -> None:
    markdown = render_markdown(_report(), RUN)
    assert "<script>" not in markdown
    assert "<img" not in markdown.replace("\\<img", "")
    assert "[click](" not in markdown
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    assert "62" in markdown
    assert "BadInput" in markdown


@pytest.mark.parametrize("report", [_report(), EMPTY, ONE], ids=["many", "empty", "one"])
def test_the_terminal_report_fits_80_columns(report: ReviewReport) -> None:
    stream = io.StringIO()
    Console(file=stream, width=80).print(render_terminal(report, RUN))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 48


def test_a_report_travels_as_json_and_a_wrong_one_is_refused() -> None:
    report = _report()
    assert parse_report({"kind": "reviews", "report": report.model_dump(mode="json")}) == report
    with pytest.raises(BadInput, match="kind"):
        parse_report({"kind": "table"})
    with pytest.raises(BadInput, match="reviews"):
        parse_report({"kind": "reviews", "report": {}})


def test_any_other_value_becomes_markdown() -> None:
    value = {
        "kind": "table",
        "rows": [{"a": 1, "b": "x|y"}, {"c": None}],
        "flat": {"n": 2.5},
        "deep": {"l": []},
        "s": "t",
    }
    markdown = render_generic_markdown(value, RUN)
    assert "| a | b | c |" in markdown
    assert "x\\|y" in markdown
    assert render_generic_markdown({}, RunFacts()) == "# Results\n"


def test_bars_of_themes_are_as_long_as_they_have_reviews_and_in_that_order() -> None:
    themes = (Theme(phrase="battery life", count=5, mean=0.5, positive=5), Theme(phrase="phone", count=20, mean=0.0))
    stream = io.StringIO()
    report = ReviewReport(reviews=25, labels={"positive": 5, "neutral": 20}, themes=themes)
    Console(file=stream, width=80).print(render_terminal(report, RunFacts()))
    rows = [line for line in stream.getvalue().splitlines() if "■" in line]
    assert [line.count("■") for line in rows] == [24, 6]
    assert "phone" in rows[0]


def test_percentages_of_a_report_add_up_to_a_hundred() -> None:
    report = ReviewReport(reviews=3, labels={"positive": 1, "neutral": 1, "negative": 1})
    markdown = render_markdown(report, RunFacts())
    assert all(part in markdown for part in ("| 33.4% |", "| 33.3% |"))
    page = render_html(report, RunFacts())
    assert all(part in page for part in ("positive 34%", "neutral 33%", "negative 33%"))
