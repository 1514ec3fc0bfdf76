"""Numbers about lists of numbers. Pure functions; an empty or constant list gives None where nothing can be said."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from colony.contracts import Frozen


class Summary(Frozen):
    """A list of numbers in short."""

    count: int
    mean: float
    stdev: float
    """Of the sample; 0 for a single value."""
    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float
    maximum: float


def summarise(values: Sequence[float]) -> Summary | None:
    """The summary of `values`; None when there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return Summary(
        count=len(ordered),
        mean=statistics.fmean(ordered),
        stdev=statistics.stdev(ordered) if len(ordered) > 1 else 0.0,
        minimum=ordered[0],
        lower_quartile=quantile(ordered, 0.25),
        median=quantile(ordered, 0.5),
        upper_quartile=quantile(ordered, 0.75),
        maximum=ordered[-1],
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the ascending, non-empty `ordered` lies, interpolated."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def pearson(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Linear correlation, -1 to 1; None below two pairs or when one side is constant.

    Raises `ValueError` when the lists differ in length.
    """
    if len(left) != len(right):
        raise ValueError(f"{len(left)} values against {len(right)}")
    if len(left) < 2 or min(left) == max(left) or min(right) == max(right):
        return None
    try:
        return max(-1.0, min(1.0, statistics.correlation(left, right)))
    except statistics.StatisticsError:  # differences below what floats can square
        return None


def spearman(left: Sequence[float], right: Sequence[float]) -> float | None:
    """Correlation of ranks, -1 to 1: 1 whenever both rise together. None and `ValueError` as in `pearson`."""
    return pearson(ranks(left), ranks(right))


def ranks(values: Sequence[float]) -> list[float]:
    """Rank of each value from 1; equal values share the mean of their ranks."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    found = [0.0] * len(values)
    at = 0
    while at < len(order):
        end = at
        while end + 1 < len(order) and values[order[end + 1]] == values[order[at]]:
            end += 1
        for index in order[at : end + 1]:
            found[index] = (at + end) / 2 + 1
        at = end + 1
    return found


def confusion(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """Counts of (expected, found) pairs as expected -> found -> count."""
    table: dict[str, dict[str, int]] = {}
    for expected, found in pairs:
        row = table.setdefault(expected, {})
        row[found] = row.get(found, 0) + 1
    return table


def accuracy(table: dict[str, dict[str, int]]) -> float | None:
    """Share of a confusion table on its diagonal; None when it is empty."""
    total = sum(sum(row.values()) for row in table.values())
    return sum(row.get(label, 0) for label, row in table.items()) / total if total else None
