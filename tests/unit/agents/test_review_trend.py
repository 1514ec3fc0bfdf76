from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from agents.processing import clean_review
from agents.skills import trend
from agents.skills.report import ReviewReport, RunFacts, parse_report, render_html, render_markdown, report_of
from agents.skills.report_terminal import render_terminal
from agents.skills.review_dates import ReadDate, read_date
from agents.skills.tally import Tally, merge, parse_tally, tally_of
from agents.skills.timeline import MOST_MONTHS, Timeline, timeline_of
from agents.skills.trend import add_trends, trend_of
from agents.skills.trend_chart import score_range

MAY = date(2024, 5, 31)


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-31", "2024-05-31T23:59:59Z", "2024-05-31 10:00:00.123+02:00", "2024/5/31", "2024.05.31", "20240531",
        "20240531T101500", "31.05.2024", "31.5.24", "5/31/2024", "31/05/2024 10:00", "05-31-24",
        "May 31, 2024", "31 May 2024", "31st of May 2024", "31-May-2024", "Fri, 31 May 2024 10:00:00 GMT",
        "Fri May 31 10:00:00 +0000 2024", "Fri May 31 10:00:00 2024", "05 31, 2024",
        "Reviewed in the United States on May 31, 2024", "1717113600", "1717113600000", "1717113600000000000",
        "1717113600.5", 1717113600, 1717113600.0,
    ],
)  # fmt: skip
def test_ways_to_write_a_day(text: object) -> None:
    found = read_date(text)
    assert found is not None
    assert {each for each in found if each is not None} == {MAY}


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "10:30", "5", "2024", "2024-13-01", "31.02.2024", "1970-01-01", "0", "9999-12-31", "9" * 20,
     "32/32/2024", "may", True, None, {"a": 1}, "1.7e300", "²024-01-01", "1" * 5_000],
)  # fmt: skip
def test_what_is_no_day_we_know(text: object) -> None:
    assert read_date(text) is None


def test_a_month_is_its_first_day_and_open_days_stay_open() -> None:
    assert read_date("2024-05") == ReadDate(date(2024, 5, 1), date(2024, 5, 1))
    assert read_date("May 2024") == ReadDate(date(2024, 5, 1), date(2024, 5, 1))
    assert read_date("3/4/2024") == ReadDate(date(2024, 3, 4), date(2024, 4, 3))


@given(st.text(max_size=60) | st.integers() | st.floats())
def test_no_text_breaks_it(text: object) -> None:
    found = read_date(text)
    assert found is None or any(found)


@given(st.datetimes(datetime(1990, 1, 2), datetime(2100, 12, 30)))
def test_every_moment_is_read_back(moment: datetime) -> None:
    whole = moment.replace(tzinfo=UTC)
    for text in (moment.isoformat(), str(moment), whole.isoformat(), moment.ctime(), f"{whole.timestamp():.0f}"):
        found = read_date(text)
        assert found is not None
        if text.isdigit():
            assert abs((found.month_first or date.max) - moment.date()) <= timedelta(days=1)
        else:
            assert found == (moment.date(), moment.date()), text


def row(day: object, compound: float = 0.5) -> dict[str, Any]:
    return {"text": f"review of {day}", "compound": compound, "date": day}


DAYS = st.dates(date(2020, 1, 1), date(2026, 1, 1))
WRITTEN = (
    DAYS.map(str) | DAYS.map(lambda day: f"{day.month}/{day.day}/{day.year}") | st.none() | st.sampled_from(["?", ""])
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(WRITTEN, st.integers(-10_000, 10_000)), max_size=40), st.data(), st.sampled_from([3, 1_000]))
def test_adding_in_any_grouping_gives_the_same(
    rows: list[tuple[str | None, int]], data: st.DataObject, kept: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trend, "DAYS_KEPT", kept)
        singles = [trend_of(day, score) for day, score in rows]
        whole = add_trends(singles)
        shuffled = data.draw(st.permutations(singles))
        cut = data.draw(st.integers(0, len(rows)))
        assert add_trends([add_trends(shuffled[:cut]), add_trends(shuffled[cut:])]) == whole
        assert len(whole.certain) <= max(kept, 12 * 7)
        assert whole.dated == sum(bool(day) for day, _ in rows)
        timeline = timeline_of(whole)
        if timeline is not None:
            assert timeline.dated + timeline.not_understood == whole.dated
            assert sum(stretch.reviews for stretch in timeline.stretches) == timeline.dated


def timeline(days: list[Any]) -> Timeline:
    found = report_of(tally_of([row(day, (-1) ** number / 2) for number, day in enumerate(days)])).trend
    assert found is not None
    return found


def test_the_stretches_are_as_long_as_the_span_asks() -> None:
    start = date(2024, 1, 15)
    by_span = {10: "day", 31: "day", 32: "week", 189: "week", 190: "month", 3_000: "month", 4_000: "year"}
    for days, unit in by_span.items():
        found = timeline([start.isoformat(), (start + timedelta(days=days - 1)).isoformat()])
        assert found.unit == unit, days
        assert 2 <= len(found.stretches) <= MOST_MONTHS
        assert found.stretches[0].reviews == found.stretches[-1].reviews == 1
        assert found.stretches[0].start <= start
    assert [stretch.mean for stretch in timeline(["2024-01-01", "2024-01-03"]).stretches] == [0.5, None, -0.5]
    assert timeline(["2024-01-01", "2024-01-20", "2024-02-20"]).stretches[0].start == date(2024, 1, 1)  # a Monday
    many = timeline([f"{year}-06-15" for year in range(1990, 2101)])
    assert (many.unit, len(many.stretches)) == ("year", 111)


def test_sums_over_many_days_are_months() -> None:
    days = [date(2015, 1, 1) + timedelta(days=2 * number) for number in range(1_500)]
    whole = add_trends(trend_of(day.isoformat(), 100) for day in days)
    assert len(whole.certain) == 99
    assert sum(count for count, _ in whole.certain.values()) == 1_500
    assert len(Tally(trend=whole).model_dump_json()) < 5_000


def test_the_order_of_day_and_month_is_that_of_all_dates_together() -> None:
    european = timeline(["3/4/2024", "14/4/2024", "5/4/2024"])
    assert (european.order, european.order_is_a_guess) == ("day/month", False)
    assert {stretch.start.month for stretch in european.stretches} == {4}
    american = timeline(["4/3/2024", "4/14/2024"])
    assert (american.order, american.order_is_a_guess) == ("month/day", False)
    guess = timeline(["3/4/2024", "5/4/2024"])
    assert (guess.order, guess.order_is_a_guess) == ("month/day", True)
    assert timeline(["14/4/2024", "15/4/2024", "4/14/2024"]).not_understood == 1


def test_the_report_shows_a_trend_only_where_there_are_dates() -> None:
    dated = report_of(tally_of([row("2024-01-05", 0.8), row("2024-09-07", -0.6), row("what?"), row(None)]))
    markdown, page = render_markdown(dated, RunFacts()), render_html(dated, RunFacts())
    assert "## Over time" in markdown
    assert "| Jan 2024 | 1 | +0.80 |" in markdown
    assert "| Feb 2024 | 0 | - |" in markdown
    assert "2 of 4 reviews have a date that was understood" in markdown
    assert "1 have one that was not" in markdown
    assert 'aria-label="Mean score and number of reviews by month"' in page
    assert "Sep 2024: -0.60 in 1 reviews" in page
    stream = io.StringIO()
    Console(file=stream, width=80).print(render_terminal(dated, RunFacts()))
    assert "█·······▁" in stream.getvalue()
    assert "score by month, Jan 2024 to Sep 2024, -0.60 to +0.80" in stream.getvalue()
    undated = report_of(tally_of([{"text": "a", "compound": 0.5}]))
    assert undated.trend is None
    assert "Over time" not in render_markdown(undated, RunFacts()) + render_html(undated, RunFacts())
    unread = report_of(tally_of([row("what?")]))
    assert "0 of 1 reviews" in render_markdown(unread, RunFacts())
    assert "by month" not in render_html(unread, RunFacts())


def test_results_from_before_there_were_trends_are_still_read() -> None:
    old = {
        name: value for name, value in tally_of([row("2024-01-05")]).model_dump(mode="json").items() if name != "trend"
    }
    assert merge([parse_tally(old), tally_of([row("2024-01-06")])]).trend.dated == 1
    report = ReviewReport(reviews=1).model_dump(mode="json")
    del report["trend"]
    assert parse_report({"kind": "reviews", "report": report}).trend is None


def test_what_travels_is_the_same() -> None:
    whole = tally_of([row("2024-01-05"), row("3/4/2024"), row("x")])
    assert parse_tally(whole.model_dump(mode="json")) == whole
    report = report_of(whole)
    assert parse_report({"kind": "reviews", "report": report.model_dump(mode="json")}) == report


def test_a_clean_review_keeps_its_date() -> None:
    assert clean_review({"text": "good", "date": " 2024-05-31 "})["date"] == "2024-05-31"
    assert len(clean_review({"text": "good", "date": "x" * 500})["date"]) == 100
    assert "date" not in clean_review({"text": "good", "date": " "})


@given(st.lists(st.floats(-1, 1), max_size=5))
def test_the_axis_holds_all_scores_and_is_never_narrow(means: list[float]) -> None:
    low, high, tick = score_range(means)
    assert -1 - 1e-9 <= low <= min(means, default=0) + 1e-6
    assert max(means, default=0) - 1e-6 <= high <= 1 + 1e-9
    assert high - low >= 0.2 - 1e-9
    assert abs((high - low) / tick - round((high - low) / tick)) < 1e-6
