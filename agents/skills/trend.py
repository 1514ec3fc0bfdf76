"""Dated reviews added up by day, so that partial sums can be merged in any grouping with the same result.

A sum over many days turns into one over months. Whether it does depends on all its days alone, and a part never has
more of them than the whole, so the grouping makes no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

from pydantic import Field

from agents.skills.review_dates import read_date
from colony.contracts import Frozen

DAYS_KEPT: Final = 1_000
"""A sum over more days than this becomes one over months, of which there are at most some 1,300."""

Days = dict[str, tuple[int, int]]
"""Day (2024-05-31) or month (2024-05) -> number of reviews, and the sum of their scores in ten-thousandths."""


class Trend(Frozen):
    """Partial sums by day. `add_trends` adds them."""

    dated: int = 0
    """Reviews that have something in the field `date`."""
    certain: Days = Field(default_factory=dict[str, tuple[int, int]])
    """Those whose date means one day only."""
    month_first: Days = Field(default_factory=dict[str, tuple[int, int]])
    """The others, as if 3/4/2024 were in March; what has no such month is left out."""
    day_first: Days = Field(default_factory=dict[str, tuple[int, int]])
    """The same reviews, as if that were in April."""
    only_month_first: int = 0
    """Reviews with dates such as 3/14/2024."""
    only_day_first: int = 0
    """Reviews with dates such as 14/3/2024."""


NO_TREND: Final = Trend()


def trend_of(value: object, score: int) -> Trend:
    """The sums of one review with this date and this score in ten-thousandths."""
    if value is None or not str(value).strip():
        return NO_TREND
    found = read_date(value)
    if found is None:
        return Trend(dated=1)
    if found.month_first == found.day_first:
        return Trend(dated=1, certain=_single(found.month_first, score))
    return Trend(
        dated=1,
        month_first=_single(found.month_first, score),
        day_first=_single(found.day_first, score),
        only_month_first=int(found.day_first is None),
        only_day_first=int(found.month_first is None),
    )


def add_trends(parts: Iterable[Trend]) -> Trend:
    """The sums of all reviews of all `parts`."""
    full = [part for part in parts if part.dated]
    if len(full) < 2:
        return full[0] if full else NO_TREND
    return Trend(
        dated=sum(part.dated for part in full),
        certain=add_days(part.certain for part in full),
        month_first=add_days(part.month_first for part in full),
        day_first=add_days(part.day_first for part in full),
        only_month_first=sum(part.only_month_first for part in full),
        only_day_first=sum(part.only_day_first for part in full),
    )


def add_days(parts: Iterable[Mapping[str, tuple[int, int]]]) -> Days:
    """Sums by day added up: by month once there are many days, or where one of the parts is by month."""
    total: Days = {}
    for part in parts:
        _add(total, part)
    if len(total) > DAYS_KEPT or any(len(day) == len("2024-05") for day in total):
        days, total = total, {}
        for day, sums in days.items():
            _add(total, {day[:7]: sums})
    return dict(sorted(total.items()))


def _add(total: Days, part: Mapping[str, tuple[int, int]]) -> None:
    for day, (count, score) in part.items():
        known = total.get(day, (0, 0))
        total[day] = (known[0] + count, known[1] + score)


def _single(day: date | None, score: int) -> Days:
    return {} if day is None else {day.isoformat(): (1, score)}
