"""Dates as people and programs write them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Final, NamedTuple

FIRST_YEAR: Final = 1990
"""What is older stands for a date that nobody knew, such as 1970-01-01."""
LAST_YEAR: Final = 2100

_LONGEST: Final = 100


class ReadDate(NamedTuple):
    """The day a text means. Both are the same unless the text leaves open which number is the month."""

    month_first: date | None
    """None where the text has no such day."""
    day_first: date | None


def read_date(value: object) -> ReadDate | None:
    """The day that a text or a number means, as it is written there; None where it means none.

    Understood are ISO 8601, seconds to nanoseconds since 1970 (UTC), numbers in the order year month day, day month
    year or month day year with 4 or 2 digits of the year, and English names of months, also within a sentence.
    """
    text = " ".join(str(value).split())[:_LONGEST] if isinstance(value, str | int | float) else ""
    for pattern, read in _FORMS:
        found = pattern.search(text)
        if found is not None:
            both = read(found)
            return both if any(both) else None
    return None


def _same(year: int, month: int, day: int) -> ReadDate:
    found = _day(year, month, day)
    return ReadDate(found, found)


def _day(year: int, month: int, day: int) -> date | None:
    if year < 100:
        year += 2000 if year < 70 else 1900
    try:
        return date(year, month, day) if FIRST_YEAR <= year <= LAST_YEAR else None
    except ValueError:
        return None


def _since_1970(found: re.Match[str]) -> ReadDate:
    number = float(found[0])
    # Seconds have 10 digits until the year 2286: what has more counts smaller parts of a second.
    power = max(0, math.ceil((math.log10(number) - 11) / 3)) if number else 0
    try:
        day = datetime.fromtimestamp(number / 1000**power, UTC).date()
    except (ValueError, OverflowError, OSError):
        return ReadDate(None, None)
    return _same(day.year, day.month, day.day)


def _year_first(found: re.Match[str]) -> ReadDate:
    return _same(int(found[1]), int(found[2]), int(found[3] or 1))


def _year_last(found: re.Match[str]) -> ReadDate:
    first, mark, second, year = int(found[1]), found[2], int(found[3]), int(found[4])
    day_first = _day(year, second, first)
    return ReadDate(day_first if mark == "." else _day(year, first, second), day_first)


def _month_day(found: re.Match[str]) -> ReadDate:
    return _same(int(found[3]), int(found[1]), int(found[2]))


def _day_name(found: re.Match[str]) -> ReadDate:
    return _same(int(found[3]), _month(found[2]), int(found[1]))


def _name_day(found: re.Match[str]) -> ReadDate:
    return _same(int(found[3]), _month(found[1]), int(found[2] or 1))


def _month(name: str) -> int:
    return _MONTHS.index(name[:3].lower()) + 1


_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME: Final = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\.?"
)
_TH: Final = r"(?:st|nd|rd|th)?"


def _form(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.ASCII)


_FORMS: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], ReadDate]], ...]] = (
    (_form(r"^\d{9,19}(?:\.\d+)?$"), _since_1970),
    (_form(r"^(\d{4})(\d\d)(\d\d)(?:$|T)"), _year_first),
    (_form(r"^(\d{4})[-/.](\d{1,2})(?:[-/.](\d{1,2}))?(?:$|[T ,])"), _year_first),
    (_form(r"^(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d\d)(?:$|[T ,])"), _year_last),
    (_form(r"^(\d{1,2}) (\d{1,2}), (\d{4})$"), _month_day),
    (_form(rf"\b(\d{{1,2}}){_TH}[ .-]{{0,2}}(?:of )?{_NAME}[ ,-]{{0,2}}(\d{{4}})\b"), _day_name),
    (_form(rf"\b{_NAME} (\d{{1,2}}){_TH},? (\d{{4}})\b"), _name_day),
    (_form(rf"^[a-z]{{3}} {_NAME} (\d{{1,2}}) [\d:]+ (?:\S+ )?(\d{{4}})$"), _name_day),
    (_form(rf"\b{_NAME}()[ ,-]{{1,2}}(\d{{4}})\b"), _name_day),
)
"""The first that fits decides."""
