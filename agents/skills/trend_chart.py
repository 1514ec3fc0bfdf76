"""The plot of reviews over time as inline SVG: mean score as a line above, number of reviews as bars below. Pure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from agents.skills.report_charts import WIDE, draw_line, draw_rect, draw_svg, draw_text, tone
from agents.skills.timeline import Stretch, Timeline, Unit, stretch_name

_LEFT: Final = 48.0
_TOP: Final = 26.0
_MIDDLE: Final = 200.0
"""Where the panel of the line ends."""
_BARS: Final = 240.0
_BOTTOM: Final = 316.0
_LEAST_RANGE: Final = 0.4
_MOST_LABELS: Final = 10
_LARGE_DOTS: Final = 60
"""More stretches than this have small ones."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def trend_chart(timeline: Timeline) -> str:
    """Both panels share the axis of time; the line is broken where there are no reviews."""
    stretches = timeline.stretches
    step = (WIDE - _LEFT - 6) / max(1, len(stretches))

    def across(index: int) -> float:
        return _LEFT + (index + 0.5) * step

    body = [
        *_scores(stretches, timeline.unit, across),
        *_counts(stretches, timeline.unit, across, step),
        *_times(stretches, timeline.unit, across),
    ]
    return draw_svg(_BOTTOM + 26, f"Mean score and number of reviews by {timeline.unit}", body, width=WIDE)


def _scores(stretches: Sequence[Stretch], unit: Unit, across: Callable[[int], float]) -> Iterator[str]:
    low, high, tick = score_range([each.mean for each in stretches if each.mean is not None])

    def up(score: float) -> float:
        return _MIDDLE - (score - low) / (high - low) * (_MIDDLE - _TOP)

    yield draw_text(_LEFT, _TOP - 10, "mean score", "small")
    for number in range(round((high - low) / tick) + 1):
        score = round(low + number * tick, 2)
        yield draw_line(_LEFT, up(score), WIDE, up(score))
        yield draw_text(_LEFT - 8, up(score) + 4, f"{score:+g}" if score else "0", "small", "end")
    for seen, run in itertools.groupby(enumerate(stretches), key=lambda entry: entry[1].mean is not None):
        places = [f"{across(index):.1f},{up(each.mean or 0.0):.1f}" for index, each in run]
        if seen and len(places) > 1:
            yield f'<polyline class="course" points="{" ".join(places)}"/>'
    radius = 4 if len(stretches) <= _LARGE_DOTS else 2.5
    for index, each in enumerate(stretches):
        if each.mean is not None:
            tip = f"{stretch_name(each.start, unit)}: {each.mean:+.2f} in {each.reviews:,} reviews"
            yield (
                f'<circle class="{tone(each.mean)}" cx="{across(index):.1f}" cy="{up(each.mean):.1f}" r="{radius}">'
                f"<title>{tip}</title></circle>"
            )


def score_range(means: Sequence[float]) -> tuple[float, float, float]:
    """Ends of an axis for these scores, and the distance of its marks: round, within -1 to 1, never a narrow one.

    A narrow axis would make a trend of what is noise.
    """
    low, high = min(means, default=0.0), max(means, default=0.0)
    spare = max(0.0, _LEAST_RANGE - (high - low)) / 2
    low, high = max(-1.0, low - spare), min(1.0, high + spare)
    tick = 0.1 if high - low <= 0.5 else 0.2 if high - low <= 1 else 0.5
    return math.floor(round(low / tick, 6)) * tick, math.ceil(round(high / tick, 6)) * tick, tick


def _counts(stretches: Sequence[Stretch], unit: Unit, across: Callable[[int], float], step: float) -> Iterator[str]:
    most = max((each.reviews for each in stretches), default=0) or 1
    width = max(1.0, min(step - 2, 46.0))
    yield draw_text(_LEFT, _BARS - 10, "reviews", "small")
    yield draw_line(_LEFT, _BOTTOM, WIDE, _BOTTOM, "axis")
    yield draw_line(_LEFT, _BARS, WIDE, _BARS)
    yield draw_text(_LEFT - 8, _BARS + 4, f"{most:,}", "small", "end")
    yield draw_text(_LEFT - 8, _BOTTOM + 4, "0", "small", "end")
    for index, each in enumerate(stretches):
        height = each.reviews / most * (_BOTTOM - _BARS)
        tip = f"{stretch_name(each.start, unit)}: {each.reviews:,} reviews"
        yield draw_rect(across(index) - width / 2, _BOTTOM - height, width, height, "time", tip)


def _times(stretches: Sequence[Stretch], unit: Unit, across: Callable[[int], float]) -> Iterator[str]:
    every = math.ceil(len(stretches) / _MOST_LABELS)
    year = 0
    for index, each in enumerate(stretches):
        if index % every == 0:
            # The year stands where it is new, so that the other labels stay short.
            text = _short(each, unit, with_year=each.start.year != year)
            year = each.start.year
            yield draw_text(across(index), _BOTTOM + 20, text, "small", "middle")


def _short(stretch: Stretch, unit: Unit, *, with_year: bool) -> str:
    start = stretch.start
    if unit == "year":
        return str(start.year)
    day = "" if unit == "month" else f"{start.day} "
    return f"{day}{_MONTHS[start.month - 1]}" + (f" {start.year}" if with_year else "")
