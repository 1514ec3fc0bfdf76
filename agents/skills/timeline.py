"""Dated reviews over time, for a report: how many, and how they sound, by day, week, month or year."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final, Literal

from agents.skills.trend import Days, Trend, add_days
from colony.contracts import Frozen

MOST_DAYS: Final = 31
"""Days that are shown one by one; more are weeks."""
MOST_WEEKS: Final = 27
MOST_MONTHS: Final = 120

Unit = Literal["day", "week", "month", "year"]

_SCORE_UNIT: Final = 10_000
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Stretch(Frozen):
    """One day, week (from Monday), month or year."""

    start: date
    reviews: int = 0
    mean: float | None = None
    """Mean score; None without reviews."""


class Timeline(Frozen):
    """All stretches from the first dated review to the last, also those without one."""

    unit: Unit
    stretches: tuple[Stretch, ...] = ()
    dated: int = 0
    """Reviews whose date was understood."""
    not_understood: int = 0
    """Reviews that have a date which was not."""
    order: Literal["", "day/month", "month/day"] = ""
    """How dates such as 3/4/2024 were read; empty where there were none."""
    order_is_a_guess: bool = False
    """Whether none of those dates said which number is the month."""

    @property
    def tells(self) -> bool:
        """Whether there are at least two stretches with reviews, so that there is a trend."""
        return sum(stretch.reviews > 0 for stretch in self.stretches) > 1


def timeline_of(trend: Trend) -> Timeline | None:
    """The reviews of a tally over time; None where none has a date."""
    if not trend.dated:
        return None
    day_first = trend.only_day_first > trend.only_month_first
    open_days = trend.day_first if day_first else trend.month_first
    days = add_days((trend.certain, open_days))
    understood = sum(count for count, _ in days.values())
    unit, stretches = _stretches(days)
    slashed = bool(trend.day_first or trend.month_first)
    return Timeline(
        unit=unit,
        stretches=stretches,
        dated=understood,
        not_understood=trend.dated - understood,
        order="" if not slashed else "day/month" if day_first else "month/day",
        order_is_a_guess=slashed and not trend.only_day_first and not trend.only_month_first,
    )


def stretch_name(start: date, unit: Unit) -> str:
    """What to call a stretch: `May 2024`, `2024`, or of days and weeks `2024-05-31`."""
    if unit == "month":
        return f"{_MONTHS[start.month - 1]} {start.year}"
    return str(start.year) if unit == "year" else start.isoformat()


def timeline_note(timeline: Timeline, reviews: int) -> str:
    """What to know about the dates, in sentences for people."""
    each = "week (from Monday)" if timeline.unit == "week" else timeline.unit
    words = f"{timeline.dated:,} of {reviews:,} reviews have a date that was understood" + (
        f"; mean score and number of reviews by {each}." if timeline.tells else "."
    )
    if timeline.not_understood:
        words += f" {timeline.not_understood:,} have one that was not."
    if timeline.order:
        words += f" Dates such as 3/4/2024 are read as {timeline.order}"
        words += ", though none of them says which it is." if timeline.order_is_a_guess else "."
    return words


def timeline_rows(timeline: Timeline) -> list[tuple[str, str, str]]:
    """Name, number of reviews and mean score of each stretch."""
    return [
        (
            stretch_name(each.start, timeline.unit),
            f"{each.reviews:,}",
            "-" if each.mean is None else f"{each.mean:+.2f}",
        )
        for each in timeline.stretches
    ]


def _stretches(days: Days) -> tuple[Unit, tuple[Stretch, ...]]:
    if not days:
        return "month", ()
    dates = {date.fromisoformat(day if len(day) > len("2024-05") else f"{day}-01"): sums for day, sums in days.items()}
    first, last = min(dates), max(dates)
    unit = _unit(first, last, by_month=any(len(day) == len("2024-05") for day in days))
    sums: dict[date, tuple[int, int]] = dict.fromkeys(_starts(first, last, unit), (0, 0))
    for day, (count, score) in dates.items():
        start = _start(day, unit)
        sums[start] = (sums[start][0] + count, sums[start][1] + score)
    return unit, tuple(
        Stretch(start=start, reviews=count, mean=round(score / _SCORE_UNIT / count, 4) if count else None)
        for start, (count, score) in sums.items()
    )


def _unit(first: date, last: date, *, by_month: bool) -> Unit:
    days = (last - first).days + 1
    if days <= MOST_DAYS and not by_month:
        return "day"
    if days <= MOST_WEEKS * 7 and not by_month:
        return "week"
    return "month" if (last.year - first.year) * 12 + last.month - first.month < MOST_MONTHS else "year"


def _start(day: date, unit: Unit) -> date:
    match unit:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "year":
            return day.replace(month=1, day=1)


def _starts(first: date, last: date, unit: Unit) -> Iterator[date]:
    start = _start(first, unit)
    while start <= last:
        yield start
        if unit in ("day", "week"):
            start += timedelta(days=1 if unit == "day" else 7)
        else:
            month = start.month if unit == "month" else 12
            start = date(start.year + month // 12, month % 12 + 1, 1)
